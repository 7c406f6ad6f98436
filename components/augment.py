"""Random changes of the examples trained on: what a model should not care about.

What is drawn depends on the recipe's seed and the number of the update alone, so a
resumed training sees what an undisturbed one sees, in any process. Keras's random
layers draw from a counter of their own and cannot promise that inside `tf.data`; of
Keras, its resampling of images is used (`augment_images`).
"""

from collections.abc import Mapping
from typing import Any

import tensorflow as tf

from components import augment_images
from components.augment_images import fold
from components.input_checks import kind
from components.transform import num_ids

MISSING_SCALED = 0.5  # as `components.transform` fills columns scaled to 0..1
Inputs = Any  # a tensor, or the columns of a table by name


def is_used(transform: Mapping[str, Any]) -> bool:
    """Return whether the recipe's `augment` section changes anything."""
    return any(value not in (0, "none") for value in transform["augment"].values())


def decoded(inputs: Inputs, transform: Mapping[str, Any], seed: tf.Tensor) -> Inputs:
    """Change pixels, samples, tokens or columns, before they are scaled.

    Args:
      inputs: as `components.inputs.decoded` returns them.
      transform: the recipe's section of that name.
      seed: (2,) int64; the same seed gives the same result.
    """
    options = transform["augment"]
    of = kind(transform)
    if of == "image":
        return augment_images.change(inputs, options, seed)
    if of == "table":
        return _change_columns(inputs, transform, seed)
    if of == "audio":
        return (
            _add_noise(inputs, options["noise"], seed) if options["noise"] else inputs
        )
    if not options["word_dropout"]:
        return inputs
    drop = _drop_ids if transform["text"]["output"] == "ids" else _drop_entries
    return drop(inputs, options["word_dropout"], seed)


def prepared(inputs: Inputs, transform: Mapping[str, Any], seed: tf.Tensor) -> Inputs:
    """Mask frames and bands of (batch, frames, bands, 1) audio features."""
    options = transform["augment"]
    for axis, name in ((1, "spec_time"), (2, "spec_frequency")):
        if options[name]:
            inputs = _mask(inputs, axis, options[name], fold(seed, name))
    return inputs


def mixup(
    inputs: Inputs, labels: tf.Tensor, alpha: float, seed: tf.Tensor
) -> tuple[Inputs, tf.Tensor]:
    """Mix each example with another of the batch, and their labels alike.

    Zhang et al. 2018, "mixup: Beyond Empirical Risk Minimization", section 2. As in
    the authors' code one share is drawn for the batch. The larger share is an example's
    own, so that ids, which cannot be mixed, stay its own.

    Args:
      inputs: floats, (batch, ...); int64 columns of a table stay as they are.
      labels: (batch, any) float32.
      alpha: of the Beta distribution that the share is drawn from.
      seed: (2,) int64.
    """
    share = _larger_share(alpha, fold(seed, "mixup"))

    def mixed(values: tf.Tensor) -> tf.Tensor:
        if values.dtype.is_integer:
            return values
        return share * values + (1.0 - share) * tf.roll(values, 1, axis=0)

    return tf.nest.map_structure(mixed, inputs), mixed(labels)


def _larger_share(alpha: float, seed: tf.Tensor) -> tf.Tensor:
    """Draw B from Beta(alpha, alpha); return the larger of B and 1 - B."""
    draws = tf.random.stateless_gamma([2], seed, alpha)  # their ratio is a Beta
    total = tf.reduce_sum(draws)
    # A small alpha may draw two numbers too small for float32; its Beta is near 0 or 1.
    return tf.where(total > 1e-30, tf.reduce_max(draws) / total, 1.0)


