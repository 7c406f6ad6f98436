"""Transformer decoder: a language model, which says of each token what may follow.

Use it for text that is to be continued or scored. Radford et al. 2019, "Language Models
are Unsupervised Multitask Learners" (GPT-2): pre-norm blocks and learned positions.
Differences: the logits have a kernel of their own instead of the token embedding's, and
the residual projections are not scaled down at the start; neither matters at a few
layers.

To generate, `read` a text once, then `step` token by token: what attention needs of the
tokens before is kept in a cache, so that a step costs the same at the end of a text as
at its start.

The blocks are our own: they are small, and keras-hub would add tensorflow-text and five
seconds to every import.
"""

import keras
from keras import ops

from models import _attention, _decoding, _layers
from models._shapes import Tokens

TINY = {
    "input_shape": Tokens(length=6, num_ids=50),
    "num_outputs": 50,
    "num_blocks": 1,
    "dim": 16,
    "num_heads": 2,
}


def build(
    input_shape: Tokens,
    num_outputs: int,
    *,
    num_blocks: int = 4,
    dim: int = 128,
    num_heads: int = 4,
    dropout: float = 0.0,
    remat: bool = False,
    seed: int = 0,
) -> keras.Model:
    """Build the model: (B, length) ids in, (B, length, num_outputs) float32 logits out.

    Args:
      input_shape: how many tokens it sees, and how many there are.
      num_outputs: number of logits, in general `input_shape.num_ids`.
      num_blocks: number of blocks.
      dim: width, a multiple of `num_heads`; four times that within a block.
      num_heads: parts of each attention.
      dropout: share of what each part of a block gives, and of the embedding, that is
        dropped while training.
      remat: recompute the insides of blocks in the backward pass, to save memory.
      seed: decides the initial weights.

    Raises:
      ValueError: an argument is out of range.
    """
    if not isinstance(input_shape, Tokens):
        raise ValueError(
            f"`input_shape` must be Tokens. Received: input_shape={input_shape!r}"
        )
    _layers.check_count(length=input_shape.length, num_ids=input_shape.num_ids)
    _layers.check_count(num_outputs=num_outputs, num_blocks=num_blocks)
    _attention.check_heads(dim, num_heads)
    _layers.check_dropout(dropout)
    seeds = _layers.seeds(seed)
    ids = keras.Input((input_shape.length,), dtype="int64", name="inputs")
    x = _attention.embed(ids, input_shape, dim, seeds, name="token", dropout=dropout)
    for number in range(1, num_blocks + 1):
        x = _attention.encoder_block(
            x,
            None,
            seeds,
            num_heads=num_heads,
            hidden_dim=4 * dim,
            name=f"block_{number}",
            dropout=dropout,
            causal=True,
            remat=remat,
        )  # (B, T, D)
    x = _attention.norm(x, "norm")
    logits = _layers.logits_layer(num_outputs, next(seeds))(x)  # (B, T, num_outputs)
    return keras.Model(ids, logits, name="transformer_decoder")


def read(model: keras.Model, ids):
    """Read texts at once.

    Args:
      model: as `build` makes it.
      ids: (B, length) int.

    Returns:
      (B, length, num_outputs) float32 logits, and the cache that `step` takes. What it
      holds of padding is never seen: a step at a place replaces what is kept of it.
    """
    length = ops.shape(ids)[1]
    x = _decoding.embedded(model, "token", ids, ops.arange(length)[None])
    mask = _attention.causal_mask(length, length)
    cache = []

    def look(layer, y):
        cache.append(layer.project_keys_values(y))
        return layer.attend(y, *cache[-1], mask)

    for block in _decoding.block_names(model, "block"):
        x = _decoding.attention_part(model, f"{block}_attention", x, look)
        x = _decoding.feed_forward_part(model, block, x)
    return _logits(model, x), tuple(cache)


def step(model: keras.Model, ids, positions, cache):
    """Read one more token of each text.

    Args:
      model: as `build` makes it.
      ids: (B,) int.
      positions: (B,) int from 0 to length - 1, where they stand.
      cache: from `read`, or from the step before.

    Returns:
      (B, num_outputs) float32 logits of the token that follows, and the cache.
    """
    x = _decoding.embedded(model, "token", ids[:, None], positions[:, None])
    kept = []

    def look(layer, y):
        past, mask = _decoding.remembered(layer, y, positions, cache[len(kept)])
        kept.append(past)
        return layer.attend(y, *past, mask)

    for block in _decoding.block_names(model, "block"):
        x = _decoding.attention_part(model, f"{block}_attention", x, look)
        x = _decoding.feed_forward_part(model, block, x)
    return _logits(model, x)[:, 0], tuple(kept)


def _logits(model, x):
    return model.get_layer("logits")(model.get_layer("norm")(x))
