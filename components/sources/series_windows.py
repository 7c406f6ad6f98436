"""Which windows a stretch of a series holds, and why others are left out."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from components.sources import series_clock

CROSSES_GAP = "window left out: it crosses a gap in time"
HOLDS_MISSING = "window left out: a value is missing in it"
CROSSES_CUT = "window left out: its horizon crosses from one split into the next"


@dataclass(frozen=True)
class Stretch:
    """Rows of one series that follow each other.

    Attributes:
      first: index in its series of the first one.
      rows: (n,) int64, their numbers in the file.
      times: (n,) float64.
      values: (n, channels) float32, NaN where there is none.
    """

    first: int
    rows: np.ndarray
    times: np.ndarray
    values: np.ndarray

    def then(
        self, rows: np.ndarray, times: np.ndarray, values: np.ndarray
    ) -> "Stretch":
        """Return this stretch with the rows that follow it."""
        pairs = ((self.rows, rows), (self.times, times), (self.values, values))
        return Stretch(self.first, *map(np.concatenate, pairs))

    def last(self, count: int) -> "Stretch":
        """Return the last rows, as copies: a view would keep all of them."""
        cut = max(0, len(self.rows) - count)
        parts = (self.rows, self.times, self.values)
        return Stretch(self.first + cut, *(part[cut:].copy() for part in parts))


@dataclass(frozen=True)
class Window:
    """What makes a window.

    Attributes:
      context: steps of the past.
      horizon: steps that follow them.
      stride: steps between the starts of two windows, from the start of the series.
      targets: indices of the channels that are predicted.
      steps: the shortest and the longest step that is no gap.
      cuts: times at which splits begin, but for the first; None: there are none.
    """

    context: int
    horizon: int
    stride: int
    targets: Sequence[int]
    steps: tuple[float, float]
    cuts: Sequence[float] | None


def starts(stretch: Stretch, window: Window) -> tuple[list[np.ndarray], list[str]]:
    """Return the starts of the windows of each split, and a note for each left out.

    Without cuts all windows are in the first of the lists.
    """
    length = window.context + window.horizon
    found = np.arange(max(0, len(stretch.rows) - length + 1))
    found = found[(stretch.first + found) % window.stride == 0]
    notes: list[str] = []
    for left_out, why in (
        (_crosses_gap(stretch, window), CROSSES_GAP),
        (_holds_missing(stretch, window), HOLDS_MISSING),
    ):
        notes += [why] * int(left_out[found].sum())
        found = found[~left_out[found]]
    if window.cuts is None:
        return [found], notes
    begin, end = _splits(stretch, window, found)
    notes += [CROSSES_CUT] * int((begin != end).sum())
    splits = range(len(window.cuts) + 1)
    return [found[(begin == split) & (end == split)] for split in splits], notes


def _crosses_gap(stretch: Stretch, window: Window) -> np.ndarray:
    gaps = series_clock.irregular(np.diff(stretch.times), window.steps)
    length = window.context + window.horizon - 1  # steps
    return _any_of_next(gaps, length, len(stretch.rows))


def _holds_missing(stretch: Stretch, window: Window) -> np.ndarray:
    missing = np.isnan(stretch.values)
    size = len(stretch.rows)
    past = _any_of_next(missing.any(axis=1), window.context, size)
    targets = missing[window.context :, list(window.targets)].any(axis=1)
    return past | _any_of_next(targets, window.horizon, size)


def _any_of_next(flags: np.ndarray, length: int, size: int) -> np.ndarray:
    """Return (size,) bool: whether any of `flags[i : i + length]` is set."""
    total = np.concatenate([[0], np.cumsum(flags)])
    begin = np.minimum(np.arange(size), len(flags))
    end = np.minimum(begin + length, len(flags))
    return total[end] > total[begin]


def _splits(
    stretch: Stretch, window: Window, found: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return the splits in which the horizons begin and end."""
    first = stretch.times[found + window.context]
    last = stretch.times[found + window.context + window.horizon - 1]
    begin, end = (np.searchsorted(window.cuts, t, side="right") for t in (first, last))
    return begin, end
