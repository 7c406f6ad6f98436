"""A candidate whose answers and labels stand in the examples, to examine exams with."""

import json
from dataclasses import fields
from pathlib import Path

import tensorflow as tf

from components.columns import LABEL
from components.exams.case import Case, Model
from tests.components.artifacts import examples
from tests.components.sections import section


class Told(tf.Module):
    """Answers what the feature `answer` of an example holds: the probability of yes.

    With more classes it is a text that begins with the number of the class. The label
    is `y`.
    """

    def __init__(self, answer, num_classes):
        super().__init__()
        dtype = tf.float32 if num_classes == 2 else tf.string
        self.spec = {answer: tf.io.FixedLenFeature([1], dtype)}
        self.spec["y"] = tf.io.FixedLenFeature([1], tf.int64)
        self.told, self.num_classes = answer, num_classes

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="examples")])
    def answers(self, serialized):
        told = tf.io.parse_example(serialized, self.spec)[self.told]
        if self.num_classes == 2:
            classes = tf.cast(told[:, 0] > 0.5, tf.int64)
            return {"probabilities": told, "classes": classes}
        digits = tf.strings.substr(told[:, 0], 0, 1)
        classes = tf.strings.to_number(digits, tf.int64)
        table = tf.one_hot(classes, self.num_classes)
        return {"probabilities": table, "classes": classes}

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="examples")])
    def labels(self, serialized):
        return {LABEL: tf.io.parse_example(serialized, self.spec)["y"]}


def model(folder, answer="answer", num_classes=2):
    """Save a model that is told its answers."""
    told = Told(answer, num_classes)
    signatures = {"serving_default": told.answers, "transform_features": told.labels}
    tf.saved_model.save(told, str(folder), signatures=signatures)
    return Model(Path(folder))


def case(folder, rows, candidate, *, transform=None, spans=(), most=2000, **changes):
    """Return the examination of a candidate on serialized examples, as of a table."""
    examples(folder, test=rows)
    (folder / "ingest.json").write_text(json.dumps({"spans": list(spans)}))
    label = {"feature": "y", "classes": [0, 1]}
    places = {one.name: folder for one in fields(Case) if one.type is Path}
    given = {
        "transform": transform or section(label=label, numeric=["answer"]),
        "candidate": candidate,
        "live": None,
        "spec": {},
        "most": most,
    }
    return Case(**places | given | changes)
