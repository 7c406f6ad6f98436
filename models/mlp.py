"""Multilayer perceptron: flatten, then dense layers.

Use it as the first baseline for small images and short vectors, and as the simple model
that a larger one has to beat.

Rumelhart, Hinton and Williams 1986, "Learning representations by back-propagating
errors". Differences: rectified linear units in place of sigmoids, and optional dropout.
"""

import math

import keras

from models import _layers

TINY = {"input_shape": (4, 4, 1), "num_outputs": 3, "units": (16,)}


def build(
    input_shape: tuple[int, ...],
    num_outputs: int,
    *,
    units: tuple[int, ...] = (128, 64),
    dropout: float = 0.0,
    activation: str = "relu",
    scale: float = 1.0,
    seed: int = 0,
) -> keras.Model:
    """Build the model: (B, *input_shape) in, (B, num_outputs) float32 logits out.

    Args:
      input_shape: shape of one example, without the batch axis.
      num_outputs: number of logits.
      units: width of each hidden layer, first to last; empty for a linear model.
      dropout: share of hidden outputs to drop while training, 0 to 1.
      activation: name of a Keras activation, for the hidden layers.
      scale: factor on the inputs, such as 1/255 for pixels.
      seed: decides the initial weights and the dropout.

    Raises:
      ValueError: an argument is out of range.
    """
    _layers.check_counts(input_shape=input_shape, units=units)
    _layers.check_count(num_outputs=num_outputs)
    _layers.check_dropout(dropout)
    _check_activation(activation)
    seeds = _layers.seeds(seed)
    inputs = keras.Input(input_shape, name="inputs")
    # float32: a mixed policy would round raw values before they are scaled.
    x = keras.layers.Rescaling(scale, dtype="float32", name="scale")(inputs)
    x = keras.layers.Reshape((math.prod(input_shape),), name="flatten")(x)  # (B, D)
    x = _layers.hidden_stack(x, units, seeds, activation=activation, dropout=dropout)
    logits = _layers.logits_layer(num_outputs, next(seeds))(x)  # (B, num_outputs)
    return keras.Model(inputs, logits, name="mlp")


def _check_activation(activation: str) -> None:
    try:
        keras.activations.get(activation)
    except ValueError as error:
        raise ValueError(
            "`activation` must name a function of keras.activations. "
            f"Received: activation={activation!r}"
        ) from error
