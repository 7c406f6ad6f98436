"""Convolutional blocks: a named convolution, what normalises it, and residual blocks.

Images are (B, H, W, C). Every block takes an iterator of seeds and the name, or the
prefix of the names, of its layers.

Batch normalisation takes its statistics over all replicas, so that two learn what one
learns from the whole batch. When not training it uses averages kept from training: a
row never depends on the rows beside it. A batch should have at least 16 rows.
"""

import keras
import numpy as np
from keras import ops

EPSILON = 1e-3  # also keeps a batch of equal values finite
MOMENTUM = 0.95  # averages follow within 20 steps; Keras' 0.99 lags in short trainings


def conv(x, filters, kernel_size, seeds, name, *, activation="relu", **options):
    """Convolve with a bias; `options` are those of Conv2D."""
    return keras.layers.Conv2D(
        filters,
        kernel_size,
        activation=activation,
        kernel_initializer=keras.initializers.HeNormal(next(seeds)),
        name=name,
        **{"padding": "same", **options},
    )(x)


def conv_norm(x, filters, kernel_size, seeds, name, *, activation="relu", **options):
    """Convolve, normalise and activate; the normalisation has the bias."""
    x = conv(
        x,
        filters,
        kernel_size,
        seeds,
        f"{name}_conv",
        activation=None,
        use_bias=False,
        **options,
    )
    return norm(x, name, activation)


def norm(x, name, activation="relu"):
    """Normalise each channel over the batch, then activate."""
    x = keras.layers.BatchNormalization(
        momentum=MOMENTUM, epsilon=EPSILON, synchronized=True, name=f"{name}_norm"
    )(x)
    if activation is None:
        return x
    return keras.layers.Activation(activation, name=f"{name}_{activation}")(x)


def basic_block(x, filters, seeds, name, *, strides=1, skip=True):
    """Apply two 3x3 convolutions around which the inputs skip.

    He et al. 2016, "Deep residual learning for image recognition", figure 5, left.
    """
    y = conv_norm(x, filters, 3, seeds, f"{name}_1", strides=strides)
    y = conv_norm(y, filters, 3, seeds, f"{name}_2", activation=None)
    return _joined(x, y, seeds, name, strides=strides, skip=skip)


def bottleneck_block(x, filters, seeds, name, *, strides=1, skip=True):
    """Apply a 1x1, a 3x3 and a 1x1 convolution to 4 * `filters` channels.

    He et al. 2016, figure 5, right.
    """
    y = conv_norm(x, filters, 1, seeds, f"{name}_1", strides=strides)
    y = conv_norm(y, filters, 3, seeds, f"{name}_2")
    y = conv_norm(y, 4 * filters, 1, seeds, f"{name}_3", activation=None)
    return _joined(x, y, seeds, name, strides=strides, skip=skip)


def _joined(x, y, seeds, name, *, strides, skip):
    """Add the inputs, projected where their shape differs, and activate."""
    if skip:
        if x.shape[1:] != y.shape[1:]:
            x = conv_norm(
                x,
                y.shape[-1],
                1,
                seeds,
                f"{name}_skip",
                strides=strides,
                activation=None,
            )
        y = keras.layers.Add(name=f"{name}_add")([x, y])
    return keras.layers.ReLU(name=f"{name}_relu")(y)


def mbconv_block(x, filters, kernel_size, seeds, name, *, expansion, strides=1):
    """Widen, convolve each channel by itself, weigh the channels, and narrow.

    Tan and Le 2019, "EfficientNet", with the squeeze and excitation of Hu et al. 2018;
    without stochastic depth.
    """
    y, channels = x, x.shape[-1]
    if expansion > 1:
        y = conv_norm(
            y, expansion * channels, 1, seeds, f"{name}_expand", activation="swish"
        )
    y = keras.layers.DepthwiseConv2D(
        kernel_size,
        strides=strides,
        padding="same",
        use_bias=False,
        depthwise_initializer=_fan_out(next(seeds)),
        name=f"{name}_depthwise",
    )(y)
    y = norm(y, f"{name}_depthwise", "swish")
    y = squeeze_excite(y, max(1, channels // 4), seeds, name)
    y = conv_norm(y, filters, 1, seeds, f"{name}_project", activation=None)
    if y.shape[1:] == x.shape[1:]:
        y = keras.layers.Add(name=f"{name}_add")([x, y])
    return y


def squeeze_excite(x, squeezed, seeds, name):
    """Scale each channel by 0 to 1, from the means of all channels."""
    means = keras.layers.GlobalAveragePooling2D(keepdims=True, name=f"{name}_squeeze")(
        x
    )  # (B, 1, 1, C)
    hidden = conv(means, squeezed, 1, seeds, f"{name}_reduce", activation="swish")
    factors = conv(
        hidden, x.shape[-1], 1, seeds, f"{name}_excite", activation="sigmoid"
    )
    return keras.layers.Multiply(name=f"{name}_scale")([x, factors])


def _fan_out(seed):
    # A depthwise kernel is (k, k, C, 1): each channel is fed by k * k inputs, which
    # Keras takes for its fan out.
    return keras.initializers.VarianceScaling(2.0, mode="fan_out", seed=seed)


@keras.saving.register_keras_serializable(package="strata")
class LocalResponseNorm(keras.layers.Layer):
    """Divide each value by what it and 4 neighbouring channels hold at the same place.

    x / (2 + 1e-4 * sum of squares) ** 0.75, in float32. Krizhevsky, Sutskever and
    Hinton 2012, section 3.3.
    """

    def build(self, input_shape):
        places = np.arange(input_shape[-1])
        near = abs(places[:, None] - places) <= 2  # (C, C)
        self.neighbours = near.astype("float32")

    def call(self, inputs):
        x = ops.cast(inputs, "float32")
        sums = ops.matmul(ops.square(x), self.neighbours)  # (B, H, W, C)
        return ops.cast(x / (2.0 + 1e-4 * sums) ** 0.75, inputs.dtype)

    def compute_output_shape(self, input_shape):
        return input_shape
