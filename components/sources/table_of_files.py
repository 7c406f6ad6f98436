"""A table with a row per file: its columns become features beside the content."""

import base64
from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa

from components.sources import (
    BadRow,
    Batch,
    Piece,
    csv,
    csv_layout,
    files,
    small_files,
)
from recipes.data import Csv
from recipes.errors import BadInputError


def pieces(
    source: Mapping[str, Any],
    found: Sequence[files.File],
    splits: Mapping[str, int | str],
    *,
    reserved: Sequence[str],
) -> list[Piece]:
    """Return pieces of files with their rows; `rows` and `bad_rows` unpack them.

    Args:
      source: has `table`, an absolute path, and `file_column`.
      found: files that the table may name, by what they are called below the path.
      splits: of the recipe.
      reserved: features that the files' content makes.

    Raises:
      BadInputError: the table cannot be read, lacks the column, has a column of a
        reserved name, or names none of the files.
    """
    batches = _read(source, splits, reserved)
    table = pa.Table.from_batches([batch.table for batch in batches])
    where = [name for batch in batches for name in batch.names]
    bad = [row for batch in batches for row in batch.bad]
    named = _by_name(found)
    column = table.column(source["file_column"]).to_pylist()
    chosen: list[tuple[int, files.File]] = []
    for row, name in enumerate(column):
        matches = named.get((name or "").removeprefix("./"), [])
        chosen += [(row, file) for file in matches]
        if not matches:
            bad.append(BadRow(where[row], f"names {name!r}, which is not below `path`"))
    if not chosen:
        raise BadInputError(
            f"{source['table']}: column {source['file_column']!r} names no file below "
            f"`path`. It says {column[0]!r}; expected names like {found[0].relative!r}."
        )
    chosen.sort(key=lambda match: match[1].part)
    table = table.drop_columns([source["file_column"]])
    notes = [note for batch in batches for note in batch.notes]
    return _pieces(table, chosen, bad, [*notes, *_notes(found, chosen)])


def rows(piece: Piece) -> pa.RecordBatch | None:
    """Return the rows of a piece's files, in their order; None without a table."""
    packed = piece.options.get("rows")
    if packed is None:
        return None
    with pa.ipc.open_stream(base64.b64decode(packed)) as stream:
        return stream.read_next_batch()


def bad_rows(piece: Piece) -> tuple[BadRow, ...]:
    """Return the rows of the table that go with no file; they come with one piece."""
    return tuple(BadRow(*values) for values in piece.options.get("bad", ()))


def _read(
    source: Mapping[str, Any],
    splits: Mapping[str, int | str],
    reserved: Sequence[str],
) -> list[Batch]:
    # Text, whatever it looks like: `007` is the name of another file than `7`.
    types = {source["file_column"]: "text"}
    options = Csv(path=source["table"], types=types).model_dump(mode="json")
    listed = files.list_files([files.Pattern(source["table"])])
    layout = csv_layout.layouts(options, listed)[0]
    _check_columns(layout.names, source, reserved)
    pieces = csv.pieces(options, listed, splits)
    return [batch for piece in pieces for batch in csv.read(piece)]


def _check_columns(
    columns: Sequence[str], source: Mapping[str, Any], reserved: Sequence[str]
) -> None:
    if source["file_column"] not in columns:
        raise BadInputError(
            f"{source['table']}: no column {source['file_column']!r}. Expected "
            f"`file_column` to be one of {', '.join(columns)}."
        )
    for name in set(reserved) & set(columns):
        raise BadInputError(
            f"{source['table']}: the column {name!r} has the name of the feature with "
            "the file's content. Rename it."
        )


def _by_name(found: Sequence[files.File]) -> dict[str, list[files.File]]:
    named: dict[str, list[files.File]] = {}
    for file in found:
        named.setdefault(file.relative, []).append(file)
    return named


def _notes(
    found: Sequence[files.File], chosen: Sequence[tuple[int, files.File]]
) -> list[str]:
    rest = len({f.path for f in found} - {f.path for _, f in chosen})
    return [f"{rest} files without a row in the table left out"] if rest else []


def _pieces(
    table: pa.Table,
    chosen: Sequence[tuple[int, files.File]],
    bad: Sequence[BadRow],
    notes: Sequence[str],
) -> list[Piece]:
    ordered = table.take(pa.array([row for row, _ in chosen], pa.int64()))
    extra: dict[str, Any] = {"bad": [[b.where, b.why, b.text] for b in bad]}
    made, start = [], 0
    for piece in small_files.pieces([file for _, file in chosen], {}, notes):
        count = len(piece.options["files"])
        packed = _pack(ordered.slice(start, count))
        options = {**piece.options, "rows": packed, **extra}
        made.append(Piece(piece.path, piece.part, piece.size_bytes, options))
        start, extra = start + count, {}
    return made


def _pack(table: pa.Table) -> str:
    """Arrow's own form keeps the types, and is smaller than lists of Python values."""
    (batch,) = table.combine_chunks().to_batches()
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, batch.schema) as stream:
        stream.write_batch(batch)
    return base64.b64encode(sink.getvalue()).decode()
