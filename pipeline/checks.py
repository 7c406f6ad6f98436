"""Refuse in milliseconds what would fail after minutes: names, columns, arguments."""

import ast
import difflib
from importlib import import_module
from pathlib import Path

import models
from components import input_checks, sources
from components.sources.locate import Located
from recipes.errors import BadInputError
from recipes.schema import DataRecipe, Recipe


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
    wants_table = _takes_table(recipe.model.family)
    is_table = input_checks.kind(transform) == "table"
    if wants_table != is_table:
        raise BadInputError(
            f"[model] family: {recipe.model.family} takes "
            f"{'a table' if wants_table else 'an array'}, and [transform] makes "
            f"{'a table' if is_table else 'an array'}."
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
    wanted = {
        "transform": (
            *recipe.transform.used_features(),
            label.feature,
            label.divide_by,
        ),
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


def _takes_table(family: str) -> bool:
    """Whether a family reads a table: its TINY example says so."""
    for node in parse(Path(str(models.__file__)).with_name(f"{family}.py")).body:
        if isinstance(node, ast.AnnAssign | ast.Assign) and "TINY" in ast.dump(node):
            tiny = ast.literal_eval(node.value or ast.Constant(None))
            return isinstance(tiny["input_shape"], dict)
    raise BadInputError(f"models/{family}.py has no TINY.")


def _build_arguments(family: str) -> list[str]:
    """Return the keyword arguments of a family's `build`, read from its source."""
    if family not in models.names():
        close = difflib.get_close_matches(family, models.names(), n=1)
        hint = f" Did you mean {close[0]!r}?" if close else ""
        raise ValueError(
            f"Expected one of {', '.join(models.names())}. Received: {family!r}.{hint}"
        )
    for node in parse(Path(str(models.__file__)).with_name(f"{family}.py")).body:
        if isinstance(node, ast.FunctionDef) and node.name == "build":
            return [argument.arg for argument in node.args.kwonlyargs]
    raise ValueError(f"models/{family}.py has no function `build`.")
