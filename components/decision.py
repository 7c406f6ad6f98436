"""What the logits of a label are answered with: fitted on `eval` after a training."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import keras
import numpy as np
import tensorflow as tf
import tensorflow_transform as tft

from components import inputs, temperature, thresholds
from components.columns import LABEL, transformed_name
from components.transform import num_ids


@dataclass(frozen=True)
class Decision:
    """From logits to probabilities and classes.

    Attributes:
      temperature: that logits are divided by.
      column: of a table, whose ids are groups; None: all examples are one.
      thresholds: (groups,) float32, above which the answer to yes or no is yes.
    """

    temperature: float = 1.0
    column: str | None = None
    thresholds: np.ndarray = field(
        default_factory=lambda: np.array([thresholds.USUAL], np.float32)
    )


def fit(
    model: keras.Model,
    files: Sequence[str],
    spec: inputs.Spec,
    config: Mapping[str, Any],
    output: tft.TFTransformOutput,
) -> tuple[Decision, dict[str, Any]]:
    """Return what the recipe's `export` asks for, and a record of what it gains.

    Args:
      model: as it is exported.
      files: gzipped TFRecord files of the transformed `eval` split.
      spec: of these.
      config: of the Trainer.
      output: the transform graph, which knows the names of groups.

    Returns:
      The decision, and a record with `temperature` and `thresholds`, each where asked.
    """
    export, transform = config["export"], config["transform"]
    section = export["thresholds"]
    if not export["temperature"] and not section:
        return Decision(), {}
    column = section["column"] if section else None
    logits, labels, groups = _read(model, files, spec, transform, column)
    record: dict[str, Any] = {}
    scale = 1.0
    if export["temperature"]:
        record["temperature"] = temperature.figures(logits, labels)
        scale = record["temperature"]["value"]
    if not section:
        return Decision(scale), record
    scores = 1 / (1 + np.exp(-logits[:, 0].astype(np.float64) / scale))
    names = _names(output, transform, column)
    rule = section["rule"]
    found = thresholds.fit(scores, labels, groups, rule=rule, num_groups=len(names))
    record["thresholds"] = thresholds.figures(
        scores, labels, groups, rule=rule, thresholds=found, names=names
    )
    return Decision(scale, column, found), record


def words(record: Mapping[str, Any]) -> list[str]:
    """Return what a summary says of the record of a training."""
    parts = []
    if "temperature" in record:
        parts.append(f"temperature {record['temperature']['value']:.2f}")
    if "thresholds" in record:
        usual, fitted = (record["thresholds"][n]["gap"] for n in ("usual", "fitted"))
        parts.append(f"gap {usual:.3f} -> {fitted:.3f} by thresholds")
    return parts


def _read(
    model: keras.Model,
    files: Sequence[str],
    spec: inputs.Spec,
    transform: Mapping[str, Any],
    column: str | None,
) -> tuple[np.ndarray, ...]:
    """Return (N, outputs) logits, (N,) labels and (N,) groups, in file order."""

    @tf.function(autograph=False)
    def ask(serialized: tf.Tensor) -> tuple[tf.Tensor, ...]:
        features = tf.io.parse_example(serialized, spec)
        logits = model(inputs.model_inputs(features, transform), training=False)
        labels = features[LABEL][:, 0]
        groups = features[transformed_name(column)][:, 0] if column else labels
        return tf.cast(logits, tf.float32), labels, groups

    records = tf.data.TFRecordDataset(files, compression_type="GZIP")
    parts = [[t.numpy() for t in ask(batch)] for batch in records.batch(256)]
    return tuple(np.concatenate(each) for each in zip(*parts, strict=True))


def _names(
    output: tft.TFTransformOutput, transform: Mapping[str, Any], column: str
) -> list[str]:
    """Return what each id of a column is called: its value, or its number."""
    names = [str(number) for number in range(num_ids(transform)[column])]
    if column in transform["vocabulary"]:
        known = output.vocabulary_by_name(column)
        names[: len(known)] = [value.decode("utf-8", "replace") for value in known]
    return names
