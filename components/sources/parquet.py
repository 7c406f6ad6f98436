"""Parquet files, read some row groups at a time.

Nested columns become `outer.inner`; dates and times become ISO 8601 text.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from components.sources import (
    BATCH_BYTES,
    BATCH_ROWS,
    BadRow,
    Batch,
    Piece,
    files,
    nested,
)
from components.sources.files import File
from recipes.errors import BadInputError

SUFFIXES = (".parquet", ".parq", ".pq")

PIECE_BYTES = 64 << 20  # of columns, unpacked


def pieces(
    source: Mapping[str, Any], files: Sequence[File], splits: Mapping[str, int | str]
) -> list[Piece]:
    """Return pieces of some row groups each.

    Raises:
      BadInputError: a file is no Parquet, lacks a column, holds one that no feature can
        hold, or has other columns than the first. What was served (the part `serving`)
        may have others.
    """
    del splits
    first: dict[bool, tuple[str, dict[str, str]]] = {}
    made = []
    for file in files:
        with _opened(file.path) as parquet:
            held = _held(parquet, file, source["columns"])
            path, columns = first.setdefault(
                file.part == "serving", (file.path, dict(held))
            )
            _check_same(file, held, path, columns)
            # A column without a value in one file may have some in another.
            columns |= {n: h for n, h in held.items() if columns[n] == "nothing"}
            made += list(_pieces_of(file, parquet.metadata, source["columns"]))
    if not any(piece.options["num_rows"] for piece in made):
        raise BadInputError(f"{files[0].path}: expected rows. There is none.")
    return made


def read(piece: Piece) -> Iterator[Batch]:
    """Read row groups; a row with a number above 64 bits or a null in a list is bad."""
    options = piece.options
    row = options["first_row"]
    with _opened(piece.path) as parquet:
        for batch in parquet.iter_batches(
            options["batch_rows"],
            row_groups=options["row_groups"],
            columns=options["columns"],
            use_threads=False,
        ):
            flat = nested.flat(pa.Table.from_batches([batch]))
            names = [f"{options['name']} row {n}" for n in range(row, row + len(flat))]
            row += len(flat)
            yield _batch(flat, names)


@contextmanager
def _opened(path: str) -> Iterator[pq.ParquetFile]:
    """Open a Parquet file.

    Raises:
      BadInputError: it is none, or damaged.
    """
    with files.open_binary(path) as raw:
        if not raw.seekable():
            raise BadInputError(
                f"{path}: Parquet is not read from archives: unpack it."
            )
        try:
            # Without `pre_buffer` a column of a row group is read as it is needed.
            with pq.ParquetFile(raw, pre_buffer=False, buffer_size=1 << 20) as parquet:
                yield parquet
        except (pa.ArrowInvalid, OSError) as error:
            raise BadInputError(f"{path}: {str(error).splitlines()[0]}") from error


def _held(
    parquet: pq.ParquetFile, file: File, wanted: Sequence[str] | None
) -> dict[str, str]:
    """Return what each column holds, by name.

    Raises:
      BadInputError: one is wanted and not there, there twice, or unusable.
    """
    found = list(nested.columns(parquet.schema_arrow))
    for name in wanted or ():
        if not any(_is_in(column, name) for column, _ in found):
            raise BadInputError(
                f"{file.path}: no column {name!r}. Expected some of "
                f"{', '.join(column for column, _ in found)}."
            )
    held: dict[str, str] = {}
    for column, what in found:
        if wanted is not None and not any(_is_in(column, name) for name in wanted):
            continue
        if nested.UNUSABLE in what:
            kind = what.replace(nested.UNUSABLE, "")
            raise BadInputError(
                f"{file.path}: column {column!r}: expected numbers, texts, bytes, "
                f"times, or lists of them. Received: {kind}. Leave it out by `columns`."
            )
        if column in held:
            raise BadInputError(f"{file.path}: the column {column!r} is there twice.")
        held[column] = what
    return held


def _is_in(column: str, name: str) -> bool:
    """Return whether a flat column is the one of a name, or lies in it."""
    return column == name or column.startswith(f"{name}.")


def _check_same(
    file: File, held: Mapping[str, str], path: str, columns: Mapping[str, str]
) -> None:
    for name in [*columns, *held]:
        here, there = held.get(name, "no such column"), columns.get(name, "none")
        if here != there and "nothing" not in (here, there):
            raise BadInputError(
                f"{file.path}: column {name!r}: expected {there}, as in {path}. "
                f"Received: {here}"
            )


def _pieces_of(
    file: File, metadata: pq.FileMetaData, wanted: Sequence[str] | None
) -> Iterator[Piece]:
    groups = [metadata.row_group(i) for i in range(metadata.num_row_groups)]
    start = first_row = 0
    while start < len(groups):
        stop, size, rows = start, 0, 0
        while stop < len(groups) and (stop == start or size < PIECE_BYTES):
            size += groups[stop].total_byte_size
            rows += groups[stop].num_rows
            stop += 1
        options = {
            "name": file.relative,
            "columns": wanted,
            "row_groups": list(range(start, stop)),
            "first_row": first_row + 1,
            "num_rows": rows,
            "batch_rows": max(1, min(BATCH_ROWS, rows * BATCH_BYTES // max(size, 1))),
        }
        yield Piece(file.path, file.part, size, options)
        start, first_row = stop, first_row + rows


def _batch(table: pa.RecordBatch, names: list[str]) -> Batch:
    reasons: dict[int, str] = {}
    for name, column in zip(table.schema.names, table.columns, strict=True):
        if nested.is_list(column.type):
            for index in np.flatnonzero(nested.null_inside(column)).tolist():
                reasons.setdefault(index, f"{name}: a list holds null")
        for index in _above(column):
            why = f"{name}: a number above 64 bits with a sign"
            reasons.setdefault(index, why)
    if not reasons:
        return Batch(names=names, table=table)
    keep = np.setdiff1d(np.arange(len(names)), list(reasons))
    return Batch(
        names=[names[index] for index in keep],
        table=table.take(pa.array(keep)),
        bad=tuple(BadRow(names[i], why) for i, why in sorted(reasons.items())),
    )


def _above(column: pa.Array) -> list[int]:
    """Return the rows with a number that needs the 64th bit for its size."""
    rows = np.arange(len(column))
    if nested.is_list(column.type):
        rows = pc.list_parent_indices(column).to_numpy(zero_copy_only=False)
        column = pc.list_flatten(column)
    if not pa.types.is_uint64(column.type):
        return []
    above = pc.greater(column, pa.scalar(2**63 - 1, pa.uint64()))
    mask = pc.fill_null(above, False).to_numpy(zero_copy_only=False)
    return sorted({*rows[mask].tolist()})
