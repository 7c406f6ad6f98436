"""Do two models make the same of a raw example? A SavedModel and a transform graph."""

import json
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
import tensorflow_transform as tft

from components.export import SECTION

_NUMBERS = (0, 1, 2, 3, -1, 10, 100, 12345)
_MAX_WORDS = 200  # of all vocabularies together, that are looked up in both graphs


def section(directory: str) -> dict[str, Any]:
    """Return the `transform` section that a SavedModel has; {} if it has none."""
    path = Path(directory) / SECTION
    found: dict[str, Any] = json.loads(path.read_text()) if path.is_file() else {}
    return found


def differing_keys(
    ours: Mapping[str, Any], theirs: Mapping[str, Any], ignored: Collection[str]
) -> list[str]:
    """Return in which keys two `transform` sections differ, sorted."""
    plain = json.loads(json.dumps(ours))  # lists for tuples
    keys = plain.keys() | theirs.keys()
    return sorted(k for k in keys - set(ignored) if plain.get(k) != theirs.get(k))


def differing_columns(
    loaded: Any, transform_output: tft.TFTransformOutput
) -> list[str]:
    """Return which columns both transform graphs make otherwise of made-up rows.

    Their means, quantiles and vocabularies come from the data each was trained on.

    Args:
      loaded: SavedModel of `components.export`.
      transform_output: the other graph.

    Raises:
      tf.errors.OpError: `loaded` cannot read such rows: it was trained on others.
    """
    spec = transform_output.raw_feature_spec()
    examples = tf.constant(_probes(spec, _words(transform_output)))
    theirs = loaded.signatures["transform_features"](examples=examples)
    graph = tf.saved_model.load(transform_output.transform_savedmodel_dir)
    ours = graph.transform_fn(tf.io.parse_example(examples, spec))
    return [
        name
        for name, column in ours.items()
        if name not in theirs or not _alike(column, theirs[name])
    ]


def _alike(ours: tf.Tensor, theirs: tf.Tensor) -> bool:
    if ours.dtype != theirs.dtype or ours.shape[1:] != theirs.shape[1:]:
        return False
    if not ours.dtype.is_floating:
        return bool(tf.reduce_all(ours == theirs))
    return np.allclose(ours, theirs, rtol=1e-4, atol=1e-5, equal_nan=True)


def _words(transform_output: tft.TFTransformOutput) -> list[bytes]:
    """Return lines of the student's vocabularies, evenly from first to last."""
    assets = Path(transform_output.transform_savedmodel_dir) / "assets"
    files = sorted(p for p in assets.glob("*") if p.is_file())
    lines = [line for path in files for line in path.read_bytes().splitlines() if line]
    return lines[:: max(1, len(lines) // _MAX_WORDS)]


def _probes(spec: Mapping[str, Any], words: list[bytes]) -> list[bytes]:
    """Return serialized examples: every feature the same number, or the same word."""
    texts = [b"", *words, b" ".join(words)]
    count = max(len(texts), len(_NUMBERS))
    rows = []
    for row in range(count):
        number, text = _NUMBERS[row % len(_NUMBERS)], texts[row % len(texts)]
        features = {name: _feature(one, number, text) for name, one in spec.items()}
        example = tf.train.Example(features=tf.train.Features(feature=features))
        rows.append(example.SerializeToString())
    return rows


def _feature(spec: Any, number: int, text: bytes) -> tf.train.Feature:
    fixed = isinstance(spec, tf.io.FixedLenFeature)
    size = int(np.prod(spec.shape)) if fixed else 1
    if spec.dtype == tf.string:
        return tf.train.Feature(bytes_list=tf.train.BytesList(value=[text] * size))
    if spec.dtype == tf.int64:
        return tf.train.Feature(int64_list=tf.train.Int64List(value=[number] * size))
    return tf.train.Feature(float_list=tf.train.FloatList(value=[number] * size))
