"""Convolutional networks for images, by the name of a published architecture.

Use `lenet5` for small grey or colour images such as digits; it trains in seconds on a
CPU. Images of any size are resized to what the architecture expects, inside the model.

lenet5: LeCun, Bottou, Bengio and Haffner 1998, "Gradient-based learning applied to
document recognition", section II.B. Differences: C3 sees all six maps of S2 (the paper
connects subsets), S2 and S4 average without a trained factor, bias or squashing, tanh
is not stretched, and a dense layer gives the logits (the paper: radial basis functions,
fixed). With one channel and ten outputs it has 61,706 weights; the paper counts 60,000.
"""

from collections.abc import Callable
from typing import NamedTuple

import keras

from models import _layers

TINY = {"input_shape": (8, 8, 1), "num_outputs": 3}


def build(
    input_shape: tuple[int, int, int],
    num_outputs: int,
    *,
    architecture: str = "lenet5",
    scale: float = 1.0,
    seed: int = 0,
) -> keras.Model:
    """Build the model: (B, H, W, C) in, (B, num_outputs) float32 logits out.

    Args:
      input_shape: height and width in pixels, and channels.
      num_outputs: number of logits.
      architecture: a key of `ARCHITECTURES`.
      scale: factor on the pixels, such as 1/255.
      seed: decides the initial weights.

    Raises:
      ValueError: an argument is unknown or out of range.
    """
    _check(input_shape, num_outputs, architecture)
    size, features = ARCHITECTURES[architecture]
    seeds = _layers.seeds(seed)
    inputs = keras.Input(input_shape, name="inputs")
    # float32: a mixed policy would round the pixels before they are scaled.
    x = keras.layers.Rescaling(scale, dtype="float32", name="scale")(inputs)
    x = keras.layers.Resizing(*size, dtype="float32", name="resize")(x)
    x = features(x, seeds)  # (B, D)
    logits = _layers.logits_layer(num_outputs, next(seeds))(x)  # (B, num_outputs)
    return keras.Model(inputs, logits, name=architecture)


def _lenet5(images, seeds):
    x = _conv(6, 5, next(seeds), name="c1")(images)  # (B, 28, 28, 6)
    x = keras.layers.AveragePooling2D(2, name="s2")(x)  # (B, 14, 14, 6)
    x = _conv(16, 5, next(seeds), name="c3")(x)  # (B, 10, 10, 16)
    x = keras.layers.AveragePooling2D(2, name="s4")(x)  # (B, 5, 5, 16)
    x = _conv(120, 5, next(seeds), name="c5")(x)  # (B, 1, 1, 120)
    x = keras.layers.Flatten(name="flatten")(x)  # (B, 120)
    return _layers.dense(84, next(seeds), activation="tanh", name="f6")(x)  # (B, 84)


def _conv(filters: int, kernel_size: int, seed: int, name: str):
    return keras.layers.Conv2D(
        filters,
        kernel_size,
        activation="tanh",
        kernel_initializer=keras.initializers.GlorotUniform(seed),
        name=name,
    )


class Architecture(NamedTuple):
    size: tuple[int, int]  # height and width of the images it sees
    features: Callable  # (images, seeds) -> (B, D), all but the logits


ARCHITECTURES = {"lenet5": Architecture((32, 32), _lenet5)}


def _check(input_shape, num_outputs: int, architecture: str) -> None:
    _layers.check_counts(input_shape=input_shape)
    _layers.check_count(num_outputs=num_outputs)
    if len(input_shape) != 3:
        raise ValueError(
            "`input_shape` must be (height, width, channels). "
            f"Received: input_shape={input_shape!r}"
        )
    if architecture not in ARCHITECTURES:
        raise ValueError(
            f"Unknown architecture. Expected one of {tuple(ARCHITECTURES)}. "
            f"Received: architecture={architecture!r}"
        )
