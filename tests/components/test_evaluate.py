"""What TFMA is asked, and its answer in words."""

import pytest
from google.protobuf import text_format
from tensorflow_model_analysis.metrics import metric_specs
from tensorflow_model_analysis.proto import config_pb2, validation_result_pb2

from components import evaluate
from recipes.schema import METRICS, Bound
from tests.components.sections import section as transform_section

NOTHING = Bound().model_dump()


def bound(**bounds):
    return {**NOTHING, **bounds}


def config(metrics, *, slices=(), with_baseline=False):
    section = {"metrics": metrics, "slices": slices}
    return evaluate.eval_config(
        section, transform_section(numeric=["x"]), with_baseline=with_baseline
    )


def thresholds(name, **bounds):
    """Return [(slicing specs, threshold)] of one metric, sliced by `day`, as texts."""
    got = config({name: bound(**bounds)}, slices=("day",), with_baseline=True)
    metric = next(m for m in got.metrics_specs[0].metrics if m.class_name == name)
    return [
        (
            [list(spec.feature_keys) for spec in per_slice.slicing_specs],
            text_format.MessageToString(per_slice.threshold, as_one_line=True),
        )
        for per_slice in metric.per_slice_thresholds
    ]


def refusals(text):
    parsed = text_format.Parse(text, validation_result_pb2.ValidationResult())
    return evaluate._refusals(parsed)


def failed(metric, value, threshold, where=""):
    """Return a missed bound as TFMA writes it."""
    return f"""
    metric_validations_per_slice {{
      slice_key {{ {where} }}
      failures {{
        metric_key {{ name: "{metric}" }}
        metric_value {{ double_value {{ value: {value} }} }}
        metric_threshold {{ {threshold} }}
      }}
    }}"""


def key(column, value):
    return f"single_slice_keys {{ column: '{column}' {value} }}"


AT_LEAST = "value_threshold { lower_bound { value: 0.9 } }"
AT_MOST = "value_threshold { upper_bound { value: 0.5 } }"
BETWEEN = "value_threshold { lower_bound { value: 0.2 } upper_bound { value: 0.5 } }"
CHANGE = "change_threshold { absolute { value: -0.01 } direction: HIGHER_IS_BETTER }"


def test_models_answer_by_the_served_signature():
    (candidate,) = config({"AUC": bound(at_least=0.8)}).model_specs
    assert candidate.name == "candidate"
    assert not candidate.is_baseline
    assert candidate.signature_name == "serving_default"
    assert candidate.prediction_key == "probabilities"
    assert candidate.label_key == "strata_label"
    assert list(candidate.preprocessing_function_names) == ["transform_features"]


def test_the_live_model_is_the_baseline():
    specs = config({"AUC": bound(at_least=0.8)}, with_baseline=True).model_specs
    assert [(s.name, s.is_baseline) for s in specs] == [
        ("candidate", False),
        ("baseline", True),
    ]


def test_all_examples_are_measured_and_every_slice():
    got = config({"AUC": bound(at_least=0.8)}, slices=("day", ("day", "town")))
    keys = [list(spec.feature_keys) for spec in got.slicing_specs]
    assert keys == [[], ["day"], ["day", "town"]]


def test_a_metric_without_a_bound_is_measured_only():
    got = config({"AUC": bound(), "Recall": bound(at_least=0.5)})
    metrics = {m.class_name: m for m in got.metrics_specs[0].metrics}
    assert set(metrics) == {"ExampleCount", "AUC", "Recall"}
    assert not metrics["AUC"].per_slice_thresholds


@pytest.mark.parametrize(
    ("bounds", "want"),
    [
        ({"at_least": 0.8}, "value_threshold { lower_bound { value: 0.8 } }"),
        ({"at_most": 0.4}, "value_threshold { upper_bound { value: 0.4 } }"),
        ({"at_least": 0.0}, "value_threshold { lower_bound { } }"),
        (
            {"drop_at_most": 0.25},
            "change_threshold { direction: HIGHER_IS_BETTER absolute { value: -0.25 } "
            "}",
        ),
        (
            {"rise_at_most": 0.25},
            "change_threshold { absolute { value: 0.25 } direction: LOWER_IS_BETTER }",
        ),
    ],
)
def test_a_bound_holds_for_all_examples_together(bounds, want):
    parsed = text_format.Parse(want, config_pb2.MetricThreshold())
    text = text_format.MessageToString(parsed, as_one_line=True)
    assert thresholds("AUC", **bounds) == [([[]], text)]


def test_bounds_on_slices_leave_the_whole_alone():
    lower = "value_threshold { lower_bound { value: 0.7 } }"
    assert thresholds("AUC", slices_at_least=0.7) == [([["day"]], lower)]


def test_both_kinds_of_bounds_stand_side_by_side():
    got = thresholds("AUC", at_least=0.9, slices_at_least=0.7)
    assert [slicing for slicing, _ in got] == [[[]], [["day"]]]


@pytest.mark.parametrize("name", METRICS)
def test_tfma_gives_every_metric_the_name_we_read(name):
    asked = config({name: bound()})
    computations = metric_specs.to_computations(asked.metrics_specs, asked)
    names = {key.name for found in computations for key in found.keys}
    assert evaluate._RESULT_NAMES[name] in names


def test_every_metric_has_a_result_name():
    assert set(evaluate._RESULT_NAMES) == set(METRICS)


@pytest.mark.parametrize(
    ("text", "want"),
    [
        (failed("auc", 0.8, AT_LEAST), "auc is 0.8000, expected at least 0.9"),
        (failed("loss", 0.75, AT_MOST), "loss is 0.7500, expected at most 0.5"),
        (failed("auc", 0.1, BETWEEN), "auc is 0.1000, expected at least 0.2"),
        (failed("auc", 0.6, BETWEEN), "auc is 0.6000, expected at most 0.5"),
        (failed("auc", "nan", AT_LEAST), "auc is nan, expected at least 0.9"),
        (
            failed("auc", -0.02, CHANGE),
            "auc: -0.0200 against the live model, allowed -0.01",
        ),
        (
            failed("auc", 0.8, AT_LEAST, key("label", "int64_value: 8")),
            "auc on label=8 is 0.8000, expected at least 0.9",
        ),
        ("missing_slices { }", "no examples for a slice that has a bound"),
    ],
)
def test_a_missed_bound_in_words(text, want):
    assert refusals(text) == [want]


def test_the_whole_comes_first_then_the_worst_slice():
    one, two = key("label", "int64_value: 1"), key("label", "int64_value: 2")
    got = refusals(
        failed("acc", 0.5, AT_LEAST, one)
        + failed("acc", 0.1, AT_LEAST, two)
        + failed("acc", 0.8, AT_LEAST)
    )
    assert [line.split(" is ")[0] for line in got] == [
        "acc",
        "acc on label=2",
        "acc on label=1",
    ]


def test_a_bound_that_holds_is_no_refusal():
    assert refusals("validation_ok: true") == []


def test_a_text_slice_is_named_plainly():
    text = failed("auc", 0.8, AT_LEAST, key("town", "bytes_value: 'Bonn'"))
    assert refusals(text) == ["auc on town=Bonn is 0.8000, expected at least 0.9"]
