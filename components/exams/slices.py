"""Where is the candidate worst? A search over all raw columns and pairs of them.

A slice is the examples with one value in a column, or with one in each of two; numbers
of many values are cut at their quartiles. Who looks at thousands of slices finds bad
ones by chance. So each interval is widened until all of them hold at once,
by Bonferroni's rule, and the worst slice is the one whose interval ends lowest. It is
below a bound only if all of its interval is.

Where examples have no columns but the input, as images, slices are the classes. Slices
of less than `min_examples` are not looked at: without a slice, no bound is missed.
"""

import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from scipy import stats

from components.exams import NotApplicableError, Verdict, changes, groups, judged
from components.exams.case import Case, is_wrong
from components.exams.groups import Groups
from components.input_checks import kind, used_features

ANSWERS, COLUMNS = "answers.npz", "columns.json"
MOST_VALUES = 200  # a text of more values is a name or an input, not a group
FEW_NUMBERS = 20  # numbers of more values are cut
MOST_CROSSED = 40  # of more columns none are crossed: pairs grow with the square
SHOWN = 20


def collect(case: Case, section: Mapping[str, Any], folder: Path) -> None:
    """Write what was wrong, and which values each example has."""
    del section
    if not case.has_classes:
        raise NotApplicableError("its answers are no classes")
    examples, answers, labels = groups.asked(case)
    label = case.transform["label"]
    classes = changes.classes(case.transform)
    inputs = [] if kind(case.transform) == "table" else used_features(case.transform)
    found = _columns(examples, without={label["feature"], *inputs})
    if not found:
        names = tuple(f"{label['feature']}={name}" for name in classes)
        found = [Groups(names, labels.reshape(-1).astype(np.int32))]
    np.savez_compressed(
        folder / ANSWERS,
        wrong=is_wrong(answers, labels),
        labels=labels.reshape(-1),
        ids=np.stack([each.ids for each in found]),
    )
    record = {"classes": classes, "columns": [g.names for g in found]}
    (folder / COLUMNS).write_text(json.dumps(record), "utf-8")


def judge(folder: Path, section: Mapping[str, Any]) -> Verdict:
    """Refuse a candidate that is below the bound on a slice, beyond chance."""
    record = json.loads((folder / COLUMNS).read_text("utf-8"))
    with np.load(folder / ANSWERS) as stored:
        wrong, labels, ids = stored["wrong"], stored["labels"], stored["ids"]
    columns = [
        Groups(tuple(names), each)
        for names, each in zip(record["columns"], ids, strict=True)
    ]
    slices = search(columns, wrong, section["min_examples"], section["confidence"])
    figures = {
        "accuracy": float(1 - wrong.mean()),
        "num_examples": len(wrong),
        "num_slices": len(slices),
        "classes": _by_class(wrong, labels, record["classes"]),
    }
    if not slices:
        line = f"no slice has {section['min_examples']} examples"
        return judged(line, slices=[], **figures)
    num_worse = sum(each.p_value < 1 - section["confidence"] for each in slices)
    worst = slices[0]
    bound = section["worst_at_least"]
    refusals = ()
    if bound is not None and worst.high < bound:
        refusals = (f"accuracy on {worst}, expected at least {bound:g}",)
    return judged(
        f"worst slice {worst} of {figures['accuracy']:.3f} · {num_worse:,} of "
        f"{len(slices):,} slices are worse than the rest beyond chance",
        refusals,
        num_worse=num_worse,
        slices=[vars(each) for each in _distinct(slices)],
        **figures,
    )


@dataclass(frozen=True)
class Slice:
    """One slice, and how the candidate did on it.

    Attributes:
      name: its conditions.
      count: of its examples.
      wrong: how many of them were answered wrongly.
      accuracy: on them.
      low: end of its interval, which holds at once for all slices looked at.
      high: other end.
      p_value: of being no worse than all other examples (Fisher's exact test), times
        the number of slices looked at.
    """

    name: str
    count: int
    wrong: int
    accuracy: float
    low: float
    high: float
    p_value: float

    def __str__(self) -> str:
        interval = f"{self.low:.3f} to {self.high:.3f}"
        return f"{self.name}: {self.accuracy:.3f} ({interval}, {self.count} examples)"


def search(
    columns: Sequence[Groups], wrong: np.ndarray, min_examples: int, confidence: float
) -> list[Slice]:
    """Return all slices of a size, the one whose interval ends lowest first."""
    found = [*_single(columns, wrong, min_examples)]
    if len(columns) <= MOST_CROSSED:
        for pair in combinations(columns, 2):
            found += _crossed(*pair, wrong, min_examples)
    if not found:
        return []
    names, counts, errors = zip(*found, strict=True)
    counts, errors = np.array(counts), np.array(errors)
    lows, highs = intervals(
        counts - errors, counts, confidence=1 - (1 - confidence) / len(found)
    )
    at_random = stats.hypergeom.sf(errors - 1, len(wrong), wrong.sum(), counts)
    p_values = np.minimum(1, at_random * len(found))
    slices = [
        Slice(
            name=names[place],
            count=int(counts[place]),
            wrong=int(errors[place]),
            accuracy=float(1 - errors[place] / counts[place]),
            low=float(lows[place]),
            high=float(highs[place]),
            p_value=float(p_values[place]),
        )
        for place in range(len(found))
    ]
    return sorted(slices, key=lambda each: each.high)


