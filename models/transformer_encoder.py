"""A transformer encoder that classifies texts.

Use it for texts of up to some hundred tokens when there are many of them; of a few
thousand short ones `rnn` learns as much. Trained from scratch, not pretrained.

Devlin et al. 2019, "BERT: pre-training of deep bidirectional transformers for language
understanding". Differences: the normalisation comes before each part (`_attention`),
there are no segments, and the logits see the mean of all tokens or the first one as it
is, without a further dense layer.

The blocks are our own: they are small, and keras-hub would add tensorflow-text and five
seconds to every import.
"""

import keras
from keras import ops

from models import _attention, _layers
from models._shapes import Tokens

POOLINGS = ("mean", "first")
TINY = {
    "input_shape": Tokens(length=6, num_ids=7),
    "num_outputs": 3,
    "dim": 8,
    "num_blocks": 1,
    "num_heads": 2,
}


def build(
    input_shape: Tokens,
    num_outputs: int,
    *,
    dim: int = 64,
    num_blocks: int = 2,
    num_heads: int = 4,
    hidden_dim: int | None = None,
    pooling: str = "mean",
    dropout: float = 0.0,
    remat: bool = False,
    seed: int = 0,
) -> keras.Model:
    """Build the model: (B, T) ids in, (B, num_outputs) float32 logits out.

    Args:
      input_shape: length of the texts and number of ids; 0 is padding.
      num_outputs: number of logits.
      dim: width of every token, a multiple of `num_heads`.
      num_blocks: attention and feed-forward parts on top of each other.
      num_heads: parts of the attention.
      hidden_dim: width within the feed-forward parts. Default: 4 * dim.
      pooling: what the logits see: the `mean` of all tokens, or the `first` one.
      dropout: share dropped of the embeddings and of what each part gives.
      remat: recompute the parts for their gradients: less memory, more time.
      seed: decides the initial weights.

    Raises:
      ValueError: an argument is unknown or out of range.
    """
    _check(input_shape, num_outputs, num_blocks, hidden_dim, pooling)
    _attention.check_heads(dim, num_heads)
    _layers.check_dropout(dropout)
    seeds = _layers.seeds(seed)
    ids = keras.Input((input_shape.length,), dtype="int64", name="inputs")
    mask = _attention.PaddingMask(name="padding_mask")(ids)  # (B, 1, 1, T)
    x = _attention.embed(
        ids, input_shape, dim, seeds, name="token", dropout=dropout
    )  # (B, T, dim)
    for number in range(1, num_blocks + 1):
        x = _attention.encoder_block(
            x,
            mask,
            seeds,
            num_heads=num_heads,
            hidden_dim=hidden_dim or 4 * dim,
            name=f"block_{number}",
            dropout=dropout,
            remat=remat,
        )
    x = _attention.norm(x, "norm")
    x = _pool(x, mask, pooling)  # (B, dim)
    logits = _layers.logits_layer(num_outputs, next(seeds))(x)  # (B, num_outputs)
    return keras.Model(ids, logits, name="transformer_encoder")


@keras.saving.register_keras_serializable(package="strata")
class MaskedMean(keras.layers.Layer):
    """Average (B, T, D) over the places where (B, 1, 1, T) is True; 0 if none is."""

    def call(self, inputs, places):
        weights = ops.cast(places[:, 0, 0, :, None], "float32")  # (B, T, 1)
        total = ops.sum(ops.cast(inputs, "float32") * weights, axis=1)
        mean = total / ops.maximum(ops.sum(weights, axis=1), 1.0)
        return ops.cast(mean, self.compute_dtype)


def _pool(x, mask, pooling):
    if pooling == "mean":
        return MaskedMean(name="mean")(x, mask)
    return x[:, 0]


def _check(input_shape, num_outputs, num_blocks, hidden_dim, pooling) -> None:
    if not isinstance(input_shape, Tokens):
        raise ValueError(
            "`input_shape` must be `Tokens(length, num_ids)`, as a text with `output: "
            f"ids` gives. Received: input_shape={input_shape!r}"
        )
    _layers.check_count(length=input_shape.length, num_ids=input_shape.num_ids)
    _layers.check_count(num_outputs=num_outputs, num_blocks=num_blocks)
    if hidden_dim is not None:
        _layers.check_count(hidden_dim=hidden_dim)
    if pooling not in POOLINGS:
        raise ValueError(
            f"`pooling` must be one of {POOLINGS}. Received: pooling={pooling!r}"
        )
