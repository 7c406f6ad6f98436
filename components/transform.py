"""Turn raw features into model inputs: `preprocessing_fn` for TFX Transform.

Outputs are dense: the label (`LABEL`) and a column for every input, `<name>_xf`. Of a
table it is (batch, 1), float32 numbers or int64 ids; of an image or audio (batch, 1)
encoded bytes, which the model's input path decodes; of a text what `components/tokens`
makes of it; of all else what the kind's own module says. What is learned from the data
(means, quantiles, vocabularies) is saved in the graph that the exported model carries,
so serving cannot differ from training.

A missing value is: the mean, where numbers are z-scores; 0.5, where they are scaled to
0..1; the last id of buckets, vocabularies, hashes and parts of times; a value of its
own where columns are crossed. A line break keeps a value out of a vocabulary.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import tensorflow as tf
import tensorflow_transform as tft

from components import (
    calendar,
    graph_input,
    language_input,
    pairs_input,
    series_input,
    tokens,
)
from components.columns import LABEL, transformed_name
from components.input_checks import kind

# Kinds of input that a module of their own reads.
MODULES = {
    "series": series_input,
    "graph": graph_input,
    "language": language_input,
    "pairs": pairs_input,
}
Features = Mapping[str, tf.Tensor | tf.SparseTensor]


def num_ids(transform: Mapping[str, Any]) -> dict[str, int | None]:
    """Return for each input of a table how many ids it has; None where it is a number.

    A time is as many inputs as it has parts, `<feature>_<part>`. Buckets, hashes and
    parts have one more id, for missing; vocabularies two more, for values that were not
    kept and for missing; crosses none.
    """
    return (
        dict.fromkeys([*transform["numeric"], *transform["scale"]])
        | {name: count + 1 for name, count in transform["buckets"].items()}
        | {name: count + 2 for name, count in transform["vocabulary"].items()}
        | {name: count + 1 for name, count in transform["hash"].items()}
        | {
            f"{name}_{part}": calendar.NUM_IDS[part] + 1
            for name, parts in transform["calendar"].items()
            for part in parts
        }
        | {name: cross["ids"] for name, cross in transform["crosses"].items()}
    )


def preprocessing_fn(
    inputs: Features, custom_config: Mapping[str, Any]
) -> dict[str, tf.Tensor]:
    """Build the transform graph that the recipe's `transform` section describes."""
    transform = custom_config["transform"]
    outputs = _own(inputs, transform)
    if outputs is None:
        columns = _whole(inputs, transform) or _table(inputs, transform)
        outputs = {transformed_name(name): column for name, column in columns.items()}
    if transform["label"]:
        outputs = {LABEL: _label(inputs, transform["label"])} | outputs
    return outputs


def figures(outputs: Mapping[str, str]) -> dict[str, Any]:
    """Return how many columns came out and how large the vocabularies are."""
    output = tft.TFTransformOutput(outputs["transform_graph"])
    assets = Path(outputs["transform_graph"]) / "transform_fn" / "assets"
    files = sorted(assets.iterdir()) if assets.is_dir() else []
    sizes = {f.name: len(f.read_bytes().splitlines()) for f in files if f.is_file()}
    num_columns = len(output.transformed_feature_spec())
    vocabularies = "1 vocabulary" if len(sizes) == 1 else f"{len(sizes)} vocabularies"
    return {
        "summary": f"{num_columns} columns, {vocabularies}, in the model",
        "vocabulary_sizes": sizes,
    }


