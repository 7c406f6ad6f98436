"""Refuse in milliseconds what would fail after minutes: names, columns, arguments."""

import ast
import difflib
from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

import models
from components import input_checks, sources
from components.sources.locate import Located
from recipes.errors import BadInputError
from recipes.schema import DataRecipe, Recipe

# How the annotation of a family's `input_shape` names what it takes -> in words.
SHAPES = {
    "tuple": "an array",
    "Mapping": "a table",
    "Tokens": "the ids of a text",
    "Pair": "pairs of texts",
    "Series": "a series",
    "Graph": "a graph",
}


def model(recipe: Recipe) -> None:
    """Check the model's family and the names of its arguments, without Keras.

    Raises:
      BadInputError: no such family, or its `build` takes no such argument.
    """
    try:
        accepted = _build_arguments(recipe.model.family)
    except ValueError as error:
        raise BadInputError(f"[model] family: {error}") from error
    for name in recipe.model.arguments:
        if name not in accepted:
            close = difflib.get_close_matches(name, accepted, n=1)
            hint = f" Did you mean {close[0]!r}?" if close else ""
            raise BadInputError(
                f"[model.arguments] {recipe.model.family} takes no {name!r}.{hint} "
                f"Expected some of {', '.join(accepted)}."
            )
    transform = recipe.transform.model_dump(mode="json")
    input_checks.check(transform)
    taken = _shapes(recipe.model.family)
    made = _shape(transform)
    if made not in taken:
        raise BadInputError(
            f"[model] family: {recipe.model.family} takes "
            f"{' or '.join(text for s, text in SHAPES.items() if s in taken)}, and "
            f"[transform] makes {SHAPES[made]}."
        )


def parse(source: Path) -> ast.Module:
    """Return the syntax tree of a Python file.

    Raises:
      BadInputError: it is not Python.
    """
    try:
        return ast.parse(source.read_bytes(), str(source))
    except SyntaxError as error:
        raise BadInputError(f"{source}:{error.lineno}: {error.msg}") from error


def columns(recipe: DataRecipe, located: Located) -> None:
    """Check that a CSV has the columns that the recipe names, by its head.

    Raises:
      BadInputError: it lacks one, or cannot be read.
    """
    if located.kind != "csv" or not isinstance(recipe, Recipe):
        return
    layouts = import_module("components.sources.csv_layout").layouts
    file = located.files()[0]
    (layout,) = layouts(located.source, [file])
    found = [sources.feature_name(column) for column in layout.names]
    label = recipe.transform.label
    slices = [[s] if isinstance(s, str) else s for s in recipe.evaluate.slices]
    made_of = (label.feature, label.divide_by) if label else ()
    wanted = {
        "transform": (*recipe.transform.used_features(), *made_of),
        "evaluate.slices": tuple(feature for keys in slices for feature in keys),
    }
    for section, names in wanted.items():
        named = dict.fromkeys(filter(None, names))
        missing = [name for name in named if name not in found]
        if missing:
            raise BadInputError(
                f"{file.path}:1: no column {', '.join(map(repr, missing))}, which the "
                f"recipe names in [{section}]. Columns: {', '.join(found)}"
            )


def _shape(transform: Mapping[str, Any]) -> str:
    """Return the key of `SHAPES` for what a `transform` section makes."""
    of = input_checks.kind(transform)
    if of == "text":
        return "Tokens" if transform["text"]["output"] == "ids" else "tuple"
    shapes = {
        "table": "Mapping",
        "series": "Series",
        "graph": "Graph",
        "language": "Tokens",
        "pairs": "Pair",
    }
    return shapes.get(of, "tuple")


def _shapes(family: str) -> set[str]:
    """Return the keys of `SHAPES` in the annotation of what a family takes."""
    annotation = _build(family).args.args[0].annotation
    nodes = ast.walk(annotation) if annotation else ()
    names = {node.id for node in nodes if isinstance(node, ast.Name)}
    return names & SHAPES.keys()


def _build_arguments(family: str) -> list[str]:
    """Return the keyword arguments of a family's `build`, read from its source."""
    if family not in models.names():
        close = difflib.get_close_matches(family, models.names(), n=1)
        hint = f" Did you mean {close[0]!r}?" if close else ""
        raise ValueError(
            f"Expected one of {', '.join(models.names())}. Received: {family!r}.{hint}"
        )
    return [argument.arg for argument in _build(family).args.kwonlyargs]


def _build(family: str) -> ast.FunctionDef:
    for node in parse(Path(str(models.__file__)).with_name(f"{family}.py")).body:
        if isinstance(node, ast.FunctionDef) and node.name == "build":
            return node
    raise ValueError(f"models/{family}.py has no function `build`.")
