"""Read a recipe: YAML and overrides in, a checked `Recipe` out, errors by line."""

import difflib
import json
import re
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar, get_args

import yaml
from pydantic import BaseModel, ValidationError

from recipes.errors import BadInputError
from recipes.schema import DataRecipe, Recipe

HERE = Path(__file__).parent
_AnyRecipe = TypeVar("_AnyRecipe", DataRecipe, Recipe)
Location = tuple[str | int, ...]


def names() -> tuple[str, ...]:
    """Return the names of the recipes that come with Strata."""
    return tuple(sorted(path.stem for path in HERE.glob("*.yaml")))


def find(name: str) -> Path:
    """Return the file of a recipe given by path or by name.

    Raises:
      BadInputError: neither a file nor a known name.
    """
    if name.endswith((".yaml", ".yml")) or "/" in name:
        path = Path(name)
    else:
        path = HERE / f"{name}.yaml"
    if not path.is_file():
        close = difflib.get_close_matches(name, names(), n=1)
        hint = f" Did you mean {close[0]!r}?" if close else ""
        raise BadInputError(
            f"No recipe {name!r}. Expected a YAML file or one of "
            f"{', '.join(names())}.{hint}"
        )
    return path.resolve()


def load(path: Path, overrides: Sequence[str] = ()) -> Recipe:
    """Read and check a whole recipe; arguments and errors as `load_data`."""
    values = _read(path, overrides)
    return _checked(Recipe, values)


def load_data(path: Path, overrides: Sequence[str] = ()) -> DataRecipe:
    """Read and check a recipe, whole or with `name`, `data`, `validation` alone.

    Args:
      path: YAML file.
      overrides: `dotted.key=value` each, the value in YAML; they win over the file.

    Raises:
      BadInputError: every fault found, one a line, each with where it stands.
    """
    values = _read(path, overrides)
    whole = bool(set(values.sections) - set(DataRecipe.model_fields))
    return _checked(Recipe if whole else DataRecipe, values)


@dataclass(frozen=True)
class _Values:
    """A recipe's values, and where each stands."""

    sections: Mapping[str, Any]
    path: Path
    tree: Any
    origins: Mapping[Location, str]  # overrides


def _read(path: Path, overrides: Sequence[str]) -> _Values:
    try:
        tree = yaml.compose(path.read_text("utf-8"), Loader=_Loader)
        values = yaml.load(path.read_text("utf-8"), Loader=_Loader)
        json.dumps(values, default=str)  # refuses a list that contains itself
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        line = f":{mark.line + 1}" if mark else ""
        raise BadInputError(
            f"{path}{line}: not valid YAML: {_flat(error.problem or error)}"
        ) from error
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise BadInputError(f"{path}: not valid YAML: {_flat(error)}") from error
    if not isinstance(values, dict):
        raise BadInputError(
            f"{path}:1: Expected sections such as `data:` and `train:`."
        )
    origins: dict[Location, str] = {}
    for override in overrides:
        location, value = _parse_override(override)
        _place(values, location, value, override)
        origins[location] = override
    return _Values(values, path, tree, origins)


def _checked(kind: type[_AnyRecipe], values: _Values) -> _AnyRecipe:
    try:
        return kind.model_validate_json(json.dumps(values.sections, default=str))
    except ValidationError as error:
        # An unknown key first: the one that is missing is often the same, misspelt.
        faults = (
            f"{_where(values, fault['loc'])}: {_words(fault)}"
            for fault in sorted(error.errors(), key=lambda f: f["type"] == "missing")
        )
        raise BadInputError("\n".join(dict.fromkeys(faults))) from error


