"""One token at a time: decoders that keep what attention needs of the tokens before.

The functions take the built model and find its layers by their names, so a model that
was saved and loaded works too. They leave dropout out.
"""

import itertools
from collections.abc import Callable, Iterator

from keras import ops


def embedded(model, name: str, ids, positions):
    """Return what `_attention.embed` gives for (B, T) ids at (B, T) positions."""
    place_vectors = model.get_layer(f"{name}_positions").embed(positions)
    return model.get_layer(f"{name}_embedding")(ids) + place_vectors


def block_names(model, prefix: str) -> Iterator[str]:
    """Yield `<prefix>_1`, `<prefix>_2`, ... as far as the model has such blocks."""
    names = {layer.name for layer in model.layers}
    counted = (f"{prefix}_{number}" for number in itertools.count(1))
    return itertools.takewhile(lambda name: f"{name}_attention" in names, counted)


def attention_part(model, name: str, x, look: Callable):
    """Apply an attention layer with its norm and sum: (B, T, D) -> (B, T, D).

    `look` takes the layer and what stands there, and returns what attention gives.
    """
    y = model.get_layer(f"{name}_norm")(x)
    return x + look(model.get_layer(name), y)


def feed_forward_part(model, block: str, x):
    """Apply the feed-forward layer of a block with its norm and sum."""
    y = model.get_layer(f"{block}_feed_forward_norm")(x)
    return x + model.get_layer(f"{block}_feed_forward")(y)


def remembered(layer, x, positions, past):
    """Add the keys and values of one place to those before it.

    Args:
      layer: an `Attention`.
      x: (B, 1, D), what stands there.
      positions: (B,) int, where that is.
      past: keys and values, (B, num_heads, T, head_dim) each.

    Returns:
      `past` with those of the place, and a (B, 1, 1, T) mask that shows the places up
      to it.
    """
    places = ops.arange(ops.shape(past[0])[2])[None]  # (1, T)
    positions = ops.cast(positions, places.dtype)[:, None]  # (B, 1)
    here = ops.equal(places, positions)[:, None, :, None]  # (B, 1, T, 1)
    present = layer.project_keys_values(x)
    past = tuple(
        ops.where(here, new, old) for new, old in zip(present, past, strict=True)
    )
    return past, (places <= positions)[:, None, None]
