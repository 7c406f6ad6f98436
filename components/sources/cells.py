"""Cells of text: which type a column of them has, and the values they stand for."""

import re
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

Kind = Literal["int", "float", "text"]

ARROW = {"int": pa.int64(), "float": pa.float64(), "text": pa.string()}

# A column is of numbers when so many of its cells are: the others are taken for faults,
# which are reported. With fewer it is text, and that is said where it may surprise.
NUMBERS_AT_LEAST = 0.95
SURPRISING_NUMBERS = 0.5

INT = r"^[+-]?[0-9]+$"
NUMBER = (
    r"(?i)^[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)(e[+-]?[0-9]+)?$|^[+-]?inf(inity)?$|^nan$"
)
_PADDED = r"^-?0[0-9]+$"
_IS_NUMBER = re.compile(NUMBER)
_LARGEST = 2**63 - 1


@dataclass
class Evidence:
    """What the cells of a column say about its type.

    Attributes:
      present: cells that are not missing.
      numbers: of these, how many are numbers.
      ints: of these, how many are whole.
      too_large: of these, how many do not fit 64 bits.
      padded: of these, how many begin with a zero that a number would lose.
      other: the first cell that is no number.
    """

    present: int = 0
    numbers: int = 0
    ints: int = 0
    too_large: int = 0
    padded: int = 0
    other: str | None = None

    def add(self, cells: pa.StringArray) -> None:
        """Count more cells; null is missing."""
        cells = pc.ascii_trim_whitespace(cells).drop_null()
        is_int = pc.match_substring_regex(cells, INT)
        is_number = pc.match_substring_regex(cells, NUMBER)
        self.present += len(cells)
        self.ints += is_int.true_count
        self.numbers += is_number.true_count
        self.padded += pc.match_substring_regex(cells, _PADDED).true_count
        long = cells.filter(pc.and_(is_int, pc.greater(pc.binary_length(cells), 18)))
        self.too_large += sum(map(_is_too_large, long.to_pylist()))
        if self.other is None and is_number.false_count:
            self.other = cells.filter(pc.invert(is_number))[0].as_py()

    def add_ints(self, count: int) -> None:
        """Count more cells that are whole numbers of 64 bits, none of them padded."""
        self.present += count
        self.numbers += count
        self.ints += count

    @property
    def kind(self) -> Kind:
        if not self.present or self.numbers < NUMBERS_AT_LEAST * self.present:
            return "text"
        if self.padded:
            return "text"  # a code, such as of an area: 01000 is not 1000
        if self.numbers > self.ints:
            return "float"
        return "text" if self.too_large else "int"  # an id: a float would round it

    @property
    def surprise(self) -> str | None:
        """Why the column is text although many of its cells are numbers."""
        if self.kind != "text" or not self.present:
            return None
        if self.too_large and self.numbers == self.present:
            return "whole numbers that do not fit 64 bits"
        if self.padded and self.numbers >= NUMBERS_AT_LEAST * self.present:
            return f"{self.padded:,} of its cells begin with a zero, as codes do"
        if self.numbers < SURPRISING_NUMBERS * self.present:
            return None
        share = self.numbers / self.present
        return f"{share:.0%} of its cells are numbers, but {self.other!r} is not"


def is_number(cell: str) -> bool:
    """Return whether a cell, without blanks around it, is a number."""
    return _IS_NUMBER.match(cell) is not None


def all_ints(cells: pa.StringArray) -> bool:
    """Return whether all cells are missing or whole numbers of 64 bits; fast.

    Whole numbers with zeros before them do not count.
    """
    zero = pc.or_(pc.starts_with(cells, "0"), pc.starts_with(cells, "-0"))
    if pc.any(pc.and_(zero, pc.not_equal(cells, "0"))).as_py():
        return False
    try:
        cells.cast(pa.int64())
    except pa.ArrowInvalid:
        return False
    return True


def values(cells: pa.StringArray, kind: Kind) -> tuple[pa.Array, np.ndarray | None]:
    """Return the values of cells, null where there is none.

    Args:
      cells: null is missing.
      kind: the type wanted; blanks around numbers are ignored.

    Returns:
      The values, and a mask (rows,) of the cells that are not of that type; None where
      all are.
    """
    if kind == "text":
        return cells, None
    try:
        return cells.cast(ARROW[kind]), None
    except pa.ArrowInvalid:
        return _values_of_some(cells, kind)


def _values_of_some(
    cells: pa.StringArray, kind: Kind
) -> tuple[pa.Array, np.ndarray | None]:
    trimmed = pc.ascii_trim_whitespace(cells)
    valid = pc.match_substring_regex(trimmed, INT if kind == "int" else NUMBER)
    if kind == "int":
        trimmed = pc.ascii_ltrim(trimmed, characters="+")
        long = pc.and_(valid, pc.greater(pc.binary_length(trimmed), 18))
        if pc.any(long).as_py():
            candidates = _where(trimmed, long).to_pylist()
            fits = [c is None or not _is_too_large(c) for c in candidates]
            valid = pc.and_(valid, pa.array(fits))
    good = _where(trimmed, valid).cast(ARROW[kind])
    bad = pc.and_(cells.is_valid(), pc.invert(pc.fill_null(valid, True)))
    mask = bad.to_numpy(zero_copy_only=False)
    return good, mask if mask.any() else None


def _is_too_large(cell: str) -> bool:
    """Return whether a whole number does not fit 64 bits with a sign."""
    digits = cell.lstrip("+-0")
    return len(digits) > 19 or int(digits or "0") > _LARGEST


def _where(cells: pa.StringArray, mask: pa.BooleanArray) -> pa.StringArray:
    return pc.if_else(mask, cells, pa.scalar(None, cells.type))
