"""Tables of text as blocks of cells: parsed by Arrow, a block at a time."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass, replace
from typing import Any, Self

import numpy as np
import pyarrow as pa
import pyarrow.csv as pa_csv

from components.sources import BATCH_ROWS, dialect
from components.sources.utf8 import Utf8Stream
from recipes.errors import BadInputError

BLOCK_BYTES = 4 << 20  # of text, parsed at once; no row may be longer


@dataclass(frozen=True)
class Layout:
    """Where a table of text is, and how it is written.

    Attributes:
      path: of the file.
      relative: the file's name, for people.
      names: of its columns, in its order.
      delimiter: one character, or `dialect.WHITESPACE`.
      blanks: whether blanks around cells mean nothing.
      header: whether its first line names the columns.
      missing: cells that say that there is no value.
    """

    path: str
    relative: str
    names: Sequence[str]
    delimiter: str
    blanks: bool
    header: bool
    quotes: bool
    encoding: str
    skip_lines: int
    missing: Sequence[str]

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Self:
        return cls(**values)


@dataclass(frozen=True, slots=True)
class Ragged:
    """A row with too few or too many cells; `row` counts from 1."""

    row: int
    num_cells: int
    text: str


@dataclass(frozen=True)
class Block:
    """Some rows of cells.

    Attributes:
      cells: a column of strings each; null where a cell is missing.
      rows: (n,) int64, where each stands in the file, from 1, the header not counted.
      ragged: rows left out since the block before, at most BATCH_ROWS.
      marked: whether a cell may hold `utf8.MARK`, for bytes that cannot be decoded.
      holds_nul: whether a cell may hold the character 0.
      holds_quote: whether a cell may have been in quotes.
    """

    cells: pa.RecordBatch
    rows: np.ndarray
    ragged: Sequence[Ragged]
    marked: bool
    holds_nul: bool
    holds_quote: bool

    def slice(self, start: int, stop: int) -> Self:
        """Return some of the rows; the ragged ones go with the first."""
        return replace(
            self,
            cells=self.cells[start:stop],
            rows=self.rows[start:stop],
            ragged=() if start else self.ragged,
        )


def blocks(layout: Layout, columns: Sequence[str] | None = None) -> Iterator[Block]:
    """Yield the rows of a table in order, `columns` of them only (None: all).

    Where many rows are ragged, blocks without a row bring them.

    Raises:
      BadInputError: the file cannot be read, or a row is longer than BLOCK_BYTES.
    """
    ragged: list[Ragged] = []
    nothing = pa.RecordBatch.from_pylist([], _schema(columns or layout.names))
    with closing(_open(layout)) as stream:
        try:
            last = 0
            for cells in _parsed(stream, layout, columns, ragged):
                rows = _numbers(last, cells.num_rows, [r.row for r in ragged])
                last = int(rows[-1]) if len(rows) else ragged[-1].row
                passed = [r for r in ragged if r.row <= last]
                del ragged[: len(passed)]
                while len(passed) > BATCH_ROWS:
                    yield _block(nothing, np.arange(0), passed[:BATCH_ROWS], stream)
                    del passed[:BATCH_ROWS]
                yield _block(cells, rows, passed, stream)
        except pa.ArrowInvalid as error:
            raise BadInputError(_explained(layout, error)) from error
        for start in range(0, len(ragged), BATCH_ROWS):
            some = ragged[start : start + BATCH_ROWS]
            yield _block(nothing, np.arange(0), some, stream)


def _block(
    cells: pa.RecordBatch,
    rows: np.ndarray,
    ragged: Sequence[Ragged],
    stream: Utf8Stream,
) -> Block:
    # The stream has been read further than this block: that only makes checks of it.
    holds_quote = stream.holds_quote
    return Block(cells, rows, ragged, stream.marked, stream.holds_nul, holds_quote)


def _open(layout: Layout) -> Utf8Stream:
    return Utf8Stream(
        layout.path,
        layout.encoding,
        skip_lines=layout.skip_lines,
        squeeze=layout.delimiter == dialect.WHITESPACE,
    )


def _parsed(
    stream: Utf8Stream,
    layout: Layout,
    columns: Sequence[str] | None,
    ragged: list[Ragged],
) -> Iterator[pa.RecordBatch]:
    """Yield blocks of rows; rows of another width are added to `ragged`.

    A block without a row comes only where BATCH_ROWS are ragged.
    """

    def leave_out(row: pa_csv.InvalidRow) -> str:
        number = row.number - layout.header
        ragged.append(Ragged(number, row.actual_columns, row.text[:200]))
        return "skip"

    squeezed = layout.delimiter == dialect.WHITESPACE
    reader = pa_csv.open_csv(
        stream,
        pa_csv.ReadOptions(
            use_threads=False,  # with threads rows have no numbers
            block_size=BLOCK_BYTES,
            column_names=layout.names,
            skip_rows_after_names=int(layout.header),
        ),
        pa_csv.ParseOptions(
            delimiter=" " if squeezed else layout.delimiter,
            quote_char='"' if layout.quotes else False,
            newlines_in_values=layout.quotes,
            invalid_row_handler=leave_out,
        ),
        pa_csv.ConvertOptions(
            check_utf8=False,  # the stream is UTF-8
            column_types=_schema(layout.names),
            null_values=["", *layout.missing],
            strings_can_be_null=True,
            include_columns=columns,
        ),
    )
    for cells in reader:
        if cells.num_rows or len(ragged) >= BATCH_ROWS:
            yield cells


def _schema(names: Sequence[str]) -> pa.Schema:
    return pa.schema([(name, pa.string()) for name in names])


def _numbers(last: int, num_rows: int, ragged: Sequence[int]) -> np.ndarray:
    """Return the numbers of the rows after `last` that are not ragged."""
    numbers = np.arange(last + 1, last + 1 + num_rows + len(ragged))
    if ragged:
        numbers = np.setdiff1d(numbers, ragged, assume_unique=True)
    return numbers[:num_rows]


def _explained(layout: Layout, error: pa.ArrowInvalid) -> str:
    if "straddling" in str(error):
        return (
            f"{layout.path}: expected rows of at most {BLOCK_BYTES >> 20} MB. A quote "
            "may not be closed: say `quotes: false` if quotes are ordinary characters."
        )
    return f"{layout.path}: {error}"