def _own(inputs: Features, transform: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return the columns of a kind of input that has a module of its own."""
    of = kind(transform)
    return MODULES[of].columns(inputs, transform[of]) if of in MODULES else None


def _whole(inputs: Features, transform: Mapping[str, Any]) -> dict[str, tf.Tensor]:
    """Return the column of an image, audio or text, or none."""
    for of in ("image", "audio"):
        if transform[of]:
            name = transform[of]["feature"]
            return {name: _dense(inputs[name], b"")}
    if not transform["text"]:
        return {}
    name = transform["text"]["feature"]
    texts = tf.reshape(_dense(inputs[name], b""), [-1])
    return {name: tokens.vectorize(texts, transform["text"])}


def _table(inputs: Features, transform: Mapping[str, Any]) -> dict[str, tf.Tensor]:
    columns = {}
    for name in transform["numeric"]:
        scaled = tft.scale_to_z_score(_as_float(inputs[name]))
        columns[name] = _dense(scaled, 0.0)  # 0 is the mean
    for name in transform["scale"]:
        scaled = _dense(tft.scale_to_0_1(_as_float(inputs[name])), 0.5)
        columns[name] = tf.clip_by_value(scaled, 0.0, 1.0)  # beyond those of `train`
    for name, count in transform["buckets"].items():
        ids = tft.bucketize(_as_float(inputs[name]), count)
        columns[name] = _dense(ids, count)
    for name, count in transform["vocabulary"].items():
        ids = tft.compute_and_apply_vocabulary(
            inputs[name], top_k=count, num_oov_buckets=1, vocab_filename=name
        )
        columns[name] = _dense(ids, count + 1)
    for name, count in transform["hash"].items():
        text = _text(inputs[name])
        ids = tf.strings.to_hash_bucket_fast(text, count)
        columns[name] = tf.where(text == "", tf.constant(count, tf.int64), ids)
    for name, parts in transform["calendar"].items():
        time = _time(inputs[name])
        columns |= {f"{name}_{part}": calendar.ids(time, part) for part in parts}
    for name, cross in transform["crosses"].items():
        columns[name] = _cross(inputs, columns, cross, transform["buckets"])
    return columns


def _cross(
    inputs: Features,
    columns: Mapping[str, tf.Tensor],
    cross: Mapping[str, Any],
    buckets: Mapping[str, int],
) -> tf.Tensor:
    """Hash the values of several columns together, of `buckets` which bucket it is."""
    texts = [
        tf.strings.as_string(columns[name]) if name in buckets else _text(inputs[name])
        for name in cross["features"]
    ]
    joined = tf.strings.join(texts, "\x1f")  # the unit separator
    return tf.strings.to_hash_bucket_fast(joined, cross["ids"])


def _label(inputs: Mapping[str, Any], label: Mapping[str, Any]) -> tf.Tensor:
    feature = inputs[label["feature"]]
    if label["classes"] is None:
        value = _dense(_as_float(feature), 0.0)
        if label["divide_by"]:
            divisor = _dense(_as_float(inputs[label["divide_by"]]), 0.0)
            value = tf.math.divide_no_nan(value, divisor)
        return tf.cast(value > label["above"], tf.int64)
    classes = tf.constant(label["classes"])
    classes = classes if classes.dtype == tf.string else tf.cast(classes, tf.int64)
    value = _dense(feature, b"" if classes.dtype == tf.string else -1)
    # (batch, 1, 1) == (classes,): the gate has made sure that one is equal
    return tf.argmax(tf.cast(value[..., None] == classes, tf.int64), axis=-1)


def _as_float(feature: tf.Tensor | tf.SparseTensor) -> tf.Tensor | tf.SparseTensor:
    return tf.cast(feature, tf.float32)


def _text(feature: tf.Tensor | tf.SparseTensor) -> tf.Tensor:
    """Return a (batch, 1) column as text, "" where a row has no value."""
    if feature.dtype == tf.string:
        return _dense(feature, b"")
    if not isinstance(feature, tf.SparseTensor):
        return tf.strings.as_string(_dense(feature, 0))
    return _dense(feature.with_values(tf.strings.as_string(feature.values)), b"")


def _time(feature: tf.Tensor | tf.SparseTensor) -> tf.Tensor:
    """Return a (batch, 1) column that `calendar.ids` takes."""
    if feature.dtype == tf.string:
        return _dense(feature, b"")
    is_float = feature.dtype.is_floating
    return _dense(feature, float("nan") if is_float else feature.dtype.min)


def _dense(feature: tf.Tensor | tf.SparseTensor, missing: Any) -> tf.Tensor:
    """Return a (batch, 1) column with `missing` where a row has no value."""
    if not isinstance(feature, tf.SparseTensor):
        return tf.reshape(feature, [-1, 1])
    column = tf.SparseTensor(
        feature.indices, feature.values, [feature.dense_shape[0], 1]
    )
    missing = tf.constant(missing, feature.dtype)
    return tf.reshape(tf.sparse.to_dense(column, missing), [-1, 1])
