"""Why a row of a table of text cannot be used, in words."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from components.sources import BadRow, cells, dialect
from components.sources.cells import Kind
from components.sources.delimited import Block, Layout, Ragged
from components.sources.utf8 import MARK, is_utf8

_MOST_SHOWN = 200  # characters
_QUOTES = "say `quotes: false` if quotes are ordinary characters"


@dataclass(frozen=True)
class Fault:
    """Why the row at an index of a block is bad, and the cell that makes it so."""

    index: int
    why: str
    text: str

    def bad_row(self, block: Block, layout: Layout) -> BadRow:
        where = f"{layout.relative} row {block.rows[self.index]}"
        return BadRow(where, self.why, _shown(self.text))


def ragged(row: Ragged, layout: Layout) -> BadRow:
    """Return the bad row that has too few or too many cells."""
    why = f"expected {len(layout.names)} cells, received {row.num_cells}"
    if layout.quotes and "\n" in row.text:
        why += f"; a quote may not be closed: {_QUOTES}"
    return BadRow(f"{layout.relative} row {row.row}", why, _shown(row.text))


def of_bytes(block: Block, name: str, layout: Layout) -> Iterator[Fault]:
    """Find cells that cannot be decoded, or hold the character 0."""
    column = block.cells.column(name)
    if block.marked:
        hint = "; say `encoding: latin-1` if it is that"
        why = f"{name}: bytes that are not {layout.encoding}"
        why += hint if is_utf8(layout.encoding) else ""
        yield from _holding(column, MARK, why)
    if block.holds_nul:
        yield from _holding(column, "\0", f"{name}: a zero byte, as in damaged files")


def of_kind(
    column: pa.StringArray, mask: np.ndarray, name: str, kind: Kind
) -> Iterator[Fault]:
    """Name the cells, given by a mask, that are not of the column's kind."""
    wanted = "a whole number of 64 bits" if kind == "int" else "a number"
    for index in np.flatnonzero(mask).tolist():
        cell = column[index].as_py()
        why = (
            f"{name}: expected {wanted}, received {cell[:40]!r}; if it is meant, say "
            f"`types: {{{name}: text}}` or name it in `missing`"
        )
        yield Fault(index, why, cell)


def swallowing(
    block: Block, layout: Layout, kinds: Mapping[str, Kind]
) -> Iterator[Fault]:
    """Find cells that hold whole rows, because a quote is not closed where it should.

    Such rows would be lost without a word. A text of several lines looks alike only
    where its lines have the right number of delimiters, and before them what stands
    in the columns elsewhere.
    """
    if layout.delimiter == dialect.WHITESPACE:
        return
    for number, name in enumerate(layout.names):
        if kinds[name] != "text" or not number:
            continue
        for index, text in _all_holding(block.cells.column(name), "\n"):
            lines = [line.split(layout.delimiter) for line in text.splitlines()[1:]]
            *inner, last = lines or [[]]
            if len(last) != number + 1 or any(
                len(line) != len(layout.names) for line in inner
            ):
                continue
            if _fits(last[:number], block, layout, kinds):
                why = f"{name}: holds what looks like {len(lines)} more rows; {_QUOTES}"
                yield Fault(index, why, text)


def _fits(
    found: list[str], block: Block, layout: Layout, kinds: Mapping[str, Kind]
) -> bool:
    """Return whether cells, not all of them missing, could be the first of a row."""
    present = {
        name: cell
        for name, cell in zip(layout.names, found, strict=False)
        if cell and cell not in layout.missing
    }
    return bool(present) and all(
        pc.any(pc.equal(block.cells.column(name), cell)).as_py()
        if kinds[name] == "text"
        else cells.is_number(cell.strip())
        for name, cell in present.items()
    )


def _holding(column: pa.StringArray, part: str, why: str) -> Iterator[Fault]:
    return (Fault(index, why, text) for index, text in _all_holding(column, part))


def _all_holding(column: pa.StringArray, part: str) -> Iterator[tuple[int, str]]:
    mask = pc.fill_null(pc.match_substring(column, part), False)
    for index in np.flatnonzero(mask.to_numpy(zero_copy_only=False)).tolist():
        yield index, column[index].as_py()


def _shown(text: str) -> str:
    return text[:_MOST_SHOWN].replace(MARK, "\ufffd")