def intervals(
    hits: np.ndarray, counts: np.ndarray, *, confidence: float
) -> tuple[np.ndarray, np.ndarray]:
    """Return the exact intervals of shares, after Clopper and Pearson.

    Wilson's are wrong too often where the confidence is near 1: of 100 models that were
    wrong on 0.1 everywhere, 7 had a slice surely worse than that by them, 1 by these.
    """
    tail = (1 - confidence) / 2
    misses = counts - hits
    low = np.where(hits, stats.beta.ppf(tail, np.maximum(hits, 1), misses + 1), 0)
    high = np.where(misses, stats.beta.isf(tail, hits + 1, np.maximum(misses, 1)), 1)
    return low, high


Found = tuple[str, int, int]  # name, examples, wrong answers


def _single(
    columns: Sequence[Groups], wrong: np.ndarray, min_examples: int
) -> Iterator[Found]:
    for column in columns:
        counts, errors = _counts(column.ids, len(column.names), wrong)
        for place in np.flatnonzero((counts >= min_examples) & (counts < len(wrong))):
            yield column.names[place], counts[place], errors[place]


def _crossed(
    one: Groups, other: Groups, wrong: np.ndarray, min_examples: int
) -> Iterator[Found]:
    """Yield the slices of two columns that are smaller than those of each of them."""
    shape = (len(one.names), len(other.names))
    pairs = one.ids.astype(np.int64) * shape[1] + other.ids
    counts, errors = (
        each.reshape(shape) for each in _counts(pairs, shape[0] * shape[1], wrong)
    )
    is_new = (counts < counts.sum(axis=1, keepdims=True)) & (
        counts < counts.sum(axis=0)
    )
    for row, column in np.argwhere(is_new & (counts >= min_examples)):
        name = f"{one.names[row]}, {other.names[column]}"
        yield name, counts[row, column], errors[row, column]


def _counts(
    ids: np.ndarray, size: int, wrong: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    return np.bincount(ids, minlength=size), np.bincount(ids[wrong], minlength=size)


def _distinct(slices: Sequence[Slice]) -> list[Slice]:
    """Return the first of the slices, of those with equal numbers one alone.

    They are nearly always the same examples, which two columns say in two ways.
    """
    found: dict[tuple[int, int], Slice] = {}
    for each in slices:
        found.setdefault((each.count, each.wrong), each)
        if len(found) == SHOWN:
            break
    return list(found.values())


def _by_class(
    wrong: np.ndarray, labels: np.ndarray, classes: Sequence[str]
) -> dict[str, dict[str, float]]:
    """Return count and accuracy of each class that occurs."""
    counts, errors = _counts(labels, len(classes), wrong)
    return {
        classes[place]: {
            "count": int(counts[place]),
            "accuracy": float(1 - errors[place] / counts[place]),
        }
        for place in np.flatnonzero(counts)
    }


def _columns(examples: Sequence[bytes], *, without: Collection[str]) -> list[Groups]:
    """Return the columns that can be cut into slices, their values as conditions."""
    found = []
    for name, column in sorted(groups.columns(examples).items()):
        count = len(column.unique().drop_null())
        is_number = groups.is_number(column)
        if name in without or (not is_number and count > MOST_VALUES):
            continue
        if is_number and count > FEW_NUMBERS:
            found.append(_quartiles(name, column))
        else:
            of = groups.by_value(column)
            found.append(Groups(tuple(f"{name}={v}" for v in of.names), of.ids))
    return found


def _quartiles(name: str, column: pa.Array) -> Groups:
    """Return numbers cut at their quartiles, each named by its lowest and highest."""
    # Whole numbers beyond 2^53 are rounded.
    numbers = column.cast(pa.float64(), safe=False)
    values = numbers.to_numpy(zero_copy_only=False)  # null: NaN
    cuts = np.unique(np.nanquantile(values, [0.25, 0.5, 0.75]))
    places = np.where(np.isnan(values), len(cuts) + 1, np.searchsorted(cuts, values))
    present, ids = np.unique(places, return_inverse=True)
    form = ".0f" if pa.types.is_integer(column.type) else "g"
    names = []
    for place in range(len(present)):
        inside = values[ids == place]
        low, high = inside.min(), inside.max()
        if np.isnan(low):
            names.append(f"{name}={groups.MISSING}")
        else:
            ends = f" {low:{form}} to {high:{form}}"
            names.append(name + (ends if low < high else f"={low:{form}}"))
    return Groups(groups.unique(names), ids.astype(np.int32))
