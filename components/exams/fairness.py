"""Does the candidate treat groups of people alike?

Of a label that is yes or no, by group: how many are said yes to (selection), of those
whose label is yes (TPR) and of those whose label is no (FPR), how many of those said
yes to are (precision), and how many answers are right (accuracy). Of more classes the
accuracy alone. A gap is the highest rate less the lowest, among groups in which the
rate is counted of at least `min_examples` examples; the other groups are named.

A bound is held against the gap as it was measured, not against its interval as in other
exams: it is a rule of safety, and who is examined on few people should not pass for it.
A bound on a gap that cannot be measured is missed.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from components.exams import NotApplicableError, Verdict, groups, judged
from components.exams.case import Case
from components.exams.groups import Groups
from recipes.errors import BadInputError

ANSWERS, GROUPS = "answers.npz", "groups.json"
MOST_NUMBERS = 20  # a number of more values is no name of a group
MOST_TEXTS = 200
SHOWN = {"selection": "selection", "tpr": "TPR", "fpr": "FPR", "accuracy": "accuracy"}
_DRAWS, _SEED = 2000, 0


def collect(case: Case, section: Mapping[str, Any], folder: Path) -> None:
    """Write what was said to each test example, and in which groups it is.

    Raises:
      BadInputError: a column is not there, or its values are no groups.
    """
    if not case.has_classes:
        raise NotApplicableError("its answers are no classes")
    examples, answers, labels = groups.asked(case)
    of = [[names] if isinstance(names, str) else names for names in section["columns"]]
    columns = _columns(examples, {name for names in of for name in names})
    found = [groups.crossed([columns[name] for name in names]) for names in of]
    np.savez_compressed(
        folder / ANSWERS,
        said=answers["classes"].reshape(-1),
        labels=labels.reshape(-1),
        ids=np.stack([each.ids for each in found]),
    )
    record = {
        "yes_or_no": answers["probabilities"].shape[1] == 1,
        "by": [", ".join(names) for names in of],
        "groups": [each.names for each in found],
    }
    (folder / GROUPS).write_text(json.dumps(record), "utf-8")


def judge(folder: Path, section: Mapping[str, Any]) -> Verdict:
    """Refuse a candidate one of whose gaps is above its bound, or unknown."""
    record = json.loads((folder / GROUPS).read_text("utf-8"))
    with np.load(folder / ANSWERS) as stored:
        said, labels, all_ids = stored["said"], stored["labels"], stored["ids"]
    outcomes = _outcomes(said, labels, yes_or_no=record["yes_or_no"])
    by, refusals, parts = {}, [], []
    for name, ids, names in zip(record["by"], all_ids, record["groups"], strict=True):
        rates = {
            rate: _counted(outcome, Groups(tuple(names), ids))
            for rate, outcome in outcomes.items()
        }
        gaps = {
            rate: _gap(rates[rate], names, section) for rate in SHOWN if rate in rates
        }
        by[name] = {"groups": _table(rates, ids, names), "gaps": gaps}
        refusals += _refusals(name, gaps, section)
        parts.append(_summary(name, gaps))
    return judged(
        " · ".join(parts),
        tuple(refusals),
        by=by,
        accuracy=float(np.mean(said == labels)),
        num_examples=len(said),
    )


Outcome = tuple[np.ndarray, np.ndarray]  # (examples,) bool: is a hit, is counted


def _outcomes(
    said: np.ndarray, labels: np.ndarray, *, yes_or_no: bool
) -> dict[str, Outcome]:
    """Return of each rate which examples are hits, and of which it is counted."""
    everyone = np.full(len(said), True)
    right = said == labels
    if not yes_or_no:
        return {"accuracy": (right, everyone)}
    yes, is_yes = said == 1, labels == 1
    return {
        "selection": (yes, everyone),
        "tpr": (yes, is_yes),
        "fpr": (yes, ~is_yes),
        "precision": (is_yes, yes),
        "accuracy": (right, everyone),
    }


def _counted(outcome: Outcome, of: Groups) -> tuple[np.ndarray, np.ndarray]:
    """Return hits and counted examples of each group."""
    hits, counted = outcome
    size = len(of.names)
    return (
        np.bincount(of.ids[hits & counted], minlength=size),
        np.bincount(of.ids[counted], minlength=size),
    )


def _gap(
    rate: tuple[np.ndarray, np.ndarray],
    names: Sequence[str],
    section: Mapping[str, Any],
) -> dict[str, Any]:
    """Return `gap` with its interval, who is `highest` and `lowest`, the `too_few`.

    Where fewer than two groups are large enough there are `too_few` alone.
    """
    hits, counts = rate
    large = np.flatnonzero(counts >= section["min_examples"])
    small = np.flatnonzero(counts < section["min_examples"])
    too_few = {names[place]: int(counts[place]) for place in small}
    if len(large) < 2:
        return {"too_few": too_few}
    shares = hits[large] / counts[large]
    low, high = interval(hits[large], counts[large], section["confidence"])
    return {
        "gap": float(shares.max() - shares.min()),
        "low": low,
        "high": high,
        "highest": names[large[shares.argmax()]],
        "lowest": names[large[shares.argmin()]],
        "too_few": too_few,
    }


def interval(
    hits: np.ndarray, counts: np.ndarray, confidence: float
) -> tuple[float, float]:
    """Return the bootstrap interval of the gap between the groups' rates.

    Examples are drawn anew within each group, so that hits are binomial. The quantiles
    are reflected at the gap (Davison and Hinkley 1997, section 5.2: the basic
    interval): the gap of a draw is on average larger than the one it was drawn from,
    and of equal groups the percentiles themselves would never hold 0.
    """
    shares = hits / counts
    random = np.random.default_rng(_SEED)
    drawn = random.binomial(counts, shares, (_DRAWS, len(counts))) / counts
    gaps = drawn.max(axis=1) - drawn.min(axis=1)
    tail = (1 - confidence) / 2
    quantiles = np.quantile(gaps, [1 - tail, tail])
    low, high = np.clip(2 * (shares.max() - shares.min()) - quantiles, 0, 1)
    return float(low), float(high)


def _table(
    rates: Mapping[str, tuple[np.ndarray, np.ndarray]],
    ids: np.ndarray,
    names: Sequence[str],
) -> dict[str, dict[str, float | None]]:
    """Return of each group its count and rates; None where nothing was counted."""
    counts = np.bincount(ids, minlength=len(names))
    return {
        name: {"count": int(counts[place])}
        | {
            rate: float(hits[place] / of[place]) if of[place] else None
            for rate, (hits, of) in rates.items()
        }
        for place, name in enumerate(names)
    }


def _refusals(
    by: str, gaps: Mapping[str, Mapping[str, Any]], section: Mapping[str, Any]
) -> list[str]:
    """Return a line for each gap above its bound."""
    lines = []
    for rate, shown in SHOWN.items():
        bound = section[f"{rate}_gap_at_most"]
        if bound is None:
            continue
        gap = gaps.get(rate, {})
        if "gap" not in gap:
            lines.append(
                f"{shown} gap by {by}: fewer than two groups with "
                f"{section['min_examples']} examples that count, expected at most "
                f"{bound:g}"
            )
        elif gap["gap"] > bound:
            lines.append(
                f"{shown} gap by {by} is {gap['gap']:.4f} ({gap['low']:.4f} to "
                f"{gap['high']:.4f} at {section['confidence']:.0%}; highest "
                f"{gap['highest']}, lowest {gap['lowest']}), expected at most {bound:g}"
            )
    return lines


def _summary(by: str, gaps: Mapping[str, Mapping[str, Any]]) -> str:
    parts = [
        f"{SHOWN[rate]} {gap['gap']:.3f}" if "gap" in gap else f"{SHOWN[rate]} unknown"
        for rate, gap in gaps.items()
    ]
    words = f"gaps by {by}: {', '.join(parts)}"
    small = dict.fromkeys(name for gap in gaps.values() for name in gap["too_few"])
    return f"{words}; too few: {' / '.join(small)}" if small else words


def _columns(examples: Sequence[bytes], names: set[str]) -> dict[str, Groups]:
    """Return the groups of each column.

    Raises:
      BadInputError: see `collect`.
    """
    columns = groups.columns(examples)
    for name in sorted(names):
        if name not in columns:
            raise BadInputError(
                f"[examine.fairness] columns: no example of `test` has one value in "
                f"{name!r}. Expected some of {', '.join(sorted(columns))}."
            )
        count = len(columns[name].unique().drop_null())
        is_number = groups.is_number(columns[name])
        most = MOST_NUMBERS if is_number else MOST_TEXTS
        if count > most:
            raise BadInputError(
                f"[examine.fairness] columns: {name!r} has {count:,} values, expected "
                f"at most {most} {'numbers' if is_number else 'texts'}. Name a column "
                "whose values are groups, or bring one in ranges."
            )
    return {name: groups.by_value(columns[name]) for name in names}
