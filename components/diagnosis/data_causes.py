"""Causes that lie in the data: columns, copies and labels of `train`."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from scipy import stats

from components.diagnosis import Evidence, Finding
from components.diagnosis.columns import counts, divergence, error_removed, varies
from components.diagnosis.samples import SUMMARIES, Column, Sample, take
from components.exams.case import Model
from components.label_audit import class_name

FEW = 30  # examples of a class, below which nothing is said of it
LEAK = 0.9  # share of the error of always guessing the usual label that is removed
MOVED = 0.05  # divergence in bits, as the bound on drift
COPIED = 0.1  # more of the examples are copies
DISPUTED = 0.04  # more labels of a class that the live model disputes
BY_CHANCE = 1e-6  # probability, below which chance is no explanation


def look(run: Evidence, reference: Evidence | None) -> Iterator[Finding]:
    """Yield what is wrong with the examples that were trained on."""
    if run.examples is None:
        return
    ours = take(run.examples, run.transform)
    known = reference and reference.examples and reference.examples.exists()
    theirs = take(reference.examples, reference.transform) if known else None
    before = f"run {reference.run}" if reference else ""
    inputs = [leaks(ours, theirs)]
    if theirs:
        inputs.append(dropped(ours, theirs, before))
        yield from _if_any(duplicated(ours, theirs, before))
    explained = {name for one in inputs if one for name in one.figures["columns"]}
    explained |= set(SUMMARIES) if explained else set()
    other = theirs or take(run.examples, run.transform, "test")
    inputs.append(moved(ours, other, before if theirs else "`test`", without=explained))
    yield from _if_any(*inputs)
    if theirs and not any(inputs) and reference.model:
        # What it was trained on it has by heart: it hardly disputes that.
        unseen = take(reference.examples, reference.transform, "eval")
        live = Model(reference.model)
        yield from _if_any(disputed(ours, unseen, live, reference.transform))


def leaks(ours: Sample, theirs: Sample | None) -> Finding | None:
    """Look for a column that tells the label, and did not tell it before."""
    if ours.labels is None or len(ours.labels) < FEW:
        return None
    told = {
        n: error_removed(c, ours.labels) for n, c in ours.columns.items() if varies(c)
    }
    before = theirs.columns if theirs else {}
    found = {
        name: share
        for name, share in told.items()
        if share >= LEAK
        and (name not in before or error_removed(before[name], theirs.labels) < LEAK)
    }
    if not found:
        return None
    best = max(found, key=lambda name: found[name])
    return Finding(
        "leak",
        found[best],
        f"{_listed(list(found))} of the training examples {_verb(found, 'tells')} the "
        f"label: guesses from {best!r} alone remove {found[best]:.0%} of the error of "
        "always guessing the most frequent label",
        {"columns": list(found), "error_removed": found},
    )


def dropped(ours: Sample, theirs: Sample, before: str) -> Finding | None:
    """Look for columns that varied and are empty or the same everywhere now."""
    gone = [
        name
        for name, column in theirs.columns.items()
        if varies(column)
        and name in ours.columns
        and len(counts(ours.columns[name])) < 2
    ]
    if not gone:
        return None
    values = counts(ours.columns[gone[0]])
    said = f"only the value {next(iter(values))}" if values else "no value"
    return Finding(
        "dropped_column",
        1.0,
        f"{_listed(gone)} {_verb(gone, 'has')} {said} in the training examples; in "
        f"those of {before} {_verb(gone, 'it varies', 'they vary')}",
        {"columns": gone, "values": list(values)},
    )


def duplicated(ours: Sample, theirs: Sample, before: str) -> Finding | None:
    """Look for copies of training examples that were not there before."""
    now, then = ours.copied / ours.total, theirs.copied / theirs.total
    if now - then < COPIED:
        return None
    text = f"{now:.0%} of the training examples are copies of another, {then:.0%} in "
    text += before
    if ours.copies_of:
        label = max(ours.copies_of, key=lambda name: ours.copies_of[name])
        share = ours.copies_of[label] / ours.copied
        text += f"; {share:.0%} of the copies are of the class {label!r}"
    figures = {"share": now, "before": then, "of_classes": dict(ours.copies_of)}
    return Finding("duplicates", now - then, text, figures)


def moved(
    ours: Sample, theirs: Sample, before: str, *, without: set[str]
) -> Finding | None:
    """Look for columns whose values have moved, in all examples and in each class.

    Other labels, or more of one class, change one of the two only.
    """
    found = {
        name: shift
        for name, column in ours.columns.items()
        if name in theirs.columns and name not in without
        for shift in [_moved(column, theirs.columns[name], ours, theirs)]
        if shift > MOVED
    }
    if not found:
        return None
    worst = max(found, key=lambda name: found[name])
    ends = [_middle(side.columns[worst]) for side in (ours, theirs)]
    return Finding(
        "shift",
        found[worst],
        f"{len(found)} of {len(ours.columns)} columns of the training examples have "
        f"moved, {worst!r} the farthest: {ends[0]}, in {before} {ends[1]} "
        f"(Jensen-Shannon divergence {found[worst]:.2f})",
        {"columns": list(found), "distances": found},
    )


def disputed(
    ours: Sample, theirs: Sample, live: Model, transform: Mapping[str, Any]
) -> Finding | None:
    """Look for a class whose labels the live model disputes, more than it used to.

    Args:
      ours: what was trained on.
      theirs: what the live model was judged on and not trained on.
      live: the model.
      transform: the recipe's section that it was made by.
    """
    if (
        ours.labels is None
        or "classes" not in live.signature_defs["serving_default"].outputs
    ):
        return None
    said = [_said(live, side.serialized, transform) for side in (ours, theirs)]
    classes = [c for c in np.unique(ours.labels) if (ours.labels == c).sum() >= FEW]
    excess = {}
    for one in classes:
        now, then = (
            (words[side.labels == one] != one)
            for words, side in zip(said, (ours, theirs), strict=True)
        )
        usual = (then.sum() + 1) / (len(then) + 2)
        chance = stats.binomtest(int(now.sum()), len(now), usual, alternative="greater")
        excess[one] = now.mean() - usual if chance.pvalue < BY_CHANCE else 0.0
    if not excess:
        return None
    worst = max(excess, key=lambda name: excess[name])
    others = [value for name, value in excess.items() if name != worst]
    strength = float(excess[worst] - (np.median(others) if others else 0.0))
    if strength < DISPUTED:
        return None
    return _disputed(worst, strength, ours, said[0])


def _disputed(worst: Any, strength: float, ours: Sample, said: np.ndarray) -> Finding:
    is_it = ours.labels == worst
    wrong = said[is_it] != worst
    names, times = np.unique(said[is_it][wrong], return_counts=True)
    likely = names[times.argmax()]
    return Finding(
        "labels",
        strength,
        f"the live model disputes {wrong.mean():.0%} of the training labels {worst!r}, "
        f"{strength:.0%} more than of labels it was not trained on; it says "
        f"{likely!r} to {times.max():,} of {is_it.sum():,}",
        {
            "label": str(worst),
            "likely": str(likely),
            "disputed": float(wrong.mean()),
            "excess": strength,
        },
    )


def _said(live: Model, serialized: list[bytes], transform: Mapping[str, Any]) -> Any:
    classes = live.ask_examples(serialized)["classes"].reshape(-1)
    return np.array([str(class_name(transform, one)) for one in classes], object)


def _moved(one: Column, other: Column, ours: Sample, theirs: Sample) -> float:
    """Return how far a column has moved, at least: over all examples or by class."""
    overall = divergence(one, other)
    if overall <= MOVED or ours.labels is None or theirs.labels is None:
        return overall
    weights, moves = [], []
    for name in np.unique(ours.labels):
        mine, past = ours.labels == name, theirs.labels == name
        if min(mine.sum(), past.sum()) >= FEW:
            weights.append(mine.sum())
            moves.append(divergence(one[mine], other[past]))
    return min(overall, float(np.average(moves, weights=weights))) if moves else overall


def _middle(column: Column) -> str:
    if column.dtype == object:
        value = next(iter(counts(column)), "")
        return f"mostly {value!r}"
    return f"{np.nanmean(column):.4g} on average"


def _listed(names: Sequence[str]) -> str:
    shown = ", ".join(repr(name) for name in names[:3])
    return shown if len(names) <= 3 else f"{shown} and {len(names) - 3} more columns"


def _verb(names: Any, one: str, many: str | None = None) -> str:
    plural = {"tells": "tell", "has": "have"}
    return one if len(names) == 1 else many or plural[one]


def _if_any(*found: Finding | None) -> Iterator[Finding]:
    yield from (one for one in found if one)
