"""Training examples as columns of values that can be compared between two runs."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from components.exams.case import read
from components.input_checks import kind, used_features
from components.label_audit import class_name

MOST = 60_000  # examples read of a split, to count copies
MOST_DISTINCT = 5_000  # examples looked into
MAX_SIDE = 16  # pixels, of images; larger ones are shrunk
SUMMARIES = ("brightness", "contrast")  # columns that are computed from all pixels

Column = np.ndarray  # (examples,) float64, NaN: missing; or texts, "": missing


@dataclass(frozen=True)
class Sample:
    """Distinct training examples of a run.

    Attributes:
      serialized: raw examples, no two equal.
      columns: what the model reads, by name.
      labels: (examples,) the class of each in words; None without classes.
      total: how many were read to find them.
      copied: how many of those are copies of another.
      copies_of: classes of the copies, and how many each has.
    """

    serialized: list[bytes]
    columns: Mapping[str, Column]
    labels: np.ndarray | None
    total: int
    copied: int
    copies_of: Mapping[str, int]


def take(examples: Path, transform: Mapping[str, Any], split: str = "train") -> Sample:
    """Read a split, and look into as many distinct examples as are wanted."""
    stored = read(examples / f"Split-{split}", MOST)
    counts: dict[bytes, int] = {}
    for one in stored:
        counts[one] = counts.get(one, 0) + 1
    distinct = list(counts)
    serialized = distinct[:: -(-len(distinct) // MOST_DISTINCT) or 1]
    rows = [tf.train.Example.FromString(one) for one in serialized]
    repeated = [one for one, count in counts.items() if count > 1]
    named = labels_of([tf.train.Example.FromString(r) for r in repeated], transform)
    copies_of: dict[str, int] = {}
    for one, label in zip(repeated, [] if named is None else named, strict=False):
        copies_of[label] = copies_of.get(label, 0) + counts[one] - 1
    return Sample(
        serialized=serialized,
        columns=columns_of(rows, transform),
        labels=labels_of(rows, transform),
        total=len(stored),
        copied=len(stored) - len(distinct),
        copies_of=copies_of,
    )


def columns_of(
    rows: Sequence[tf.train.Example], transform: Mapping[str, Any]
) -> dict[str, Column]:
    """Return what a model reads: pixels, lengths of texts, or columns of a table.

    Without times: those of later examples are later.
    """
    found = kind(transform)
    if found == "image":
        return _pixels(rows, transform["image"])
    if found == "text":
        texts = [first_value(row, transform["text"]["feature"]) or b"" for row in rows]
        words = [len(text.split()) for text in texts]
        return {
            "characters": np.array([len(text) for text in texts], np.float64),
            "words": np.array(words, np.float64),
        }
    if found != "table":
        return {}
    return {
        name: _column([first_value(row, name) for row in rows])
        for name in used_features(transform)
        if name not in transform["calendar"]
    }


def labels_of(
    rows: Sequence[tf.train.Example], transform: Mapping[str, Any]
) -> np.ndarray | None:
    """Return the class of each example in words, (examples,); None without classes."""
    label = transform["label"]
    if not label or kind(transform) == "graph":
        return None
    values = [first_value(row, label["feature"]) for row in rows]
    if label["classes"] is not None:
        return np.array([_text(value) for value in values], object)
    if label["divide_by"]:
        divisors = [first_value(row, label["divide_by"]) for row in rows]
        values = [
            (v or 0) / d if d else 0 for v, d in zip(values, divisors, strict=True)
        ]
    above = [int((value or 0) > label["above"]) for value in values]
    return np.array([class_name(transform, one) for one in above], object)


def first_value(row: tf.train.Example, name: str) -> Any:
    """Return the first value of a feature; None where there is none."""
    feature = row.features.feature
    if name not in feature:
        return None
    of = feature[name].WhichOneof("kind")
    values = getattr(feature[name], of).value if of else ()
    return values[0] if values else None


def _pixels(
    rows: Sequence[tf.train.Example], image: Mapping[str, Any]
) -> dict[str, Column]:
    height, width, channels = image["shape"]
    size = (min(height, MAX_SIDE), min(width, MAX_SIDE))
    table = np.zeros((len(rows), *size), np.float32)
    for place, row in enumerate(rows):
        decoded = tf.io.decode_image(
            first_value(row, image["feature"]),
            channels=channels,
            expand_animations=False,
        )
        table[place] = tf.image.resize(decoded, size, "area").numpy().mean(axis=-1)
    columns = {
        f"pixel {y},{x}": table[:, y, x].astype(np.float64) for y, x in np.ndindex(size)
    }
    of_all = (
        reduce(axis=(1, 2), dtype=np.float64) for reduce in (table.mean, table.std)
    )
    return columns | dict(zip(SUMMARIES, of_all, strict=True))


def _column(values: list[Any]) -> Column:
    if any(isinstance(value, bytes) for value in values):
        return np.array([_text(value) for value in values], object)
    return np.array([np.nan if v is None else v for v in values], np.float64)


def _text(value: Any) -> str:
    if value is None:
        return ""
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)