def _drop_ids(ids: tf.Tensor, share: float, seed: tf.Tensor) -> tf.Tensor:
    """Take tokens, never all, out of (batch, length) ids, where 0 is padding."""
    draws = tf.random.stateless_uniform(tf.shape(ids), fold(seed, "word_dropout"))
    is_token = ids != 0
    keep = is_token & (draws >= share)
    keep |= is_token & ~tf.reduce_any(keep, axis=1, keepdims=True)
    kept = tf.ragged.boolean_mask(ids, keep)
    return tf.reshape(kept.to_tensor(shape=[None, ids.shape[1]]), tf.shape(ids))


def _drop_entries(bags: tf.Tensor, share: float, seed: tf.Tensor) -> tf.Tensor:
    """Take words out of (batch, vocabulary) bags, each with all its occurrences."""
    draws = tf.random.stateless_uniform(tf.shape(bags), fold(seed, "word_dropout"))
    return tf.where(draws >= share, bags, 0.0)


def _add_noise(samples: tf.Tensor, noise: float, seed: tf.Tensor) -> tf.Tensor:
    """Add white noise to (batch, samples), relative to how loud each recording is."""
    draws = tf.random.stateless_normal(tf.shape(samples), fold(seed, "noise"))
    deviation = tf.math.reduce_std(samples, axis=1, keepdims=True)
    return tf.clip_by_value(samples + noise * deviation * draws, -1.0, 1.0)


def _mask(features: tf.Tensor, axis: int, largest: int, seed: tf.Tensor) -> tf.Tensor:
    """Set one random stretch of an axis, up to `largest` long, to the example's mean.

    Park et al. 2019, "SpecAugment", section 2, without warping; there features have
    the mean 0 and masks are 0.
    """
    batch, size = tf.shape(features)[0], features.shape[axis]
    draws = tf.random.stateless_uniform([2, batch], seed)
    width = tf.floor(draws[0] * (largest + 1))
    start = tf.floor(draws[1] * (size - width + 1))
    places = tf.range(size, dtype=tf.float32)
    masked = (places >= start[:, None]) & (places < (start + width)[:, None])
    masked = tf.reshape(
        masked, [batch, size, 1, 1] if axis == 1 else [batch, 1, size, 1]
    )
    mean = tf.reduce_mean(features, axis=[1, 2, 3], keepdims=True)
    return tf.where(masked, mean, features)


def _change_columns(
    columns: Mapping[str, tf.Tensor], transform: Mapping[str, Any], seed: tf.Tensor
) -> dict[str, tf.Tensor]:
    """Add noise to numbers, and empty cells; crosses keep what they were made of."""
    options, changed = transform["augment"], dict(columns)
    if options["noise"]:
        for name in (*transform["numeric"], *transform["scale"]):
            draws = tf.random.stateless_normal(
                tf.shape(columns[name]), fold(seed, f"noise {name}")
            )
            # z-scores have the deviation 1, of all examples and not of the batch only.
            is_z_score = name in transform["numeric"]
            deviation = 1.0 if is_z_score else tf.math.reduce_std(columns[name])
            changed[name] += options["noise"] * deviation * draws
    if options["missing"]:
        for feature, missing in _missing_values(transform).items():
            column = next(iter(missing))
            draws = tf.random.stateless_uniform(
                tf.shape(columns[column]), fold(seed, f"missing {feature}")
            )
            for name, value in missing.items():
                empty = tf.constant(value, changed[name].dtype)
                emptied = draws < options["missing"]
                changed[name] = tf.where(emptied, empty, changed[name])
    return changed


def _missing_values(
    transform: Mapping[str, Any],
) -> dict[str, dict[str, float]]:
    """Return for each raw column what its inputs are where it has no value."""
    ids = num_ids(transform)
    columns = {name: {name: 0.0} for name in transform["numeric"]}
    columns |= {name: {name: MISSING_SCALED} for name in transform["scale"]}
    for section in ("buckets", "vocabulary", "hash"):
        columns |= {name: {name: ids[name] - 1} for name in transform[section]}
    for name, parts in transform["calendar"].items():
        names = (f"{name}_{part}" for part in parts)
        columns[name] = {part: ids[part] - 1 for part in names}
    return columns
