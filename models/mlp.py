"""Multilayer perceptron: flatten, then dense layers.

Use it as the first baseline for small images, short vectors and tables, and as the
simple model that a larger one has to beat. Of a table each id becomes a learned vector.

Rumelhart, Hinton and Williams 1986, "Learning representations by back-propagating
errors". Differences: rectified linear units in place of sigmoids, and optional dropout.
"""

import math
from collections.abc import Mapping

import keras

from models import _layers, _tables

TINY = {"input_shape": (4, 4, 1), "num_outputs": 3, "units": (16,)}


def build(
    input_shape: tuple[int, ...] | Mapping[str, int | None],
    num_outputs: int,
    *,
    units: tuple[int, ...] = (128, 64),
    embedding_dim: int | None = None,
    dropout: float = 0.0,
    activation: str = "relu",
    scale: float | None = None,
    seed: int = 0,
) -> keras.Model:
    """Build the model: (B, *input_shape) in, (B, num_outputs) float32 logits out.

    Args:
      input_shape: shape of one example, without the batch axis; or, of a table, per
        feature None for a number, else how many ids it has.
      num_outputs: number of logits.
      units: width of each hidden layer, first to last; empty for a linear model.
      embedding_dim: of a table alone: width of the vector learned for each id.
        Default: 8.
      dropout: share of hidden outputs to drop while training, 0 to 1.
      activation: name of a Keras activation, for the hidden layers.
      scale: factor on the inputs, such as 1/255 for pixels; not of a table. Default: 1.
      seed: decides the initial weights and the dropout.

    Raises:
      ValueError: an argument is out of range, or not for this kind of input.
    """
    _layers.check_counts(units=units)
    _layers.check_count(num_outputs=num_outputs)
    _layers.check_dropout(dropout)
    _check_activation(activation)
    _check_kind(isinstance(input_shape, Mapping), embedding_dim, scale)
    seeds = _layers.seeds(seed)
    if isinstance(input_shape, Mapping):
        inputs, x = _table(input_shape, embedding_dim or 8, seeds)
    else:
        inputs, x = _array(input_shape, 1.0 if scale is None else scale)
    x = _layers.hidden_stack(x, units, seeds, activation=activation, dropout=dropout)
    logits = _layers.logits_layer(num_outputs, next(seeds))(x)  # (B, num_outputs)
    return keras.Model(inputs, logits, name="mlp")


def _array(input_shape: tuple[int, ...], scale: float):
    _layers.check_counts(input_shape=input_shape)
    inputs = keras.Input(input_shape, name="inputs")
    # float32: a mixed policy would round raw values before they are scaled.
    x = keras.layers.Rescaling(scale, dtype="float32", name="scale")(inputs)
    return inputs, keras.layers.Reshape((math.prod(input_shape),), name="flatten")(x)


def _table(input_shape: Mapping[str, int | None], embedding_dim: int, seeds):
    _tables.check_features(input_shape)
    inputs = _tables.inputs(input_shape)
    columns = _tables.numbers(inputs, input_shape)
    vectors = _tables.embedded(inputs, input_shape, embedding_dim, seeds, name="vector")
    columns += vectors
    return inputs, keras.layers.Concatenate(name="columns")(columns)  # (B, D)


def _check_kind(is_table: bool, embedding_dim, scale) -> None:
    if embedding_dim is not None:
        _layers.check_count(embedding_dim=embedding_dim)
        if not is_table:
            raise ValueError(
                "`embedding_dim` must be left out unless the input is a table. "
                f"Received: embedding_dim={embedding_dim!r}"
            )
    if scale is not None and is_table:
        raise ValueError(
            "`scale` must be left out of a table, whose columns are scaled already. "
            f"Received: scale={scale!r}"
        )


def _check_activation(activation: str) -> None:
    try:
        keras.activations.get(activation)
    except ValueError as error:
        raise ValueError(
            "`activation` must name a function of keras.activations. "
            f"Received: activation={activation!r}"
        ) from error
