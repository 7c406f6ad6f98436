"""Count the whole numbers of a column by value, within TFDV's statistics.

TFDV counts texts by value, and numbers by range only; the classes of a label are often
whole numbers.
"""

from collections.abc import Iterable
from functools import reduce
from typing import Any

import pyarrow as pa
from tensorflow_data_validation.statistics.generators import stats_generator
from tensorflow_metadata.proto.v0 import statistics_pb2

VALUE_COUNTS = "value_counts"  # name among the `custom_stats` of a feature
MAX_VALUES = 1000  # a column of more is not counted

Counts = dict[int, int] | None  # None: too many values, or no whole numbers


class ValueCounts(stats_generator.CombinerFeatureStatsGenerator):
    """Counts the values of each column of whole numbers, if they are few."""

    def create_accumulator(self) -> Counts:
        return {}

    def add_input(
        self, accumulator: Counts, feature_path: Any, column: pa.Array
    ) -> Counts:
        del feature_path
        if accumulator is None or not pa.types.is_large_list(column.type):
            return accumulator
        values = column.flatten()
        if not pa.types.is_integer(values.type):
            return None
        counted = values.value_counts()
        if len(counted) > MAX_VALUES:
            return None
        numbers, counts = (counted.field(i).to_pylist() for i in (0, 1))
        return _add(accumulator, dict(zip(numbers, counts, strict=True)))

    def merge_accumulators(self, accumulators: Iterable[Counts]) -> Counts:
        return reduce(_add, accumulators)

    def extract_output(
        self, accumulator: Counts
    ) -> statistics_pb2.FeatureNameStatistics:
        result = statistics_pb2.FeatureNameStatistics()
        if accumulator:
            histogram = result.custom_stats.add(name=VALUE_COUNTS).rank_histogram
            ranked = sorted(accumulator.items(), key=lambda item: (-item[1], item[0]))
            for rank, (value, count) in enumerate(ranked):
                histogram.buckets.add(
                    low_rank=rank, high_rank=rank, label=str(value), sample_count=count
                )
        return result


def _add(left: Counts, right: Counts) -> Counts:
    """Return the sum of two counts, or None if they have too many values."""
    if left is None or right is None:
        return None
    total = {**left}
    for value, count in right.items():
        total[value] = total.get(value, 0) + count
    return total if len(total) <= MAX_VALUES else None
