"""A threshold for each group, so that groups are said yes to at equal rates.

Equal opportunity: of those whose label is yes. Demographic parity: of all. Each group
gets the threshold whose rate is nearest to one common rate, which is the one that costs
the fewest right answers; so two groups differ by at most one example of the smaller,
unless scores are tied. That is Hardt, Price and Srebro 2016, "Equality of Opportunity
in Supervised Learning", section 4, without the random mixing of two thresholds that
would make the rates exactly equal: the same request is to get the same answer.

Thresholds are those of logits, in float32: what is served compares the same numbers,
while probabilities near 1 round to 1.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from scipy import special

MIN_EXAMPLES = 20  # that a group's rate is counted of; of fewer it says too little
USUAL = 0.0  # a probability of 0.5
_RATES = np.linspace(0.0, 1.0, 1001)  # common ones that are tried


def fit(
    logits: np.ndarray,
    labels: np.ndarray,
    groups: np.ndarray,
    *,
    rule: str,
    num_groups: int,
) -> np.ndarray:
    """Return (num_groups,) float32: the answer is yes above a group's threshold.

    A group of less than MIN_EXAMPLES keeps the usual threshold.

    Args:
      logits: (N,) float32, as they are served: divided by the temperature.
      labels: (N,) of 0 and 1.
      groups: (N,) whole numbers from 0.
      rule: `equal_opportunity` or `demographic_parity`.
      num_groups: how many there may be.
    """
    found = np.full(num_groups, USUAL, np.float32)
    counted = _counted(labels, rule)
    courses = {
        group: _course(logits[rows], labels[rows], counted[rows])
        for group, rows in _large(groups, counted).items()
    }
    if not courses:
        return found
    nearest = {group: _nearest(rates) for group, (_, rates, _) in courses.items()}
    right = sum(courses[group][2][places] for group, places in nearest.items())
    best = int(np.argmax(right))
    for group, (bounds, _, _) in courses.items():
        found[group] = bounds[nearest[group][best]]
    return found


def figures(
    logits: np.ndarray,
    labels: np.ndarray,
    groups: np.ndarray,
    *,
    rule: str,
    thresholds: np.ndarray,
    names: Sequence[str],
) -> dict[str, Any]:
    """Return `thresholds`, as probabilities, and what they are worth beside USUAL.

    `usual` and `fitted` each have the `accuracy`, the `rates` of the groups that have
    MIN_EXAMPLES, and the `gap` between the highest and the lowest. `names` are those of
    the groups; other arguments as in `fit`.
    """
    above = special.expit(thresholds.astype(np.float64))
    result: dict[str, Any] = {
        "thresholds": {names[g]: float(above[g]) for g in np.unique(groups)}
    }
    counted = _counted(labels, rule)
    large = _large(groups, counted)
    usual = np.full_like(thresholds, USUAL)
    for name, each in (("usual", usual), ("fitted", thresholds)):
        said = logits > each[groups]
        rates = {g: float(said[of & counted].mean()) for g, of in large.items()}
        result[name] = {
            "accuracy": float(np.mean(said == (labels == 1))),
            "rates": {names[group]: rate for group, rate in rates.items()},
            "gap": max(rates.values()) - min(rates.values()) if rates else 0.0,
        }
    return result


def _course(
    logits: np.ndarray, labels: np.ndarray, counted: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return what lowering one group's threshold does: from nobody to everybody.

    Returns:
      Thresholds, the rate at each, and how many answers are right at each.
    """
    order = np.argsort(-logits, kind="stable")
    scores, labels, counted = logits[order], labels[order], counted[order]
    yes = np.concatenate([[0], np.cumsum(labels == 1)])
    no = np.concatenate([[0], np.cumsum(labels == 0)])
    rates = np.concatenate([[0], np.cumsum(counted)]) / counted.sum()
    everybody, nobody = [np.float32(-np.inf)], [np.float32(np.inf)]
    between = np.concatenate([nobody, _between(scores), everybody])
    # No threshold parts equal scores; of those with one rate the first is right most
    # often: behind it only answers that are wrong are added.
    parts = np.flatnonzero(np.concatenate([[True], scores[:-1] > scores[1:], [True]]))
    _, first = np.unique(rates[parts], return_index=True)
    kept = parts[first]
    return between[kept], rates[kept], (yes + no[-1] - no)[kept]


def _between(scores: np.ndarray) -> np.ndarray:
    """Return thresholds between each score and the next, float32; scores descend."""
    upper, lower = scores[:-1], scores[1:]
    middle = ((upper.astype(np.float64) + lower) / 2).astype(np.float32)
    # Above the middle of two neighbours in float32 the upper may not be.
    return np.where(middle == upper, lower, middle)


def _nearest(rates: np.ndarray) -> np.ndarray:
    """Return the place of the rate nearest to each of `_RATES`; `rates` ascend."""
    above = np.clip(np.searchsorted(rates, _RATES), 1, len(rates) - 1)
    is_lower = _RATES - rates[above - 1] <= rates[above] - _RATES
    return np.where(is_lower, above - 1, above)


def _counted(labels: np.ndarray, rule: str) -> np.ndarray:
    """Return which examples a group's rate is counted of."""
    return labels == 1 if rule == "equal_opportunity" else np.full(len(labels), True)


def _large(groups: np.ndarray, counted: np.ndarray) -> dict[int, np.ndarray]:
    """Return the rows of each group that has MIN_EXAMPLES of those counted."""
    rows = {int(group): groups == group for group in np.unique(groups)}
    return {g: of for g, of in rows.items() if (of & counted).sum() >= MIN_EXAMPLES}
