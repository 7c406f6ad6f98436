"""What of an input raised the score of a class, and by how much.

- `gradients`: integrated gradients and saliency, where inputs are numbers.
- `grad_cam`: where in the picture the last convolution found the class.
- `shapley`: columns of a table, put in one after another.
- `token_shares`: tokens of a text, likewise.
- `importance`: what the model loses without a column, over many rows.

All but the last explain single examples. They take `logits_of`, from inputs as the
model is called on them to (B, C) logits or, where there are two classes, (B, 1): a
Keras model, or `call_model` of a SavedModel that `components.export` has written. The
score of a class is its logit; of a single logit, that for class 1 and its negative for
class 0. `components/explain.py` makes a signature of them.
"""

from collections.abc import Callable
from typing import Any

import keras
import tensorflow as tf

Inputs = Any  # a tensor, or a dict of tensors
LogitsOf = Callable[[Inputs], tf.Tensor]


def class_scores(logits: tf.Tensor, classes: tf.Tensor) -> tf.Tensor:
    """Return the (B,) float32 scores of (B,) classes in (B, C) or (B, 1) logits."""
    logits = tf.cast(logits, tf.float32)
    if logits.shape[-1] == 1:
        return tf.where(classes == 1, logits[:, 0], -logits[:, 0])
    return tf.gather(logits, classes, batch_dims=1)


def completeness_gap(
    logits_of: LogitsOf,
    inputs: Inputs,
    baseline: Inputs,
    classes: tf.Tensor,
    attributions: tf.Tensor,
) -> tf.Tensor:
    """Say how far attributions are from adding up to what they explain.

    Args:
      logits_of: see the package.
      inputs: a batch of B examples.
      baseline: one example, without the batch axis.
      classes: (B,) int64, what was explained.
      attributions: (B, ...) float32.

    Returns:
      (B,) float32: |sum of attributions - (score of the inputs - score of the
      baseline)|.
    """
    start = keras.tree.map_structure(_repeated, baseline, inputs)
    given = class_scores(logits_of(inputs), classes)
    explained = given - class_scores(logits_of(start), classes)
    total = tf.reduce_sum(tf.reshape(attributions, [tf.shape(given)[0], -1]), axis=1)
    return tf.abs(total - explained)


def _repeated(one: Any, like: tf.Tensor) -> tf.Tensor:
    return tf.broadcast_to(tf.cast(one, like.dtype), tf.shape(like))
