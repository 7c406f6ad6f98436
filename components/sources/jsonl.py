"""One JSON object a line; nested keys become `outer.inner`.

All lines are looked at before one is read, so that a key that first appears in the last
line, or is a fraction only there, is the same feature in every shard.
"""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from components.sources import BATCH_ROWS, BadRow, Batch, Piece, json_keys, nested
from components.sources.files import File
from components.sources.json_keys import Keys
from components.sources.utf8 import MARK, Utf8Stream
from recipes.errors import BadInputError

SUFFIXES = tuple(
    f"{suffix}{packed}"
    for suffix in (".jsonl", ".ndjson", ".json")
    for packed in ("", ".gz", ".bz2")
)

BLOCK_BYTES = 4 << 20  # parsed at once; no line may be longer
_MOST_SHOWN = 200  # characters
_CHANGED = re.compile(r"Column\((?P<key>.*)\) changed from (\w+) to (?P<kind>\w+)")
_FAILED = re.compile(r"Failed to convert JSON to (?P<kind>[^,]+), couldn't parse:(.*)")


def pieces(
    source: Mapping[str, Any], files: Sequence[File], splits: Mapping[str, int | str]
) -> list[Piece]:
    """Return a piece per file; keys and types are the same in all of them.

    Raises:
      BadInputError: no line is an object, or a key holds what no feature can hold.
    """
    del source, splits
    keys = Keys()
    for file in files:
        for block in _blocks(file.path):
            keys.add(block.lines)
    if not keys.num_objects:
        raise BadInputError(
            f"{files[0].path}: expected a JSON object in every line. There is none; "
            "an array, or objects over several lines, must be rewritten."
        )
    kinds = [[list(path), kind] for path, kind in keys.decided().items()]
    shown = ", ".join(f"{'.'.join(path)} {kind}" for path, kind in kinds[:30])
    made = []
    for file in files:
        notes = [] if made else [f"types: {shown}"]
        options = {"name": file.relative, "kinds": kinds, "notes": notes}
        made.append(Piece(file.path, file.part, file.size_bytes, options))
    return made


def read(piece: Piece) -> Iterator[Batch]:
    """Read one file; lines that cannot be used are named."""
    schema = json_keys.schema({tuple(p): k for p, k in piece.options["kinds"]})
    notes = tuple(piece.options["notes"])
    for block in _blocks(piece.path):
        bad: dict[int, str] = {}
        table = _parsed(block.lines, 0, schema, bad)
        good = np.setdiff1d(np.arange(len(block.lines)), list(bad))
        flat = nested.flat(table)
        reasons = _faults(flat, block.marked)
        bad |= {int(good[index]): why for index, why in reasons.items()}
        keep = np.setdiff1d(np.arange(len(good)), list(reasons))
        flat = flat.take(pa.array(keep)) if reasons else flat
        names = [f"{piece.options['name']} line {block.numbers[i]}" for i in good[keep]]
        rows = tuple(
            BadRow(f"{piece.options['name']} line {block.numbers[i]}", bad[i], text)
            for i in sorted(bad)
            for text in [_shown(block.lines[i])]
        )
        for start in range(0, max(1, len(names)), BATCH_ROWS):
            stop = start + BATCH_ROWS
            yield Batch(names[start:stop], flat[start:stop], bad=rows, notes=notes)
            rows, notes = (), ()


@dataclass(frozen=True)
class _Block:
    """Some lines, without empty ones; `numbers` count from 1."""

    lines: list[bytes]
    numbers: list[int]
    marked: bool


def _blocks(path: str) -> Iterator[_Block]:
    with closing(Utf8Stream(path, "utf-8")) as stream:
        last, rest = 0, b""
        while True:
            chunk = stream.read(BLOCK_BYTES)
            whole, end, rest = (rest + (chunk or b"\n")).rpartition(b"\n")
            if end:
                lines = whole.split(b"\n")
                numbers = [n for n, line in enumerate(lines, last + 1) if line.strip()]
                last += len(lines)
                if numbers:
                    present = [line for line in lines if line.strip()]
                    yield _Block(present, numbers, stream.marked)
            if not chunk:
                return
            if len(rest) > BLOCK_BYTES:
                raise BadInputError(
                    f"{path}: line {last + 1} is longer than {BLOCK_BYTES >> 20} MB. "
                    "Expected one object a line."
                )


def _parsed(
    lines: Sequence[bytes], start: int, schema: pa.Schema, bad: dict[int, str]
) -> pa.Table:
    """Parse lines; those that cannot be parsed are searched for by halving.

    Args:
      lines: one object each is expected.
      start: index of the first.
      schema: of the table wanted.
      bad: receives why, by index.
    """
    error: Exception | None = None
    try:
        table = json_keys.parse(lines, schema)
        if len(table) == len(lines):
            return table
    except (pa.ArrowInvalid, UnicodeDecodeError) as found:
        error = found
    if len(lines) == 1:
        bad[start] = _why(lines[0], error)
        return schema.empty_table()
    half = len(lines) // 2
    return pa.concat_tables(
        [
            _parsed(lines[:half], start, schema, bad),
            _parsed(lines[half:], start + half, schema, bad),
        ]
    )


def _why(line: bytes, error: Exception | None) -> str:
    """Say what is wrong with a line that Arrow refuses."""
    if json_keys.levels(line) > json_keys.MOST_LEVELS:
        return f"nested deeper than {json_keys.MOST_LEVELS} levels"
    try:
        value = json.loads(line)
    except ValueError as invalid:
        return f"no JSON: {invalid}"
    if not isinstance(value, dict):
        return f"expected an object, received {type(value).__name__}"
    if changed := _CHANGED.search(str(error)):
        key = changed["key"].strip("/").replace("/", ".")
        return (
            f"{key}: received {changed['kind']} where other lines hold something else"
        )
    if failed := _FAILED.search(str(error)):
        return f"expected {failed['kind']}, received {failed[2][:40]!r}"
    return str(error or "more than one object")


def _faults(table: pa.RecordBatch, marked: bool) -> dict[int, str]:
    """Return why rows cannot be used although they are JSON, by index."""
    reasons: dict[int, str] = {}
    for name, column in zip(table.schema.names, table.columns, strict=True):
        if nested.is_list(column.type):
            mask, why = nested.null_inside(column), "a list holds null"
        elif marked and pa.types.is_string(column.type):
            holding = pc.fill_null(pc.match_substring(column, MARK), False)
            mask, why = (
                holding.to_numpy(zero_copy_only=False),
                "bytes that are not UTF-8",
            )
        else:
            continue
        for index in np.flatnonzero(mask).tolist():
            reasons.setdefault(index, f"{name}: {why}")
    return reasons


def _shown(line: bytes) -> str:
    return line.decode(errors="replace")[:_MOST_SHOWN].replace(MARK, "\ufffd")
