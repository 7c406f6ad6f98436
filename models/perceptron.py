"""Perceptron: one layer of units on the flattened inputs, without a hidden layer.

Use it to see what a linear rule alone reaches, and why networks have hidden layers: no
choice of weights gives the exclusive or of two inputs (Minsky and Papert 1969).

Rosenblatt 1958, "The perceptron: a probabilistic model for information storage and
organization in the brain". Differences: his units answer 0 or 1, and a wrong answer
moves the weights by the inputs themselves; here the units give logits, and weights
follow the gradient of the cross-entropy, which also moves them after right answers and
makes the model a logistic regression. The decisions that can be represented are the
same.
"""

import math

import keras

from models import _layers

TINY = {"input_shape": (4, 4, 1), "num_outputs": 3}


def build(
    input_shape: tuple[int, ...],
    num_outputs: int,
    *,
    scale: float = 1.0,
    seed: int = 0,
) -> keras.Model:
    """Build the model: (B, *input_shape) in, (B, num_outputs) float32 logits out.

    Args:
      input_shape: shape of one example, without the batch axis.
      num_outputs: number of units.
      scale: factor on the inputs, such as 1/255 for pixels.
      seed: decides the initial weights.

    Raises:
      ValueError: an argument is out of range.
    """
    _layers.check_counts(input_shape=input_shape)
    _layers.check_count(num_outputs=num_outputs)
    seeds = _layers.seeds(seed)
    inputs = keras.Input(input_shape, name="inputs")
    # float32: a mixed policy would round raw values before they are scaled.
    x = keras.layers.Rescaling(scale, dtype="float32", name="scale")(inputs)
    x = keras.layers.Reshape((math.prod(input_shape),), name="flatten")(x)  # (B, D)
    logits = _layers.logits_layer(num_outputs, next(seeds))(x)  # (B, num_outputs)
    return keras.Model(inputs, logits, name="perceptron")
