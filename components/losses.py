"""What a model is trained on, and the figure that is shown beside it, by kind."""

from collections.abc import Mapping, Sequence
from typing import Any

import keras
import tensorflow as tf

from components.columns import LABEL
from components.input_checks import kind
from components.inputs import num_outputs
from recipes.errors import BadInputError

PADDING = 0  # id of what fills a text up, which nobody has to predict


def of(
    transform: Mapping[str, Any],
    train: Mapping[str, Any],
    label_counts: Sequence[int] | None = None,
) -> tuple[keras.Loss, keras.Metric]:
    """Return the loss of a model's outputs, and the metric that is shown.

    Every example weighs the same in a loss, however many numbers or tokens it has: so
    it is the same mean over two replicas, or several parts of a batch, as over one.

    Args:
      transform: the recipe's section of that name.
      train: likewise.
      label_counts: examples of each class in the train split, from `label_counts`;
        for `class_weights: balanced`.

    Raises:
      BadInputError: an option does not fit the kind.
    """
    of_kind = kind(transform)
    if not transform["label"]:
        _refuse("class_weights", train["class_weights"] != "none", of_kind)
    smoothing = train["label_smoothing"]
    if of_kind == "series":
        _refuse("label_smoothing", smoothing, of_kind)
        return keras.losses.MeanSquaredError(), keras.metrics.MeanAbsoluteError("mae")
    if of_kind in ("language", "pairs"):
        return TokenCrossentropy(smoothing), TokenAccuracy("accuracy")
    weights = balanced(label_counts) if train["class_weights"] == "balanced" else None
    loss = ClassCrossentropy(num_outputs(transform), smoothing, weights)
    return loss, keras.metrics.MeanMetricWrapper(_is_right, name="accuracy")


def label_counts(
    files: list[str], spec: Mapping[str, Any], num_classes: int
) -> list[int]:
    """Return how many examples of gzipped TFRecord files have each class."""

    def add(totals: tf.Tensor, serialized: tf.Tensor) -> tf.Tensor:
        labels = tf.io.parse_example(serialized, {LABEL: spec[LABEL]})[LABEL]
        return totals + tf.math.bincount(
            tf.cast(labels[:, 0], tf.int32),
            minlength=num_classes,
            maxlength=num_classes,
            dtype=tf.int64,
        )

    records = tf.data.TFRecordDataset(files, compression_type="GZIP")
    totals = records.batch(1024).reduce(tf.zeros([num_classes], tf.int64), add)
    return [int(total) for total in totals]


def balanced(label_counts: Sequence[int]) -> list[float]:
    """Return a weight per class, so that all weigh the same and examples 1 on average.

    A class without an example gets 0.
    """
    present = sum(1 for count in label_counts if count)
    share = sum(label_counts) / present
    return [share / count if count else 0.0 for count in label_counts]


class ClassCrossentropy(keras.Loss):
    """Cross-entropy of logits with class numbers, or with shares of classes.

    With shares s, as mixup makes them, an example's loss is the sum of s times the loss
    of the class times its weight.
    """

    def __init__(
        self,
        num_outputs: int,
        smoothing: float = 0.0,
        class_weights: Sequence[float] | None = None,
    ):
        super().__init__(name="cross_entropy")
        self._num_outputs, self._smoothing = num_outputs, smoothing
        self._class_weights = class_weights

    def call(self, labels: tf.Tensor, logits: tf.Tensor) -> tf.Tensor:
        """Return (B,) float32.

        Args:
          labels: (B, 1) numbers of classes, or shares of class 1; or (B, C) shares.
          logits: (B, C), or (B, 1) where there are two classes.
        """
        shares = self._shares(labels)  # (B, C)
        if self._class_weights:
            shares *= tf.constant(self._class_weights, tf.float32)
        if self._num_outputs == 1:
            losses = tf.nn.softplus(tf.concat([logits, -logits], axis=-1))
        else:
            losses = -tf.nn.log_softmax(logits)
        even = tf.reduce_mean(losses, axis=-1, keepdims=True)
        losses = (1 - self._smoothing) * losses + self._smoothing * even
        return tf.reduce_sum(shares * losses, axis=-1)

    def _shares(self, labels: tf.Tensor) -> tf.Tensor:
        if self._num_outputs == 1:
            return tf.concat([1 - labels, labels], axis=-1)
        if labels.shape[-1] == self._num_outputs:
            return labels
        return tf.one_hot(tf.cast(labels[:, 0], tf.int32), self._num_outputs)


class TokenCrossentropy(keras.Loss):
    """Mean over an example's tokens of the cross-entropy, in nats; 0 without any."""

    def __init__(self, smoothing: float = 0.0):
        super().__init__(name="cross_entropy")
        self._smoothing = smoothing

    def call(self, labels: tf.Tensor, logits: tf.Tensor) -> tf.Tensor:
        """Return (B,) float32 of (B, T) ids and (B, T, ids) logits."""
        ids = tf.cast(labels, tf.int32)  # (B, T)
        losses = tf.nn.sparse_softmax_cross_entropy_with_logits(ids, logits)
        if self._smoothing:
            even = -tf.reduce_mean(tf.nn.log_softmax(logits), axis=-1)
            losses = (1 - self._smoothing) * losses + self._smoothing * even
        kept = tf.cast(ids != PADDING, losses.dtype)
        return tf.math.divide_no_nan(
            tf.reduce_sum(losses * kept, axis=-1), tf.reduce_sum(kept, axis=-1)
        )


class TokenAccuracy(keras.metrics.Mean):
    """Share of all tokens, padding left out, that are the most probable ones."""

    def update_state(
        self, labels: tf.Tensor, logits: tf.Tensor, sample_weight: Any = None
    ) -> None:
        """Count (B, T) ids and (B, T, ids) logits; examples weigh the same."""
        del sample_weight
        ids = tf.cast(labels, tf.int64)
        is_right = tf.cast(tf.equal(tf.argmax(logits, axis=-1), ids), tf.float32)
        super().update_state(is_right, tf.cast(ids != PADDING, tf.float32))


def _is_right(labels: tf.Tensor, logits: tf.Tensor) -> tf.Tensor:
    """Return (B,): 1 where the most probable class has the largest share, else 0."""
    if logits.shape[-1] == 1:
        given, said = tf.cast(labels[:, 0], tf.float32) > 0.5, logits[:, 0] > 0
    elif labels.shape[-1] == logits.shape[-1]:
        given, said = tf.argmax(labels, axis=-1), tf.argmax(logits, axis=-1)
    else:
        given = tf.cast(labels[:, 0], tf.int64)
        said = tf.argmax(logits, axis=-1)
    # Not ==, whose result has no rank where one batch size is known and one is not.
    return tf.cast(tf.equal(given, said), tf.float32)


def _refuse(option: str, is_set: Any, of_kind: str) -> None:
    if is_set:
        raise BadInputError(
            f"`train.{option}` needs classes as labels. Received: a recipe of kind "
            f"{of_kind}. Leave it out."
        )
