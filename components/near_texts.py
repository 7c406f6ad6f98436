"""Find texts that are almost the same: copied with a few words changed.

A text is the set of its runs of three words, without case and punctuation. MinHash
(Broder 1997) and banding find candidates; the sets themselves, by Jaccard similarity,
decide. Texts of a few words are left out: people answer "ok, thanks" by themselves.
"""

import re
from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import pandas as pd

MIN_SIMILARITY = 0.9
MIN_WORDS = 5
_WORDS_OF_RUN = 3
_MAX_WORDS = 1_000  # of a text; bounds time on long ones
_BANDS, _ROWS = 16, 4  # of 500,000 pairs of similarity 0.9, one is missed
_WORD = re.compile(r"\w+")
_EVERY_OTHER = 2  # candidates of each band


def runs(texts: Iterable[bytes | None]) -> tuple[np.ndarray, np.ndarray]:
    """Return all runs of words as uint64, and how many belong to each text.

    A text of fewer than MIN_WORDS has none.
    """
    words, lengths = [], []
    for text in texts:
        found = _WORD.findall((text or b"").decode("utf-8", "replace").lower())
        found = found[:_MAX_WORDS] if len(found) >= MIN_WORDS else []
        words += found
        lengths.append(len(found))
    hashed = pd.util.hash_array(np.array(words, object))
    counts = np.array(lengths, np.int64)
    num_runs = np.maximum(counts - _WORDS_OF_RUN + 1, 0)
    # A text has fewer runs than words: skip the runs that would reach into the next.
    skipped = np.cumsum(counts - num_runs) - (counts - num_runs)
    first = np.arange(num_runs.sum()) + np.repeat(skipped, num_runs)
    values = np.zeros(len(first), np.uint64)
    for offset in range(_WORDS_OF_RUN):
        values = values * np.uint64(0x9E3779B97F4A7C15) + hashed[first + offset]
    return values ^ (values >> np.uint64(29)), num_runs


def bands(values: np.ndarray, lengths: np.ndarray) -> np.ndarray:
    """Return (texts, bands) uint64: two similar texts share some of these.

    Args:
      values: all runs of words, as `runs` returns them.
      lengths: (texts,) how many of them belong to each.
    """
    random = np.random.default_rng(0)
    factors = random.integers(0, 2**63, _BANDS * _ROWS, np.uint64) * np.uint64(2)
    factors += np.uint64(1)
    keys = np.zeros((len(lengths), _BANDS), np.uint64)
    filled = lengths > 0
    if not filled.any():
        return keys
    starts = (np.cumsum(lengths) - lengths)[filled]
    for number, factor in enumerate(factors):
        product = values * factor
        least = np.minimum.reduceat(product ^ (product >> np.uint64(32)), starts)
        band = keys[filled, number // _ROWS]
        keys[filled, number // _ROWS] = (band ^ least) * np.uint64(0x9FB21C651E98DF25)
    return keys


def candidates(train: np.ndarray, other: np.ndarray) -> list[tuple[int, int]]:
    """Return pairs (number of `other`, number of `train`) that share a band."""
    pairs: set[tuple[int, int]] = set()
    has_words = np.flatnonzero(other.any(axis=1))
    for band in range(train.shape[1]):
        order = np.argsort(train[:, band], kind="stable")
        keys, wanted = train[order, band], other[has_words, band]
        at = np.searchsorted(keys, wanted)
        for offset in range(_EVERY_OTHER):
            place = np.minimum(at + offset, len(keys) - 1)
            equal = keys[place] == wanted
            pairs |= set(
                zip(
                    has_words[equal].tolist(),
                    order[place[equal]].tolist(),
                    strict=True,
                )
            )
    return sorted(pairs)


def similar(
    pairs: Sequence[tuple[int, int]],
    train: Mapping[int, np.ndarray],
    other: Mapping[int, np.ndarray],
) -> dict[int, int]:
    """Return of the candidates those that are similar: `other` -> `train`.

    Args:
      pairs: as `candidates` returns them.
      train: number -> its runs of words; of every text in `pairs`.
      other: likewise.
    """
    found: dict[int, int] = {}
    for mine, theirs in pairs:
        if mine not in found and similarity(other[mine], train[theirs]) >= (
            MIN_SIMILARITY
        ):
            found[mine] = theirs
    return found


def similarity(one: np.ndarray, other: np.ndarray) -> float:
    """Return the Jaccard similarity of two sets of runs, 0 to 1."""
    common = len(np.intersect1d(one, other))
    return common / (len(np.unique(one)) + len(np.unique(other)) - common)
