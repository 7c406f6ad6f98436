"""Say in words what TFDV found: what came, and what was expected.

TFDV's own text of an anomaly often lacks the figures; they are taken from the
statistics and the schema that it was found with.
"""

from collections.abc import Callable, Collection
from dataclasses import dataclass

from tensorflow_metadata.proto.v0 import anomalies_pb2, schema_pb2, statistics_pb2

_Kind = anomalies_pb2.AnomalyInfo
MAX_VALUES = 5  # named of those that no list has

_EXPECTED = {
    schema_pb2.INT: "whole numbers",
    schema_pb2.FLOAT: "numbers",
    schema_pb2.BYTES: "texts",
}
_FOUND = {
    statistics_pb2.FeatureNameStatistics.INT: "whole numbers",
    statistics_pb2.FeatureNameStatistics.FLOAT: "decimal numbers",
    statistics_pb2.FeatureNameStatistics.STRING: "texts",
    statistics_pb2.FeatureNameStatistics.BYTES: "bytes",
}


@dataclass(frozen=True)
class Case:
    """A feature, as the schema has it and as it was found."""

    feature: schema_pb2.Feature
    statistics: statistics_pb2.FeatureNameStatistics
    domain: Collection[str]  # the texts it may have; empty: any

    @property
    def common(self) -> statistics_pb2.CommonStatistics:
        kind = self.statistics.WhichOneof("stats") or "num_stats"
        return getattr(self.statistics, kind).common_stats


def phrase(reason: _Kind.Reason, case: Case) -> str:
    """Return what is wrong with a feature, without its name."""
    words = _WORDS.get(reason.type)
    return words(case) if words else reason.description or reason.short_description


def percent(share: float) -> str:
    """Return a share such as `3 %`; what is not none is never called so."""
    if 0 < share < 0.001:
        return "less than 0.1 %"
    return f"{100 * share:.3g} %"


def exceeds(value: float, bound: float) -> str:
    """Return `0.31 > 0.10`, with as many digits as it takes to see it."""
    for digits in range(2, 7):
        left, right = f"{value:.{digits}f}", f"{bound:.{digits}f}"
        if float(left) > float(right) > 0:
            break
    return f"{left} > {right}"


def _absent(case: Case) -> str:
    del case
    return "no value in any record"


def _missing(case: Case) -> str:
    missing = case.common.num_missing
    total = missing + case.common.num_non_missing
    required = case.feature.presence.min_fraction
    if required == 1:
        return f"no value in {missing:,} of {total:,} records, where each must have one"
    allowed = percent(1 - required)
    return f"no value in {percent(missing / total)} of the records, at most {allowed}"


def _other_type(case: Case) -> str:
    expected = _EXPECTED.get(case.feature.type, "something else")
    found = _FOUND.get(case.statistics.type, "something else")
    values = case.statistics.string_stats.top_values
    example = f" such as {values[0].value!r}" if values else ""
    return f"expected {expected}, found {found}{example}"


def _unknown_texts(case: Case) -> str:
    texts = case.statistics.string_stats
    total = case.common.tot_num_values
    new = [b for b in texts.rank_histogram.buckets if b.label not in case.domain]
    share = sum(bucket.sample_count for bucket in new) / total
    named = [f"{b.label!r} ({percent(b.sample_count / total)})" for b in new]
    more = f" and {len(named) - MAX_VALUES} more" if len(named) > MAX_VALUES else ""
    allowed = 1 - case.feature.distribution_constraints.min_domain_mass
    return (
        f"{percent(share)} of the values are new, at most {percent(allowed)} may be: "
        f"{', '.join(named[:MAX_VALUES])}{more}"
    )


def _out_of_range(case: Case) -> str:
    numbers = case.statistics.num_stats
    domain = getattr(case.feature, case.feature.WhichOneof("domain_info"))
    low = f"{domain.min:g}" if domain.HasField("min") else "any"
    high = f"{domain.max:g}" if domain.HasField("max") else "any"
    return f"values from {numbers.min:g} to {numbers.max:g}, expected {low} to {high}"


def _not_binary(case: Case) -> str:
    numbers = case.statistics.num_stats
    return f"values from {numbers.min:g} to {numbers.max:g}, expected 0 and 1"


def _nan(case: Case) -> str:
    return f"{case.statistics.num_stats.num_nan:,} values are not a number (NaN)"


def _infinite(case: Case) -> str:
    del case
    return "infinite values"


def _other_length(case: Case) -> str:
    fewest, most = case.common.min_num_values, case.common.max_num_values
    found = f"{fewest}" if fewest == most else f"{fewest} to {most}"
    if case.feature.HasField("shape"):
        expected = " x ".join(str(dim.size) for dim in case.feature.shape.dim)
    else:
        low, high = case.feature.value_count.min, case.feature.value_count.max
        expected = f"{low}" if low == high else f"{low} to {high or 'any'}"
    missing = (
        f", none in {case.common.num_missing:,}" if case.common.num_missing else ""
    )
    return f"{found} values a record{missing}, expected {expected}"


def _no_utf8(case: Case) -> str:
    del case
    return "texts that are not UTF-8"


_WORDS: dict[int, Callable[[Case], str]] = {
    **dict.fromkeys(
        (_Kind.SCHEMA_MISSING_COLUMN, _Kind.FEATURE_TYPE_NOT_PRESENT), _absent
    ),
    _Kind.FEATURE_TYPE_LOW_FRACTION_PRESENT: _missing,
    **dict.fromkeys(
        (
            _Kind.UNEXPECTED_DATA_TYPE,
            _Kind.ENUM_TYPE_BYTES_NOT_STRING,
            _Kind.ENUM_TYPE_FLOAT_NOT_STRING,
            _Kind.ENUM_TYPE_INT_NOT_STRING,
            _Kind.FLOAT_TYPE_NOT_FLOAT,
            _Kind.FLOAT_TYPE_STRING_NOT_FLOAT,
            _Kind.INT_TYPE_INT_EXPECTED,
            _Kind.INT_TYPE_NOT_INT_STRING,
            _Kind.INT_TYPE_NOT_STRING,
            _Kind.STRING_TYPE_NOW_FLOAT,
            _Kind.STRING_TYPE_NOW_INT,
        ),
        _other_type,
    ),
    _Kind.ENUM_TYPE_UNEXPECTED_STRING_VALUES: _unknown_texts,
    **dict.fromkeys(
        (
            _Kind.INT_TYPE_BIG_INT,
            _Kind.INT_TYPE_SMALL_INT,
            _Kind.FLOAT_TYPE_BIG_FLOAT,
            _Kind.FLOAT_TYPE_SMALL_FLOAT,
        ),
        _out_of_range,
    ),
    _Kind.BOOL_TYPE_BIG_INT: _not_binary,
    _Kind.BOOL_TYPE_SMALL_INT: _not_binary,
    _Kind.FLOAT_TYPE_HAS_NAN: _nan,
    _Kind.FLOAT_TYPE_HAS_INF: _infinite,
    **dict.fromkeys(
        (
            _Kind.INVALID_FEATURE_SHAPE,
            _Kind.FEATURE_TYPE_HIGH_NUMBER_VALUES,
            _Kind.FEATURE_TYPE_LOW_NUMBER_VALUES,
            _Kind.FEATURE_TYPE_UNEXPECTED_REPEATED,
        ),
        _other_length,
    ),
    _Kind.ENUM_TYPE_INVALID_UTF8: _no_utf8,
}
