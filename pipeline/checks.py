"""Refuse in milliseconds what would fail after minutes: names, columns, arguments."""

import ast
import difflib
from importlib.util import find_spec
from pathlib import Path

import models
from recipes.errors import BadInputError
from recipes.schema import Recipe


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


def csv(recipe: Recipe, folder: Path) -> Path | None:
    """Return the CSV a recipe names, or None if it names a TFDS builder.

    Args:
      recipe: what to run.
      folder: where the recipe file lies; relative paths start there.

    Raises:
      BadInputError: there is no such file, it has no rows, or it lacks a column.
    """
    source = recipe.data.csv
    if source is None:
        return None
    if source.startswith("package:"):
        package, _, inside = source.removeprefix("package:").partition("/")
        spec = find_spec(package)
        if spec is None or spec.origin is None:
            raise BadInputError(f"[data] csv: package {package!r} is not installed.")
        path = Path(spec.origin).parent / inside
    else:
        path = (folder / Path(source).expanduser()).resolve()
    _check_csv(path, recipe)
    return path


def _check_csv(path: Path, recipe: Recipe) -> None:
    if not path.is_file():
        raise BadInputError(f"[data] csv: no file {path}")
    with path.open(encoding="utf-8", errors="replace") as file:
        header, first = file.readline().strip(), file.readline().strip()
    if not header or not first:
        raise BadInputError(
            f"{path}: expected a header line and rows. Received "
            f"{'a header only' if header else 'an empty file'}."
        )
    columns = [name.strip().strip('"') for name in header.split(",")]
    label = recipe.transform.label
    wanted = (*recipe.transform.used_features(), label.feature, label.divide_by)
    missing = [name for name in wanted if name and name not in columns]
    if missing:
        raise BadInputError(
            f"{path}:1: no column {', '.join(map(repr, missing))}, which the recipe "
            f"names in [transform]. Columns: {', '.join(columns)}"
        )


def _build_arguments(family: str) -> list[str]:
    """Return the keyword arguments of a family's `build`, read from its source."""
    if family not in models.names():
        close = difflib.get_close_matches(family, models.names(), n=1)
        hint = f" Did you mean {close[0]!r}?" if close else ""
        raise ValueError(
            f"Expected one of {', '.join(models.names())}. Received: {family!r}.{hint}"
        )
    source = Path(models.__file__).with_name(f"{family}.py").read_text("utf-8")
    for node in ast.parse(source).body:
        if isinstance(node, ast.FunctionDef) and node.name == "build":
            return [argument.arg for argument in node.args.kwonlyargs]
    raise ValueError(f"models/{family}.py has no function `build`.")
