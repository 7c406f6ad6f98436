"""Where a convolutional network found a class: Grad-CAM.

Selvaraju et al. 2017, "Grad-CAM: visual explanations from deep networks via
gradient-based localization".
"""

import keras
import tensorflow as tf

from components.explanations import class_scores

_CONVOLUTIONS = (
    keras.layers.Conv2D,
    keras.layers.DepthwiseConv2D,
    keras.layers.SeparableConv2D,
)


def last_convolution(model: keras.Model) -> keras.layers.Layer | None:
    """Return the last convolution that still tells places apart, or None.

    LeNet's last one, which gives a single place, does not; and what cuts a picture into
    patches for a transformer has found nothing yet.
    """
    for layer in reversed(model.layers):
        if isinstance(layer, _CONVOLUTIONS) and not _cuts_patches(layer):
            _, height, width, _ = layer.output.shape
            if height > 1 and width > 1:
                return layer
    return None


def grad_cam(
    model: keras.Model,
    layer: keras.layers.Layer,
    images: tf.Tensor,
    classes: tf.Tensor,
) -> tf.Tensor:
    """Show where a layer's features speak for a class.

    Args:
      model: functional; a saved function has no layers to look into.
      layer: of `last_convolution`.
      images: (B, H, W, C) float32, as the model is called on them.
      classes: (B,) int64.

    Returns:
      (B, H, W) float32, 0 to 1; all 0 where nothing speaks for the class.
    """
    both = keras.Model(model.inputs, [layer.output, model.output])
    with tf.GradientTape(watch_accessed_variables=False) as tape:
        tape.watch(images)  # so that what follows from them is recorded
        maps, logits = both(images, training=False)
        scores = class_scores(logits, classes)
    slopes = tf.cast(tape.gradient(scores, maps), tf.float32)  # (B, h, w, F)
    weights = tf.reduce_mean(slopes, axis=[1, 2], keepdims=True)
    heat = tf.nn.relu(tf.reduce_sum(weights * tf.cast(maps, tf.float32), axis=-1))
    heat = tf.image.resize(heat[..., None], images.shape[1:3])[..., 0]
    highest = tf.reduce_max(heat, axis=[1, 2], keepdims=True)
    return tf.math.divide_no_nan(heat, highest)


def _cuts_patches(layer: keras.layers.Layer) -> bool:
    return layer.strides[0] > 1 and tuple(layer.strides) == tuple(layer.kernel_size)
