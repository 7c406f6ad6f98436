"""Rows of time series in a CSV: which columns, what the times mean, block by block."""

import csv
import io
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import IO, Any

import numpy as np
import pyarrow as pa
from pyarrow import csv as pa_csv

from components.sources import files, series_clock
from recipes.errors import BadInputError

BLOCK_BYTES = 4 << 20
HEAD_BYTES = 1 << 20
_RAGGED = re.compile(r".*Row #(\d+): Expected (\d+) columns, got (\d+)", re.DOTALL)
_MISSING = frozenset(pa_csv.ConvertOptions().null_values)


@dataclass(frozen=True)
class Layout:
    """How the files of a source are read; found in the head of the first one.

    Attributes:
      time: name of the column with the time.
      key: name of the column that tells several series apart; None: there is one.
      channels: names of the columns with the values.
      delimiter: between cells.
      clock: how times are written, of `series_clock.CLOCKS`.
      steps: the shortest and the longest step that is no gap, as `Block.times`.
      rows: how many of each file are read; None for all.
    """

    time: str
    key: str | None
    channels: tuple[str, ...]
    delimiter: str
    clock: str
    steps: tuple[float, float]
    rows: int | None = None


@dataclass(frozen=True)
class Block:
    """Some rows that follow each other in a file.

    Attributes:
      first_row: number of the first one; the first below the header is row 1.
      times: (n,) float64, as `series_clock.read` returns them, none missing.
      keys: (n,) text, or None where there is one series.
      values: (n, channels) float32, NaN where there is none; no channels if not wanted.
    """

    first_row: int
    times: np.ndarray
    keys: pa.Array | None
    values: np.ndarray


def look(file: files.File, source: Mapping[str, Any]) -> Layout:
    """Find the layout in the head of a file.

    Raises:
      BadInputError: a column is not there, or the times cannot be read.
    """
    with files.open_decompressed(file.path) as stream:
        head = stream.read(HEAD_BYTES)
    if len(head) == HEAD_BYTES:
        head = head[: head.rfind(b"\n") + 1]
    delimiter = max(",;\t|", key=head.split(b"\n", 1)[0].decode("latin-1").count)
    named = [source["time"], *([source["key"]] if source["key"] else [])]
    wanted = [*named, *(source["columns"] or ())]
    _check_header(file.relative, _header(head, delimiter), wanted)
    table = _read_head(file.relative, head, delimiter, named)
    if not len(table):
        raise BadInputError(f"{file.relative}: has a header, but no row.")
    channels = source["columns"] or _numbers(file.relative, table, named)
    times = table.column(source["time"])
    keys = table.column(source["key"]) if source["key"] else None
    series = [times.take(pa.array(rows)) for _, rows in by_key(keys, len(times))]
    clock, steps = series_clock.find(file.relative, series)
    named = (*named, None)[:2]
    return Layout(*named, tuple(channels), delimiter, clock, steps, source["rows"])


def blocks(
    file: files.File, layout: Layout, *, with_values: bool = True
) -> Iterator[Block]:
    """Read a file, about BLOCK_BYTES at a time.

    Raises:
      BadInputError: a row has too many or too few cells, or one that cannot be read.
    """
    channels = layout.channels if with_values else ()
    row = 1
    for batch in _batches(file, layout, channels):
        if layout.rows is not None:
            batch = batch.slice(0, layout.rows + 1 - row)
        texts = batch.column(layout.time)
        times = series_clock.read(texts, layout.clock)
        if np.isnan(times).any():
            bad = int(np.argmax(np.isnan(times)))
            raise BadInputError(
                f"{file.relative} row {row + bad}: expected a time in column "
                f"{layout.time!r}, written like the first one. "
                f"Received: {texts[bad].as_py()!r}"
            )
        keys = batch.column(layout.key) if layout.key else None
        yield Block(row, times, keys, _values(batch, channels))
        row += len(times)
        if layout.rows is not None and row > layout.rows:
            return


def by_key(
    keys: pa.Array | pa.ChunkedArray | None, num_rows: int
) -> Iterator[tuple[str, np.ndarray]]:
    """Yield each key with the numbers of its rows, in the order of their first rows."""
    if keys is None:
        yield "", np.arange(num_rows)
        return
    if isinstance(keys, pa.ChunkedArray):
        keys = keys.combine_chunks()
    encoded = keys.dictionary_encode()
    codes = encoded.indices.to_numpy(zero_copy_only=False)
    order = np.argsort(codes, kind="stable")
    bounds = np.flatnonzero(np.diff(codes[order])) + 1
    for rows in np.split(order, bounds) if num_rows else ():
        yield encoded.dictionary[int(codes[rows[0]])].as_py(), rows


