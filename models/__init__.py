"""The Keras model zoo: one file per family, found by its file name.

A family file holds

- `TINY`: keyword arguments of `build`, complete (`input_shape` and `num_outputs` too),
  small enough for a test and free of dropout, so that `build(**TINY)` works and learns
  the same on one replica as on two;
- `build(input_shape, num_outputs, *, ...) -> keras.Model`: uncompiled, with named
  layers and float32 logits (of numbers: the numbers) as its only output. The keyword
  arguments are plain Python values, and their defaults are the recommended ones. The
  same `seed` gives the same weights, whatever was drawn before.

`input_shape` is the shape of one example without the batch axis; for a family that
reads a table, a mapping from feature name to what the feature holds; or one of
`Tokens`, `Pair`, `Series` and `Graph`.

Importing this package loads neither Keras nor TensorFlow; `load` and `build` do.
"""

from __future__ import annotations

import difflib
import importlib
import inspect
import pkgutil
from typing import TYPE_CHECKING, Any

from models._shapes import Graph, Pair, Series, Shape, Tokens

if TYPE_CHECKING:
    from collections.abc import Iterable
    from types import ModuleType

    import keras


__all__ = ["Graph", "Pair", "Series", "Shape", "Tokens", "build", "load", "names"]


def names() -> tuple[str, ...]:
    """Return the names of all families, sorted."""
    found = (module.name for module in pkgutil.iter_modules(__path__))
    return tuple(sorted(name for name in found if not name.startswith("_")))


def load(name: str) -> ModuleType:
    """Import a family.

    Raises:
      ValueError: there is no such family.
    """
    if name not in names():
        raise ValueError(
            f"Unknown model family. Expected one of {names()}. "
            f"Received: {name!r}.{_nearest(name, names())}"
        )
    return importlib.import_module(f"{__name__}.{name}")


def build(
    name: str,
    input_shape: Shape,
    num_outputs: int,
    **arguments: Any,
) -> keras.Model:
    """Build a model from arguments that a recipe names.

    Raises:
      ValueError: the family or an argument is unknown, or a value is out of range.
    """
    family = load(name)
    parameters = inspect.signature(family.build).parameters.values()
    known = tuple(p.name for p in parameters if p.kind is p.KEYWORD_ONLY)
    for argument in arguments:
        if argument not in known:
            raise ValueError(
                f"Unknown argument of model family {name!r}. Expected some of {known}. "
                f"Received: {argument!r}.{_nearest(argument, known)}"
            )
    return family.build(input_shape, num_outputs, **arguments)


def _nearest(word: str, choices: Iterable[str]) -> str:
    close = difflib.get_close_matches(word, choices, n=1, cutoff=0.5)
    return f" Did you mean {close[0]!r}?" if close else ""
