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

# What a family may take -> in words. Of arrays it is the number of axes; a `Language`
# is ids whose every next one is predicted, by a family that has `read` and `step`.
SHAPES = {
    1: "an array of one axis",
    2: "an array of two axes",
    3: "an array of three axes",
    "Mapping": "a table",
    "Tokens": "the ids of a text",
    "Language": "a language",
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
    taken = _takes(recipe.model.family)
    made = _made(transform)
    if made not in taken:
        known = [text for key, text in SHAPES.items() if key in taken]
        raise BadInputError(
            f"[model] family: {recipe.model.family} takes {' or '.join(known)}, and "
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
    fairness = recipe.examine.fairness
    groups = (
        [[c] if isinstance(c, str) else c for c in fairness.columns] if fairness else []
    )
    made_of = (label.feature, label.divide_by) if label else ()
    wanted = {
        "transform": (*recipe.transform.used_features(), *made_of),
        "evaluate.slices": tuple(feature for keys in slices for feature in keys),
        "examine.fairness": tuple(feature for keys in groups for feature in keys),
    }
    for section, names in wanted.items():
        named = dict.fromkeys(filter(None, names))
        missing = [name for name in named if name not in found]
        if missing:
            raise BadInputError(
                f"{file.path}:1: no column {', '.join(map(repr, missing))}, which the "
                f"recipe names in [{section}]. Columns: {', '.join(found)}"
            )


def _made(transform: Mapping[str, Any]) -> str | int:
    """Return the key of `SHAPES` for what a `transform` section makes."""
    of = input_checks.kind(transform)
    if of == "image":
        return 3
    if of == "audio":
        return len(input_checks.audio_shape(transform["audio"]))
    if of == "text":
        return "Tokens" if transform["text"]["output"] == "ids" else 1
    return {"table": "Mapping", "pairs": "Pair"}.get(of, of.capitalize())


def _takes(family: str) -> set[str | int]:
    """Return the keys of `SHAPES` that the annotation of a family's `build` names."""
    annotation = _build(family).args.args[0].annotation
    taken: set[str | int] = set()
    for node in ast.walk(annotation) if annotation else ():
        if isinstance(node, ast.Name):
            taken |= {node.id} & SHAPES.keys()
        elif isinstance(node, ast.Subscript) and ast.unparse(node.value) == "tuple":
            axes = ast.unparse(node.slice).strip("()").split(", ")
            taken |= {1, 2, 3} if "..." in axes else {len(axes)}
    if {"read", "step"} <= _functions(family) and "Tokens" in taken:
        taken = taken - {"Tokens"} | {"Language"}
    return taken


def _functions(family: str) -> set[str]:
    body = parse(Path(str(models.__file__)).with_name(f"{family}.py")).body
    return {node.name for node in body if isinstance(node, ast.FunctionDef)}


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
