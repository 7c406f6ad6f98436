"""What TFX Evaluator (TFMA) is asked, and what it answered in words."""

from collections.abc import Mapping, Sequence
from typing import Any

import tensorflow_model_analysis as tfma
from google.protobuf import json_format
from tensorflow_model_analysis.proto.config_pb2 import EvalConfig

from components.columns import LABEL
from components.input_checks import kind

# TFMA names a metric's result after its class, in snake case.
_RESULT_NAMES = {
    "AUC": "auc",
    "AUCPrecisionRecall": "auc_precision_recall",
    "BinaryAccuracy": "binary_accuracy",
    "Precision": "precision",
    "Recall": "recall",
    "BinaryCrossEntropy": "binary_crossentropy",
    "SparseCategoricalAccuracy": "sparse_categorical_accuracy",
    "SparseCategoricalCrossentropy": "sparse_categorical_crossentropy",
    "MeanSquaredError": "mean_squared_error",
    "MeanAbsoluteError": "mean_absolute_error",
    "TokenCrossEntropy": "token_cross_entropy",
    "ExactMatch": "exact_match",
}
# Metrics that are not TFMA's -> the module that has them.
_MODULES = dict.fromkeys(
    ("TokenCrossEntropy", "ExactMatch"), "components.token_metrics"
)
_CLASSES = {"ExactMatch": "TextMatch"}  # TFMA has another metric of the first name
# What of a model's answer is judged, where it is not probabilities.
_PREDICTION_KEYS = {"series": "scaled", "language": "scores", "pairs": "scores"}


def eval_config(
    evaluate: Mapping[str, Any], transform: Mapping[str, Any], *, with_baseline: bool
) -> EvalConfig:
    """Return TFMA's configuration for the recipe's `evaluate` section.

    Args:
      evaluate: metrics with their bounds, and slices.
      transform: the recipe's section of that name.
      with_baseline: whether there is a live model to compare with.
    """
    spec = {
        "signature_name": "serving_default",
        "prediction_key": _PREDICTION_KEYS.get(kind(transform), "probabilities"),
        "label_key": LABEL,
        "preprocessing_function_names": ["transform_features"],
    }
    model_specs = [{**spec, "name": "candidate"}]
    if with_baseline:
        model_specs.append({**spec, "name": "baseline", "is_baseline": True})
    slices = [[s] if isinstance(s, str) else list(s) for s in evaluate["slices"]]
    metrics = [{"class_name": "ExampleCount"}] + [
        {
            "class_name": _CLASSES.get(name, name),
            "module": _MODULES.get(name, ""),
            "per_slice_thresholds": [
                *_overall_thresholds(bound),
                *_slice_thresholds(bound, slices),
            ],
        }
        for name, bound in evaluate["metrics"].items()
    ]
    config = {
        "model_specs": model_specs,
        "slicing_specs": [{}, *({"feature_keys": keys} for keys in slices)],
        "metrics_specs": [{"metrics": metrics}],
    }
    return json_format.ParseDict(config, EvalConfig())


def figures(outputs: Mapping[str, str]) -> dict[str, Any]:
    """Return metrics, of all examples and of each slice."""
    result = _result(outputs["evaluation"])
    metrics = {
        _slice_name(key): _values(found) for key, found in result.slicing_metrics
    }
    overall = metrics.pop("overall")
    judged = [name for name in _RESULT_NAMES.values() if name in overall]
    parts = [f"{_short(name)} {overall[name]:.4f}" for name in judged]
    # Accuracy: a slice may hold one class only, where AUC means nothing.
    lead = next((name for name in judged if "accuracy" in name), None)
    worst = _worst(metrics, lead) if lead else None
    if worst:
        parts.append(f"worst {worst} {metrics[worst][lead]:.4f}")
    return {
        "summary": f"test {' · '.join(parts)}",
        "metrics": overall,
        "slices": metrics,
    }


