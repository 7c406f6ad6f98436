"""Does it still answer right when pixels are changed a little to make it err?

White box: whoever attacks has the model. Fast gradient sign, one step; and projected
gradient descent from a random start (`components/adversarial.py`), in pixels as a
request has them, through each model's own scaling. The robust accuracy counts an
example as right if no attack succeeded; stronger attacks exist, so it is an upper
bound.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
from scipy import stats

from components import adversarial, inputs, same_inputs
from components.exams import NotApplicableError, Verdict, changes, judged, paired
from components.exams.case import BATCH_SIZE, Arrays, Case, Model
from components.exams.changes import Requests
from components.input_checks import kind

WRONG = "wrong.npz"
SHOWN = 12
ATTACKS = ("fgsm", "pgd")
SEED = (6, 0)


def collect(case: Case, section: Mapping[str, Any], folder: Path) -> None:
    """Write what each model got wrong under attacks on itself, and a few pictures."""
    if kind(case.transform) != "image":
        raise NotApplicableError("it does not read pictures")
    requests = changes.requests(case, section["examples"])
    live = changes.comparable(case)
    models = {"candidate": case.candidate} | ({"live": live} if live else {})
    stored = {}
    for name, model in models.items():
        labels = model.labels(requests.examples).reshape(-1)
        attacked = {
            how: _attacked(model, requests, labels, _options(how, section))
            for how in ATTACKS
        }
        said = {h: changes.answered(model, v) for h, v in attacked.items()}
        clean = changes.answered(model, requests.inputs)
        stored |= {f"{name}_{how}": said[how] != labels for how in ATTACKS}
        stored[f"{name}_clean"] = clean != labels
        if model is case.candidate:
            _keep(case, requests, (labels, clean, said["pgd"]), attacked["pgd"], folder)
    np.savez_compressed(folder / WRONG, **stored)


def judge(folder: Path, section: Mapping[str, Any]) -> Verdict:
    """Refuse a candidate that is right too seldom under attack, beyond chance."""
    with np.load(folder / WRONG) as stored:
        found = {name: stored[name] for name in stored.files}
    wrong, confidence = _any_wrong(found, "candidate"), section["confidence"]
    right = stats.binomtest(int((~wrong).sum()), len(wrong))
    interval = right.proportion_ci(confidence, method="wilson")
    accuracy, size = float((~wrong).mean()), f"epsilon {section['epsilon']:.4f}"
    ends = f"{interval.low:.4f} to {interval.high:.4f}"
    refusals = []
    bound = section["accuracy_at_least"]
    if bound is not None and interval.high < bound:
        refusals.append(
            f"accuracy under attack ({size}) is {accuracy:.4f} ({ends}), expected at "
            f"least {bound:g}"
        )
    against: dict[str, Any] = {}
    if "live_clean" in found:
        theirs = _any_wrong(found, "live")
        gap = paired.difference(wrong, theirs, confidence=confidence)
        against = {"accuracy": float((~theirs).mean()), "worse_by": vars(gap)}
        allowed = section["worse_at_most"]
        if allowed is not None and gap.low > allowed:
            refusals.append(
                f"accuracy under attack ({size}) is {gap.mean:.4f} below the live "
                f"model's ({gap.low:.4f} to {gap.high:.4f}), expected at most "
                f"{allowed:g}"
            )
    by = {how: float(1 - found[f"candidate_{how}"].mean()) for how in ATTACKS}
    clean = float(1 - found["candidate_clean"].mean())
    return judged(
        f"under attack ({size}): accuracy {accuracy:.4f} of {clean:.4f}",
        tuple(refusals),
        clean=clean,
        accuracy=accuracy,
        low=float(interval.low),
        high=float(interval.high),
        **by,
        epsilon=section["epsilon"],
        num_examples=len(wrong),
        live=against,
    )


def _options(how: str, section: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options of `adversarial.attack`, in pixels."""
    epsilon, steps = 255.0 * section["epsilon"], section["steps"]
    if how == "fgsm":
        return {"epsilon": epsilon, "step_size": epsilon, "steps": 1}
    # Steps add up to 2.5 times the way, as in Madry et al. 2018.
    size = 2.5 * epsilon / steps
    return {"epsilon": epsilon, "step_size": size, "steps": steps, "seed": SEED}


def _attacked(
    model: Model, requests: Requests, labels: np.ndarray, options: Mapping[str, Any]
) -> Arrays:
    ((name, pixels),) = requests.inputs.items()
    # The live model may scale pixels otherwise than the recipe does now.
    transform = same_inputs.section(str(model.directory))

    def logits(batch: tf.Tensor) -> tf.Tensor:
        ready = inputs.prepared(batch, transform)
        return model.loaded.call_model(ready)

    found = [
        adversarial.attack(
            logits,
            pixels[start : start + BATCH_SIZE],
            labels[start : start + BATCH_SIZE],
            low=0.0,
            high=255.0,
            **options,
        ).numpy()
        for start in range(0, len(pixels), BATCH_SIZE)
    ]
    return {name: np.concatenate(found)}


def _keep(
    case: Case,
    requests: Requests,
    answers: tuple[np.ndarray, np.ndarray, np.ndarray],
    attacked: Arrays,
    folder: Path,
) -> None:
    """Keep pictures for which the answer was right, and is wrong under attack."""
    labels, clean, said = answers
    rows = np.flatnonzero((clean == labels) & (said != labels))[:SHOWN].tolist()
    names = changes.classes(case.transform)
    records = [
        {"attack": "pgd", "label": names[labels[row]], "said": names[said[row]]}
        for row in rows
    ]
    after = {name: values[rows] for name, values in attacked.items()}
    changes.keep(folder, requests, rows, after, records)


def _any_wrong(found: Arrays, model: str) -> np.ndarray:
    return np.any([found[f"{model}_{how}"] for how in ("clean", *ATTACKS)], axis=0)
