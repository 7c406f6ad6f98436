"""Test examples that the live model has right and the candidate has wrong."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import tensorflow as tf

from components.diagnosis import Evidence
from components.diagnosis.samples import first_value, labels_of
from components.exams.case import Model, is_wrong, of_label, read
from components.input_checks import kind, used_features
from components.label_audit import class_name

MOST = 2_000  # examples asked
SHOWN = 5
_MAX_SIDE = 28  # pixels, of what a terminal can show
_MAX_LETTERS = 300


def look(run: Evidence, reference: Evidence | None) -> dict[str, Any]:
    """Return how many flipped, and those the candidate is surest of, as JSON values."""
    has_classes = run.transform["label"] and kind(run.transform) != "graph"
    if not (run.model and run.examples and reference and reference.model):
        has_classes = False
    if not has_classes:
        return {"count": 0, "asked": 0, "examples": []}
    stored = read(run.examples / "Split-test", MOST)
    models = Model(run.model), Model(reference.model)
    answers = [model.ask_examples(stored) for model in models]
    wrong = [
        is_wrong(answer, model.labels(stored))
        for answer, model in zip(answers, models, strict=True)
    ]
    flipped = np.flatnonzero(wrong[0] & ~wrong[1])
    classes = answers[0]["classes"].reshape(-1)
    sure = of_label(answers[0]["probabilities"], classes)
    chosen = flipped[np.argsort(-sure[flipped], kind="stable")][:SHOWN]
    rows = [tf.train.Example.FromString(stored[i]) for i in chosen]
    labels = labels_of(rows, run.transform)
    found = [
        {
            "label": str(label),
            "candidate": str(class_name(run.transform, classes[i])),
            "probability": float(sure[i]),
            **shown(row, run.transform),
        }
        for i, row, label in zip(chosen, rows, labels, strict=True)
    ]
    return {"count": len(flipped), "asked": len(stored), "examples": found}


def shown(row: tf.train.Example, transform: Mapping[str, Any]) -> dict[str, Any]:
    """Return an example as a person sees it: `image`, `text` or `row`.

    An image is (H, W) grey values from 0 to 255, shrunk to what a terminal can show.
    """
    found = kind(transform)
    values = {name: first_value(row, name) for name in used_features(transform)}
    if found == "image":
        section = transform["image"]
        pixels = tf.io.decode_image(
            values[section["feature"]],
            channels=section["shape"][2],
            expand_animations=False,
        )
        height, width = pixels.shape[:2]
        scale = min(1.0, _MAX_SIDE / max(height, width))
        size = (round(height * scale), round(width * scale))
        grey = tf.image.resize(pixels, size, "area").numpy().mean(axis=-1)
        return {"image": grey.round().astype(int).tolist()}
    if found == "text":
        return {"text": str(_readable(values[transform["text"]["feature"]]))}
    if found == "table":
        return {"row": {name: _readable(value) for name, value in values.items()}}
    return {}


def _readable(value: Any) -> Any:
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")[:_MAX_LETTERS]
    return float(f"{value:.6g}") if isinstance(value, float) else value
