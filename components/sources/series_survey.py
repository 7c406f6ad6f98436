"""The first look at all times of a series: order, gaps, and where shares cut them."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa

from components.sources import files, series_clock
from components.sources.series_csv import Layout, blocks, by_key
from recipes.errors import BadInputError

MAX_TIMES = 1 << 20  # of an axis; a cut is off by at most a millionth of the rows


@dataclass(frozen=True)
class Axis:
    """How many rows each time has: (n,) float64 rising, (n,) int64."""

    times: np.ndarray = field(default_factory=lambda: np.empty(0))
    counts: np.ndarray = field(default_factory=lambda: np.empty(0, np.int64))


@dataclass(frozen=True)
class Survey:
    """What is known of a file after its times have been read.

    Attributes:
      axis: its rows over time.
      longest: rows of its longest series.
      grouped: whether the rows of each series follow each other.
      notes: for people.
    """

    axis: Axis
    longest: int
    grouped: bool
    notes: tuple[str, ...]


def survey(file: files.File, layout: Layout) -> Survey:
    """Read the times of a file.

    Raises:
      BadInputError: time goes backwards, or stands still.
    """
    order = _Order(file.relative, layout)
    axis, grouped, last = Axis(), True, None
    for block in blocks(file, layout, with_values=False):
        grouped = grouped and _follows(block.keys, last, order.last_times)
        for last, rows in by_key(block.keys, len(block.times)):
            order.add(last, block.first_row + rows, block.times[rows])
        axis = merge([axis, _axis(block.times)])
    longest = max(order.lengths.values(), default=0)
    return Survey(axis, longest, grouped, order.notes())


def merge(axes: Sequence[Axis]) -> Axis:
    """Return one axis; past MAX_TIMES, times that follow each other are joined."""
    times, place = np.unique(
        np.concatenate([axis.times for axis in axes]), return_inverse=True
    )
    counts = np.zeros(len(times), np.int64)
    np.add.at(counts, place, np.concatenate([axis.counts for axis in axes]))
    while len(times) > MAX_TIMES:
        counts = np.add.reduceat(counts, np.arange(0, len(counts), 2))
        times = times[::2]
    return Axis(times, counts)


def cuts(axis: Axis, shares: Sequence[int]) -> list[float]:
    """Return the times at which all shares but the first begin.

    A cut is the first time that has at least its share of the rows before it; equal
    times stay on one side.
    """
    before = np.cumsum(axis.counts) - axis.counts
    wanted = axis.counts.sum() * np.cumsum(shares[:-1]) / sum(shares)
    after = np.append(axis.times, np.inf)
    return after[np.searchsorted(before, wanted - 1e-6)].tolist()


class _Order:
    """Follows each series of a file: its last time, its length, its gaps."""

    def __init__(self, relative: str, layout: Layout):
        self._relative = relative
        self._layout = layout
        self._num_gaps = 0
        self._first_gap = ""
        self.last_times: dict[str, float] = {}
        self.lengths: dict[str, int] = {}

    def add(self, key: str, rows: np.ndarray, times: np.ndarray) -> None:
        steps = np.diff(times, prepend=self.last_times.get(key, np.nan))
        if (steps <= 0).any():
            self._refuse(key, rows, times, int(np.argmax(steps <= 0)))
        gaps = series_clock.irregular(steps, self._layout.steps)
        if gaps.any() and not self._num_gaps:
            self._first_gap = self._place(key, rows, times, int(np.argmax(gaps)))
        self._num_gaps += int(gaps.sum())
        self.last_times[key] = times[-1]
        self.lengths[key] = self.lengths.get(key, 0) + len(times)

    def notes(self) -> tuple[str, ...]:
        if not self._num_gaps:
            return ()
        many = "1 gap" if self._num_gaps == 1 else f"{self._num_gaps} gaps"
        return (f"{many} in time, the first before {self._first_gap}",)

    def _refuse(self, key: str, rows: np.ndarray, times: np.ndarray, at: int) -> None:
        before = times[at - 1] if at else self.last_times[key]
        clock = self._layout.clock
        told = series_clock.write(np.array([before]), clock)[0]
        raise BadInputError(
            f"{self._place(key, rows, times, at)}: expected a time after {told}, that "
            "of the row before. Sort the file by time"
            + (", " if self._layout.key else "; name several series by [data.series] ")
            + ("" if self._layout.key else "key; ")
            + "where clocks are set back, write UTC."
        )

    def _place(self, key: str, rows: np.ndarray, times: np.ndarray, at: int) -> str:
        told = series_clock.write(times[at : at + 1], self._layout.clock)[0]
        series = f", {self._layout.key} {key!r}" if self._layout.key else ""
        return f"{self._relative} row {rows[at]} ({told}{series})"


def _axis(times: np.ndarray) -> Axis:
    return Axis(*np.unique(times, return_counts=True))


def _follows(keys: pa.Array | None, last: str | None, seen: dict[str, float]) -> bool:
    """Whether no series of a block was left before, but for the one read last."""
    if keys is None:
        return True
    encoded = keys.dictionary_encode()
    runs = 1 + np.count_nonzero(np.diff(encoded.indices.to_numpy()))
    names = encoded.dictionary.to_pylist()
    news = names[1:] if names[:1] == [last] else names
    return runs == len(names) and not any(name in seen for name in news)
