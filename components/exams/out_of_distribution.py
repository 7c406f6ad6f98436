"""Does it notice inputs that are none of its kind?

Two scores of how familiar an input is: the probability of the answered class, and the
energy, the logarithm of the summed exponentials of the logits (Liu et al. 2020; for a
yes-or-no label, of half the logit and of minus that, which orders inputs as the
probability does). An AUROC is the chance that a test example is more familiar than one
from elsewhere: 1 tells all of them, 0.5 none.

Measured against each set of `components/corruptions/elsewhere.py` and against test
examples at the greatest strength of each corruption. The bound is on the mean over the
first: a corrupted example may still be one of its kind. Who is asked for a picture's
class is not thereby taught to doubt, so that honest models may score low.
"""

from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from components import inputs
from components.corruptions import STRENGTHS, elsewhere
from components.exams import Verdict, changes, judged, paired
from components.exams.case import BATCH_SIZE, Arrays, Case, all_classes
from components.exams.changes import Requests

FILE_NAME = "scores.npz"
SCORES = ("energy", "probability")
FARTHEST = 2.0**62  # of whole numbers


def collect(case: Case, section: Mapping[str, Any], folder: Path) -> None:
    """Write both scores of test examples and of all other sets."""
    requests = changes.requests(case, section["examples"])
    names = elsewhere.NAMES[requests.kind]
    sets = [requests.elsewhere(name) for name in names]
    sets += [requests.corrupted(name, STRENGTHS) for name in requests.corruptions]
    scores = [_scores(case, requests, values) for values in (requests.inputs, *sets)]
    of = {name: np.stack([found[name] for found in scores]) for name in SCORES}
    np.savez_compressed(
        folder / FILE_NAME,
        elsewhere=np.array(names),
        corrupted=np.array(requests.corruptions, str),
        **of,
    )


def judge(folder: Path, section: Mapping[str, Any]) -> Verdict:
    """Refuse a candidate that tells too few inputs from elsewhere, beyond chance."""
    with np.load(folder / FILE_NAME) as stored:
        found = {name: stored[name] for name in stored.files}
    names = found["elsewhere"].tolist()
    scores = found[section["score"]]
    parts = placements(scores[0], scores[1 : 1 + len(names)])
    none = np.zeros(len(parts))
    mean = paired.difference(parts, none, confidence=section["confidence"])
    bound, refusals = section["auroc_at_least"], ()
    if bound is not None and mean.high < bound:
        refusals = (
            f"AUROC of the {section['score']} against inputs from elsewhere is "
            f"{mean.mean:.4f} ({mean.low:.4f} to {mean.high:.4f}), expected at least "
            f"{bound:g}",
        )
    sets = [*names, *found["corrupted"].tolist()]
    each = {
        score: dict(zip(sets, map(float, _each(found[score])), strict=True))
        for score in SCORES
    }
    told = ", ".join(
        f"{n.replace('_', ' ')} {each[section['score']][n]:.3f}" for n in names
    )
    return judged(
        f"inputs from elsewhere by {section['score']}: AUROC {told}",
        refusals,
        score=section["score"],
        auroc=mean.mean,
        low=mean.low,
        high=mean.high,
        sets=each,
        elsewhere=names,
        num_examples=scores.shape[1],
    )


def placements(test: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Return what each example adds to the mean AUROC, whose mean it is.

    An example is together with the ones that were made from it: in what it adds is how
    many of the others are below it, and how many test examples are above those. Their
    variance over the number of examples is DeLong's of the AUROC, made for pairs.

    Args:
      test: (examples,) scores.
      others: (sets, examples) scores.

    Returns:
      (examples,) float64.
    """
    above = np.mean([_below(of, test) for of in others], axis=0)
    below = np.mean([1 - _below(test, of) for of in others], axis=0)
    return above + below - above.mean()


def auroc(test: np.ndarray, other: np.ndarray) -> float:
    """Return the share of pairs in which `test` scores higher; ties count half."""
    return float(_below(other, test).mean())


def _each(scores: np.ndarray) -> list[float]:
    return [auroc(scores[0], other) for other in scores[1:]]


def _below(values: np.ndarray, than: np.ndarray) -> np.ndarray:
    """Return which share of `values` is below each of `than`; equal ones count half."""
    ordered = np.sort(values)
    left, right = (np.searchsorted(ordered, than, side) for side in ("left", "right"))
    return (left + right) / (2 * len(values))


def _scores(case: Case, requests: Requests, values: Arrays) -> Arrays:
    values = {name: _storable(column) for name, column in values.items()}
    answered = case.candidate.ask(values)["probabilities"]
    logits = np.concatenate([*_logits(case, requests, values)]).astype(np.float64)
    if logits.shape[1] == 1:
        logits = np.concatenate([-logits / 2, logits / 2], axis=1)
    return {
        "energy": np.logaddexp.reduce(logits, axis=1),
        "probability": all_classes(answered).max(axis=1),
    }


def _storable(column: np.ndarray) -> np.ndarray:
    """Return a column of `serve_raw` whose whole numbers, float64, fit into 64 bits."""
    is_whole = column.dtype == np.float64
    return np.clip(column, -FARTHEST, FARTHEST) if is_whole else column


def _logits(case: Case, requests: Requests, values: Arrays) -> Iterator[np.ndarray]:
    for start in range(0, len(requests.examples), BATCH_SIZE):
        batch = {n: v[start : start + BATCH_SIZE] for n, v in values.items()}
        ready = _ready(case, requests, batch, start)
        yield case.candidate.loaded.call_model(ready).numpy()


def _ready(case: Case, requests: Requests, batch: Arrays, start: int) -> inputs.Inputs:
    """Return changed inputs as the model is called on them."""
    if requests.kind in ("image", "audio"):
        (array,) = batch.values()
        return inputs.prepared(tf.constant(array), case.transform)
    num_rows = len(next(iter(batch.values())))
    changed = [
        rewritten(
            requests.examples[start + row],
            {name: values[row] for name, values in batch.items()},
            may_lack=requests.emptied,
        )
        for row in range(num_rows)
    ]
    asked = {"examples": np.array(changed, object)}
    features = case.candidate.ask(asked, signature="transform_features")
    tensors = {name: tf.constant(values) for name, values in features.items()}
    return inputs.model_inputs(tensors, case.transform)


def rewritten(
    serialized: bytes, values: Mapping[str, Any], *, may_lack: Collection[str]
) -> bytes:
    """Return a stored example with other values, which are those of `serve_raw`.

    There float64 stands for whole numbers, and NaN and b"" for missing: of `may_lack`
    such features are left out, others are always there.
    """
    example = tf.train.Example.FromString(serialized)
    for name, value in values.items():
        feature = example.features.feature[name]
        feature.Clear()
        if name in may_lack and (value == b"" or value != value):
            del example.features.feature[name]
        elif isinstance(value, bytes):
            feature.bytes_list.value.append(value)
        elif value.dtype == np.float64:
            feature.int64_list.value.append(int(value))
        else:
            feature.float_list.value.append(value)
    return example.SerializeToString()
