"""Find records of `eval` and `test` that `train` holds too, by their fingerprints.

A model that has learned a record by heart looks good on its twin, so twins across
splits are a leak: the same photo, message or measurement collected twice. Rows of a
table with few different values are equal without being the same thing: two people may
share age, trade and town. So an equal row counts only where chance does not explain it,
that is where fewer than MAX_BY_CHANCE equal rows are to be expected in `train` if each
feature took its value by itself, as often as it does there. Rows that this excuses are
counted apart. Features that go together make chance twins likelier than that, so the
rule errs towards naming a row.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from components import fingerprints, shards

MAX_BY_CHANCE = 0.01
_SAMPLE_ROWS = 20_000  # of `train`, to learn how frequent each value is
_SAMPLE_CELLS = 4_000_000

Cells = Mapping[str, np.ndarray]


@dataclass(frozen=True)
class Found:
    """Records of a split that have twins in `train`.

    Attributes:
      rows: their numbers, rising.
      of_train: the number of a twin of each.
      share: how much of the split they are; estimated where it was sampled.
      by_chance: how many more rows have a twin that chance explains.
    """

    rows: np.ndarray
    of_train: np.ndarray
    share: float
    by_chance: int = 0

    def less(self, other: "Found") -> "Found":
        """Return it without the records that another holds."""
        kept = ~np.isin(self.rows, other.rows)
        share = self.share * kept.sum() / max(1, len(kept))
        return Found(self.rows[kept], self.of_train[kept], share)


def twins(train: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Return for each of `other` the number of its first equal in `train`, or -1.

    Args:
      train: (records,) uint64 fingerprints; 0: of nothing, which equals nothing.
      other: (others,) uint64.
    """
    if not len(train):
        return np.full(len(other), -1)
    order = np.argsort(train, kind="stable")
    at = np.searchsorted(train, other, sorter=order)
    first = order[np.minimum(at, len(train) - 1)]
    return np.where((train[first] == other) & (other != 0), first, -1)


def find(train: np.ndarray, other: np.ndarray) -> Found:
    """Return which records of a split are equal to one of `train`, by fingerprint."""
    pairs = twins(train, other)
    rows = np.flatnonzero(pairs >= 0)
    return Found(rows, pairs[rows], len(rows) / max(1, len(other)))


def unexplained(
    found: Mapping[str, Found],
    uri: str,
    num_records: Mapping[str, int],
    *,
    rounded: bool,
    without: Collection[str] = (),
) -> dict[str, Found]:
    """Return what was found in each split, less the rows whose twins chance explains.

    Args:
      found: by split, as `find` returns it.
      uri: of the examples.
      num_records: of each split.
      rounded: whether numbers were rounded when they were compared.
      without: features that were not compared.
    """
    if not any(len(twins.rows) for twins in found.values()):
        return dict(found)
    num_train = num_records["train"]
    frequencies = _frequencies(uri, num_train, rounded=rounded, without=without)
    result = {}
    for split, twins in found.items():
        excused = [
            np.log(num_train) + _log_share(frequencies, cells) > np.log(MAX_BY_CHANCE)
            for cells in _cells(
                uri, split, twins.rows, rounded=rounded, without=without
            )
        ]
        kept = ~np.concatenate([np.zeros(0, bool), *excused])
        result[split] = Found(
            twins.rows[kept],
            twins.of_train[kept],
            kept.sum() / max(1, num_records[split]),
            by_chance=int((~kept).sum()),
        )
    return result


def _frequencies(
    uri: str, num_train: int, *, rounded: bool, without: Collection[str]
) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Return each feature's fingerprints in a sample of `train`, and their shares."""
    head = next(shards.tables(uri, "train"))
    size = min(_SAMPLE_ROWS, _SAMPLE_CELLS // max(1, head.num_columns))
    rows = shards.spread(num_train, size)
    parts = list(_cells(uri, "train", rows, rounded=rounded, without=without))
    result = {}
    for name in dict.fromkeys(name for part in parts for name in part):
        present = np.concatenate([part[name] for part in parts if name in part])
        absent = np.zeros(len(rows) - len(present), np.uint64)
        known, counts = np.unique(np.append(present, absent), return_counts=True)
        result[name] = known, counts / len(rows)
    return result


def _log_share(
    frequencies: Mapping[str, tuple[np.ndarray, np.ndarray]], cells: Cells
) -> np.ndarray:
    """Return the logarithm of the share of each row, were its cells independent.

    A value that is not in the sample counts as if it were there once.
    """
    absent = np.zeros(len(next(iter(cells.values()))), np.uint64)
    total = np.zeros(len(absent))
    for name, (known, shares) in frequencies.items():
        values = cells.get(name, absent)
        at = np.minimum(np.searchsorted(known, values), len(known) - 1)
        total += np.log(np.where(known[at] == values, shares[at], shares.min()))
    return total


def _cells(
    uri: str,
    split: str,
    rows: Sequence[int],
    *,
    rounded: bool,
    without: Collection[str],
) -> Iterator[Cells]:
    for table in shards.select(uri, split, rows):
        found = fingerprints.cells(table, rounded=rounded)
        yield {name: cells for name, cells in found.items() if name not in without}
