"""Columns of a table as inputs: numbers as they are, ids as learned vectors."""

import re
from collections.abc import Mapping
from keyword import iskeyword

import keras

from models import _layers


def check_features(input_shape) -> None:
    """Raise ValueError unless the value maps feature names to None or a count."""
    if not isinstance(input_shape, Mapping) or not input_shape:
        raise ValueError(
            "`input_shape` must map at least one feature name to None (a number) or to "
            f"a number of ids. Received: input_shape={input_shape!r}"
        )
    for name, num_ids in input_shape.items():
        _check_name(name)
        if num_ids is not None:
            _layers.check_count(**{name: num_ids})


def inputs(input_shape: Mapping[str, int | None]) -> dict:
    """Return a (B, 1) input per feature: float32 numbers, int64 ids."""
    return {
        name: keras.Input(
            (1,), dtype="float32" if input_shape[name] is None else "int64", name=name
        )
        for name in sorted(input_shape)
    }


def numbers(tensors: Mapping, input_shape: Mapping[str, int | None]) -> list:
    """Join (B, 1) numbers into a list of at most one (B, N) tensor."""
    found = [x for name, x in tensors.items() if input_shape[name] is None]
    if not found:
        return []
    return [keras.layers.Concatenate(dtype="float32", name="numbers")(found)]


def embedded(
    tensors: Mapping, input_shape: Mapping[str, int | None], dim: int, seeds, *, name
) -> list:
    """Return a (B, dim) vector per feature of ids, of layers `<name>_<feature>`."""
    return [
        row(
            x,
            f"{name}_{feature}",
            num_ids,
            dim,
            keras.initializers.RandomUniform(-0.05, 0.05, next(seeds)),
        )
        for feature, x in tensors.items()
        if (num_ids := input_shape[feature])
    ]


def row(ids, name: str, num_ids: int, width: int, initializer, dtype=None):
    """Look up one row per id, (B, 1) to (B, width)."""
    table = keras.layers.Embedding(
        num_ids, width, embeddings_initializer=initializer, dtype=dtype, name=name
    )
    return keras.layers.Flatten(dtype=dtype, name=f"{name}_row")(table(ids))


def _check_name(feature: str) -> None:
    # TensorFlow refuses other names, but only in the export, after training.
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.-]*", feature) or iskeyword(feature):
        raise ValueError(
            "A feature name must start with a letter or digit, go on with these, '_', "
            f"'.' or '-', and not be a Python keyword. Received: {feature!r}"
        )
