"""Splits that name parts of a source, or slices of them: `train[:80%]`, `a+b`."""

import difflib
import itertools
import re
from collections.abc import Mapping, Set
from dataclasses import dataclass
from fractions import Fraction

from recipes.errors import BadInputError

SERVING = "serving"  # the part, and the split, of what was served

_SLICE = re.compile(
    r"(?P<part>[a-z][a-z0-9_]*)"
    r"(\[(?P<first>\d+(\.\d+)?%)?:(?P<until>\d+(\.\d+)?%)?\])?"
)


@dataclass(frozen=True)
class Slice:
    """A range of a part's records, by hash; shares from 0 to 1.

    Attributes:
      split: name of the split it goes to.
      part: name of the part.
      first: where it starts, inclusive.
      until: where it ends, exclusive.
    """

    split: str
    part: str
    first: Fraction
    until: Fraction


def parse(splits: Mapping[str, str], parts: Set[str]) -> list[Slice]:
    """Return the slices that splits consist of.

    Args:
      splits: split -> `part`, `part[10%:90%]`, or several joined by `+`.
      parts: those the source has; {""} if it has none.

    Raises:
      BadInputError: no such part, no such slice, or two that share records.
    """
    slices = [
        _slice(split, text.strip(), parts)
        for split, texts in splits.items()
        for text in texts.split("+")
    ]
    for one, other in itertools.combinations(slices, 2):
        last_first = max(one.first, other.first)
        if one.part == other.part and last_first < min(one.until, other.until):
            raise BadInputError(
                f"[data] splits: {one.split!r} and {other.split!r} share records. "
                f"Expected slices such as {one.part}[:80%], {one.part}[80%:90%] and "
                f"{one.part}[90%:]."
            )
    return slices


def _slice(split: str, text: str, parts: Set[str]) -> Slice:
    found = _SLICE.fullmatch(text)
    if not found:
        raise BadInputError(
            f"[data] splits: {split}: expected a part, or a slice such as part[:80%]. "
            f"Received: {text!r}"
        )
    part = found["part"]
    if part == SERVING or part not in parts:
        raise BadInputError(f"[data] splits: {split}: {_unknown(part, parts)}")
    first, until = _share(found["first"] or "0%"), _share(found["until"] or "100%")
    if not 0 <= first < until <= 1:
        raise BadInputError(
            f"[data] splits: {split}: {text!r} holds nothing. Expected "
            "0% <= first < until <= 100%."
        )
    return Slice(split, part, first, until)


def _share(percent: str) -> Fraction:
    return Fraction(percent.removesuffix("%")) / 100


def _unknown(part: str, parts: Set[str]) -> str:
    learned = sorted(parts - {"", SERVING})
    if not learned:
        return (
            f"the source has no part {part!r}, and no others. Give `splits` as shares, "
            "or `path` by part."
        )
    if part == SERVING:
        return "what was served is a split of its own, and never learned from."
    close = difflib.get_close_matches(part, learned, n=1)
    hint = f" Did you mean {close[0]!r}?" if close else ""
    return (
        f"the source has no part {part!r}. Expected some of {', '.join(learned)}.{hint}"
    )
