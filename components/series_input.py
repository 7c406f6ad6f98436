"""Windows of a series as a model reads them, and its answers in the series' units.

Raw features are those of `components/sources/series`: `context` (context x channels
floats), `horizon` (horizon x targets floats) and, to learn from, `time`.

Transformed columns: `context_xf` (batch, context x channels) and the label (batch,
horizon x targets), both float32, step by step and standardised by channel;
`series_scale_xf` (batch, 2 x channels) float32: all means, then all standard deviations
(1 where a channel stands still), the same in each row.

Mean and standard deviation are those of the rows of `train`, each counted once: windows
overlap, and weighed by windows the first and last rows would count less. See `_rows`.

The exported model takes `context` (batch, context, channels) float32 in the series' own
units. It returns `forecast` (batch, horizon, targets) in the same, and `scaled` (batch,
horizon x targets), standardised as the label is.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import keras
import tensorflow as tf
import tensorflow_transform as tft

import models
from components.columns import LABEL, transformed_name
from recipes.errors import BadInputError

CONTEXT, SCALE = transformed_name("context"), transformed_name("series_scale")
Feature = tf.Tensor | tf.SparseTensor
# Signs between the parts of a time; a minus stands after no digit.
_SEPARATORS = r"(\d)[-T:]"


def columns(
    features: Mapping[str, Feature], section: Mapping[str, Any]
) -> dict[str, tf.Tensor]:
    """Return the transformed columns. A value that is missing becomes NaN."""
    shape = input_shape(section)
    size = shape.context * shape.channels
    context = tf.reshape(
        _dense(features["context"], size), [-1, shape.context, shape.channels]
    )
    horizon = tf.reshape(
        _dense(features["horizon"], num_outputs(section)),
        [-1, shape.horizon, len(shape.targets)],
    )
    rows = _rows(context, horizon, features["time"], shape.targets)
    mean = tf.cast(tft.mean(rows, reduce_instance_dims=False), tf.float32)
    deviation = tf.sqrt(tft.var(rows, reduce_instance_dims=False))
    deviation = tf.cast(tf.where(deviation > 0, deviation, 1.0), tf.float32)
    scale = tf.concat([mean, deviation], axis=0)  # (2 * channels,)
    label = (horizon - _of(mean, shape)) / _of(deviation, shape)
    return {
        CONTEXT: tf.reshape((context - mean) / deviation, [-1, size]),
        LABEL: tf.reshape(label, [-1, num_outputs(section)]),
        SCALE: tf.tile(scale[None], [tf.shape(context)[0], 1]),
    }


def input_shape(section: Mapping[str, Any]) -> models.Series:
    """Return what `build` of a model family takes as its `input_shape`."""
    channels = section["channels"]
    targets = section["targets"]
    return models.Series(
        section["context"],
        channels,
        section["horizon"],
        tuple(range(channels) if targets is None else targets),
    )


def num_outputs(section: Mapping[str, Any]) -> int:
    """Return how many numbers are predicted."""
    shape = input_shape(section)
    return shape.horizon * len(shape.targets)


def model_inputs(
    features: Mapping[str, tf.Tensor], section: Mapping[str, Any]
) -> tf.Tensor:
    """Return (batch, context, channels) float32."""
    shape = [-1, section["context"], section["channels"]]
    return tf.reshape(features[CONTEXT], shape)


def raw_signature(section: Mapping[str, Any]) -> dict[str, tf.TensorSpec]:
    """Return what `serve_raw` takes."""
    shape = [None, section["context"], section["channels"]]
    return {"context": tf.TensorSpec(shape, tf.float32, name="context")}


def raw_features(
    inputs: Mapping[str, tf.Tensor],
    section: Mapping[str, Any],
    raw_spec: Mapping[str, Any],
) -> dict[str, Feature]:
    """Return what `parse_example` would have made of `serve_raw`'s tensors."""
    size = section["context"] * section["channels"]
    context = tf.cast(
        tf.reshape(inputs["context"], [-1, size]), raw_spec["context"].dtype
    )
    if not isinstance(raw_spec["context"], tf.io.VarLenFeature):
        return {"context": context}
    places = tf.where(tf.ones_like(context, tf.bool))  # all; a zero is a value too
    dense_shape = tf.shape(context, tf.int64)
    return {"context": tf.SparseTensor(places, tf.reshape(context, [-1]), dense_shape)}


