"""Wide and deep: a linear model and a network over the same table, added up.

Use it for tables of numbers and categories: the wide part remembers what single values
say, the deep part generalises over their combinations.

Cheng et al. 2016, "Wide & Deep Learning for Recommender Systems", section 3.
Differences: the wide part gets no cross products (add them as features of their own),
one optimizer trains both parts (the paper uses FTRL and AdaGrad), and the defaults are
sized for tens of features, not for an app store.
"""

import re
from collections.abc import Mapping
from keyword import iskeyword

import keras

from models import _layers

TINY = {
    "input_shape": {"fare": None, "miles": None, "payment": 3, "hour": 4},
    "num_outputs": 2,
    "units": (16,),
    "embedding_dim": 4,
}


def build(
    input_shape: Mapping[str, int | None],
    num_outputs: int,
    *,
    units: tuple[int, ...] = (64, 32),
    embedding_dim: int = 8,
    dropout: float = 0.0,
    seed: int = 0,
) -> keras.Model:
    """Build the model: a dict of (B, 1) in, (B, num_outputs) float32 logits out.

    Args:
      input_shape: per feature, None for one float32 number, already standardised, or
        the number n of ids for one int64 id, 0 to n - 1. The order does not matter.
      num_outputs: number of logits.
      units: width of each hidden layer, first to last.
      embedding_dim: width of the vector learned for each id.
      dropout: share of hidden outputs to drop while training, 0 to 1.
      seed: decides the initial weights and the dropout.

    Raises:
      ValueError: an argument is out of range.
    """
    _check_features(input_shape)
    _layers.check_count(num_outputs=num_outputs, embedding_dim=embedding_dim)
    _layers.check_counts(units=units)
    _layers.check_dropout(dropout)
    seeds = _layers.seeds(seed)
    inputs = {f: _input(f, input_shape[f]) for f in sorted(input_shape)}
    numbers = _numbers([x for f, x in inputs.items() if input_shape[f] is None])
    ids = [(f, x, input_shape[f]) for f, x in inputs.items() if input_shape[f]]
    wide = _wide(ids, numbers, num_outputs)
    deep = _deep_inputs(ids, numbers, embedding_dim, seeds)
    deep = _layers.hidden_stack(deep, units, seeds, activation="relu", dropout=dropout)
    deep = _layers.logits_layer(num_outputs, next(seeds), name="deep")(deep)
    logits = keras.layers.Add(name="logits", dtype="float32")([wide, deep])
    return keras.Model(inputs, logits, name="wide_deep")


def _input(name: str, num_ids: int | None):
    dtype = "float32" if num_ids is None else "int64"
    return keras.Input((1,), dtype=dtype, name=name)


def _numbers(tensors):
    """Join (B, 1) numbers into a list of at most one (B, N) tensor."""
    if not tensors:
        return []
    return [keras.layers.Concatenate(dtype="float32", name="numbers")(tensors)]


def _wide(ids, numbers, num_outputs: int):
    """Add up one weight per id and per number, (B, num_outputs) float32.

    All weights start at zero, and the bias is that of the deep part.
    """
    terms = [
        _row(x, f"wide_{name}", num_ids, num_outputs, "zeros", dtype="float32")
        for name, x, num_ids in ids
    ]
    linear = keras.layers.Dense(
        num_outputs,
        use_bias=False,
        kernel_initializer="zeros",
        dtype="float32",
        name="linear",
    )
    terms += map(linear, numbers)
    return keras.layers.Add(dtype="float32", name="wide")(terms)


def _deep_inputs(ids, numbers, embedding_dim: int, seeds):
    """Join embeddings and numbers, (B, D)."""
    rows = [
        _row(x, f"deep_{name}", num_ids, embedding_dim, _uniform(next(seeds)))
        for name, x, num_ids in ids
    ]
    return keras.layers.Concatenate(name="deep_inputs")(rows + numbers)


def _uniform(seed: int):
    return keras.initializers.RandomUniform(-0.05, 0.05, seed)


def _row(ids, name: str, num_ids: int, width: int, initializer, dtype=None):
    """Look up one row per id, (B, 1) to (B, width)."""
    table = keras.layers.Embedding(
        num_ids, width, embeddings_initializer=initializer, dtype=dtype, name=name
    )
    return keras.layers.Flatten(dtype=dtype, name=f"{name}_row")(table(ids))


def _check_features(input_shape) -> None:
    if not isinstance(input_shape, Mapping) or not input_shape:
        raise ValueError(
            "`input_shape` must map at least one feature name to None (a number) or to "
            f"a number of ids. Received: input_shape={input_shape!r}"
        )
    for name, num_ids in input_shape.items():
        _check_name(name)
        if num_ids is not None:
            _layers.check_count(**{name: num_ids})


def _check_name(feature: str) -> None:
    # TensorFlow refuses other names, but only in the export, after training.
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.-]*", feature) or iskeyword(feature):
        raise ValueError(
            "A feature name must start with a letter or digit, go on with these, '_', "
            f"'.' or '-', and not be a Python keyword. Received: {feature!r}"
        )
