"""Which split a record belongs to: by a hash, by key, by time, or value by value.

What decides is the record itself, never its place among others: adding records moves
none (hash, key), or only some near a border (time, stratify).
"""

from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from components import (
    split_columns,
    split_hashes,
    split_rules,
    split_slices,
    split_times,
)
from components.sources import Batch
from components.split_slices import SERVING
from components.split_times import Times
from recipes.data import SPLITS
from recipes.errors import BadInputError

_MAX_STRATA = 10_000


@dataclass(frozen=True)
class Assigner:
    """Says which split records belong to.

    Attributes:
      names: of the splits; indices refer to them.
    """

    names: tuple[str, ...]
    rule: split_rules.Rule

    def assign(self, part: str, batch: Batch, records: Sequence[bytes]) -> np.ndarray:
        """Return (n,) int8: the index of each record's split, -1 for none.

        Args:
          part: of the source, that the batch belongs to.
          batch: where its reader has decided, that stands.
          records: the batch as serialized tf.Examples.
        """
        split = batch.split or (SERVING if part == SERVING else None)
        if split:
            return np.full(len(records), self.names.index(split), np.int8)
        return self.rule(part, batch, records)


@dataclass(frozen=True)
class Scan:
    """What cuts depend on, of some records.

    Attributes:
      times: by form, with `time`; None before the first record.
      strata: value -> hash of each of its records, (n,) uint64, with `stratify`.
    """

    times: Mapping[str, Times] | None = None
    strata: Mapping[bytes, np.ndarray] = field(default_factory=dict)


def needs_scan(data: Mapping[str, Any]) -> bool:
    """Whether all records must be looked at before the first one is assigned."""
    split_by = data["split_by"] or {}
    return bool(split_by.get("time") or split_by.get("stratify"))


def scan(
    data: Mapping[str, Any], batch: Batch, records: Sequence[bytes], *, part: str = ""
) -> Scan:
    """Return what the cuts depend on, of one batch.

    Raises:
      BadInputError: the batch has no such column.
    """
    if not records or batch.split or part == SERVING:
        return Scan()
    split_by = data["split_by"]
    if split_by["time"]:
        (column,) = split_columns.columns(batch, [split_by["time"]])
        return Scan(times=split_times.found(column, batch.names))
    (column,) = split_columns.columns(batch, [split_by["stratify"]])
    groups, values = split_columns.groups(split_columns.texts(column))
    hashes = split_hashes.hashes(split_hashes.canonical(records), data["seed"])
    order = np.argsort(groups, kind="stable")
    borders = np.cumsum(np.bincount(groups, minlength=len(values)))[:-1]
    strata = dict(zip(values, np.split(hashes[order], borders), strict=True))
    return Scan(strata=_few(strata))


def merge(scans: Iterable[Scan]) -> Scan:
    """Return the scan of all records together.

    Raises:
      BadInputError: more different values than `stratify` is good for.
    """
    scans = list(scans)
    times = [found.times for found in scans if found.times is not None]
    strata: dict[bytes, list[np.ndarray]] = {}
    for found in scans:
        for value, hashes in found.strata.items():
            strata.setdefault(value, []).append(hashes)
    return Scan(
        times=split_times.merge(times) if times else None,
        strata=_few({value: np.concatenate(found) for value, found in strata.items()}),
    )


def assigner(
    data: Mapping[str, Any], parts: Set[str], scanned: Scan | None = None
) -> Assigner:
    """Return what assigns the records of a source.

    Args:
      data: the recipe's section as plain JSON values.
      parts: those of the source; {""} if it has none.
      scanned: of all records, where `needs_scan`.

    Raises:
      BadInputError: no such part, or no cuts that leave a record for each split.
    """
    names = (*SPLITS, SERVING) if SERVING in parts else SPLITS
    return Assigner(names, _rule(data, parts, scanned or Scan()))


def _rule(data: Mapping[str, Any], parts: Set[str], scanned: Scan) -> split_rules.Rule:
    splits, seed, split_by = data["splits"], data["seed"], data["split_by"]
    if all(isinstance(share, str) for share in splits.values()):
        if data["tfds"]:  # the reader resolves its builder's own slices
            return split_rules.Decided()
        return split_rules.Slices(tuple(split_slices.parse(splits, parts)), seed)
    if needs_scan(data) and not scanned.times and not scanned.strata:
        return split_rules.Decided()
    if split_by and split_by["time"]:
        return split_rules.ByTime.between(split_by["time"], splits, scanned.times)
    if split_by and split_by["stratify"]:
        return split_rules.ByStratum.within(
            split_by["stratify"], splits, seed, scanned.strata
        )
    key = tuple(split_by["key"]) if split_by else ()
    return split_rules.ByHash(tuple(splits), tuple(splits.values()), seed, key)


def _few(strata: dict[bytes, np.ndarray]) -> dict[bytes, np.ndarray]:
    if len(strata) > _MAX_STRATA:
        raise BadInputError(
            f"[data.split_by] stratify: expected at most {_MAX_STRATA:,} different "
            "values. Received more. A number has to be put into buckets first."
        )
    return strata
