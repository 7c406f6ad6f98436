"""Read transformed examples as batches that a Keras model takes."""

from collections.abc import Callable, Mapping
from typing import Any

import tensorflow as tf

import models
from components import audio_features, augment, pixels, shuffled, tokens
from components.columns import LABEL, transformed_name
from components.input_checks import audio_shape, kind
from components.transform import MODULES, num_ids

Spec = Mapping[str, tf.io.FixedLenFeature]
Inputs = tf.Tensor | dict[str, tf.Tensor]
Weigh = Callable[[Mapping[str, tf.Tensor]], tf.Tensor]


def input_shape(transform: Mapping[str, Any]) -> models.Shape:
    """Return what `build` of a model family takes as its `input_shape`."""
    of = kind(transform)
    if of in MODULES:
        return MODULES[of].input_shape(transform[of])
    if of == "image":
        return tuple(transform["image"]["shape"])
    if of == "audio":
        return audio_shape(transform["audio"])
    if of == "table":
        return num_ids(transform)
    text = transform["text"]
    num_ids_of_text = tokens.num_ids(text)
    if text["output"] == "ids":
        return models.Tokens(text["length"], num_ids_of_text)
    return (num_ids_of_text,)


def num_outputs(transform: Mapping[str, Any]) -> int:
    """Return the number of logits: one per class, or one where there are two.

    Of a series it is how many numbers are predicted, of texts how many tokens exist.
    """
    of = kind(transform)
    if not transform["label"]:
        return MODULES[of].num_outputs(transform[of])
    classes = transform["label"]["classes"] or ()
    return len(classes) if len(classes) > 2 else 1


def soft_labels(transform: Mapping[str, Any]) -> bool:
    """Return whether labels are shares of classes: float32, one column per logit."""
    return bool(transform["augment"]["mixup"])


def model_inputs(
    features: Mapping[str, tf.Tensor], transform: Mapping[str, Any]
) -> Inputs:
    """Return what the model is called on.

    Args:
      features: transformed columns, (batch, 1) each, or one of text.
      transform: the recipe's section of that name.

    Returns:
      (batch, H, W, C) float32 pixels; (batch, length) int64 tokens or (batch,
      vocabulary) float32; (batch, samples) or (batch, frames, bands, 1) float32; a dict
      of (batch, 1) columns; or what `input_shape` says.
    """
    of = kind(transform)
    if of in MODULES:
        return MODULES[of].model_inputs(features, transform[of])
    return prepared(decoded(features, transform), transform)


def decoded(features: Mapping[str, tf.Tensor], transform: Mapping[str, Any]) -> Inputs:
    """Return pixels from 0 to 255, samples from -1 to 1, or text and columns as is."""
    of = kind(transform)
    if of == "table":
        return {name: features[transformed_name(name)] for name in num_ids(transform)}
    column = features[transformed_name(transform[of]["feature"])]
    if of == "image":
        return pixels.decode(tf.reshape(column, [-1]), transform["image"])
    if of == "audio":
        return audio_features.decode(tf.reshape(column, [-1]), transform["audio"])
    return column


def prepared(inputs: Inputs, transform: Mapping[str, Any]) -> Inputs:
    """Scale pixels, or compute the features of samples; text and tables are ready."""
    if transform["image"]:
        return pixels.normalize(inputs, transform["image"]["normalize"])
    if transform["audio"]:
        return audio_features.compute(inputs, transform["audio"])
    return inputs


def count(files: list[str]) -> int:
    """Return the number of records in gzipped TFRecord files."""
    records = tf.data.TFRecordDataset(files, compression_type="GZIP")
    chunks = records.batch(1024)  # one by one they take three times as long
    none = tf.constant(0, tf.int64)
    return int(chunks.reduce(none, lambda total, rows: total + tf.size(rows, tf.int64)))


def batches(
    files: list[str],
    spec: Spec,
    transform: Mapping[str, Any],
    batch_size: int,
    *,
    soft: bool = False,
) -> tf.data.Dataset:
    """Return (inputs, labels) batches in file order, once; the last may be smaller.

    Labels are (batch, 1) int64; with `soft` as training has them, see `soft_labels`.
    """
    records = tf.data.TFRecordDataset(files, compression_type="GZIP")

    def parse(serialized: tf.Tensor) -> tuple[Inputs, tf.Tensor]:
        features = tf.io.parse_example(serialized, spec)
        labels = features[LABEL]
        return (
            model_inputs(features, transform),
            _softened(labels, num_outputs(transform)) if soft else labels,
        )

    return _shared(records.batch(batch_size).map(parse, tf.data.AUTOTUNE))


def training_batches(
    files: list[str],
    spec: Spec,
    transform: Mapping[str, Any],
    *,
    global_batch_size: int,
    steps_per_epoch: int,
    first_step: int,
    seed: int,
    weigh: Weigh | None = None,
) -> tf.data.Dataset:
    """Return (inputs, labels) batches without end, `steps_per_epoch` of each epoch.

    With `weigh`, from transformed columns to (batch,) weights, they are (inputs,
    labels, weights).

    The examples of a batch, and how they are changed (`augment`), depend on the seed
    and the number of the step alone: a training resumed at `first_step`, counted from 0
    over all epochs, sees what an undisturbed one would have seen.
    """
    batches = shuffled.batches(
        files,
        batch_size=global_batch_size,
        steps_per_epoch=steps_per_epoch,
        first_step=first_step,
        seed=seed,
    )
    parse = _training_parser(spec, transform, seed, weigh)
    return _shared(batches.map(parse, tf.data.AUTOTUNE).prefetch(tf.data.AUTOTUNE))


def _shared(batches: tf.data.Dataset) -> tf.data.Dataset:
    """Let several machines compute each batch, and each train on its part of it.

    So the order, and what is drawn for a whole batch, are those of one machine.
    """
    options = tf.data.Options()
    policy = tf.data.experimental.AutoShardPolicy.DATA
    options.experimental_distribute.auto_shard_policy = policy
    return batches.with_options(options)


def _training_parser(
    spec: Spec, transform: Mapping[str, Any], seed: int, weigh: Weigh | None
) -> Callable[..., tuple[Any, ...]]:
    def varied(
        step: tf.Tensor, features: Mapping[str, tf.Tensor]
    ) -> tuple[Inputs, tf.Tensor]:
        if not augment.is_used(transform):
            return model_inputs(features, transform), features[LABEL]
        draws = tf.stack([tf.constant(seed, tf.int64), step])
        inputs = augment.decoded(decoded(features, transform), transform, draws)
        inputs = augment.prepared(prepared(inputs, transform), transform, draws)
        if not soft_labels(transform):
            return inputs, features[LABEL]
        labels = _softened(features[LABEL], num_outputs(transform))
        return augment.mixup(inputs, labels, transform["augment"]["mixup"], draws)

    def parse(step: tf.Tensor, serialized: tf.Tensor) -> tuple[Any, ...]:
        # One parse per batch: per example it costs twice the CPU time.
        features = tf.io.parse_example(serialized, spec)
        batch = varied(step, features)
        return (*batch, weigh(features)) if weigh else batch

    return parse


def _softened(labels: tf.Tensor, num_outputs: int) -> tf.Tensor:
    """Return (batch, 1) labels as (batch, outputs) float32 shares."""
    if num_outputs == 1:
        return tf.cast(labels, tf.float32)
    return tf.one_hot(labels[:, 0], num_outputs)
