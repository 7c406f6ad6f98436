"""Read transformed examples as batches that a Keras model takes."""

from collections.abc import Mapping
from typing import Any

import tensorflow as tf

from components.transform import LABEL, num_ids, transformed_name

SHUFFLE_BUFFER = 10_000  # serialized examples held in memory while shuffling
Spec = Mapping[str, tf.io.FixedLenFeature]


def input_shape(
    transform: Mapping[str, Any],
) -> tuple[int, ...] | dict[str, int | None]:
    """Return what `build` of a model family takes as its `input_shape`."""
    if transform["image"]:
        return tuple(transform["image"]["shape"])
    return num_ids(transform)


def num_outputs(transform: Mapping[str, Any]) -> int:
    """Return the number of logits: one per class, or one where there are two."""
    classes = transform["label"]["classes"] or ()
    return len(classes) if len(classes) > 2 else 1


def model_inputs(
    features: Mapping[str, tf.Tensor], transform: Mapping[str, Any]
) -> tf.Tensor | dict[str, tf.Tensor]:
    """Return what the model is called on.

    Args:
      features: transformed columns, (batch, 1) each.
      transform: the recipe's section of that name.

    Returns:
      (batch, H, W, C) float32 pixels from 0 to 255, or a dict of (batch, 1) columns.
    """
    if not transform["image"]:
        return {name: features[transformed_name(name)] for name in num_ids(transform)}
    encoded = features[transformed_name(transform["image"]["feature"])]
    return decode_images(tf.reshape(encoded, [-1]), transform["image"]["shape"])


def decode_images(encoded: tf.Tensor, shape: tuple[int, int, int]) -> tf.Tensor:
    """Decode (batch,) PNG or JPEG bytes to (batch, H, W, C) float32, 0 to 255.

    Images of another size are resized (bilinear).
    """
    height, width, channels = shape

    def decode(image: tf.Tensor) -> tf.Tensor:
        pixels = tf.io.decode_image(image, channels=channels, expand_animations=False)
        # No-op for the usual case that the size is right.
        return tf.ensure_shape(
            tf.image.resize(pixels, (height, width)), (height, width, channels)
        )

    return tf.map_fn(decode, encoded, fn_output_signature=tf.float32)


def count(files: list[str]) -> int:
    """Return the number of records in gzipped TFRecord files."""
    records = tf.data.TFRecordDataset(files, compression_type="GZIP")
    return int(records.reduce(tf.constant(0, tf.int64), lambda total, _: total + 1))


def batches(
    files: list[str], spec: Spec, transform: Mapping[str, Any], batch_size: int
) -> tf.data.Dataset:
    """Return (inputs, labels) batches in file order, once; the last may be smaller."""
    records = tf.data.TFRecordDataset(files, compression_type="GZIP")
    return records.batch(batch_size).map(_parser(spec, transform), tf.data.AUTOTUNE)


def training_batches(
    files: list[str],
    spec: Spec,
    transform: Mapping[str, Any],
    *,
    global_batch_size: int,
    steps_per_epoch: int,
    first_epoch: int,
    seed: int,
) -> tf.data.Dataset:
    """Return (inputs, labels) batches without end, `steps_per_epoch` of each epoch.

    The order within an epoch depends on the seed and the number of the epoch alone: a
    training resumed at `first_epoch` sees what an undisturbed one would have seen. The
    epochs before it are read past, unparsed.
    """
    records = tf.data.TFRecordDataset(files, compression_type="GZIP")
    return (
        records.shuffle(SHUFFLE_BUFFER, seed=seed, reshuffle_each_iteration=True)
        .batch(global_batch_size, drop_remainder=True)
        .take(steps_per_epoch)
        .repeat()
        .skip(first_epoch * steps_per_epoch)
        .map(_parser(spec, transform), tf.data.AUTOTUNE)
        .prefetch(tf.data.AUTOTUNE)
    )


def _parser(spec: Spec, transform: Mapping[str, Any]) -> Any:
    def parse(serialized: tf.Tensor) -> tuple[Any, tf.Tensor]:
        # One parse per batch: per example it costs twice the CPU time.
        features = tf.io.parse_example(serialized, spec)
        return model_inputs(features, transform), features[LABEL]

    return parse
