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
from components.exams.case import Case, all_classes

FILE_NAME = "answers.npz"
COVERAGES = (1.0, 0.9, 0.8, 0.5)  # shares of answers that are given


def collect(case: Case, section: Mapping[str, Any], folder: Path) -> None:
    """Write the probability of each answer, and whether it was right."""
    del section
    if not case.has_classes:
        raise NotApplicableError("its answers are not probabilities of classes")
    table = all_classes(case.answers["probabilities"])
    np.savez_compressed(
        folder / FILE_NAME,
        confidence=table.max(axis=1),
        right=table.argmax(axis=1) == case.labels.reshape(-1),
    )


def judge(folder: Path, section: Mapping[str, Any]) -> Verdict:
    """Refuse a candidate whose calibration error is above the bound."""
    with np.load(folder / FILE_NAME) as stored:
        confidence, right = stored["confidence"], stored["right"]
    bins = reliability(confidence, right, section["bins"])
    error = expected_error(bins)
    bound = section["error_at_most"]
    refusals = ()
    if bound is not None and error > bound:
        refusals = (f"calibration error is {error:.4f}, expected at most {bound:g}",)
    withheld = {f"{c:.0%}": accuracy_at(confidence, right, c) for c in COVERAGES}
    return judged(
        f"calibration error {error:.4f} · accuracy {withheld['100%']:.4f}, of the "
        f"surest 80% {withheld['80%']:.4f}",
        refusals,
        error=error,
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


def accuracy_at(confidence: np.ndarray, right: np.ndarray, coverage: float) -> float:
    """Return the accuracy of the surest answers, of which a share is given."""
    count = max(1, round(coverage * len(right)))
    surest = np.argsort(-confidence, kind="stable")[:count]
    return float(right[surest].mean())
