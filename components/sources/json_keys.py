"""Which keys JSON objects have, and of what kind their values are.

A kind is `int`, `float`, `text`, `bool`, `object`, `nothing` or `mixed`, or `list of`
one of them. Whole numbers that do not fit 64 bits are `long int`: among whole numbers
they are faults, as a float would round them; among fractions they are floats.
"""

import io
import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.json as pa_json

from components.sources import nested
from recipes.errors import BadInputError

Path = tuple[str, ...]

# With fewer values of one kind a key has no type; with more the others are bad lines.
_ALIKE_AT_LEAST = 0.95
_LIST = "list of "
_LONG = "long int"
_NO_STRUCTURE = bytes(set(range(256)) - set(b'{}[]"\n'))
MOST_LEVELS = 64  # objects and lists within each other; Arrow's parser recurses
_ARROW = {
    "int": pa.int64(),
    "float": pa.float64(),
    "text": pa.string(),
    "bool": pa.bool_(),
    "nothing": pa.string(),
}


class Keys:
    """The kinds of values seen under every key.

    Attributes:
      num_objects: how many objects have been seen.
    """

    def __init__(self) -> None:
        self.num_objects = 0
        self._seen: dict[Path, Counter[str]] = {}

    def add(self, lines: Sequence[bytes]) -> None:
        """Look at some lines; what is no object is passed over."""
        try:
            table = parse(lines)
        except (pa.ArrowInvalid, UnicodeDecodeError):
            self._add_singly(lines)
            return
        if any(map(_may_be_rounded, table.columns)):
            self._add_singly(lines)
            return
        self.num_objects += len(table)
        for name in table.schema.names:
            self._add_column((name,), table.column(name))

    def decided(self) -> dict[Path, str]:
        """Return the kind of every key that is no object.

        Raises:
          BadInputError: values of one key are of several kinds, or of one that no
            feature can hold.
        """
        kinds = {path: _common(path, seen) for path, seen in self._seen.items()}
        for path in [p for p, kind in kinds.items() if kind != "object"]:
            inner = [p for p in kinds if p[: len(path)] == path and p != path]
            for lost in inner:
                del kinds[lost]
        leaves = {p: k for p, k in kinds.items() if k != "object"}
        names = [".".join(path) for path in leaves]
        twice = [name for name in names if names.count(name) > 1]
        if twice:
            raise BadInputError(
                f"[data.jsonl] the key {twice[0]!r} is there twice, once as an outer "
                "and an inner key."
            )
        return leaves

    def _add_singly(self, lines: Sequence[bytes]) -> None:
        for line in lines:
            if levels(line) > MOST_LEVELS:
                continue
            try:
                value = json.loads(line)
            except ValueError:
                continue
            if isinstance(value, dict):
                self.num_objects += 1
                for path, kind in _kinds((), value):
                    self._count(path, kind, 1)

    def _add_column(self, path: Path, column: pa.ChunkedArray) -> None:
        present = len(column) - column.null_count
        if not pa.types.is_struct(column.type):
            self._count(path, _kind_of(column.type), present)
            return
        self._count(path, "object", present)
        for field, inner in zip(column.type, column.flatten(), strict=True):
            self._add_column((*path, field.name), inner)

    def _count(self, path: Path, kind: str, count: int) -> None:
        self._seen.setdefault(path, Counter())[kind] += count


def parse(lines: Sequence[bytes], schema: pa.Schema | None = None) -> pa.Table:
    """Return a row per object; keys that `schema` lacks are left out.

    Raises:
      pa.ArrowInvalid: a line cannot be parsed, is nested deeper than MOST_LEVELS, or
        holds a value of another type.
    """
    text = b"\n".join(lines)
    if levels(text) > MOST_LEVELS:
        raise pa.ArrowInvalid(f"nested deeper than {MOST_LEVELS} levels")
    return pa_json.read_json(
        io.BytesIO(text),
        pa_json.ReadOptions(use_threads=False, block_size=len(text) + 1),
        pa_json.ParseOptions(
            explicit_schema=schema,
            unexpected_field_behavior="ignore" if schema else "infer",
        ),
    )


def levels(text: bytes) -> int:
    """Return how deep objects and lists lie within each other, up to the first fault.

    A line that does not close what it opens goes on in the next one, as it does for
    the parser; a text in quotes ends with its line.
    """
    if b"\\" in text:
        text = text.replace(b"\\\\", b"").replace(b'\\"', b"")
    characters = np.frombuffer(text.translate(None, _NO_STRUCTURE), np.uint8)
    brackets = characters | 0x20  # as braces: `[` and `]` differ by this bit
    quotes = np.cumsum(characters == ord('"'))
    before = np.maximum.accumulate(np.where(characters == ord("\n"), quotes, 0))
    outside = (quotes - before) % 2 == 0
    opened = (brackets == ord("{")) & outside
    closed = (brackets == ord("}")) & outside
    return int(np.cumsum(opened.astype(int) - closed).max(initial=0))


