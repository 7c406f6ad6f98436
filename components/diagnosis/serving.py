"""Does the exported model read raw examples as it read them in training?

What its transform graph makes of the raw `test` examples is compared with the stored
transformed ones, column by column; their order differs, so values are compared as a
set that counts. How the answers differ is told by the share of right ones, on the raw
examples and, by the same weights, on the transformed ones.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import numpy as np
import tensorflow as tf
import tensorflow_transform as tft

from components import inputs
from components.columns import LABEL
from components.diagnosis import Evidence, Finding
from components.exams.case import BATCH_SIZE, Model, is_wrong, read
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
        labels = model.labels(raw)
        right = 1 - is_wrong(model.ask_examples(raw), labels).mean()
        accuracies = (float(right), _accuracy(model, stored, run.transform))
    is_skewed = accuracies and abs(accuracies[0] - accuracies[1]) > SKEWED
    if found or is_skewed:
        yield _finding(found, accuracies)


def column_gaps(served: Batches, stored: Batches) -> dict[str, float]:
    """Return for each column the share of values that only one side has.

    Args:
      served: batches of columns, name -> (examples, ...) array.
      stored: likewise, in any order.
    """
    sides = [_counted(batches) for batches in (served, stored)]
    gaps = {}
    for name in sides[1]:
        both = sides[0].get(name, Counter()) & sides[1][name]
        total = max(1, sides[1][name].total())
        gaps[name] = 1 - both.total() / total
    return gaps


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


def _counted(batches: Batches) -> dict[str, Counter[Any]]:
    counts: dict[str, Counter[Any]] = {}
    for batch in batches:
        for name, column in batch.items():
            found = counts.setdefault(name, Counter())
            found.update(_key(row) for row in column.reshape(len(column), -1))
    return counts


def _key(row: np.ndarray) -> Any:
    """Return what two rows have in common that are equal up to rounding."""
    if row.dtype == object:
        return tuple(row.tolist())
    if row.dtype.kind == "f":
        return tuple(float(f"{v:.{_DIGITS}g}") for v in row)
    return row.tobytes()
