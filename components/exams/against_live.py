"""Is the candidate worse than the live model, on the same examples, beyond chance?

Compared is who is wrong where there are classes, else the loss of each example: of a
series on the candidate's scale, of texts only where both count the same tokens. The
candidate is refused only if the whole interval of the difference lies beyond what the
recipe allows: a difference that chance explains is called none.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from components.exams import NotApplicableError, Verdict, judged, paired
from components.exams.case import Case

FILE_NAME = "errors.npz"


def collect(case: Case, section: Mapping[str, Any], folder: Path) -> None:
    """Write what each model got wrong on the test split."""
    del section
    if case.live is None:
        raise NotApplicableError("no model is live yet")
    ours, theirs = case.errors(case.live, case.test)
    np.savez_compressed(
        folder / FILE_NAME, candidate=ours, live=theirs, overlap=case.overlap
    )


def judge(folder: Path, section: Mapping[str, Any]) -> Verdict:
    """Refuse a candidate that is worse by more than is allowed, beyond chance."""
    with np.load(folder / FILE_NAME) as stored:
        candidate, live, overlap = (stored[n] for n in ("candidate", "live", "overlap"))
    found = paired.difference(
        candidate, live, confidence=section["confidence"], overlap=float(overlap)
    )
    measure = "wrong answers" if candidate.dtype == bool else "loss"
    interval = f"{found.low:+.4f} to {found.high:+.4f}"
    said = "no difference" if found.is_chance else "better"
    if found.low > 0:
        said = "worse"
    allowed = section["worse_at_most"]
    line = (
        f"{measure}: {found.mean:+.4f} against the live model ({interval} at "
        f"{section['confidence']:.0%}), allowed {allowed:+g}"
    )
    return judged(
        f"{said} ({measure} {found.mean:+.4f}, {interval})",
        (line,) if found.low > allowed else (),
        verdict=said,
        difference=found.mean,
        low=found.low,
        high=found.high,
        num_examples=len(candidate),
    )
