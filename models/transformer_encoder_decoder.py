"""Transformer encoder-decoder: reads a text and writes another.

Use it for translation, spelling, rewriting: wherever input and output are texts of
their own. Vaswani et al. 2017, "Attention is all you need"; pre-norm blocks as in
Raffel et al. 2020, "Exploring the limits of transfer learning with a unified
text-to-text transformer" (T5). Differences from T5: learned positions instead of a
relative position bias, layer norm with centring and bias, GELU, and embeddings of their
own for source, target and logits.

To write, `read` a source once, then `step` token by token: the keys and values of the
source and of the tokens written are kept in a cache.

The blocks are our own: they are small, and keras-hub would add tensorflow-text and five
seconds to every import.
"""

import keras
from keras import ops

from models import _attention, _decoding, _layers
from models._shapes import Pair, Tokens

TINY = {
    "input_shape": Pair(Tokens(length=5, num_ids=50), Tokens(length=6, num_ids=50)),
    "num_outputs": 50,
    "num_blocks": 1,
    "dim": 12,
    "num_heads": 2,
}


def build(
    input_shape: Pair,
    num_outputs: int,
    *,
    num_blocks: int = 2,
    dim: int = 128,
    num_heads: int = 4,
    dropout: float = 0.0,
    remat: bool = False,
    seed: int = 0,
) -> keras.Model:
    """Build the model: logits (B, target length, num_outputs) float32 of a `Pair`.

    Args:
      input_shape: the texts it reads and writes.
      num_outputs: number of logits, in general `input_shape.target.num_ids`.
      num_blocks: number of blocks of the encoder, and of the decoder.
      dim: width, a multiple of `num_heads`; four times that within a block.
      num_heads: parts of each attention.
      dropout: share of what each part of a block gives, and of the embeddings, that is
        dropped while training.
      remat: recompute the insides of blocks in the backward pass, to save memory.
      seed: decides the initial weights.

    Raises:
      ValueError: an argument is out of range.
    """
    if not isinstance(input_shape, Pair):
        raise ValueError(
            f"`input_shape` must be a Pair. Received: input_shape={input_shape!r}"
        )
    for tokens in (input_shape.source, input_shape.target):
        _layers.check_count(length=tokens.length, num_ids=tokens.num_ids)
    _layers.check_count(num_outputs=num_outputs, num_blocks=num_blocks)
    _attention.check_heads(dim, num_heads)
    _layers.check_dropout(dropout)
    seeds = _layers.seeds(seed)
    sizes = {"num_heads": num_heads, "hidden_dim": 4 * dim}
    options = {**sizes, "dropout": dropout, "remat": remat}
    source = keras.Input((input_shape.source.length,), dtype="int64", name="source")
    target = keras.Input((input_shape.target.length,), dtype="int64", name="target")
    mask = _attention.PaddingMask(name="source_mask")(source)  # (B, 1, 1, S)

    x = _attention.embed(
        source, input_shape.source, dim, seeds, name="source", dropout=dropout
    )  # (B, S, D)
    for number in range(1, num_blocks + 1):
        x = _attention.encoder_block(
            x, mask, seeds, name=f"encoder_{number}", **options
        )
    memory = _attention.norm(x, "encoder_norm")

    y = _attention.embed(
        target, input_shape.target, dim, seeds, name="target", dropout=dropout
    )  # (B, T, D)
    for number in range(1, num_blocks + 1):
        y = _decoder_block(y, memory, mask, seeds, name=f"decoder_{number}", **options)
    y = _attention.norm(y, "decoder_norm")
    logits = _layers.logits_layer(num_outputs, next(seeds))(y)  # (B, T, num_outputs)
    return keras.Model(
        {"source": source, "target": target},
        logits,
        name="transformer_encoder_decoder",
    )


def read(model: keras.Model, source):
    """Read sources, before anything is written.

    Args:
      model: as `build` makes it.
      source: (B, source length) int.

    Returns:
      The cache that `step` takes.
    """
    mask = model.get_layer("source_mask")(source)
    length = ops.shape(source)[1]
    x = _decoding.embedded(model, "source", source, ops.arange(length)[None])
    for block in _decoding.block_names(model, "encoder"):
        x = _decoding.attention_part(
            model, f"{block}_attention", x, lambda layer, x: layer(x, None, mask)
        )
        x = _decoding.feed_forward_part(model, block, x)
    memory = model.get_layer("encoder_norm")(x)
    num_places = model.get_layer("target_positions").length
    blocks = []
    for block in _decoding.block_names(model, "decoder"):
        cross = model.get_layer(f"{block}_cross_attention")
        of_source = cross.project_keys_values(memory)  # (B, num_heads, S, head_dim)
        nothing = ops.zeros_like(of_source[0][:, :, :1])
        past = ops.repeat(nothing, num_places, axis=2)  # (B, num_heads, T, head_dim)
        blocks.append({"source": of_source, "past": (past, past)})
    return {"mask": mask, "blocks": tuple(blocks)}


def step(model: keras.Model, ids, positions, cache):
    """Read one more token of what is written.

    Args:
      model: as `build` makes it.
      ids: (B,) int; at first the id that starts every text.
      positions: (B,) int from 0 to target length - 1, where they stand.
      cache: from `read`, or from the step before.

    Returns:
      (B, num_outputs) float32 logits of the token that follows, and the cache.
    """
    x = _decoding.embedded(model, "target", ids[:, None], positions[:, None])
    blocks = []
    names = _decoding.block_names(model, "decoder")
    for block, kept in zip(names, cache["blocks"], strict=True):

        def look_back(layer, y, kept=kept):
            past, mask = _decoding.remembered(layer, y, positions, kept["past"])
            blocks.append({**kept, "past": past})
            return layer.attend(y, *past, mask)

        def look_across(layer, y, kept=kept):
            return layer.attend(y, *kept["source"], cache["mask"])

        x = _decoding.attention_part(model, f"{block}_attention", x, look_back)
        x = _decoding.attention_part(model, f"{block}_cross_attention", x, look_across)
        x = _decoding.feed_forward_part(model, block, x)
    logits = model.get_layer("logits")(model.get_layer("decoder_norm")(x))
    return logits[:, 0], {**cache, "blocks": tuple(blocks)}


def _decoder_block(
    x, memory, mask, seeds, *, num_heads, hidden_dim, name, dropout, remat
):
    """Look back at (B, T, D), then across at (B, S, D) where the mask is True."""
    for part, keys_values in (("attention", None), ("cross_attention", memory)):
        layer = _attention.Attention(
            x.shape[-1],
            num_heads,
            causal=keys_values is None,
            remat=remat,
            seed=next(seeds),
            name=f"{name}_{part}",
        )
        y = _attention.norm(x, f"{name}_{part}_norm")
        y = layer(y) if keys_values is None else layer(y, keys_values, mask)
        x = _attention.residual(x, y, seeds, dropout=dropout, name=f"{name}_{part}")
    return _attention.feed_forward_block(
        x, seeds, hidden_dim=hidden_dim, name=name, dropout=dropout, remat=remat
    )