class Answers(tf.Module):
    """Forecasts in the units of the series."""

    def __init__(
        self,
        model: keras.Model,
        transform_output: tft.TFTransformOutput,
        section: Mapping[str, Any],
    ):
        super().__init__()
        # A function: of a model as an attribute every layer would be saved by itself.
        self._model = lambda inputs: model(inputs, training=False)
        self._section = section

    def __call__(self, transformed: Mapping[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        """Return `forecast` and `scaled`: see the module."""
        shape = input_shape(self._section)
        scaled = self._model(model_inputs(transformed, self._section))
        scaled = tf.cast(scaled, tf.float32)
        mean, deviation = tf.split(transformed[SCALE][:, None], 2, axis=-1)
        steps = tf.reshape(scaled, [-1, shape.horizon, len(shape.targets)])
        forecast = steps * _of(deviation, shape) + _of(mean, shape)
        return {"forecast": forecast, "scaled": scaled}

    def signatures(self) -> dict[str, Any]:
        """Return no more than every model has."""
        return {}


def _rows(
    context: tf.Tensor, horizon: tf.Tensor, time: Feature, targets: Sequence[int]
) -> tf.Tensor:
    """Return the rows of the series that windows were cut from, each once.

    Of each window its first step, and of the last one, by time, all steps. That is
    exact for windows one step apart of a series without gaps (in its last horizon only
    channels that are targets are known; the others are NaN, which is not counted).
    Where windows are further apart it is a sample of the rows; before a gap, and of a
    series that ends before others, the last rows are left out.

    Args:
      context: (batch, context, channels).
      horizon: (batch, horizon, targets).
      time: of the first step of the horizon, as text.
      targets: places of the channels that `horizon` has.

    Returns:
      (rows, channels) float64.
    """
    channels = context.shape[-1]
    number = _number(time)
    last = tf.boolean_mask(
        tf.concat([context[:, 1:], _spread(horizon, targets, channels)], axis=1),
        tf.equal(number, tft.max(number)),
    )
    last = tf.reshape(last, [-1, channels])
    return tf.cast(tf.concat([context[:, 0], last], axis=0), tf.float64)


def _spread(horizon: tf.Tensor, targets: Sequence[int], channels: int) -> tf.Tensor:
    """Return (batch, horizon, channels), NaN in channels that are not predicted."""
    unknown = tf.fill(tf.shape(horizon)[:-1], float("nan"))
    known = {place: horizon[..., i] for i, place in enumerate(targets)}
    return tf.stack([known.get(place, unknown) for place in range(channels)], axis=-1)


def _number(time: Feature) -> tf.Tensor:
    """Return (batch,) float64 that rise as times do, which are all written alike.

    An ISO time becomes the number that its digits are; a missing one is the earliest.
    """
    if isinstance(time, tf.SparseTensor):
        rows = tf.SparseTensor(
            time.indices, time.values, [time.dense_shape[0], 1]
        )  # an empty column has no width
        time = tf.sparse.to_dense(rows, "")
    text = tf.reshape(time, [-1])
    text = tf.strings.regex_replace(text, _SEPARATORS, r"\1")
    return tf.strings.to_number(tf.where(text == "", "-inf", text), tf.float64)


def _dense(feature: Feature, size: int) -> tf.Tensor:
    """Return (batch, size) float32, NaN where a row has no value.

    Raises:
      BadInputError: rows do not have so many values. Reshaped to what the recipe says
        they would make a batch of other rows, and train.
      tf.errors.InvalidArgumentError, when run: a row of a list without a fixed length
        has more.
    """
    feature = tf.cast(feature, tf.float32)
    if not isinstance(feature, tf.SparseTensor):
        if feature.shape[1:].is_compatible_with([size]):
            return tf.ensure_shape(feature, [None, size])
        raise BadInputError(f"{_message(size)} Received: {feature.shape[1]}")
    most = feature.dense_shape[1]
    check = tf.debugging.Assert(most <= size, [_message(size), "Received:", most])
    with tf.control_dependencies([] if check is None else [check]):
        rows = tf.SparseTensor(
            feature.indices, feature.values, [feature.dense_shape[0], size]
        )
        dense = tf.sparse.to_dense(rows, float("nan"))
    return tf.ensure_shape(dense, [None, size])


def _message(size: int) -> str:
    return (
        "[transform.series] `context`, `horizon`, `channels` and `targets` must be "
        f"those of the data. Expected steps x channels, {size} numbers in each row."
    )


def _of(values: tf.Tensor, shape: models.Series) -> tf.Tensor:
    """Return the last axis' values of the channels that are predicted."""
    return tf.gather(values, shape.targets, axis=-1)
