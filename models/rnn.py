"""Recurrent networks for texts, frames of sound and series.

Use them for short texts and for sequences whose order matters, with few examples. They
read step by step: on a GPU, and for texts of several hundred tokens, a transformer is
quicker.

`simple`: Elman 1990, "Finding structure in time". `lstm`: Hochreiter and Schmidhuber
1997, "Long short-term memory", with the forget gate of Gers et al. 2000 and its bias at
1. `gru`: Cho et al. 2014, "Learning phrase representations using RNN encoder-decoder",
with the reset after the product, as cuDNN has it. `bidirectional`: Schuster and Paliwal
1997, "Bidirectional recurrent neural networks".
"""

import keras
from keras import ops

from models import _layers
from models._shapes import Series, Tokens

CELLS = {
    "simple": keras.layers.SimpleRNN,
    "lstm": keras.layers.LSTM,
    "gru": keras.layers.GRU,
}
TINY = {
    "input_shape": Tokens(length=4, num_ids=7),
    "num_outputs": 3,
    "units": (8,),
    "embedding_dim": 8,
}


def build(
    input_shape: Tokens | Series | tuple[int, ...],
    num_outputs: int,
    *,
    cell: str = "lstm",
    units: tuple[int, ...] = (64,),
    bidirectional: bool = True,
    embedding_dim: int | None = None,
    dropout: float = 0.0,
    seed: int = 0,
) -> keras.Model:
    """Build the model: a sequence in, (B, num_outputs) float32 logits or numbers out.

    Args:
      input_shape: a text; a series, which is read as it is; or (frames, bands) or
        (frames, bands, 1) numbers, of which each example is brought to mean 0 and
        standard deviation 1.
      num_outputs: number of logits or numbers.
      cell: a key of `CELLS`.
      units: width of each layer, at least one; the last gives what it knows at the end.
      bidirectional: whether a second network of each layer reads from the end.
      embedding_dim: of texts alone: width of a token. Default: 64.
      dropout: share dropped of what goes into each layer and into the logits.
      seed: decides the initial weights.

    Raises:
      ValueError: an argument is unknown, out of range, or not for this kind of input.
    """
    _check(input_shape, num_outputs, cell, units)
    _check_embedding(input_shape, embedding_dim)
    _layers.check_dropout(dropout)
    seeds = _layers.seeds(seed)
    if isinstance(input_shape, Tokens):
        inputs, x, mask = _tokens(input_shape, embedding_dim or 64, next(seeds))
    else:
        inputs, x, mask = *_numbers(input_shape), None
    for number, width in enumerate(units, start=1):
        x = _dropout(x, dropout, seeds, f"dropout_{number}")
        layer = _layer(
            cell,
            width,
            seeds,
            bidirectional=bidirectional,
            return_sequences=number < len(units),
            name=f"{cell}_{number}",
        )
        x = layer(x, mask=mask)  # (B, T, width or twice), of the last (B, ...)
    x = _dropout(x, dropout, seeds, "dropout")
    logits = _layers.logits_layer(num_outputs, next(seeds))(x)  # (B, num_outputs)
    return keras.Model(inputs, logits, name=f"rnn_{cell}")


@keras.saving.register_keras_serializable(package="strata")
class TokenMask(keras.layers.Layer):
    """Say of (B, T) ids which are tokens; the first is, even of a text without any.

    cuDNN refuses a row of which nothing is to be read.
    """

    def call(self, ids):
        is_first = ops.arange(ids.shape[1]) == 0
        return ops.logical_or(ops.not_equal(ids, 0), is_first)


def _tokens(shape, embedding_dim, seed):
    """Return the input, its embedding (B, T, D) and which places to read (B, T)."""
    ids = keras.Input((shape.length,), dtype="int64", name="inputs")
    embedding = keras.layers.Embedding(
        shape.num_ids,
        embedding_dim,
        embeddings_initializer=keras.initializers.RandomUniform(-0.05, 0.05, seed),
        name="embedding",
    )
    return ids, embedding(ids), TokenMask(name="token_mask")(ids)


def _numbers(shape):
    """Return the input and the sequence (B, T, D) it holds."""
    if isinstance(shape, Series):
        inputs = keras.Input((shape.context, shape.channels), name="inputs")
        return inputs, inputs
    inputs = keras.Input(shape, name="inputs")
    x = keras.layers.Reshape(shape[:2], name="frames")(inputs)
    standardize = keras.layers.GroupNormalization(
        1, scale=False, center=False, dtype="float32", name="standardize"
    )
    return inputs, standardize(x)


def _layer(cell, width, seeds, *, bidirectional, name, **arguments):
    def one_way(name, **direction):
        return CELLS[cell](
            width,
            kernel_initializer=keras.initializers.GlorotUniform(next(seeds)),
            recurrent_initializer=keras.initializers.Orthogonal(seed=next(seeds)),
            name=name,
            **arguments,
            **direction,
        )

    if not bidirectional:
        return one_way(name)
    # Given one layer alone, Keras copies it with its seeds: both would start equal.
    backward = one_way(f"{name}_backward", go_backwards=True)
    return keras.layers.Bidirectional(
        one_way(f"{name}_forward"), backward_layer=backward, name=name
    )


def _dropout(x, dropout, seeds, name):
    if not dropout:
        return x
    return keras.layers.Dropout(dropout, seed=next(seeds), name=name)(x)


def _check(input_shape, num_outputs, cell, units) -> None:
    _check_shape(input_shape)
    _layers.check_count(num_outputs=num_outputs)
    _layers.check_counts(units=units)
    if not units:
        raise ValueError(f"`units` must name a layer or more. Received: units={units}")
    if cell not in CELLS:
        raise ValueError(
            f"`cell` must be one of {tuple(CELLS)}. Received: cell={cell!r}"
        )


def _check_embedding(input_shape, embedding_dim) -> None:
    if embedding_dim is None:
        return
    _layers.check_count(embedding_dim=embedding_dim)
    if not isinstance(input_shape, Tokens):
        raise ValueError(
            "`embedding_dim` must be left out unless the input is a text. "
            f"Received: embedding_dim={embedding_dim!r}, input_shape={input_shape!r}"
        )


def _check_shape(shape) -> None:
    if isinstance(shape, Tokens):
        _layers.check_count(length=shape.length, num_ids=shape.num_ids)
    elif isinstance(shape, Series):
        _layers.check_count(context=shape.context, channels=shape.channels)
    else:
        _layers.check_counts(input_shape=shape)
        if len(shape) not in (2, 3) or shape[2:] not in ((), (1,), [], [1]):
            raise ValueError(
                "`input_shape` must be a text (`output: ids`), a series, or (frames, "
                f"bands) or (frames, bands, 1). Received: input_shape={shape!r}"
            )