def schema(kinds: Mapping[Path, str]) -> pa.Schema:
    """Return the Arrow schema of objects with such keys."""
    tree: dict[str, Any] = {}
    for path, kind in kinds.items():
        node = tree
        for key in path[:-1]:
            node = node.setdefault(key, {})
        node[path[-1]] = _arrow(kind)
    return pa.schema(_fields(tree))


def _fields(tree: Mapping[str, Any]) -> list[pa.Field]:
    return [
        pa.field(key, pa.struct(_fields(node)) if isinstance(node, dict) else node)
        for key, node in tree.items()
    ]


def _arrow(kind: str) -> pa.DataType:
    if kind.startswith(_LIST):
        return pa.list_(_arrow(kind.removeprefix(_LIST)))
    return _ARROW[kind]


def _may_be_rounded(column: pa.ChunkedArray) -> bool:
    """Return whether Arrow may have read whole numbers above 64 bits as floats."""
    if pa.types.is_struct(column.type):
        return any(map(_may_be_rounded, column.flatten()))
    while nested.is_list(column.type):
        column = pc.list_flatten(column)
    if not pa.types.is_floating(column.type):
        return False
    largest = pc.max(pc.abs(column)).as_py()
    whole = pc.all(pc.equal(column, pc.floor(column))).as_py()
    return largest is not None and largest >= 2**63 and whole


def _kind_of(kind: pa.DataType) -> str:
    if nested.is_list(kind):
        return f"{_LIST}{_kind_of(kind.value_type)}"
    if pa.types.is_struct(kind):
        return "object"
    if pa.types.is_timestamp(kind):  # Arrow's guess of a text
        return "text"
    return next((k for k, arrow in _ARROW.items() if arrow == kind), "nothing")


def _kinds(path: Path, value: Any) -> Iterator[tuple[Path, str]]:
    yield path, _kind(value)
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from _kinds((*path, key), inner)


def _kind(value: Any) -> str:
    match value:
        case None:
            return "nothing"
        case bool():
            return "bool"
        case int():
            return "int" if abs(value) < 2**63 else _LONG
        case float():
            return "float"
        case str():
            return "text"
        case dict():
            return "object"
    kinds = {_kind(item) for item in value} - {"nothing"}
    return f"{_LIST}{_wider(kinds)}"


def _wider(kinds: set[str]) -> str:
    """Return the one kind that holds values of all these."""
    lists = {kind for kind in kinds if kind.startswith(_LIST)}
    if lists and lists == kinds:
        return f"{_LIST}{_wider({k.removeprefix(_LIST) for k in kinds} - {'nothing'})}"
    if kinds <= {"int", "float", _LONG}:
        widest = (kind for kind in ("float", _LONG, "int") if kind in kinds)
        return next(widest, "nothing")
    return kinds.pop() if len(kinds) == 1 else "mixed"


def _common(path: Path, seen: Counter[str]) -> str:
    """Return the kind of most values.

    Raises:
      BadInputError: there is no such kind, or no feature can hold it.
    """
    name = ".".join(path)
    groups: dict[str, Counter[str]] = {}
    for kind, count in seen.items():
        if not kind.endswith("nothing"):
            alike = kind.replace(_LONG, "int").replace("float", "int")
            groups.setdefault(alike, Counter())[kind] += count
    if not groups:
        empty_lists = [kind for kind in seen if kind.startswith(_LIST)]
        return max(empty_lists, default="nothing", key=len)
    best = max(groups.values(), key=Counter.total)
    share = best.total() / sum(group.total() for group in groups.values())
    kind = _wider(set(best)).replace(_LONG, "int")
    if share < _ALIKE_AT_LEAST:
        found = ", ".join(f"{n:,} {k}" for k, n in seen.most_common() if k != "nothing")
        raise BadInputError(
            f"[data.jsonl] key {name!r}: expected values of one kind. Received: {found}"
        )
    if kind.startswith(_LIST) and kind.endswith(("object", "mixed")):
        raise BadInputError(
            f"[data.jsonl] key {name!r}: expected numbers, texts, or lists of them. "
            f"Received: {kind}"
        )
    return kind
