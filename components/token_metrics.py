"""Metrics of models that write texts, for TFMA: means of the `scores` they return.

Rows without a label, such as pairs without a target, are left out; a slice of such rows
has NaN.
"""

import functools
from collections.abc import Iterable
from typing import Any, NamedTuple

import apache_beam as beam
import numpy as np
import tensorflow_model_analysis as tfma
from tensorflow_model_analysis.metrics import metric_types, metric_util
from tensorflow_model_analysis.proto.config_pb2 import EvalConfig


class TokenCrossEntropy(tfma.metrics.Metric):
    """Mean over texts of the mean cross-entropy of their tokens, in nats."""

    def __init__(self, name: str = "token_cross_entropy"):
        super().__init__(_mean_score(0), name=name)


class TextMatch(tfma.metrics.Metric):
    """Share of texts that are written as their target is.

    Not called ExactMatch: TFMA has a metric of that name, which it takes whatever the
    module asked for.
    """

    def __init__(self, name: str = "exact_match"):
        super().__init__(_mean_score(1), name=name)


class _Total(NamedTuple):
    sum: float
    weight: float


class _MeanScore(beam.CombineFn):
    """The mean of one column of the predictions, by the weights of the examples."""

    def __init__(self, column: int, key: metric_types.MetricKey, **options: Any):
        self._column = column
        self._key = key
        self._options = options

    def create_accumulator(self) -> _Total:
        return _Total(0.0, 0.0)

    def add_input(self, total: _Total, element: Any) -> _Total:
        parts = metric_util.to_label_prediction_example_weight(
            element, **self._options, flatten=False, squeeze=False
        )
        for label, scores, weights in parts:
            if np.any(label):
                weight = float(np.mean(weights))
                score = float(np.ravel(scores)[self._column])
                total = _Total(total.sum + weight * score, total.weight + weight)
        return total

    def merge_accumulators(self, totals: Iterable[_Total]) -> _Total:
        sums, weights = zip(*totals, strict=True)
        return _Total(sum(sums), sum(weights))

    def extract_output(self, total: _Total) -> dict[metric_types.MetricKey, float]:
        mean = total.sum / total.weight if total.weight else float("nan")
        return {self._key: mean}


def _mean_score(column: int) -> Any:
    compute = functools.partial(_computations, column)
    return metric_util.merge_per_key_computations(compute)


def _computations(
    column: int,
    name: str = "",
    eval_config: EvalConfig | None = None,
    model_name: str = "",
    output_name: str = "",
    example_weighted: bool = False,
) -> metric_types.MetricComputations:
    key = metric_types.MetricKey(
        name=name,
        model_name=model_name,
        output_name=output_name,
        example_weighted=example_weighted,
    )
    combiner = _MeanScore(
        column,
        key,
        eval_config=eval_config,
        model_name=model_name,
        output_name=output_name,
        example_weighted=example_weighted,
    )
    return [
        metric_types.MetricComputation(
            keys=[key], preprocessors=None, combiner=combiner
        )
    ]
