"""Weights that make the label independent of a group, in what is trained on.

An example of group g with label y weighs P(g) P(y) / P(g, y), as counted in `train`:
more than 1 where the pair is rarer than chance would have it. Groups then have the same
share of each label, and both marginals stay what they were.

Kamiran and Calders 2012, "Data preprocessing techniques for classification without
discrimination", section 4.3. Difference: a pair of which there are few keeps weight 1.
"""

import logging
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from components.columns import LABEL, transformed_name
from components.transform import num_ids

Features = Mapping[str, tf.Tensor]
MIN_EXAMPLES = 20  # of a pair; the weights of fewer are large and mostly chance

_log = logging.getLogger(__name__)


def weigher(
    files: Sequence[str],
    spec: Mapping[str, Any],
    config: Mapping[str, Any],
    num_classes: int,
) -> Callable[[Features], tf.Tensor] | None:
    """Return the function from transformed examples to their weights, (B,) float32.

    Args:
      files: gzipped TFRecord files of transformed examples; they are read once.
      spec: of these.
      config: of the Trainer.
      num_classes: of the label.

    Returns:
      None where the recipe has no `train.reweigh`.
    """
    columns = config["train"]["reweigh"]
    if not columns:
        return None
    counts = _counts(files, spec, config, num_classes)
    found = weights(counts)
    present = counts > 0
    _log.info(
        "reweighed %d groups by %s: weights %.3f to %.3f",
        present.any(axis=1).sum(),
        ", ".join(columns),
        found[present].min(),
        found[present].max(),
    )

    def weigh(features: Features) -> tf.Tensor:
        pairs = [_groups(features, config), features[LABEL][:, 0]]
        return tf.gather_nd(found, tf.stack(pairs, axis=1))

    return weigh


def weights(counts: np.ndarray) -> np.ndarray:
    """Return the weights of (groups, classes) counts, float32.

    They are 1 of a pair with less than MIN_EXAMPLES. The mean over all examples is 1 if
    no pair has so few.
    """
    total = counts.sum()
    expected = counts.sum(axis=1, keepdims=True) * counts.sum(axis=0) / total
    found = np.where(counts >= MIN_EXAMPLES, expected / np.maximum(counts, 1), 1)
    return found.astype(np.float32)


def _sizes(transform: Mapping[str, Any], columns: Sequence[str]) -> list[int]:
    found = num_ids(transform)
    return [found[name] for name in columns]


def _groups(features: Mapping[str, tf.Tensor], config: Mapping[str, Any]) -> tf.Tensor:
    """Return (B,) int64 group numbers: the columns' ids, the last counting fastest."""
    columns = config["train"]["reweigh"]
    number = tf.constant(0, tf.int64)
    for name, size in zip(columns, _sizes(config["transform"], columns), strict=True):
        number = number * size + features[transformed_name(name)][:, 0]
    return number


def _counts(
    files: Sequence[str],
    spec: Mapping[str, Any],
    config: Mapping[str, Any],
    num_classes: int,
) -> np.ndarray:
    """Return (groups, classes) int64: how many examples have both."""
    columns = config["train"]["reweigh"]
    size = math.prod(_sizes(config["transform"], columns)) * num_classes
    used = {name: spec[name] for name in (LABEL, *map(transformed_name, columns))}

    def add(totals: tf.Tensor, serialized: tf.Tensor) -> tf.Tensor:
        features = tf.io.parse_example(serialized, used)
        pairs = _groups(features, config) * num_classes + features[LABEL][:, 0]
        return totals + tf.math.bincount(
            tf.cast(pairs, tf.int32), minlength=size, maxlength=size, dtype=tf.int64
        )

    records = tf.data.TFRecordDataset(files, compression_type="GZIP")
    totals = records.batch(1024).reduce(tf.zeros([size], tf.int64), add)
    return totals.numpy().reshape(-1, num_classes)
