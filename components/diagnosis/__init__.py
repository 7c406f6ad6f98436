"""Find out why a candidate is bad, by checks that can fail; nothing is guessed.

Each check looks for one cause and returns a finding with its numbers, or None. Most
compare a run with the one that trained the live model, its `reference`: what a check
needs of a reference that is not there, it cannot find.

Inputs are looked at first. Where they have moved, what the live model says of them
proves nothing about their labels, and labels are not looked at.
"""

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

# Equally strong findings: the one that explains the others comes first.
CAUSES = (
    "serving",
    "leak",
    "dropped_column",
    "duplicates",
    "labels",
    "shift",
    "undertraining",
    "capacity",
)


@dataclass(frozen=True)
class Finding:
    """A cause that a check found.

    Attributes:
      cause: one of `CAUSES`.
      strength: of the evidence: the share of what was looked at that is affected.
      text: one sentence, with the numbers.
      figures: those numbers, as JSON values.
    """

    cause: str
    strength: float
    text: str
    figures: Mapping[str, Any]


@dataclass(frozen=True)
class Evidence:
    """What a run left; None for what it did not come to.

    Attributes:
      run: its number.
      transform: the recipe's section of that name.
      examples: URI of the raw examples.
      transformed: URI of the transformed ones.
      transform_graph: URI.
      model: directory of the SavedModel.
      training: figures of the step `train`.
      simple: accuracy of each simple model on `test`, by name.
    """

    run: int
    transform: Mapping[str, Any]
    examples: Path | None = None
    transformed: Path | None = None
    transform_graph: Path | None = None
    model: Path | None = None
    training: Mapping[str, Any] | None = None
    simple: Mapping[str, float] | None = None


def report(
    run: Mapping[str, Any], reference: Mapping[str, Any] | None
) -> dict[str, Any]:
    """Return findings and flipped examples as JSON values; arguments: `Evidence`."""
    from components.diagnosis import flips

    ours, theirs = Evidence(**run), Evidence(**reference) if reference else None
    findings = [asdict(one) for one in diagnose(ours, theirs)]
    return {"findings": findings, "flips": flips.look(ours, theirs)}


def diagnose(run: Evidence, reference: Evidence | None) -> list[Finding]:
    """Return what explains a refusal, the strongest evidence first; [] for nothing."""
    return sorted(
        _found(run, reference),
        key=lambda one: (-round(one.strength, 1), CAUSES.index(one.cause)),
    )


def _found(run: Evidence, reference: Evidence | None) -> Iterator[Finding]:
    # Imported where they are used: `CAUSES` is read without TensorFlow.
    from components.diagnosis import data_causes, serving, training

    yield from data_causes.look(run, reference)
    yield from training.look(run, reference)
    yield from serving.look(run)
