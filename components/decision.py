"""What the logits of a label are answered with: fitted on `eval` after a training."""

from collections import Counter
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
from recipes.errors import BadInputError


@dataclass(frozen=True)
class Decision:
    """From logits to probabilities and classes.

    Attributes:
      temperature: that logits are divided by.
      column: of a table, whose ids are groups; None: all examples are one.
      thresholds: (groups,) float32, of a logit that is divided already: above it the
        answer to yes or no is yes.
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

    Raises:
      BadInputError: `eval` has no examples, or the model's logits are no numbers.
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
    scaled = logits[:, 0] / np.float32(scale)  # as it is served
    names = _names(output, transform, column)
    rule = section["rule"]
    found = thresholds.fit(scaled, labels, groups, rule=rule, num_groups=len(names))
    record["thresholds"] = thresholds.figures(
        scaled, labels, groups, rule=rule, thresholds=found, names=names
    )
    return Decision(scale, column, found), record


def words(record: Mapping[str, Any]) -> list[str]:
    """Return what a summary says of the record of a training."""
    parts = []
    if "temperature" in record:
        parts.append(f"temperature {record['temperature']['value']:.2f}")
    if "thresholds" in record:
        usual, fitted = (record["thresholds"][n]["gap"] for n in ("usual", "fitted"))
        parts.append(
            f"gap {usual:.3f} -> {fitted:.3f} on eval, where thresholds were fitted"
        )
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
    if not parts:
        raise BadInputError(
            "[export] temperature and thresholds are fitted on `eval`. Received: no "
            "examples there. Give it some in [data], or leave both out."
        )
    logits, labels, groups = (np.concatenate(one) for one in zip(*parts, strict=True))
    failed = int((~np.isfinite(logits).all(axis=1)).sum())
    if failed:
        raise BadInputError(
            "[export] temperature and thresholds need logits that are finite. "
            f"Received: others for {failed:,} of {len(logits):,} examples of `eval`. "
            "Train with a lower `train.learning_rate`, or leave both out."
        )
    return logits, labels, groups


def _names(
    output: tft.TFTransformOutput, transform: Mapping[str, Any], column: str
) -> list[str]:
    """Return what each id of a column is called, none twice: its value or its number.

    What is none of the values is `(others)`, what is missing `(missing)`; an id that is
    not in use `(none)`. Behind names that are alike stands the id.
    """
    size = num_ids(transform)[column]
    names = [str(number) for number in range(size)]
    if column in transform["vocabulary"]:
        values = output.vocabulary_by_name(column)
        known = [value.decode("utf-8", "replace") for value in values]
        names = [*known, "(others)", *["(none)"] * (size - len(known) - 1)]
    names[-1] = "(missing)"
    counts = Counter(names)
    return [f"{n} ({i})" if counts[n] > 1 else n for i, n in enumerate(names)]
