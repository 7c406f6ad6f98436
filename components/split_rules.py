"""The rules that splits are made by, each a plain object that workers get a copy of.

A rule takes the part of the source, a batch, and its records as serialized tf.Examples;
it returns (n,) int8: the index in `SPLITS` of each record's split, -1 for none.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Protocol

import numpy as np

from components import split_columns, split_hashes, split_times
from components.sources import Batch
from components.split_slices import Slice
from components.split_times import Times
from recipes.data import SPLITS
from recipes.errors import BadInputError


class Rule(Protocol):
    def __call__(
        self, part: str, batch: Batch, records: Sequence[bytes]
    ) -> np.ndarray: ...


@dataclass(frozen=True)
class Decided:
    """The reader has decided about every record, or there is none."""

    def __call__(self, part: str, batch: Batch, records: Sequence[bytes]) -> np.ndarray:
        return np.full(len(records), -1, np.int8)


@dataclass(frozen=True)
class ByHash:
    """Shares by a seeded hash of the record, or of its values in the `key` columns.

    A record without one of the values stands alone: its own hash decides.
    """

    splits: tuple[str, ...]
    shares: tuple[int, ...]
    seed: int
    key: tuple[str, ...] = ()

    def __call__(self, part: str, batch: Batch, records: Sequence[bytes]) -> np.ndarray:
        if not records:
            return np.empty(0, np.int8)
        if not self.key:
            return self._share(split_hashes.canonical(records))
        groups, keys = split_columns.groups(
            split_columns.joined(split_columns.columns(batch, self.key))
        )
        chosen = self._share(keys)[groups]
        alone = np.array([key == b"" for key in keys])[groups]
        if alone.any():
            canonical = split_hashes.canonical(records)
            (rows,) = np.nonzero(alone)
            chosen[rows] = self._share([canonical[row] for row in rows])
        return chosen

    def _share(self, contents: Sequence[bytes]) -> np.ndarray:
        total = sum(self.shares)
        rests = [
            int.from_bytes(digest, "big") % total
            for digest in split_hashes.digests(contents, self.seed)
        ]
        share = np.searchsorted(np.cumsum(self.shares), rests, side="right")
        return np.array([SPLITS.index(split) for split in self.splits], np.int8)[share]


@dataclass(frozen=True)
class Slices:
    """Parts by name; slices of them by a seeded hash of the record."""

    slices: tuple[Slice, ...]
    seed: int

    def __call__(self, part: str, batch: Batch, records: Sequence[bytes]) -> np.ndarray:
        chosen = np.full(len(records), -1, np.int8)
        ours = [s for s in self.slices if s.part == part]
        for whole in (s for s in ours if s.until - s.first == 1):
            chosen[:] = SPLITS.index(whole.split)
            return chosen
        hashes = (
            split_hashes.hashes(split_hashes.canonical(records), self.seed)
            if ours
            else chosen
        )
        for piece in ours:
            first, last = _border(piece.first), _border(piece.until) - 1
            inside = (hashes >= np.uint64(first)) & (hashes <= np.uint64(last))
            chosen[inside] = SPLITS.index(piece.split)
        return chosen


@dataclass(frozen=True)
class ByTime:
    """Oldest to `train`, newest to `test`; equal times stay together."""

    column: str
    form: str
    cuts: tuple[float, float]  # the first times of `eval` and of `test`

    @classmethod
    def between(
        cls, column: str, shares: Mapping[str, int], by_form: Mapping[str, Times]
    ) -> "ByTime":
        """Cut the times of all records where the shares come closest.

        Raises:
          BadInputError: they are not written in one form, or are too few.
        """
        form = split_times.form_of(column, by_form)
        values, counts = by_form[form].values, by_form[form].counts
        if len(values) < len(SPLITS):
            raise BadInputError(
                f"[data.split_by] time: {column!r} has {len(values)} different times. "
                f"Expected at least {len(SPLITS)}, one for each split."
            )
        before = np.cumsum(counts)  # records up to and with each time
        total = sum(shares.values())
        train = before[-1] * shares["train"] / total
        judged = before[-1] * (shares["train"] + shares["eval"]) / total
        last_train = int(np.abs(before[:-2] - train).argmin())
        last_eval = last_train + 1
        last_eval += int(np.abs(before[last_eval:-1] - judged).argmin())
        return cls(
            column, form, (float(values[last_train + 1]), float(values[last_eval + 1]))
        )

    def __call__(self, part: str, batch: Batch, records: Sequence[bytes]) -> np.ndarray:
        if not records:
            return np.empty(0, np.int8)
        (column,) = split_columns.columns(batch, [self.column])
        moments = split_times.times(column, self.form)
        return np.searchsorted(self.cuts, moments, side="right").astype(np.int8)


@dataclass(frozen=True)
class ByStratum:
    """The same shares of every value of a column, in the order of the records' hashes.

    Records that are equal stay together, and may shift a share by their number.
    """

    column: str
    seed: int
    cuts: Mapping[bytes, tuple[int, int]]  # the first hashes of `eval` and of `test`

    @classmethod
    def within(
        cls,
        column: str,
        shares: Mapping[str, int],
        seed: int,
        strata: Mapping[bytes, np.ndarray],
    ) -> "ByStratum":
        """Cut the hashes of the records of every value.

        Raises:
          BadInputError: a split would be empty.
        """
        cuts, totals = {}, np.zeros(len(SPLITS), np.int64)
        for value, hashes in strata.items():
            counts = rounded([shares[split] for split in SPLITS], len(hashes))
            ordered = np.append(np.sort(hashes), np.uint64(2**64 - 1))
            eval_at, test_at = counts[0], counts[0] + counts[1]
            cuts[value] = (int(ordered[eval_at]), int(ordered[test_at]))
            totals += counts
        empty = [
            split for split, total in zip(SPLITS, totals, strict=True) if not total
        ]
        if empty:
            raise BadInputError(
                f"[data.split_by] stratify: {column!r} has {len(cuts):,} different "
                f"values, in too few records: {' and '.join(empty)} would be empty."
            )
        return cls(column, seed, cuts)

    def __call__(self, part: str, batch: Batch, records: Sequence[bytes]) -> np.ndarray:
        if not records:
            return np.empty(0, np.int8)
        (column,) = split_columns.columns(batch, [self.column])
        groups, values = split_columns.groups(split_columns.texts(column))
        cuts = np.array([self.cuts[value] for value in values], np.uint64)[groups]
        hashes = split_hashes.hashes(split_hashes.canonical(records), self.seed)
        return (hashes[:, None] >= cuts).sum(axis=1).astype(np.int8)


def rounded(shares: Sequence[int], total: int) -> list[int]:
    """Divide records by shares, exact up to rounding; none gets less than one.

    Fewer records than splits go to `train` first, then to `test`, then to `eval`.

    Args:
      shares: of train, eval, test.
      total: records.
    """
    if total < len(shares):
        return [[0, 0, 0], [1, 0, 0], [1, 0, 1]][total]
    exact = [Fraction(total * share, sum(shares)) for share in shares]
    counts = [int(share) for share in exact]
    by_rest = sorted(range(len(shares)), key=lambda i: counts[i] - exact[i])
    for i in by_rest[: total - sum(counts)]:
        counts[i] += 1
    for i, count in enumerate(counts):
        if not count:
            counts[counts.index(max(counts))] -= 1
            counts[i] = 1
    return counts


def _border(share: Fraction) -> int:
    return int(share * 2**64)
