"""Rows of text: CSV, TSV and their kin.

Types are decided once, over all files, before a row is read: by the first megabytes,
and, for a column of whole numbers, by every cell: one fraction makes it a column of
fractions in every shard. A cell that does not fit its column is a bad row.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from components.sources import BATCH_ROWS, Batch, Piece, cells, csv_faults, dialect
from components.sources.cells import Evidence, Kind
from components.sources.csv_layout import layouts
from components.sources.delimited import Block, Layout, blocks
from components.sources.files import File
from recipes.errors import BadInputError

SUFFIXES = (".csv", ".tsv", ".txt", ".data") + tuple(
    f"{suffix}{packed}"
    for suffix in (".csv", ".tsv", ".txt", ".data")
    for packed in (".gz", ".bz2")
)

HEAD_BYTES = 8 << 20  # of cells, by which types are decided
_MOST_IN_NOTE = 30  # columns


def pieces(
    source: Mapping[str, Any], files: Sequence[File], splits: Mapping[str, int | str]
) -> list[Piece]:
    """Return a piece per file; columns and types are the same in all of them.

    Raises:
      BadInputError: a file that is empty, or has other columns or another encoding.
    """
    del splits
    found = layouts(source, files)
    kinds, notes = _kinds(found, source["types"])
    made = []
    for file, layout in zip(files, found, strict=True):
        options = {
            "layout": layout.to_json(),
            "kinds": {n: kinds[n] for n in kinds if n in layout.names},
            "strip": source["strip"],
            "notes": [] if made else [_spoken(layout), *notes],
        }
        made.append(Piece(file.path, file.part, file.size_bytes, options))
    return made


def read(piece: Piece) -> Iterator[Batch]:
    """Read one file; rows that cannot be used are named."""
    layout = Layout.from_json(piece.options["layout"])
    notes = tuple(piece.options["notes"])
    for block in blocks(layout):
        for start in range(0, max(1, len(block.rows)), BATCH_ROWS):
            some = block.slice(start, start + BATCH_ROWS)
            yield _batch(some, layout, piece.options, notes)
            notes = ()


def _kinds(
    found: Sequence[Layout], forced: Mapping[str, Kind]
) -> tuple[dict[str, Kind], list[str]]:
    """Return the type of every column over all files, and notes for people.

    Raises:
      BadInputError: there is no row, or no such column as is `forced`.
    """
    names = list(dict.fromkeys(name for layout in found for name in layout.names))
    for name in forced:
        if name not in names:
            raise BadInputError(
                f"[data.csv] types: no column {name!r}. Expected some of "
                f"{', '.join(names)}."
            )
    evidence = {name: Evidence() for name in names if name not in forced}
    if not _gather(found, evidence):
        raise BadInputError(
            f"{found[0].path}: expected rows after the header line. There is none."
        )
    kinds = {n: forced.get(n) or evidence[n].kind for n in names}
    shown = ", ".join(f"{n} {kinds[n]}" for n in names[:_MOST_IN_NOTE])
    more = len(names) - _MOST_IN_NOTE
    notes = [f"types: {shown}" + (f" and {more} more" if more > 0 else "")]
    notes += [
        f"{name}: text, because {column.surprise}; `types` or `missing` can say else"
        for name, column in evidence.items()
        if column.surprise
    ]
    return kinds, notes


def _gather(found: Sequence[Layout], evidence: Mapping[str, Evidence]) -> bool:
    """Add what cells say about types; return whether there are rows.

    All columns of the first HEAD_BYTES are looked at; then only those that are of
    whole numbers so far or have not had a value.
    """
    seen = 0
    has_rows = False
    for layout in found:
        names = [name for name in layout.names if name in evidence]
        if seen >= HEAD_BYTES:
            names = _open_columns(names, evidence)
            if not names:
                return has_rows
        for block in blocks(layout, names or layout.names[:1]):
            has_rows = has_rows or block.cells.num_rows > 0 or bool(block.ragged)
            if seen >= HEAD_BYTES:
                names = _open_columns(names, evidence)
                if not names:
                    break
            for name in names:
                column = _trimmed(block.cells.column(name), layout)
                _add(evidence[name], column, seen < HEAD_BYTES)
            seen += block.cells.nbytes
    return has_rows


def _open_columns(names: Sequence[str], evidence: Mapping[str, Evidence]) -> list[str]:
    return [n for n in names if not evidence[n].present or evidence[n].kind == "int"]


def _add(evidence: Evidence, column: pa.StringArray, in_head: bool) -> None:
    if in_head or not evidence.present or not cells.all_ints(column):
        evidence.add(column)
    else:
        evidence.add_ints(len(column) - column.null_count)


def _batch(
    block: Block, layout: Layout, options: Mapping[str, Any], notes: tuple[str, ...]
) -> Batch:
    kinds: Mapping[str, Kind] = options["kinds"]
    columns, faults = [], []
    for name, kind in kinds.items():
        faults += csv_faults.of_bytes(block, name, layout)
        column, mask = _values(block.cells.column(name), kind, layout, options["strip"])
        columns.append(column)
        if mask is not None:
            original = block.cells.column(name)
            faults += csv_faults.of_kind(original, mask, name, kind)
    if block.holds_quote and layout.quotes:
        faults += csv_faults.swallowing(block, layout, kinds)
    bad = {row.row: csv_faults.ragged(row, layout) for row in block.ragged}
    for fault in faults:
        row = int(block.rows[fault.index])
        bad.setdefault(row, fault.bad_row(block, layout))
    table = pa.RecordBatch.from_arrays(columns, list(kinds))
    rows = block.rows
    if faults:
        keep = ~np.isin(rows, list(bad))
        table, rows = table.filter(pa.array(keep)), rows[keep]
    names = [f"{layout.relative} row {row}" for row in rows.tolist()]
    ordered = tuple(bad[row] for row in sorted(bad))
    return Batch(names=names, table=table, bad=ordered, notes=notes)


def _values(
    column: pa.StringArray, kind: Kind, layout: Layout, strip: str
) -> tuple[pa.Array, np.ndarray | None]:
    """Return the values of a column, and a mask of its bad cells if it has any."""
    column = _trimmed(column, layout)
    if kind == "text" and strip:
        column = _without_missing(pc.utf8_trim(column, characters=strip), layout)
    return cells.values(column, kind)


def _trimmed(column: pa.StringArray, layout: Layout) -> pa.StringArray:
    if not layout.blanks:
        return column
    return _without_missing(pc.ascii_trim_whitespace(column), layout)


def _without_missing(column: pa.StringArray, layout: Layout) -> pa.StringArray:
    missing = pc.is_in(column, pa.array(["", *layout.missing]))
    return pc.if_else(missing, pa.scalar(None, pa.string()), column)


def _spoken(layout: Layout) -> str:
    """Say what was found about how the first file is written."""
    delimiter = layout.delimiter
    if delimiter != dialect.WHITESPACE:
        delimiter = {"\t": "tab"}.get(delimiter, repr(delimiter))
    header = "a header line" if layout.header else "no header line"
    blanks = ", blanks around cells ignored" if layout.blanks else ""
    return f"delimiter {delimiter}, {header}, {layout.encoding}{blanks}"
