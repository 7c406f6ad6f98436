"""Does it still answer right when inputs are spoiled, as the world spoils them?

The same test examples under every corruption of `components/corruptions` that fits, at
every strength. `drop` is what accuracy loses, the mean over all corruptions and
strengths against clean inputs; `worst` is the corruption whose accuracy, the mean over
strengths, is lowest. Bounds are held against intervals (Student's, over
examples), which for `worst` are widened for all corruptions that were tried: what
chance explains is not refused.
"""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from components.corruptions import STRENGTHS
from components.exams import NotApplicableError, Verdict, changes, judged, paired
from components.exams.case import Arrays, Case, Model
from components.exams.changes import Requests
from components.exams.paired import Difference

WRONG = "wrong.npz"
SHOWN = 12  # of the examples that flipped
Flip = tuple[int, int, int]  # places of example, corruption and strength


def collect(case: Case, section: Mapping[str, Any], folder: Path) -> None:
    """Write what each model got wrong, and the examples that flipped first."""
    requests = changes.requests(case, section["examples"])
    if not requests.corruptions:
        raise NotApplicableError("no column of it can be spoiled")
    models = {"candidate": case.candidate, "live": changes.comparable(case)}
    models = {name: model for name, model in models.items() if model}
    labels = {n: m.labels(requests.examples).reshape(-1) for n, m in models.items()}
    clean, spoiled = _answers(models, requests)
    stored = {name: spoiled[name] != labels[name] for name in models}
    stored |= {f"{name}_clean": clean[name] != labels[name] for name in models}
    names = np.array(requests.corruptions)
    np.savez_compressed(folder / WRONG, names=names, **stored)
    found = flips(stored["candidate_clean"], stored["candidate"])[:SHOWN]
    classes = changes.classes(case.transform)
    records = [
        {
            "corruption": requests.corruptions[corruption],
            "strength": level + 1,
            "label": classes[labels["candidate"][row]],
            "said": classes[spoiled["candidate"][corruption, level, row]],
        }
        for row, corruption, level in found
    ]
    rows = [row for row, _, _ in found]
    changes.keep(folder, requests, rows, _spoiled(requests, found), records)


def judge(folder: Path, section: Mapping[str, Any]) -> Verdict:
    """Refuse a candidate that loses more than is allowed, beyond chance."""
    with np.load(folder / WRONG) as stored:
        found = {name: stored[name] for name in stored.files}
    wrong, confidence = found["candidate"], section["confidence"]
    clean = found["candidate_clean"].astype(np.float64)
    of_example = wrong.mean(axis=(0, 1))
    drop = paired.difference(of_example, clean, confidence=confidence)
    name, worst = _worst(found["names"], wrong, confidence)
    refusals = []
    if _is_above(drop.low, section["drop_at_most"]):
        refusals.append(
            f"accuracy on spoiled inputs is {drop.mean:.4f} lower ({_ends(drop)}), "
            f"expected at most {section['drop_at_most']:g}"
        )
    if section["worst_at_least"] is not None and worst.high < section["worst_at_least"]:
        refusals.append(
            f"accuracy under {name} is {worst.mean:.4f} ({_ends(worst)}), expected at "
            f"least {section['worst_at_least']:g}"
        )
    against: dict[str, Any] = {}
    if "live" in found:
        theirs = found["live"].mean(axis=(0, 1))
        gap = paired.difference(of_example, theirs, confidence=confidence)
        against = {"accuracy": float(1 - theirs.mean()), "worse_by": vars(gap)}
        if _is_above(gap.low, section["worse_at_most"]):
            refusals.append(
                f"accuracy on spoiled inputs is {gap.mean:.4f} below the live model's "
                f"({_ends(gap)}), expected at most {section['worse_at_most']:g}"
            )
    right = 1 - wrong.mean(axis=2)  # (corruptions, strengths)
    return judged(
        f"spoiled inputs: accuracy {right.mean():.4f} of {1 - clean.mean():.4f}, worst "
        f"{name.replace('_', ' ')} {worst.mean:.4f}",
        tuple(refusals),
        clean=float(1 - clean.mean()),
        accuracy=float(right.mean()),
        drop=vars(drop),
        worst={"corruption": name, **vars(worst)},
        corruptions=dict(zip(found["names"].tolist(), right.tolist(), strict=True)),
        num_examples=len(clean),
        live=against,
    )


def flips(clean: np.ndarray, wrong: np.ndarray) -> list[Flip]:
    """Return where examples turn from right to wrong, the weakest corruption first.

    Args:
      clean: (examples,) bool, whether the answer to it as it is is wrong.
      wrong: (corruptions, strengths, examples) bool.

    Returns:
      One of each example that turns.
    """
    turned = wrong & ~clean
    levels = turned.any(axis=0).argmax(axis=0)  # (examples,)
    found = [
        (int(row), int(turned[:, levels[row], row].argmax()), int(levels[row]))
        for row in np.flatnonzero(turned.any(axis=(0, 1)))
    ]
    return sorted(found, key=lambda flip: (flip[2], flip[0]))


def _answers(models: Mapping[str, Model], requests: Requests) -> tuple[Arrays, Arrays]:
    """Return each model's classes: (examples,), and (corruptions, strengths, examples).

    Inputs are spoiled once for all models.
    """
    clean = {n: changes.answered(model, requests.inputs) for n, model in models.items()}
    said: dict[str, list[np.ndarray]] = {name: [] for name in models}
    for spoiled in _all_spoiled(requests):
        for name, model in models.items():
            said[name].append(changes.answered(model, spoiled))
    shape = (len(requests.corruptions), STRENGTHS, len(requests.examples))
    return clean, {name: np.reshape(found, shape) for name, found in said.items()}


def _all_spoiled(requests: Requests) -> Iterator[Arrays]:
    for name in requests.corruptions:
        for strength in range(1, STRENGTHS + 1):
            yield requests.corrupted(name, strength)


def _spoiled(requests: Requests, found: Sequence[Flip]) -> Arrays:
    """Return the inputs of flipped examples as they were when they flipped."""
    pairs = {(corruption, level) for _, corruption, level in found}
    made = {
        (corruption, level): requests.corrupted(
            requests.corruptions[corruption], level + 1
        )
        for corruption, level in pairs
    }
    return {
        name: np.array([made[c, level][name][row] for row, c, level in found], v.dtype)
        for name, v in requests.inputs.items()
    }


def _worst(
    names: np.ndarray, wrong: np.ndarray, confidence: float
) -> tuple[str, Difference]:
    """Return the corruption with the lowest accuracy, that, and its interval."""
    right = 1 - wrong.mean(axis=1)  # (corruptions, examples)
    worst = int(right.mean(axis=1).argmin())
    widened = 1 - (1 - confidence) / len(names)
    none = np.zeros(right.shape[1])
    return str(names[worst]), paired.difference(right[worst], none, confidence=widened)


def _is_above(value: float, bound: float | None) -> bool:
    return bound is not None and value > bound


def _ends(found: Difference) -> str:
    return f"{found.low:.4f} to {found.high:.4f}"
