"""Means of scores, as TFMA computes them."""

import numpy as np
import pandas as pd
import pytest
import tensorflow_model_analysis as tfma
from google.protobuf import json_format
from tensorflow_model_analysis.proto.config_pb2 import EvalConfig

from components import token_metrics

MODULE = token_metrics.__name__
SCORES = [[0.5, 1.0], [1.5, 0.0], [4.0, 0.0], [0.0, 0.0]]
LABELS = [[7, 3, 0], [8, 3, 0], [9, 3, 0], [0, 0, 0]]  # the last row has none


def evaluate(metrics, *, rows=slice(None), slices=()):
    config = {
        "model_specs": [{"prediction_key": "scores", "label_key": "label"}],
        "slicing_specs": [{}, *({"feature_keys": [key]} for key in slices)],
        "metrics_specs": [{"metrics": metrics}],
    }
    frame = pd.DataFrame(
        {"label": LABELS, "scores": SCORES, "town": ["a", "b", "b", "c"]}
    )
    result = tfma.analyze_raw_data(
        frame[rows], json_format.ParseDict(config, EvalConfig())
    )
    return {
        key: {name: value["doubleValue"] for name, value in found[""][""].items()}
        for key, found in result.slicing_metrics
    }


def metric(name, **keys):
    return {"class_name": name, "module": MODULE, **keys}


@pytest.mark.slow
def test_scores_are_averaged_over_rows_with_a_label_and_by_slice():
    both = [metric("TokenCrossEntropy"), metric("TextMatch")]
    got = evaluate(both, slices=["town"])
    assert got[()] == pytest.approx({"token_cross_entropy": 2.0, "exact_match": 1 / 3})
    assert got[(("town", "a"),)] == {"token_cross_entropy": 0.5, "exact_match": 1.0}
    assert got[(("town", "b"),)] == {"token_cross_entropy": 2.75, "exact_match": 0.0}
    assert np.isnan(float(got[(("town", "c"),)]["exact_match"]))


def test_totals_of_workers_add_up():
    (computation,) = token_metrics.TextMatch().computations()
    combiner = computation.combiner
    element = tfma.metrics.StandardMetricInputs
    totals = [combiner.create_accumulator()]
    for label, scores in zip(LABELS, SCORES, strict=True):
        extracts = {
            "labels": np.array(label),
            "predictions": np.array(scores),
            "example_weights": None,
        }
        totals.append(
            combiner.add_input(combiner.create_accumulator(), element(extracts))
        )
    ((key, value),) = combiner.extract_output(
        combiner.merge_accumulators(totals)
    ).items()
    assert (key.name, value) == ("exact_match", pytest.approx(1 / 3))
