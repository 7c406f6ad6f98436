"""How a table of text is written: found by looking at its first lines.

Python's `csv.Sniffer` guesses from the frequency of characters, takes letters for
delimiters, and is often wrong about headers. Here every candidate is tried: the one
that cuts all lines into equally many cells is the delimiter.
"""

import csv
import io
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from components.sources import cells

WHITESPACE = "whitespace"  # runs of blanks and tabs

# Of equally good ones the first wins: commas stand in texts and decimals too.
_CANDIDATES = ("\t", ";", "|", ",")
_NUM_LINES = 200  # looked at
_CONSISTENT = 0.9  # share of lines that must have the same number of cells
_LONGEST_NAME = 64  # characters; a longer cell is no name of a column


@dataclass(frozen=True)
class Dialect:
    """How the cells of a table are written.

    Attributes:
      delimiter: one character, or WHITESPACE.
      header: whether the first line names the columns.
      blanks: whether blanks stand around cells and mean nothing (`a, b`).
      first: the cells of the first line.
      width: the number of cells of most lines.
    """

    delimiter: str
    header: bool
    blanks: bool
    first: tuple[str, ...]
    width: int


def look(
    head: str,
    *,
    delimiter: str | None = None,
    quotes: bool = True,
    header: bool | None = None,
    missing: Sequence[str] = (),
) -> Dialect:
    """Return the dialect of a table.

    Args:
      head: its first lines, whole ones; not empty.
      delimiter: None to find it.
      quotes: whether `"` encloses a cell.
      header: None to find out whether the first line is one.
      missing: cells that say that there is no value.
    """
    delimiter = delimiter or _delimiter(head, quotes)
    lines = cut(head, delimiter, quotes)
    blanks = delimiter not in (WHITESPACE, " ", "\t") and _has_blanks(lines)
    if blanks:
        lines = [[cell.strip() for cell in line] for line in lines]
    if header is None:
        header = _has_header(lines, {"", *missing})
    first = tuple(cell.strip() for cell in lines[0]) if header else tuple(lines[0])
    return Dialect(delimiter, header, blanks, first, _width(lines)[0])


def cut(head: str, delimiter: str, quotes: bool) -> list[list[str]]:
    """Return the cells of the first lines, without empty lines."""
    if delimiter == WHITESPACE:
        head = "\n".join(" ".join(line.split()) for line in head.splitlines())
        delimiter = " "
    rows = csv.reader(
        io.StringIO(head, newline=""),
        delimiter=delimiter,
        quoting=csv.QUOTE_MINIMAL if quotes else csv.QUOTE_NONE,
    )
    lines: list[list[str]] = []
    try:
        for row in rows:
            if row:
                lines.append(row)
            if len(lines) == _NUM_LINES:
                break
    except csv.Error:  # a cell too long: nothing follows that could be told apart
        pass
    return lines


def _delimiter(head: str, quotes: bool) -> str:
    best, best_score = ",", (0.0, 0.0)
    for candidate in (*_CANDIDATES, WHITESPACE):
        lines = cut(head, candidate, quotes)
        width, share = _width(lines)
        if width < 2 or share < _CONSISTENT:
            continue
        is_first = float(len(lines[0]) == width)
        if candidate == WHITESPACE and not _mostly_numbers(lines):
            continue  # words of a sentence
        if (score := (share, is_first)) > best_score:
            best, best_score = candidate, score
    return best


def _width(lines: Sequence[Sequence[str]]) -> tuple[int, float]:
    """Return the most frequent number of cells, and the share of lines with it."""
    if not lines:
        return 0, 0.0
    ((width, count),) = Counter(map(len, lines)).most_common(1)
    return width, count / len(lines)


def _mostly_numbers(lines: Sequence[Sequence[str]]) -> bool:
    found = [cells.is_number(cell) for line in lines for cell in line]
    return sum(found) > len(found) / 2


def _has_blanks(lines: Sequence[Sequence[str]]) -> bool:
    """Return whether (nearly) every cell but the first of its line begins with one."""
    found = [cell.startswith(" ") for line in lines for cell in line[1:]]
    return bool(found) and sum(found) >= _CONSISTENT * len(found)


def _has_header(lines: Sequence[Sequence[str]], missing: set[str]) -> bool:
    """Return whether the first line names columns.

    It does if it holds words above columns of numbers; it does not if it holds a cell
    without a letter, a value that its column holds again, or one twice.
    """
    first = [cell.strip() for cell in lines[0]]
    below = [
        [line[i].strip() for line in lines[1:] if i < len(line)]
        for i in range(len(first))
    ]
    present = [[cell for cell in column if cell not in missing] for column in below]
    numbers = [
        bool(column)
        and sum(map(cells.is_number, column)) >= cells.NUMBERS_AT_LEAST * len(column)
        for column in present
    ]
    words = [not cells.is_number(cell) and cell not in missing for cell in first]
    if any(is_word and above for is_word, above in zip(words, numbers, strict=True)):
        return True
    if any(map(_has_no_letter, first)) or len(set(first)) < len(first):
        return False
    if any(cell in column for cell, column in zip(first, below, strict=True)):
        return False
    return all(0 < len(cell) <= _LONGEST_NAME for cell in first)


def _has_no_letter(cell: str) -> bool:
    return bool(cell) and not any(map(str.isalpha, cell))
