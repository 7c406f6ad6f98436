"""Spans of data that keeps arriving: which of them a pattern means, and which versions.

A path may hold `{SPAN}` or `{YYYY}`, `{MM}` and `{DD}` (a span is then a day, counted
from 1970-01-01), and `{VERSION}`. Digits stand in their place, with leading zeros or
without. Gaps are fine. Nothing tells whether a span is still being written: move it to
its place when it is complete.
"""

import datetime
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from components.sources import patterns
from recipes.errors import BadInputError

_DATE = ("{YYYY}", "{MM}", "{DD}")
_DIGITS = {
    "{SPAN}": r"(?P<span>\d+)",
    "{VERSION}": r"(?P<version>\d+)",
    "{YYYY}": r"(?P<year>\d{4})",
    "{MM}": r"(?P<month>\d{1,2})",
    "{DD}": r"(?P<day>\d{1,2})",
}
_EPOCH = datetime.date(1970, 1, 1)


@dataclass(frozen=True)
class Span:
    """A span that is there: its number, its newest version, where it lies."""

    number: int
    version: int | None
    path: str


def has_spans(text: str) -> bool:
    return any(placeholder in text for placeholder in _DIGITS)


def is_dated(text: str) -> bool:
    return any(placeholder in text for placeholder in _DATE)


def head_and_rest(text: str) -> tuple[str, str]:
    """Cut a pattern after the name that holds its last placeholder.

    Raises:
      BadInputError: placeholders that do not go together.
    """
    _check(text)
    names = text.split("/")
    last = max(i for i, name in enumerate(names) if has_spans(name))
    head = "/".join(names[: last + 1])
    if "**" in head:
        raise BadInputError(f"[data] path: {text}: `**` cannot stand before a span.")
    return head, "/".join(names[last + 1 :])


def any_span(head: str) -> str:
    """Return the pattern of every span, with `*` in place of the placeholders."""
    for placeholder in _DIGITS:
        head = head.replace(placeholder, "*")
    return head


def newest_versions(head: str, paths: Iterable[str]) -> list[Span]:
    """Return the spans among some paths, in order, each with its newest version.

    Raises:
      BadInputError: two paths are the same span and version (`7` and `07`).
    """
    names = [(name, re.compile(_with_digits(name))) for name in head.split("/")]
    newest: dict[int, Span] = {}
    for path in sorted(paths):
        span = _span(_digits_in(path, names), path)
        if span is None:
            continue
        other = newest.get(span.number)
        if other and other.version == span.version:
            raise BadInputError(
                f"[data] path: {other.path} and {path} are the same span. Expected "
                "one of them."
            )
        if other is None or (other.version or 0) < (span.version or 0):
            newest[span.number] = span
    return [newest[number] for number in sorted(newest)]


def choose(
    numbers: Sequence[int], wanted: Mapping[str, Any] | None, *, dated: bool
) -> list[int]:
    """Return the spans that a recipe asks for; without `wanted` the newest.

    Args:
      numbers: those that are there, ascending.
      wanted: `data.spans`: `last`, `first` and `until`, each a value or None.
      dated: bounds are days (`YYYY-MM-DD`), not numbers.

    Raises:
      BadInputError: a bound of the other kind, or no span within the bounds.
    """
    wanted = wanted or {}
    first = _bound("first", wanted.get("first"), dated=dated)
    until = _bound("until", wanted.get("until"), dated=dated)
    last = wanted.get("last")
    if first is None and until is None and last is None:
        last = 1
    chosen = [
        number
        for number in numbers
        if (first is None or number >= first) and (until is None or number <= until)
    ]
    if numbers and not chosen:
        raise BadInputError(
            f"[data.spans] no span from {wanted.get('first') or 'the oldest'} until "
            f"{wanted.get('until') or 'the newest'}. There: "
            f"{shown(numbers[0], dated=dated)} to {shown(numbers[-1], dated=dated)}."
        )
    return chosen[-last:] if last else chosen


def shown(number: int, *, dated: bool) -> str:
    """Return the number of a span, or its day."""
    return str(_EPOCH + datetime.timedelta(days=number)) if dated else str(number)


def _check(text: str) -> None:
    dates = [placeholder for placeholder in _DATE if placeholder in text]
    if dates and len(dates) < len(_DATE):
        raise BadInputError(
            f"[data] path: {text}: {{YYYY}}, {{MM}} and {{DD}} go together. "
            f"Received: {', '.join(dates)} only."
        )
    if dates and "{SPAN}" in text:
        raise BadInputError(
            f"[data] path: {text}: expected {{SPAN}} or a date, not both."
        )
    if not dates and "{SPAN}" not in text:
        raise BadInputError(
            f"[data] path: {text}: {{VERSION}} is that of a span. Expected {{SPAN}} or "
            "a date too."
        )
    for placeholder in _DIGITS:
        if text.count(placeholder) > 1:
            raise BadInputError(
                f"[data] path: {text}: {placeholder} may stand there once."
            )


def _with_digits(name: str) -> str:
    expression = patterns.to_regex(name)
    for placeholder, digits in _DIGITS.items():
        expression = expression.replace(re.escape(placeholder), digits)
    return expression


def _digits_in(
    path: str, names: Sequence[tuple[str, re.Pattern[str]]]
) -> dict[str, str] | None:
    """Return what stands for the placeholders, or None where other text does."""
    digits: dict[str, str] = {}
    for there, (name, expression) in zip(path.split("/"), names, strict=True):
        found = expression.fullmatch(there)
        if found:
            digits |= found.groupdict()
        elif there != name:  # which may hold a literal `[`
            return None
    return digits


def _span(digits: Mapping[str, str] | None, path: str) -> Span | None:
    if digits is None:
        return None
    version = int(digits["version"]) if "version" in digits else None
    if "span" in digits:
        return Span(int(digits["span"]), version, path)
    try:
        day = datetime.date(*(int(digits[name]) for name in ("year", "month", "day")))
    except ValueError:  # 2024-13-40 is no day
        return None
    return Span((day - _EPOCH).days, version, path)


def _bound(name: str, value: int | str | None, *, dated: bool) -> int | None:
    if value is None:
        return None
    if not dated and isinstance(value, int):
        return value
    try:
        if not dated or not isinstance(value, str):
            raise ValueError(value)
        return (datetime.date.fromisoformat(value) - _EPOCH).days
    except ValueError as error:
        raise BadInputError(
            f"[data.spans] {name}: expected "
            f"{'a day, YYYY-MM-DD' if dated else 'a number'}. Received: {value!r}"
        ) from error
