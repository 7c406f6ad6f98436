"""Write the SavedModel: preprocessing and model in one, three signatures.

- `serving_default`: serialized tf.Example of raw features.
- `serve_raw`: raw features as tensors. A table's numbers are (batch,) floats where NaN
  says missing (float64 for whole-number columns, so that ids stay exact), its texts
  (batch,) strings where '' says missing; an image is (batch, H, W, C) float32 pixels
  from 0 to 255.
- `transform_features`: what the transform graph makes of serialized examples, with
  the label; TFMA reads the label from it.

The first two return `probabilities` (batch, classes; one column for a yes-or-no label)
and `classes` (batch,) int64, the index of the most probable class.
"""

from collections.abc import Callable, Mapping
from typing import Any

import keras
import tensorflow as tf
import tensorflow_transform as tft

from components.inputs import model_inputs

Features = dict[str, Any]


def write(
    model: keras.Model,
    transform_output: tft.TFTransformOutput,
    transform: Mapping[str, Any],
    directory: str,
) -> None:
    """Export a trained model with the transform graph it was trained on."""
    layer = transform_output.transform_features_layer()
    raw_spec = transform_output.raw_feature_spec()
    used = _used(raw_spec, transform)
    examples = [tf.TensorSpec([None], tf.string, name="examples")]

    @tf.function(input_signature=examples)
    def serving_default(examples: tf.Tensor) -> Features:
        return answer(layer(tf.io.parse_example(examples, used)))

    @tf.function(input_signature=examples)
    def transform_features(examples: tf.Tensor) -> Features:
        return layer(tf.io.parse_example(examples, raw_spec))

    def answer(features: Features) -> Features:
        return _answer(model(model_inputs(features, transform), training=False))

    archive = keras.export.ExportArchive()
    archive.track(model)
    archive.track(layer)
    archive.add_endpoint("serving_default", serving_default)
    archive.add_endpoint("transform_features", transform_features)
    raw = _raw_image if transform["image"] else _raw_table
    archive.add_endpoint("serve_raw", raw(model, answer, layer, used, transform))
    archive.write_out(directory, verbose=False)


def _answer(logits: tf.Tensor) -> Features:
    logits = tf.cast(logits, tf.float32)
    if logits.shape[-1] == 1:
        probabilities = tf.sigmoid(logits)
        classes = tf.cast(probabilities[:, 0] > 0.5, tf.int64)
    else:
        probabilities = tf.nn.softmax(logits)
        classes = tf.argmax(logits, axis=-1)
    return {"probabilities": probabilities, "classes": classes}


def _raw_image(
    model: keras.Model,
    answer: Callable[[Features], Features],
    layer: Any,
    used: Mapping[str, Any],
    transform: Mapping[str, Any],
) -> Any:
    del answer, layer, used
    name, shape = transform["image"]["feature"], transform["image"]["shape"]

    @tf.function(input_signature=[{name: tf.TensorSpec([None, *shape], name=name)}])
    def serve_raw(features: Features) -> Features:
        return _answer(model(features[name], training=False))

    return serve_raw


def _raw_table(
    model: keras.Model,
    answer: Callable[[Features], Features],
    layer: Any,
    used: Mapping[str, Any],
    transform: Mapping[str, Any],
) -> Any:
    del model, transform
    signature = {
        name: tf.TensorSpec([None], _wire_dtype(feature.dtype), name=name)
        for name, feature in used.items()
    }

    @tf.function(input_signature=[signature])
    def serve_raw(columns: Features) -> Features:
        features = {n: _as_parsed(c, used[n]) for n, c in columns.items()}
        return answer(layer(features))

    return serve_raw


def _wire_dtype(dtype: tf.DType) -> tf.DType:
    return tf.float64 if dtype == tf.int64 else dtype


def _as_parsed(column: tf.Tensor, feature: Any) -> tf.Tensor | tf.SparseTensor:
    """Return a (batch,) column as `parse_example` would have returned the feature."""
    if not isinstance(feature, tf.io.VarLenFeature):
        return tf.reshape(tf.cast(column, feature.dtype), [-1, *feature.shape])
    present = column != "" if column.dtype == tf.string else ~tf.math.is_nan(column)
    rows = tf.where(present)  # (present rows, 1)
    return tf.SparseTensor(
        tf.pad(rows, [[0, 0], [0, 1]]),
        tf.cast(tf.boolean_mask(column, present), feature.dtype),
        [tf.size(column, tf.int64), 1],
    )


def _used(raw_spec: Mapping[str, Any], transform: Mapping[str, Any]) -> dict[str, Any]:
    if transform["image"]:
        names = [transform["image"]["feature"]]
    else:
        names = [*transform["numeric"], *transform["buckets"], *transform["vocabulary"]]
    return {name: raw_spec[name] for name in names}