def verdict(uri: str) -> dict[str, Any]:
    """Return the verdict on the metrics, in the form that exams have."""
    validation = tfma.load_validation_result(uri)
    refusals = [] if validation.validation_ok else _refusals(validation)
    return {
        "status": "passed" if validation.validation_ok else "refused",
        "summary": figures({"evaluation": uri})["summary"],
        "refusals": refusals,
        "figures": {},
    }


def _overall_thresholds(bound: Mapping[str, float | None]) -> list[dict[str, Any]]:
    overall = _threshold(bound["at_least"], bound["at_most"])
    if bound["drop_at_most"] is not None:
        overall["change_threshold"] = {
            "direction": "HIGHER_IS_BETTER",
            "absolute": -bound["drop_at_most"],
        }
    if bound["rise_at_most"] is not None:
        overall["change_threshold"] = {
            "direction": "LOWER_IS_BETTER",
            "absolute": bound["rise_at_most"],
        }
    # A plain `threshold` would hold for every slice too.
    return [{"slicing_specs": [{}], "threshold": overall}] if overall else []


def _slice_thresholds(
    bound: Mapping[str, float | None], slices: list[list[str]]
) -> list[dict[str, Any]]:
    threshold = _threshold(bound["slices_at_least"], bound["slices_at_most"])
    if not threshold:
        return []
    specs = [{"feature_keys": keys} for keys in slices]
    return [{"slicing_specs": specs, "threshold": threshold}]


def _threshold(lower: float | None, upper: float | None) -> dict[str, Any]:
    bounds = {"lower_bound": lower, "upper_bound": upper}
    value = {name: bound for name, bound in bounds.items() if bound is not None}
    return {"value_threshold": value} if value else {}


def _result(uri: str) -> tfma.EvalResult:
    """Return the candidate's result; TFMA names it only where it compared two."""
    result = tfma.load_eval_result(uri, model_name="candidate")
    return result if result.slicing_metrics else tfma.load_eval_result(uri)


def _values(metrics: Mapping[Any, Any]) -> dict[str, float]:
    found = metrics[""][""]
    # TFMA writes a NaN as a text.
    return {n: float(v["doubleValue"]) for n, v in found.items() if "doubleValue" in v}


def _slice_name(key: Sequence[tuple[str, Any]]) -> str:
    parts = (f"{n}={v.decode() if isinstance(v, bytes) else v}" for n, v in key)
    return ", ".join(parts) or "overall"


def _short(name: str) -> str:
    return name.removeprefix("sparse_categorical_").removeprefix("binary_")


def _worst(slices: Mapping[str, Mapping[str, float]], metric: str) -> str | None:
    """Return the slice where a metric for which higher is better is lowest."""
    with_metric = [name for name in slices if metric in slices[name]]
    return min(with_metric, key=lambda name: slices[name][metric], default=None)


def _refusals(validation: Any) -> list[str]:
    """Return a line for each missed bound: all examples first, then slices by value."""
    found = [
        (per_slice.slice_key, failure)
        for per_slice in validation.metric_validations_per_slice
        for failure in per_slice.failures
    ]
    found.sort(key=lambda f: (bool(f[0].single_slice_keys), _value(f[1])))
    lines = [_refusal(failure, slice_key) for slice_key, failure in found]
    if validation.missing_slices:
        lines.append("no examples for a slice that has a bound")
    return lines


def _value(failure: Any) -> float:
    return float(failure.metric_value.double_value.value)


def _refusal(failure: Any, slice_key: Any) -> str:
    keys = slice_key.single_slice_keys
    where = _slice_name([(k.column, getattr(k, k.WhichOneof("kind"))) for k in keys])
    value = _value(failure)
    threshold = failure.metric_threshold
    text = f"{failure.metric_key.name}{f' on {where}' if keys else ''}"
    if threshold.HasField("change_threshold"):
        allowed = threshold.change_threshold.absolute.value
        return f"{text}: {value:+.4f} against the live model, allowed {allowed:+g}"
    bound = threshold.value_threshold
    if bound.HasField("lower_bound") and not value >= bound.lower_bound.value:
        return f"{text} is {value:.4f}, expected at least {bound.lower_bound.value:g}"
    return f"{text} is {value:.4f}, expected at most {bound.upper_bound.value:g}"
