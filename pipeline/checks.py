"""Refuse in milliseconds what would fail after minutes: names, columns, arguments."""

import ast
import difflib
from csv import reader
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
    wants_table = _takes_table(recipe.model.family)
    if wants_table == bool(recipe.transform.image):
        raise BadInputError(
            f"[model] family: {recipe.model.family} takes "
            f"{'a table' if wants_table else 'an image'}, and [transform] makes "
            f"{'an image' if wants_table else 'a table'}."
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
        path = _in_package(source.removeprefix("package:"))
    else:
        path = (folder / Path(source).expanduser()).resolve()
    if set("*?[") & set(path.name):
        raise BadInputError(
            f"[data] csv: {path.name!r} would be read as a pattern. Rename the file."
        )
    _check_columns(path, recipe)
    return path


def _in_package(source: str) -> Path:
    package, _, inside = source.partition("/")
    spec = find_spec(package) if package.isidentifier() else None
    if spec is None or spec.origin is None:
        raise BadInputError(f"[data] csv: package {package!r} is not installed.")
    return Path(spec.origin).parent / inside


def _check_columns(path: Path, recipe: Recipe) -> None:
    columns = _header(path)
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
        missing = [name for name in names if name and name not in columns]
        if missing:
            raise BadInputError(
                f"{path}:1: no column {', '.join(map(repr, missing))}, which the "
                f"recipe names in [{section}]. Columns: {', '.join(columns)}"
            )


def _header(path: Path) -> list[str]:
    """Return the names of the columns."""
    if not path.is_file():
        raise BadInputError(f"[data] csv: no file {path}")
    with path.open(encoding="utf-8", errors="replace", newline="") as file:
        rows = reader(file, skipinitialspace=True)
        header, first = next(rows, []), next(rows, [])
    if not header or not first:
        raise BadInputError(
            f"{path}: expected a header line and rows. Received "
            f"{'a header only' if header else 'an empty file'}."
        )
    if header[0].startswith("\ufeff"):
        raise BadInputError(
            f"{path}: starts with a byte order mark. Save it as UTF-8 without one."
        )
    return [name.strip() for name in header]


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
