"""Measure how far the distribution of a number has moved, from its statistics.

TFDV measures numbers too, on histograms of ten equally wide bins. One outlier puts all
other values into one bin, and two random halves of the taxi trips seem 0.3 (fare) and
0.7 (miles) apart. Here the bins are those of the deciles of both sides, so that
outliers weigh what they are: few. Whole numbers of few values are compared by value.
"""

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


def number_distance(left: Feature, right: Feature) -> float | None:
    """Return the divergence of two numeric features; None where one has no value.

    It is 0.9 or more where they have nothing in common: an outer decile of each lies
    in one bin.
    """
    by_value = [value_counts(side) for side in (left, right)]
    values = sorted({*by_value[0], *by_value[1]})
    if all(by_value) and len(values) <= MAX_VALUES:
        counts = [[side.get(value, 0) for value in values] for side in by_value]
        return jensen_shannon(*map(np.asarray, counts))
    sides = [_deciles(side) for side in (left, right)]
    if sides[0] is None or sides[1] is None:
        return None
    # The ends are no edges: they are where outliers are.
    edges = np.unique(np.concatenate([knots[1:-1] for knots, _ in sides]))
    shares = [
        np.diff(_cumulated(edges, *side), prepend=0.0, append=1.0) for side in sides
    ]
    return jensen_shannon(*shares)


def without_bounds_of_numbers(schema: schema_pb2.Schema) -> schema_pb2.Schema:
    """Return a schema that keeps TFDV from comparing numbers."""
    bare = schema_pb2.Schema()
    bare.CopyFrom(schema)
    for feature in bare.feature:
        if feature.type != schema_pb2.BYTES:
            feature.drift_comparator.ClearField("jensen_shannon_divergence")
            feature.skew_comparator.ClearField("jensen_shannon_divergence")
    return bare


def compare_numbers(
    report: anomalies_pb2.Anomalies,
    schema: schema_pb2.Schema,
    current: _Statistics,
    **others: _Statistics | None,
) -> None:
    """Add the distances of numbers from those of `drift` and `skew`; see distances.py.

    TFDV has done the same for texts.
    """
    for feature in schema.feature:
        if feature.type == schema_pb2.BYTES:
            continue
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
    return number_distance(*sides)


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