def _read_head(
    relative: str, head: bytes, delimiter: str, texts: Sequence[str]
) -> pa.Table:
    try:
        return pa_csv.read_csv(
            io.BytesIO(head),
            pa_csv.ReadOptions(use_threads=False),
            pa_csv.ParseOptions(delimiter=delimiter),
            pa_csv.ConvertOptions(column_types=dict.fromkeys(texts, pa.string())),
        )
    except pa.ArrowInvalid as error:
        raise _unreadable(relative, error) from None


def _numbers(relative: str, table: pa.Table, named: Sequence[str]) -> list[str]:
    """Return the columns of numbers; one of few texts is meant as one of them."""
    others = [name for name in table.schema.names if name not in named]
    numbers = [name for name in others if _is_number(table.column(name))]
    if not numbers:
        raise BadInputError(
            f"{relative}: expected columns of numbers beside {', '.join(named)}. "
            f"Received: {', '.join(others) or 'no other column'}"
        )
    return numbers


def _is_number(column: pa.ChunkedArray) -> bool:
    if not pa.types.is_string(column.type):
        return pa.types.is_integer(column.type) or pa.types.is_floating(column.type)
    present = [text for text in column.to_pylist() if text not in _MISSING]
    return sum(map(_is_float, present)) > len(present) / 2


def _is_float(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _batches(
    file: files.File, layout: Layout, channels: Sequence[str]
) -> Iterator[pa.RecordBatch]:
    with files.open_decompressed(file.path) as stream:
        head = stream.read(HEAD_BYTES)
    names = [layout.time, *([layout.key] if layout.key else []), *channels]
    _check_header(file.relative, _header(head, layout.delimiter), names)
    with files.open_decompressed(file.path) as stream:
        try:
            yield from _open(stream, layout, channels, pa.float32())
        except pa.ArrowInvalid as error:
            _refuse_cell(file, layout, channels)
            raise _unreadable(file.relative, error) from None


def _open(
    stream: IO[bytes], layout: Layout, channels: Sequence[str], kind: pa.DataType
) -> pa_csv.CSVStreamingReader:
    texts = [layout.time, *([layout.key] if layout.key else [])]
    kinds = dict.fromkeys(texts, pa.string()) | dict.fromkeys(channels, kind)
    return pa_csv.open_csv(
        stream,
        pa_csv.ReadOptions(use_threads=False, block_size=BLOCK_BYTES),
        pa_csv.ParseOptions(delimiter=layout.delimiter),
        pa_csv.ConvertOptions(column_types=kinds, include_columns=list(kinds)),
    )


def _refuse_cell(file: files.File, layout: Layout, channels: Sequence[str]) -> None:
    """Find the cell that is no number, if there is one: reads the file once more."""
    row = 1
    with files.open_decompressed(file.path) as stream:
        try:
            for batch in _open(stream, layout, channels, pa.string()):
                for name in channels:
                    _check_cells(file.relative, row, name, batch.column(name))
                row += batch.num_rows
        except pa.ArrowInvalid:
            return  # a row that is broken altogether


def _check_cells(relative: str, row: int, name: str, texts: pa.Array) -> None:
    for i, text in enumerate(texts.to_pylist()):
        if text not in _MISSING and not _is_float(text):
            raise BadInputError(
                f"{relative} row {row + i}: expected a number in column {name!r}. "
                f"Received: {text[:80]!r}"
            )


def _values(batch: pa.RecordBatch, channels: Sequence[str]) -> np.ndarray:
    """Return (rows, channels) float32; no value, or an infinite one, is NaN."""
    values = np.empty((batch.num_rows, len(channels)), np.float32)
    for i, name in enumerate(channels):
        values[:, i] = batch.column(name).to_numpy(zero_copy_only=False)
    values[~np.isfinite(values)] = np.nan
    return values


def _header(head: bytes, delimiter: str) -> list[str]:
    text = head.decode("utf-8-sig", errors="replace")
    return next(csv.reader(io.StringIO(text), delimiter=delimiter), [])


def _check_header(relative: str, found: list[str], wanted: Sequence[str]) -> None:
    twice = sorted({name for name in found if found.count(name) > 1})
    if twice:
        raise BadInputError(f"{relative}: two columns are named {twice[0]!r}.")
    for name in wanted:
        if name not in found:
            told = ", ".join(map(repr, found)) or "an empty file"
            raise BadInputError(
                f"{relative}: has no column {name!r}, which [data.series] names or "
                f"another file has. Received: {told}"
            )


def _unreadable(relative: str, error: pa.ArrowInvalid) -> BadInputError:
    ragged = _RAGGED.match(str(error))
    if ragged:
        row, expected, received = map(int, ragged.groups())
        return BadInputError(
            f"{relative} row {row - 1}: expected {expected} cells. Received: {received}"
        )
    return BadInputError(f"{relative}: cannot be read as CSV: {error}")