class _Loader(yaml.SafeLoader):
    """YAML with `1e-3` as a number (PyYAML reads a text) and without double keys."""

    def construct_mapping(self, node: Any, deep: bool = False) -> dict[Any, Any]:
        seen: set[Any] = set()
        for key_node, _ in node.value:
            key = self.construct_object(key_node, deep=True)
            if not isinstance(key, Hashable):
                raise yaml.constructor.ConstructorError(
                    problem="a key must be a word", problem_mark=key_node.start_mark
                )
            if key in seen:
                raise yaml.constructor.ConstructorError(
                    problem=f"key {key!r} stands twice",
                    problem_mark=key_node.start_mark,
                )
            seen.add(key)
        return super().construct_mapping(node, deep)


_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(r"^[-+]?[0-9]+(\.[0-9]*)?[eE][-+]?[0-9]+$"),
    list("-+0123456789"),
)


def _parse_override(override: str) -> tuple[tuple[str, ...], Any]:
    key, equals, text = override.partition("=")
    if not equals or not key:
        raise BadInputError(
            f"Expected an override such as train.epochs=3. Received: {override!r}"
        )
    try:
        return tuple(key.split(".")), yaml.load(text, Loader=_Loader)
    except yaml.YAMLError as error:
        raise BadInputError(f"override {override!r}: not valid YAML") from error


def _place(
    values: dict[str, Any], location: tuple[str, ...], value: Any, override: str
) -> None:
    section = values
    for key in location[:-1]:
        section = section.setdefault(key, {})
        if not isinstance(section, dict):
            raise BadInputError(f"override {override!r}: {key!r} has no keys below it.")
    section[location[-1]] = value


def _where(values: _Values, location: Location) -> str:
    for origin, override in values.origins.items():
        if location[: len(origin)] == origin or origin[: len(location)] == location:
            return f"override {override!r}"
    return f"{values.path}:{_line(values.tree, location)}"


def _line(node: Any, location: Location) -> int:
    """Return the 1-based line of the deepest part of `location` that the file has."""
    line: int = node.start_mark.line + 1
    for part in location:
        if isinstance(node, yaml.MappingNode):
            found = [(k, v) for k, v in node.value if k.value == str(part)]
            if not found:
                continue  # pydantic adds the name of a union's member
            key, node = found[0]
            line = key.start_mark.line + 1
        elif isinstance(node, yaml.SequenceNode) and isinstance(part, int):
            node = node.value[part]
            line = node.start_mark.line + 1
    return line


def _words(fault: Any) -> str:
    location, kind = fault["loc"], fault["type"]
    section = ".".join(str(part) for part in location[:-1]) or "the recipe"
    key = str(location[-1]) if location else ""
    if kind == "extra_forbidden":
        return f"[{section}] has no key {key!r}.{_nearest(key, _keys(location[:-1]))}"
    if kind == "missing":
        return f"[{section}] needs the key {key!r}."
    message = fault["msg"].removeprefix("Value error, ")
    if kind == "value_error":
        return f"[{'.'.join(str(p) for p in location)}] {message}"
    return f"[{section}] {key}: {message}. Received: {fault['input']!r}"


def _keys(location: Location) -> tuple[str, ...]:
    """Return the keys that the section at `location` may have."""
    section: type[BaseModel] = Recipe
    for part in location:
        field = section.model_fields.get(str(part))
        if field is None:
            continue
        candidates = (field.annotation, *get_args(field.annotation))
        for candidate in (*candidates, *sum((get_args(c) for c in candidates), ())):
            if isinstance(candidate, type) and issubclass(candidate, BaseModel):
                section = candidate
    return tuple(section.model_fields)


def _nearest(word: str, choices: Sequence[str]) -> str:
    # Half a word's letters in common is enough to be helpful: `lr` has none, so the
    # initials of each part are tried too (`lr` -> `learning_rate`).
    initials = {"".join(p[0] for p in re.split(r"[_.]", c) if p): c for c in choices}
    close = difflib.get_close_matches(word, choices, n=1, cutoff=0.5)
    best = initials.get(word) or (close[0] if close else None)
    if best:
        return f" Did you mean {best!r}?"
    return f" Expected one of {', '.join(choices)}." if choices else ""


def _flat(error: object) -> str:
    return " ".join(str(error).split())
