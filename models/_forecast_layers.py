"""Layers of forecasts: they cut, average and normalise windows, and have no weights."""

import keras
from keras import ops

EPSILON = 1e-5  # added to the variance of a window


@keras.saving.register_keras_serializable(package="strata")
class Normalize(keras.layers.Layer):
    """Move each channel of a window to where it is comparable.

    (B, L, C) -> what is left, (B, L, C), what was subtracted and what was divided by,
    (B, 1, C) each. `by` is "last": its last value is subtracted; or "window": its mean
    is, and it is divided by its standard deviation.
    """

    def __init__(self, by, **options):
        super().__init__(**options)
        self.by = by

    def call(self, inputs):
        if self.by == "last":
            level = inputs[:, -1:]
            return inputs - level, level, ops.ones_like(level)
        level = ops.mean(inputs, axis=1, keepdims=True)
        scale = ops.sqrt(ops.var(inputs, axis=1, keepdims=True) + EPSILON)
        return (inputs - level) / scale, level, scale

    def get_config(self):
        return {**super().get_config(), "by": self.by}


@keras.saving.register_keras_serializable(package="strata")
class Pick(keras.layers.Layer):
    """Keep the channels at some places: (B, L, C) -> (B, L, len(places))."""

    def __init__(self, places, **options):
        super().__init__(**options)
        self.places = tuple(places)

    def call(self, inputs):
        if self.places == tuple(range(inputs.shape[-1])):
            return inputs
        return ops.take(inputs, self.places, axis=-1)

    def get_config(self):
        return {**super().get_config(), "places": self.places}


@keras.saving.register_keras_serializable(package="strata")
class Denormalize(Pick):
    """Undo `Normalize` for a forecast (B, horizon, len(places)) of some channels."""

    def call(self, inputs):
        forecast, level, scale = inputs
        return forecast * super().call(scale) + super().call(level)


@keras.saving.register_keras_serializable(package="strata")
class MovingAverage(keras.layers.Layer):
    """Average each step of (B, L, C) with those around it.

    Before the first step and after the last they are repeated, so that the length
    stays. Of an even `width` one step more of the future counts than of the past.
    """

    def __init__(self, width, **options):
        super().__init__(**options)
        self.width = width

    def call(self, inputs):
        before = (self.width - 1) // 2
        first = ops.repeat(inputs[:, :1], before, axis=1)
        last = ops.repeat(inputs[:, -1:], self.width - 1 - before, axis=1)
        padded = ops.concatenate([first, inputs, last], axis=1)
        return ops.average_pool(padded, self.width, strides=1, padding="valid")

    def get_config(self):
        return {**super().get_config(), "width": self.width}


@keras.saving.register_keras_serializable(package="strata")
class Patches(keras.layers.Layer):
    """Cut each channel into stretches: (B, L, C) -> (B * C, patches, length).

    The last patch goes up to a stride beyond the end, where the last value is repeated.
    Patches that do not overlap end within the steps: another would repeat it alone.
    """

    def __init__(self, length, stride, **options):
        super().__init__(**options)
        self.length, self.stride = length, stride

    def call(self, inputs):
        num_steps = inputs.shape[1]
        num_patches = (num_steps - self.length) // self.stride + 1
        num_patches += self.length > self.stride
        starts = ops.arange(num_patches) * self.stride
        steps = starts[:, None] + ops.arange(self.length)  # (patches, length)
        by_channel = ops.swapaxes(inputs, 1, 2)  # (B, C, L)
        patches = ops.take(by_channel, ops.minimum(steps, num_steps - 1), axis=2)
        return ops.reshape(patches, (-1, num_patches, self.length))

    def get_config(self):
        return {
            **super().get_config(),
            "length": self.length,
            "stride": self.stride,
        }


@keras.saving.register_keras_serializable(package="strata")
class Channels(keras.layers.Layer):
    """Put channels beside each other again: (B * C, steps) -> (B, steps, C)."""

    def __init__(self, num_channels, **options):
        super().__init__(**options)
        self.num_channels = num_channels

    def call(self, inputs):
        rows = ops.reshape(inputs, (-1, self.num_channels, inputs.shape[-1]))
        return ops.swapaxes(rows, 1, 2)

    def get_config(self):
        return {**super().get_config(), "num_channels": self.num_channels}
