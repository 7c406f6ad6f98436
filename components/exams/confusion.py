"""Which class does the candidate take for which?

It has no bound: it measures, and keeps the wrong answers that the candidate was surest
of, to be looked at.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from components.exams import NotApplicableError, Verdict, changes, judged
from components.exams.case import Case, of_label

ANSWERS, CLASSES = "answers.npz", "classes.json"
WRONG = "wrong.gz"  # TFRecord: raw examples, in the order of `figures["wrong"]`
MOST_CLASSES = 100  # of a whole matrix
NUM_PAIRS = 20  # of classes that are listed


def collect(case: Case, section: Mapping[str, Any], folder: Path) -> None:
    """Write what was said to each example, and the examples of the surest mistakes."""
    if not case.has_classes:
        raise NotApplicableError("its answers are no classes")
    said, labels = case.answers["classes"].reshape(-1), case.labels.reshape(-1)
    confidence = of_label(case.answers["probabilities"], said)
    wrong = np.flatnonzero(said != labels)
    wrong = wrong[np.argsort(-confidence[wrong], kind="stable")][: section["shown"]]
    np.savez_compressed(
        folder / ANSWERS, said=said, labels=labels, confidence=confidence, wrong=wrong
    )
    classes = json.dumps(changes.classes(case.transform))
    (folder / CLASSES).write_text(classes, "utf-8")
    with tf.io.TFRecordWriter(str(folder / WRONG), options="GZIP") as writer:
        for place in wrong:
            writer.write(case.test[place])


def judge(folder: Path, section: Mapping[str, Any]) -> Verdict:
    """Count what was taken for what; pass."""
    del section
    classes = json.loads((folder / CLASSES).read_text("utf-8"))
    with np.load(folder / ANSWERS) as stored:
        said, labels = stored["said"], stored["labels"]
        confidence, wrong = stored["confidence"], stored["wrong"]
    pairs = _pairs(labels, said, classes)
    num_wrong = int((said != labels).sum())
    line = f"{num_wrong:,} of {len(labels):,} wrong"
    if pairs:
        first = pairs[0]
        line += (
            f" · most often {first['label']} taken for {first['answer']} "
            f"({first['count']:,})"
        )
    return judged(
        line,
        classes=classes,
        num_examples=len(labels),
        num_wrong=num_wrong,
        matrix=_matrix(labels, said, len(classes)),
        pairs=pairs,
        wrong=[
            {
                "label": classes[labels[place]],
                "answer": classes[said[place]],
                "confidence": float(confidence[place]),
            }
            for place in wrong
        ],
    )


def _matrix(
    labels: np.ndarray, said: np.ndarray, num_classes: int
) -> list[list[int]] | None:
    """Return how many examples of each class (row) were said to be which (column)."""
    if num_classes > MOST_CLASSES:
        return None
    counts = np.zeros((num_classes, num_classes), np.int64)
    np.add.at(counts, (labels, said), 1)
    return counts.tolist()


def _pairs(
    labels: np.ndarray, said: np.ndarray, classes: list[str]
) -> list[dict[str, Any]]:
    """Return the mistakes that were made most often."""
    is_wrong = said != labels
    both = np.stack([labels[is_wrong], said[is_wrong]], axis=1)
    found, counts = np.unique(both, axis=0, return_counts=True)
    order = np.argsort(-counts, kind="stable")[:NUM_PAIRS]
    return [
        {
            "label": classes[found[place][0]],
            "answer": classes[found[place][1]],
            "count": int(counts[place]),
        }
        for place in order
    ]
