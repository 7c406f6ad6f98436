"""Turn raw features into model inputs: `preprocessing_fn` for TFX Transform.

Every output is a dense (batch, 1) column: `<feature>_xf`, and the label (`LABEL`).
What it learns from the data (means, quantiles, vocabularies) is saved in the graph
that the exported model carries, so serving cannot differ from training.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import tensorflow as tf
import tensorflow_transform as tft

LABEL = "strata_label"  # no column made from a feature can be called so


def transformed_name(feature: str) -> str:
    """Return the name of the column made from a raw feature."""
    return f"{feature}_xf"


def num_ids(transform: Mapping[str, Any]) -> dict[str, int | None]:
    """Return for each table feature how many ids it has; None where it is a number.

    Buckets have one more id than buckets, for missing; vocabularies two more, for
    values that were not kept and for missing.
    """
    return (
        dict.fromkeys(transform["numeric"])
        | {name: count + 1 for name, count in transform["buckets"].items()}
        | {name: count + 2 for name, count in transform["vocabulary"].items()}
    )


def preprocessing_fn(
    inputs: dict[str, tf.Tensor | tf.SparseTensor], custom_config: Mapping[str, Any]
) -> dict[str, tf.Tensor]:
    """Build the transform graph that the recipe's `transform` section describes."""
    transform = custom_config["transform"]
    outputs = {LABEL: _label(inputs, transform["label"])}
    if transform["image"]:
        name = transform["image"]["feature"]
        outputs[transformed_name(name)] = _dense(inputs[name], b"")
    for name in transform["numeric"]:
        scaled = tft.scale_to_z_score(_as_float(inputs[name]))
        outputs[transformed_name(name)] = _dense(scaled, 0.0)  # 0 is the mean
    for name, count in transform["buckets"].items():
        ids = tft.bucketize(_as_float(inputs[name]), count)
        outputs[transformed_name(name)] = _dense(ids, count)
    for name, count in transform["vocabulary"].items():
        ids = tft.compute_and_apply_vocabulary(
            inputs[name], top_k=count, num_oov_buckets=1, vocab_filename=name
        )
        outputs[transformed_name(name)] = _dense(ids, count + 1)
    return outputs


def figures(outputs: Mapping[str, str]) -> dict[str, Any]:
    """Return how many columns came out and how large the vocabularies are."""
    output = tft.TFTransformOutput(outputs["transform_graph"])
    assets = Path(outputs["transform_graph"]) / "transform_fn" / "assets"
    files = sorted(assets.iterdir()) if assets.is_dir() else []
    sizes = {f.name: len(f.read_bytes().splitlines()) for f in files if f.is_file()}
    num_columns = len(output.transformed_feature_spec())
    return {
        "summary": f"{num_columns} columns, {len(sizes)} vocabularies, in the model",
        "vocabulary_sizes": sizes,
    }


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


def _dense(feature: tf.Tensor | tf.SparseTensor, missing: Any) -> tf.Tensor:
    """Return a (batch, 1) column with `missing` where a row has no value."""
    if not isinstance(feature, tf.SparseTensor):
        return tf.reshape(feature, [-1, 1])
    column = tf.SparseTensor(
        feature.indices, feature.values, [feature.dense_shape[0], 1]
    )
    missing = tf.constant(missing, feature.dtype)
    return tf.reshape(tf.sparse.to_dense(column, missing), [-1, 1])
