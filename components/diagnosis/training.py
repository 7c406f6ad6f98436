"""Causes that lie in the training: it ended too early, or the model is too small."""

from collections.abc import Iterator, Mapping
from typing import Any

from components.diagnosis import Evidence, Finding

SMALL = 0.5  # share of the live model's updates or weights that counts as few
HIGHER = 1.05  # times the live model's training loss
FALLING = 0.2  # share of all that the loss fell, in the last fifth of the epochs
_MIN_EPOCHS = 5


def look(run: Evidence, reference: Evidence | None) -> Iterator[Finding]:
    """Yield what is wrong with how the model was trained."""
    ours = run.training
    if not ours or not ours.get("epochs"):
        return
    theirs = reference.training if reference else None
    if theirs and theirs.get("epochs"):
        yield from _compared(ours, theirs, reference.run)
    else:
        yield from _falling(ours)
        yield from _beaten(ours, run.simple or {})


def _compared(
    ours: Mapping[str, Any], theirs: Mapping[str, Any], before: int
) -> Iterator[Finding]:
    losses = [one["epochs"][-1]["loss"] for one in (ours, theirs)]
    if losses[0] <= HIGHER * losses[1]:
        return  # it learned its examples as well
    said = f"and the training loss ended at {losses[0]:.4f}, there at {losses[1]:.4f}"
    for cause, key, what in (
        ("undertraining", "updates", "updates were made"),
        ("capacity", "parameters", "weights are there to learn with"),
    ):
        share = ours[key] / theirs[key]
        if share <= SMALL:
            yield Finding(
                cause,
                1 - share,
                f"{ours[key]:,} {what}, {theirs[key]:,} in run {before}, {said}",
                {key: ours[key], "before": theirs[key], "losses": losses},
            )


def _falling(ours: Mapping[str, Any]) -> Iterator[Finding]:
    losses = [epoch["loss"] for epoch in ours["epochs"]]
    if len(losses) < _MIN_EPOCHS:
        return
    last = losses[-1 - len(losses) // 5]
    fell, fell_last = losses[0] - losses[-1], last - losses[-1]
    if fell > 0 and fell_last > FALLING * fell:
        yield Finding(
            "undertraining",
            fell_last / fell,
            f"the training loss was still falling: from {last:.4f} to {losses[-1]:.4f} "
            f"in the last fifth of {len(losses)} epochs",
            {"losses": losses},
        )


def _beaten(ours: Mapping[str, Any], simple: Mapping[str, float]) -> Iterator[Finding]:
    """Compare accuracy in training with a simple model's on `test`.

    Dropout and augmentation can put it below that on `eval`: the higher counts.
    """
    last = ours["epochs"][-1]
    accuracies = (last.get("accuracy"), last.get("val_accuracy"))
    learned = max((one for one in accuracies if one is not None), default=None)
    best = max(simple, key=lambda name: simple[name], default=None)
    if learned is None or best is None or simple[best] <= learned:
        return
    yield Finding(
        "capacity",
        simple[best] - learned,
        f"at most {learned:.1%} of `train` and of `eval` are answered right by "
        f"{ours['parameters']:,} weights, {simple[best]:.1%} of `test` by the "
        f"{best.replace('_', ' ')}",
        {"accuracy": learned, "simple": dict(simple)},
    )
