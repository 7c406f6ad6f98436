"""Does the candidate know how sure it is?

Expected calibration error: answers are sorted by the probability of the answered class
into bins of about equal counts; the error is the mean gap, in a bin, between that
probability and the share of right answers (Guo et al. 2017; there bins are of equal
width, of which most stay empty). Also: accuracy if the least sure are withheld.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from components.exams import NotApplicableError, Verdict, judged
from components.exams.case import Case, is_wrong, of_label

FILE_NAME = "answers.npz"
_DRAWS = 200  # of answers, as chance would have them
COVERAGES = (1.0, 0.9, 0.8, 0.5)  # shares of answers that are given


def collect(case: Case, section: Mapping[str, Any], folder: Path) -> None:
    """Write the probability of each answer, and whether it was right."""
    del section
    if not case.has_classes:
        raise NotApplicableError("its answers are not probabilities of classes")
    said = case.answers["classes"]
    np.savez_compressed(
        folder / FILE_NAME,
        confidence=of_label(case.answers["probabilities"], said),
        right=~is_wrong(case.answers, case.labels),
    )


def judge(folder: Path, section: Mapping[str, Any]) -> Verdict:
    """Refuse a candidate whose error is above the bound, and above chance.

    Of few examples, the error of who knows exactly how sure it is is far from 0.
    """
    with np.load(folder / FILE_NAME) as stored:
        confidence, right = stored["confidence"], stored["right"]
    bins = reliability(confidence, right, section["bins"])
    error = expected_error(bins)
    bound = section["error_at_most"]
    refusals = ()
    chance = by_chance(confidence, section["bins"])
    if bound is not None and error > max(bound, chance):
        refusals = (
            f"calibration error is {error:.4f}, expected at most {bound:g} (chance "
            f"explains {chance:.4f})",
        )
    withheld = {f"{c:.0%}": accuracy_at(confidence, right, c) for c in COVERAGES}
    return judged(
        f"calibration error {error:.4f} · accuracy {withheld['100%']:.4f}, of the "
        f"surest 80% {withheld['80%']:.4f}",
        refusals,
        error=error,
        by_chance=chance,
        bins=bins,
        accuracy_of_surest=withheld,
    )


def reliability(
    confidence: np.ndarray, right: np.ndarray, num_bins: int
) -> list[dict[str, float]]:
    """Return mean confidence, accuracy and count of each bin, least sure first.

    Equal confidences share a bin, so that bins may be fewer and of unequal counts.
    """
    edges = np.unique(np.quantile(confidence, np.linspace(0, 1, num_bins + 1)))
    places = np.searchsorted(edges[1:-1], confidence, side="right")
    return [
        {
            "confidence": float(confidence[places == place].mean()),
            "accuracy": float(right[places == place].mean()),
            "count": int((places == place).sum()),
        }
        for place in np.unique(places)
    ]


def expected_error(bins: list[dict[str, float]]) -> float:
    """Return the mean gap between confidence and accuracy, 0 to 1."""
    total = sum(one["count"] for one in bins)
    gaps = (abs(one["confidence"] - one["accuracy"]) * one["count"] for one in bins)
    return float(sum(gaps) / total)


def by_chance(confidence: np.ndarray, num_bins: int) -> float:
    """Return the error that 19 of 20 models stay below that know how sure they are."""
    rng = np.random.default_rng(0)
    draws = (rng.random(len(confidence)) < confidence for _ in range(_DRAWS))
    errors = [expected_error(reliability(confidence, d, num_bins)) for d in draws]
    return float(np.quantile(errors, 0.95))


def accuracy_at(confidence: np.ndarray, right: np.ndarray, coverage: float) -> float:
    """Return the accuracy of the surest answers, of which a share is given."""
    count = max(1, round(coverage * len(right)))
    surest = np.argsort(-confidence, kind="stable")[:count]
    return float(right[surest].mean())
