"""Is the candidate worth more than the best simple model, on the same examples?

The simple models are those of `components/baselines.py`; the best is the one with the
fewest wrong answers, or the least loss, on the examples compared; choosing it there
favours it a little, not the candidate. Thresholds of groups (`export.thresholds`) are
left out: the race is about what was learned.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from components import baselines, inputs, text_codec
from components.columns import LABEL
from components.exams import NotApplicableError, Verdict, judged, paired
from components.exams.case import BATCH_SIZE, Case

FILE_NAME = "errors.npz"
_CANDIDATE, _OVERLAP = "candidate", "overlap"  # no simple model is called so


def collect(case: Case, section: Mapping[str, Any], folder: Path) -> None:
    """Write what the candidate and each simple model got wrong."""
    del section
    with np.load(case.baselines / baselines.ERRORS) as stored:
        theirs = {name: stored[name] for name in stored.files}
    if not theirs:
        raise NotApplicableError("no simple model could learn these data")
    files = sorted(str(path) for path in (case.transformed / "Split-test").glob("*.gz"))
    thinned = baselines.thinning(files, case.transform) if case.has_classes else 1
    further = max(1, -(-len(next(iter(theirs.values()))) // case.most))
    ours = np.concatenate([*_errors(case, files, thinned * further)])
    errors = {name: found[::further] for name, found in theirs.items()}
    np.savez_compressed(
        folder / FILE_NAME, **errors, **{_CANDIDATE: ours, _OVERLAP: case.overlap}
    )


def judge(folder: Path, section: Mapping[str, Any]) -> Verdict:
    """Say which is better; refuse a candidate that is worse, where it must not be."""
    with np.load(folder / FILE_NAME) as stored:
        errors = {name: stored[name] for name in stored.files}
    ours, overlap = errors.pop(_CANDIDATE), float(errors.pop(_OVERLAP))
    best = min(errors, key=lambda name: float(errors[name].mean()))
    found = paired.difference(
        ours, errors[best], confidence=section["confidence"], overlap=overlap
    )
    name = best.replace("_", " ")
    if found.low > 0:
        said = f"use the {name}: it is better"
    elif found.is_chance:
        said = f"no better than the {name}"
    else:
        said = f"better than the {name}"
    measure = "wrong answers" if ours.dtype == bool else "loss"
    numbers = f"{measure} {found.mean:+.4f}, {found.low:+.4f} to {found.high:+.4f}"
    refused = section["must_win"] and found.low > 0
    return judged(
        f"{said} ({numbers})",
        (f"{said} ({numbers} at {section['confidence']:.0%})",) if refused else (),
        best=best,
        difference=found.mean,
        low=found.low,
        high=found.high,
        errors={n: float(e.mean()) for n, e in errors.items()}
        | {_CANDIDATE: float(ours.mean())},
    )


def _errors(case: Case, files: list[str], every: int) -> Iterator[np.ndarray]:
    """Yield what the candidate got wrong of the transformed test examples."""
    records = tf.data.TFRecordDataset(files, compression_type="GZIP").shard(every, 0)
    for serialized in records.batch(BATCH_SIZE):
        features = tf.io.parse_example(serialized, case.spec)
        answered = case.candidate.loaded.call_model(
            inputs.model_inputs(features, case.transform)
        )
        yield _wrong(tf.cast(answered, tf.float32), features[LABEL], case)


def _wrong(answered: tf.Tensor, labels: tf.Tensor, case: Case) -> np.ndarray:
    if case.transform["series"]:
        gaps = tf.reshape(answered, tf.shape(labels)) - labels
        return np.mean(np.square(gaps, dtype=np.float64), axis=1)
    if not case.has_classes:
        return text_codec.token_losses(answered, labels).numpy().astype(np.float64)
    if answered.shape[-1] == 1:
        said = tf.cast(answered[:, 0] > 0, labels.dtype)
    else:
        said = tf.argmax(answered, axis=-1, output_type=labels.dtype)
    return (said != labels[:, 0]).numpy()
