"""What flipped is shown as a person sees it."""

import numpy as np
import tensorflow as tf

from components.diagnosis import Evidence, flips
from tests.components.records import example
from tests.components.sections import section

LABEL = {"feature": "y", "classes": [0, 1]}


def shown(transform, **values):
    row = tf.train.Example.FromString(example(**values))
    return flips.shown(row, section(label=LABEL, **transform))


def test_an_image_is_its_grey_values():
    pixels = np.array([[0, 10], [20, 255]], np.uint8)
    encoded = tf.io.encode_png(pixels[..., None]).numpy()
    got = shown({"image": {"feature": "scan", "shape": [2, 2, 1]}}, scan=encoded, y=1)
    assert got == {"image": pixels.tolist()}


def test_a_large_image_is_shrunk_to_what_a_terminal_can_show():
    encoded = tf.io.encode_png(np.full((56, 112, 3), 90, np.uint8)).numpy()
    got = shown({"image": {"feature": "scan", "shape": [8, 8, 3]}}, scan=encoded, y=1)
    assert got == {"image": [[90] * 28] * 14}


def test_a_text_is_its_beginning():
    text = {"feature": "sms", "length": 4, "vocabulary": 9}
    assert shown({"text": text}, sms="é" * 400, y=0) == {"text": "é" * 300}


def test_a_row_is_the_columns_that_are_read():
    transform = {"numeric": ["a", "b"], "vocabulary": {"c": 2}}
    got = shown(transform, a=0.1, c="x", d="unused", y=0)
    assert got == {"row": {"a": 0.1, "b": None, "c": "x"}}


def test_nothing_flips_without_a_live_model():
    run = Evidence(2, section(label=LABEL, numeric=["a"]))
    assert flips.look(run, None) == {"count": 0, "asked": 0, "examples": []}
