"""Does the exported model read raw examples as it read them in training?

What its transform graph makes of the raw `test` examples is compared with the stored
transformed ones, value by value; the order of the examples differs, so the values of
each place of a column are compared as a set that counts. How the answers differ is told
by the share of right ones, on the raw examples and, by the same weights, on the
transformed ones.
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import numpy as np
import tensorflow as tf
import tensorflow_transform as tft

from components import inputs
from components.columns import LABEL
from components.diagnosis import Evidence, Finding
from components.exams.case import BATCH_SIZE, Arrays, Model, all_classes, read
from components.input_checks import kind

SKEWED = 0.01  # of the values of a column, or of right answers
_ALL = 10**9
_DIGITS = 5  # significant, of numbers
Batches = Iterable[Mapping[str, np.ndarray]]


def look(run: Evidence) -> Iterator[Finding]:
    """Yield how served examples differ from trained ones."""
    if not (run.model and run.transformed and run.transform_graph and run.examples):
        return
    if kind(run.transform) == "graph":
        return
    model = Model(run.model)
    raw = read(run.examples / "Split-test", _ALL)
    spec = tft.TFTransformOutput(str(run.transform_graph)).transformed_feature_spec()
    stored = list(_stored(run, spec))
    gaps = column_gaps(_served(model, raw), stored)
    found = {name: gap for name, gap in gaps.items() if gap > SKEWED}
    accuracies = None
    if run.transform["label"]:
        served = accuracy(model.ask_examples(raw), model.labels(raw))
        accuracies = (served, _accuracy(model, stored, run.transform))
    is_skewed = accuracies and abs(accuracies[0] - accuracies[1]) > SKEWED
    if found or is_skewed:
        yield _finding(found, accuracies)


def column_gaps(served: Batches, stored: Batches) -> dict[str, float]:
    """Return for each column the share of values that only one side has.

    Args:
      served: batches of columns, name -> (examples, ...) array.
      stored: likewise, in any order.
    """
    ours, theirs = (_joined(batches) for batches in (served, stored))
    return {
        name: _gap(ours[name], column) if name in ours else 1.0
        for name, column in theirs.items()
    }


def accuracy(answers: Arrays, labels: np.ndarray) -> float:
    """Return the share of labels that are the most probable class.

    That need not be the class answered: groups may have thresholds of their own, which
    no stored example has been through.
    """
    said = all_classes(answers["probabilities"]).argmax(axis=1)
    return float((said == labels.reshape(-1)).mean())


def _finding(found: Mapping[str, float], accuracies: Any) -> Finding:
    parts = []
    if found:
        worst = max(found, key=lambda name: found[name])
        parts.append(
            f"{found[worst]:.0%} of the values of {worst!r} that the served model "
            "computes from raw test examples are not those it was trained on"
        )
    if accuracies:
        parts.append(
            f"served it is right on {accuracies[0]:.1%}, the same weights on the "
            f"transformed examples on {accuracies[1]:.1%}"
        )
    gap = abs(accuracies[0] - accuracies[1]) if accuracies else 0.0
    strength = max([gap, *found.values()])
    figures = {"columns": dict(found), "accuracies": accuracies}
    return Finding("serving", float(strength), "; ".join(parts), figures)


def _served(model: Model, raw: list[bytes]) -> Iterator[Mapping[str, np.ndarray]]:
    for start in range(0, len(raw), BATCH_SIZE):
        batch = {"examples": np.array(raw[start : start + BATCH_SIZE], object)}
        yield model.ask(batch, signature="transform_features")


def _stored(run: Evidence, spec: inputs.Spec) -> Iterator[Mapping[str, np.ndarray]]:
    folder = run.transformed / "Split-test"
    files = sorted(str(path) for path in folder.glob("*.gz"))
    records = tf.data.TFRecordDataset(files, compression_type="GZIP")
    for serialized in records.batch(BATCH_SIZE):
        parsed = tf.io.parse_example(serialized, spec)
        yield {name: column.numpy() for name, column in parsed.items()}


def _accuracy(model: Model, stored: list[Any], transform: Mapping[str, Any]) -> float:
    right = []
    for features in stored:
        tensors = {name: tf.constant(column) for name, column in features.items()}
        logits = model.loaded.call_model(inputs.model_inputs(tensors, transform))
        labels = features[LABEL].reshape(-1)
        if logits.shape[-1] == 1:
            said = (logits[:, 0] > 0).numpy().astype(labels.dtype)
        else:
            said = np.argmax(logits, axis=-1)
        right.append(said == labels)
    return float(np.concatenate(right).mean())


def _joined(batches: Batches) -> Arrays:
    """Return columns as (examples, values), numbers rounded."""
    parts: dict[str, list[np.ndarray]] = {}
    for batch in batches:
        for name, column in batch.items():
            rows = column.reshape(len(column), -1)
            parts.setdefault(name, []).append(_rounded(rows))
    return {name: np.concatenate(found) for name, found in parts.items()}


def _rounded(values: np.ndarray) -> np.ndarray:
    if values.dtype.kind != "f":
        return values
    values = values.astype(np.float64)
    with np.errstate(divide="ignore", invalid="ignore"):
        size = np.floor(np.log10(np.abs(values)))
    scale = 10.0 ** (_DIGITS - 1 - np.where(np.isfinite(size), size, 0))
    return np.round(values * scale) / scale


def _gap(ours: np.ndarray, theirs: np.ndarray) -> float:
    if ours.shape[1] != theirs.shape[1]:
        return 1.0
    places = zip(ours.T, theirs.T, strict=True)
    return 1 - sum(_common(*sides) for sides in places) / max(1, theirs.size)


def _common(one: np.ndarray, other: np.ndarray) -> int:
    """Return how many values two sides share, each as often as both have it.

    NaN is equal to NaN.
    """
    values, kinds = np.unique(np.concatenate([one, other]), return_inverse=True)
    counts = (
        np.bincount(part, minlength=len(values))
        for part in (kinds[: len(one)], kinds[len(one) :])
    )
    return int(np.minimum(*counts).sum())
