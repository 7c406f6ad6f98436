"""Decode, resize and scale images inside the graph that the exported model carries."""

from collections.abc import Callable, Mapping
from typing import Any

import tensorflow as tf

# What TensorFlow does not decode to a number of channels, by the first two bytes.
_NOT_DIRECTLY = {1: (b"GI", b"BM"), 4: (b"GI", b"\xff\xd8")}  # GIF, BMP; GIF, JPEG


def decode(encoded: tf.Tensor, image: Mapping[str, Any]) -> tf.Tensor:
    """Decode images and make them one size.

    Args:
      encoded: (batch,) PNG, JPEG, GIF (its first frame) or BMP bytes.
      image: the recipe's section of that name.

    Returns:
      (batch, H, W, C) float32, 0 to 255. Resizing is bilinear; alpha is dropped where
      three channels or one are asked for, and colours become luma where it is one.
    """
    channels = image["shape"][2]

    def directly(one: tf.Tensor) -> tf.Tensor:
        return tf.io.decode_image(one, channels=channels, expand_animations=False)

    def whichever(one: tf.Tensor) -> tf.Tensor:
        through_rgb = _is_any(one[None], _NOT_DIRECTLY[channels])
        return tf.cond(
            through_rgb, lambda: _through_rgb(one, channels), lambda: directly(one)
        )

    def all_by(decoder: Callable[[tf.Tensor], tf.Tensor]) -> tf.Tensor:
        return tf.map_fn(
            lambda one: _resized(decoder(one), image),
            encoded,
            fn_output_signature=tf.float32,
        )

    if channels not in _NOT_DIRECTLY:
        return all_by(directly)
    # Asked once for the batch: asked for every image it costs an eighth of the time.
    return tf.cond(
        _is_any(encoded, _NOT_DIRECTLY[channels]),
        lambda: all_by(whichever),
        lambda: all_by(directly),
    )


def normalize(pixels: tf.Tensor, how: str) -> tf.Tensor:
    """Scale (batch, H, W, C) pixels from 0..255, see `recipes.schema.Image`.

    `standard` divides by 1 / sqrt(H W C) where an image varies less, as
    `tf.image.per_image_standardization` does.
    """
    if how == "unit":
        return pixels / 255.0
    if how == "signed":
        return pixels / 127.5 - 1.0
    return tf.image.per_image_standardization(pixels) if how == "standard" else pixels


def _is_any(encoded: tf.Tensor, starts: tuple[bytes, bytes]) -> tf.Tensor:
    """Return whether some of (batch,) texts starts with one of these two bytes."""
    heads = tf.strings.substr(encoded, 0, 2)[:, None]
    return tf.reduce_any(heads == tf.constant(starts))


def _through_rgb(one: tf.Tensor, channels: int) -> tf.Tensor:
    """Decode one image to RGB and convert that to one channel, or to opaque RGBA."""
    colours = tf.io.decode_image(one, channels=3, expand_animations=False)
    if channels == 1:
        return tf.image.rgb_to_grayscale(colours)
    return tf.concat([colours, 255 * tf.ones_like(colours[..., :1])], axis=-1)


def _resized(pixels: tf.Tensor, image: Mapping[str, Any]) -> tf.Tensor:
    height, width, channels = image["shape"]
    if image["resize"] == "stretch":
        resized = tf.image.resize(pixels, (height, width))
    elif image["resize"] == "pad":
        resized = tf.image.resize_with_pad(pixels, height, width)
    else:
        resized = _cropped(pixels, height, width)
    return tf.ensure_shape(resized, (height, width, channels))


def _cropped(pixels: tf.Tensor, height: int, width: int) -> tf.Tensor:
    """Cut the largest part of these proportions out of the middle, and scale it.

    In this order: a long thin image scaled first would fill the memory.
    """
    size = tf.shape(pixels)[:2]
    wanted = tf.constant([height, width], tf.float32)
    scale = tf.reduce_min(tf.cast(size, tf.float32) / wanted)
    part = tf.maximum(tf.cast(tf.round(scale * wanted), tf.int32), 1)
    (top, left), (rows, columns) = tf.unstack((size - part) // 2), tf.unstack(part)
    cut = pixels[top : top + rows, left : left + columns]
    return tf.image.resize(cut, (height, width))
