"""Measure how far the distribution of a feature has moved, from its statistics.

TFDV measures numbers on histograms of ten equally wide bins. One outlier puts all
other values into one bin, and two random halves of the taxi trips seem 0.3 (fare) and
0.7 (miles) apart. Here the bins are those of the deciles of both sides, so that
outliers weigh what they are: few. Texts, and whole numbers of few values, are compared
by value. What samples of these sizes differ by chance is taken off: 50 records of 40
values are 0.14 from a large sample of the same.
"""

import math

import numpy as np
from tensorflow_metadata.proto.v0 import anomalies_pb2, schema_pb2, statistics_pb2

from components.statistics import value_counts

Feature = statistics_pb2.FeatureNameStatistics
_Statistics = statistics_pb2.DatasetFeatureStatisticsList
MAX_VALUES = 50  # compared by value; of more, small samples share too few


def jensen_shannon(left: np.ndarray, right: np.ndarray) -> float:
    """Return the Jensen-Shannon divergence in bits, 0 to 1, of two (n,) counts.

    Source: Lin 1991, equation 4.1, with equal weights.
    """
    left, right = left / left.sum(), right / right.sum()
    middle = (left + right) / 2
    return float(max(0.0, _entropy(middle) - (_entropy(left) + _entropy(right)) / 2))


def by_chance(num_bins: int, *sizes: int) -> float:
    """Return the divergence to expect of two samples of one distribution, in bits.

    Source: the mean of Pearson's chi-squared, of which the divergence is an eighth.
    """
    return (num_bins - 1) / (8 * math.log(2)) * sum(1 / size for size in sizes)


def distance(left: Feature, right: Feature) -> float | None:
    """Return the divergence of two features beyond chance, 0 to 1; None: no value.

    Of numbers it is about 0.9 where they have nothing in common: an outer decile of
    each lies in one bin.
    """
    sizes = [_num_values(side) for side in (left, right)]
    compared = _aligned(left, right) if all(sizes) else None
    if compared is None:
        return None
    num_bins = int(np.count_nonzero(compared[0] + compared[1]))
    chance = min(by_chance(num_bins, *sizes), 0.99)
    return max(0.0, (jensen_shannon(*compared) - chance) / (1.0 - chance))


def _num_values(feature: Feature) -> int:
    kind = feature.WhichOneof("stats")
    return int(getattr(feature, kind).common_stats.num_non_missing) if kind else 0


def _aligned(left: Feature, right: Feature) -> tuple[np.ndarray, np.ndarray] | None:
    """Return how much of each side lies in the same (n,) bins."""
    by_value = [value_counts(side) for side in (left, right)]
    values = sorted({*by_value[0], *by_value[1]})
    is_text = left.type == Feature.STRING
    if all(by_value) and (is_text or len(values) <= MAX_VALUES):
        counts = [[side.get(value, 0) for value in values] for side in by_value]
        return np.asarray(counts[0]), np.asarray(counts[1])
    sides = [_deciles(side) for side in (left, right)]
    if sides[0] is None or sides[1] is None:
        return None
    # The ends are no edges: they are where outliers are.
    edges = np.unique(np.concatenate([knots[1:-1] for knots, _ in sides]))
    shares = [
        np.diff(_cumulated(edges, *side), prepend=0.0, append=1.0) for side in sides
    ]
    return shares[0], shares[1]


def without_bounds(schema: schema_pb2.Schema) -> schema_pb2.Schema:
    """Return a schema that keeps TFDV from comparing distributions."""
    bare = schema_pb2.Schema()
    bare.CopyFrom(schema)
    for feature in bare.feature:
        feature.drift_comparator.ClearField("jensen_shannon_divergence")
        feature.skew_comparator.ClearField("jensen_shannon_divergence")
    return bare


def compare(
    report: anomalies_pb2.Anomalies,
    schema: schema_pb2.Schema,
    current: _Statistics,
    **others: _Statistics | None,
) -> None:
    """Add to a report how far each feature with a bound is from `drift` and `skew`."""
    for feature in schema.feature:
        info = anomalies_pb2.DriftSkewInfo(path={"step": [feature.name]})
        for kind, other in others.items():
            comparator = getattr(feature, f"{kind}_comparator")
            value = _distance(feature.name, current, other) if other else None
            if value is None or not comparator.HasField("jensen_shannon_divergence"):
                continue
            getattr(info, f"{kind}_measurements").add(
                type=anomalies_pb2.DriftSkewInfo.Measurement.JENSEN_SHANNON_DIVERGENCE,
                value=value,
                threshold=comparator.jensen_shannon_divergence.threshold,
            )
            if value > comparator.jensen_shannon_divergence.threshold:
                report.anomaly_info[feature.name].path.step[:] = [feature.name]
        if info.drift_measurements or info.skew_measurements:
            report.drift_skew_info.append(info)


def _distance(name: str, current: _Statistics, other: _Statistics) -> float | None:
    sides = [_features(statistics).get(name) for statistics in (current, other)]
    if sides[0] is None or sides[1] is None:
        return None
    return distance(*sides)


def _features(statistics: _Statistics) -> dict[str, Feature]:
    return {".".join(f.path.step): f for f in statistics.datasets[0].features}


def _entropy(shares: np.ndarray) -> float:
    present = shares[shares > 0]
    return float(-(present * np.log2(present)).sum())


def _deciles(feature: Feature) -> tuple[np.ndarray, np.ndarray] | None:
    """Return (n,) rising values and the (n,) share of all values up to each."""
    for histogram in feature.num_stats.histograms:
        if histogram.type == statistics_pb2.Histogram.QUANTILES and histogram.buckets:
            buckets = histogram.buckets
            knots = [buckets[0].low_value, *(bucket.high_value for bucket in buckets)]
            counts = np.cumsum([0.0, *(bucket.sample_count for bucket in buckets)])
            return np.asarray(knots), counts / counts[-1]
    return None


def _cumulated(values: np.ndarray, knots: np.ndarray, shares: np.ndarray) -> np.ndarray:
    """Return the (n,) share of a side that is at most each of (n,) values."""
    above = np.searchsorted(knots, values, side="right")
    below = np.clip(above - 1, 0, len(knots) - 1)
    next_one = np.minimum(above, len(knots) - 1)
    width = knots[next_one] - knots[below]
    part = np.divide(
        values - knots[below], width, out=np.zeros_like(values), where=width > 0
    )
    found = shares[below] + part * (shares[next_one] - shares[below])
    return np.where(above == 0, 0.0, found)
