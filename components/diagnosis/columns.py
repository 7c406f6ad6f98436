"""What one column of a sample tells, and how far it is from another's."""

from typing import Any

import numpy as np

from components import distances, feature_leaks
from components.diagnosis.samples import Column

VARIED = 0.95  # a column whose usual value has a smaller share varies
_NUM_BINS = 10


def divergence(one: Column, other: Column) -> float:
    """Return the Jensen-Shannon divergence of two columns beyond chance, in bits.

    Numbers lie in bins between the deciles of both, and missing ones in one more. Of
    texts the most frequent of both are compared, and the others as one: samples of rare
    values have few in common.
    """
    if one.dtype == object or other.dtype == object:
        values, places = np.unique(
            np.concatenate([one, other]).astype(str), return_inverse=True
        )
        order = np.argsort(-np.bincount(places), kind="stable")
        ranks = np.empty(len(values), np.int64)
        ranks[order] = np.arange(len(values))
        places = np.minimum(ranks, distances.MAX_VALUES)[places]
        num_bins = distances.MAX_VALUES + 1
    else:
        present = np.concatenate([one, other])
        present = present[~np.isnan(present)]
        if not len(present):
            return 0.0
        steps = np.linspace(0, 1, _NUM_BINS + 1)
        edges = np.unique(np.quantile(present, steps[1:-1]))
        both = np.concatenate([one, other])
        places = np.searchsorted(edges, both, side="left")
        places[np.isnan(both)] = len(edges) + 1
        num_bins = len(edges) + 2
    sides = [
        np.bincount(part, minlength=num_bins)
        for part in (places[: len(one)], places[len(one) :])
    ]
    used = int(np.count_nonzero(sides[0] + sides[1]))
    chance = distances.by_chance(used, len(one), len(other))
    return max(0.0, distances.jensen_shannon(*sides) - chance)


def error_removed(column: Column, labels: np.ndarray) -> float:
    """Return how much of the error of guessing the usual label a column removes."""
    _, numbers = np.unique(labels.astype(str), return_inverse=True)
    usual = feature_leaks.majority(numbers)
    _, cells = np.unique(column.astype(str), return_inverse=True)
    amounts = None if column.dtype == object else np.nan_to_num(column, nan=-1e30)
    known = feature_leaks.Column((cells + 1).astype(np.uint64), amounts)
    error = 1 - feature_leaks.told(known, numbers)
    return max(0.0, 1 - error / (1 - usual)) if usual < 1 else 0.0


def counts(column: Column) -> dict[Any, int]:
    """Return how often each value occurs, the most frequent first; none for missing."""
    is_text = column.dtype == object
    present = column[column != ""] if is_text else column[~np.isnan(column)]
    values, times = np.unique(present, return_counts=True)
    order = np.argsort(-times, kind="stable")
    return {values[i]: int(times[i]) for i in order}


def varies(column: Column) -> bool:
    """Tell whether no value has nearly all places."""
    found = counts(column)
    most = max(found.values(), default=0)
    return len(found) > 1 and most < VARIED * sum(found.values())
