"""Random changes of images: how they lie, how bright they are, what is hidden."""

import math
import zlib
from collections.abc import Mapping
from typing import Any

import tensorflow as tf
from keras import ops


def change(pixels: tf.Tensor, options: Mapping[str, Any], seed: tf.Tensor) -> tf.Tensor:
    """Change each image by draws of its own.

    Args:
      pixels: (batch, H, W, C) float32, 0 to 255; so are the returned ones.
      options: the recipe's section `augment`.
      seed: (2,) int64.
    """
    for axis, name in ((2, "horizontal"), (1, "vertical")):
        if options["flip"] in (name, "both"):
            flips = _draws(pixels, 1.0, fold(seed, name)) < 0.0
            pixels = tf.where(flips, tf.reverse(pixels, [axis]), pixels)
    if options["crop"] or options["rotate"]:
        pixels = _move(pixels, options, seed)
    if options["brightness"]:
        shift = _draws(pixels, options["brightness"], fold(seed, "brightness"))
        pixels = tf.clip_by_value(pixels + 255.0 * shift, 0.0, 255.0)
    if options["contrast"]:
        factor = _draws(pixels, options["contrast"], fold(seed, "contrast"))
        mean = tf.reduce_mean(pixels, axis=[1, 2], keepdims=True)
        pixels = tf.clip_by_value(mean + (1.0 + factor) * (pixels - mean), 0.0, 255.0)
    if options["cutout"]:
        pixels = _cut_out(pixels, options["cutout"], fold(seed, "cutout"))
    return pixels


def fold(seed: tf.Tensor, name: str) -> tf.Tensor:
    """Return a seed of its own for each name: no option changes another's draws."""
    return tf.random.experimental.stateless_fold_in(seed, zlib.crc32(name.encode()))


def _draws(pixels: tf.Tensor, bound: float, seed: tf.Tensor) -> tf.Tensor:
    """Draw a number from -bound to bound for each image, (batch, 1, 1, 1)."""
    shape = [tf.shape(pixels)[0], 1, 1, 1]
    return tf.random.stateless_uniform(shape, seed, -bound, bound)


def _move(pixels: tf.Tensor, options: Mapping[str, Any], seed: tf.Tensor) -> tf.Tensor:
    """Crop and rotate in one resampling; what comes in from outside is mirrored.

    A crop cuts the same share off height and width, at a random place, and scales what
    is left to the old size.
    """
    batch, height, width = tf.shape(pixels)[0], *pixels.shape[1:3]

    def draws(name: str, low: float, high: float) -> tf.Tensor:
        return tf.random.stateless_uniform([batch], fold(seed, name), low, high)

    cut = draws("crop", 0.0, options["crop"])
    angle = draws("rotate", -1.0, 1.0) * (options["rotate"] * math.pi / 180.0)
    right = draws("right", -0.5, 0.5) * cut * width
    down = draws("down", -0.5, 0.5) * cut * height
    # From a place in the new image, seen from the centre, to the one in the old.
    cosine, sine = (1.0 - cut) * tf.cos(angle), (1.0 - cut) * tf.sin(angle)
    x, y = (width - 1) / 2, (height - 1) / 2
    to_x, to_y = x + right - cosine * x + sine * y, y + down - sine * x - cosine * y
    none = tf.zeros([batch])
    transforms = [cosine, -sine, to_x, sine, cosine, to_y, none, none]
    return ops.image.affine_transform(
        pixels,
        tf.stack(transforms, axis=1),  # (B, 8)
        fill_mode="reflect",
        data_format="channels_last",
    )


def _cut_out(pixels: tf.Tensor, share: float, seed: tf.Tensor) -> tf.Tensor:
    """Set a square to the image's mean colour; it may reach over the edge.

    DeVries and Taylor 2017, "Improved Regularization of Convolutional Neural Networks
    with Cutout", section 3.2. `share` is of the shorter side.
    """
    batch, height, width = tf.shape(pixels)[0], *pixels.shape[1:3]
    side = max(1, round(share * min(height, width)))
    draws = tf.random.stateless_uniform([2, batch, 1], seed)

    def hidden(size: int, draw: tf.Tensor) -> tf.Tensor:
        first = tf.floor(draw * size) - side // 2  # the centre is any pixel
        places = tf.range(size, dtype=tf.float32)
        return (places >= first) & (places < first + side)  # (B, size)

    rows, columns = hidden(height, draws[0]), hidden(width, draws[1])
    square = (rows[:, :, None] & columns[:, None, :])[..., None]
    return tf.where(square, tf.reduce_mean(pixels, axis=[1, 2], keepdims=True), pixels)
