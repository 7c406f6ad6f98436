"""Attributions of numbers by gradients: integrated gradients and saliency."""

import tensorflow as tf

from components.explanations import LogitsOf, class_scores


def integrated_gradients(
    logits_of: LogitsOf,
    inputs: tf.Tensor,
    baseline: tf.Tensor,
    classes: tf.Tensor,
    *,
    steps: int = 64,
) -> tf.Tensor:
    """Integrate the gradient on the straight way from a baseline to the inputs.

    Args:
      logits_of: see the package; differentiable.
      inputs: (B, ...) float32.
      baseline: (...) float32, an example that says nothing: the mean, or zeros.
      classes: (B,) int64, whose score is explained.
      steps: gradients that are averaged, by the midpoint rule.

    Returns:
      (B, ...) float32; of an example they add up to the score of the input less that
      of the baseline, but for the error of the integration.

    Source: Sundararajan, Taly and Yan 2017, "Axiomatic attribution for deep networks".
    """
    way = inputs - baseline

    def add(step: tf.Tensor, total: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        share = (tf.cast(step, tf.float32) + 0.5) / steps
        return step + 1, total + gradient(logits_of, baseline + share * way, classes)

    # A loop, not one large batch, one step at a time: memory does not grow with them.
    _, total = tf.while_loop(
        lambda step, _: step < steps,
        add,
        (tf.constant(0), tf.zeros_like(inputs)),
        parallel_iterations=1,
    )
    return way * total / steps


def saliency(logits_of: LogitsOf, inputs: tf.Tensor, classes: tf.Tensor) -> tf.Tensor:
    """Return (B, ...): by how much the score changes at most per unit of each number.

    Source: Simonyan, Vedaldi and Zisserman 2014, "Deep inside convolutional networks".
    """
    return tf.abs(gradient(logits_of, inputs, classes))


def gradient(logits_of: LogitsOf, inputs: tf.Tensor, classes: tf.Tensor) -> tf.Tensor:
    """Return the (B, ...) gradient of the scores of (B,) classes."""
    with tf.GradientTape(watch_accessed_variables=False) as tape:
        tape.watch(inputs)
        scores = class_scores(logits_of(inputs), classes)
    zero = tf.UnconnectedGradients.ZERO
    found = tape.gradient(scores, inputs, unconnected_gradients=zero)
    # Through a traced function it has lost the size of the batch, which loops need.
    return tf.ensure_shape(found, inputs.shape)
