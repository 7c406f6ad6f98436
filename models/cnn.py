"""Convolutional networks for images, by the name of a published architecture.

Small images (28x28 to 100x100), a CPU: `lenet5` trains in seconds; `compact`, our own,
is the most accurate for its cost; `alexnet`, `vgg`, `resnet` and `efficientnet` are the
published designs made narrow and shallow. Large images, a GPU: `alexnet_full`, `vgg16`,
`resnet50` and `efficientnet_b0`, layer by layer as published.

The full forms are our own code, on the blocks that the small ones are made of.
keras.applications would give logits that a mixed policy rounds, weights and dropout
that no seed decides, and in EfficientNet a second scaling of the pixels. The tests
compare outputs with it.

- lenet5: LeCun, Bottou, Bengio and Haffner 1998, "Gradient-based learning applied to
  document recognition", section II.B. Differences: C3 sees all six maps of S2 (the
  paper connects subsets), S2 and S4 average without a trained factor, bias or
  squashing, tanh is not stretched, and a dense layer gives the logits (the paper:
  radial basis functions, fixed). With one channel and ten outputs it has 61,706
  weights; the paper counts 60,000. Images are resized to 32x32.
- alexnet: Krizhevsky, Sutskever and Hinton 2012, "ImageNet classification with deep
  convolutional neural networks". Difference: one tower, where the paper splits
  convolutions 2, 4 and 5 over two GPUs. The full form resizes images to 227x227.
- vgg: Simonyan and Zisserman 2015, "Very deep convolutional networks for large-scale
  image recognition"; configuration D is `vgg16`, which resizes images to 224x224.
- resnet: He, Zhang, Ren and Sun 2016, "Deep residual learning for image recognition".
  `resnet` is the network of section 4.2 with 32 layers, its first convolution halving
  the image; skips change shape by projections (option B).
- efficientnet: Tan and Le 2019, "EfficientNet: rethinking model scaling for
  convolutional neural networks". Difference: no stochastic depth.
"""

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import keras

from models import _conv, _layers

TINY = {"input_shape": (8, 8, 1), "num_outputs": 3}


def build(
    input_shape: tuple[int, int, int],
    num_outputs: int,
    *,
    architecture: str = "lenet5",
    dropout: float = 0.0,
    skips: bool = True,
    scale: float = 1.0,
    seed: int = 0,
) -> keras.Model:
    """Build the model: (B, H, W, C) in, (B, num_outputs) float32 logits out.

    Args:
      input_shape: height and width in pixels, and channels.
      num_outputs: number of logits.
      architecture: a key of `ARCHITECTURES`.
      dropout: share of the last hidden outputs to drop while training; in AlexNet and
        VGG, of each dense layer's.
      skips: False leaves the skips out of `resnet` and `resnet50`, for comparison.
      scale: factor on the pixels, such as 1/255.
      seed: decides the initial weights and the dropout.

    Raises:
      ValueError: an argument is unknown or out of range.
    """
    _check(input_shape, num_outputs, architecture, skips)
    _layers.check_dropout(dropout)
    chosen = ARCHITECTURES[architecture]
    seeds = _layers.seeds(seed)
    inputs = keras.Input(input_shape, name="inputs")
    # float32: a mixed policy would round the pixels before they are scaled.
    x = keras.layers.Rescaling(scale, dtype="float32", name="scale")(inputs)
    if chosen.size:
        x = keras.layers.Resizing(*chosen.size, dtype="float32", name="resize")(x)
    x = chosen.features(x, seeds, **({} if skips else {"skip": False}))  # (B, D)
    x = _layers.hidden_stack(
        x, chosen.units, seeds, activation="relu", dropout=dropout
    )  # (B, D)
    if dropout and not chosen.units:
        x = keras.layers.Dropout(dropout, seed=next(seeds), name="dropout")(x)
    logits = _layers.logits_layer(num_outputs, next(seeds))(x)  # (B, num_outputs)
    return keras.Model(inputs, logits, name=architecture)


def _lenet5(images, seeds):
    x = _tanh_conv(6, 5, next(seeds), name="c1")(images)  # (B, 28, 28, 6)
    x = keras.layers.AveragePooling2D(2, name="s2")(x)  # (B, 14, 14, 6)
    x = _tanh_conv(16, 5, next(seeds), name="c3")(x)  # (B, 10, 10, 16)
    x = keras.layers.AveragePooling2D(2, name="s4")(x)  # (B, 5, 5, 16)
    x = _tanh_conv(120, 5, next(seeds), name="c5")(x)  # (B, 1, 1, 120)
    x = keras.layers.Flatten(name="flatten")(x)  # (B, 120)
    return _layers.dense(84, next(seeds), activation="tanh", name="f6")(x)  # (B, 84)


def _tanh_conv(filters: int, kernel_size: int, seed: int, name: str):
    return keras.layers.Conv2D(
        filters,
        kernel_size,
        activation="tanh",
        kernel_initializer=keras.initializers.GlorotUniform(seed),
        name=name,
    )


def _compact(images, seeds):
    """Halve the image after each convolution, before the costlier normalisation."""
    x = images
    for stage, filters in enumerate((32, 64, 96), start=1):
        x = _conv.conv(
            x, filters, 3, seeds, f"conv_{stage}", activation=None, use_bias=False
        )
        x = _max_pool(x, 2, f"pool_{stage}", padding="same")
        x = _conv.norm(x, f"conv_{stage}")
    return keras.layers.Flatten(name="flatten")(x)


def _alexnet(images, seeds, *, first, filters, padding):
    """Apply five convolutions, the first with (filters, kernel size, strides)."""
    count, kernel_size, strides = first
    x = _conv.conv(
        images, count, kernel_size, seeds, "conv_1", strides=strides, padding=padding
    )
    x = _conv.LocalResponseNorm(name="response_norm_1")(x)
    x = _max_pool(x, 3, "pool_1", padding)
    x = _conv.conv(x, filters[0], 5, seeds, "conv_2")
    x = _conv.LocalResponseNorm(name="response_norm_2")(x)
    x = _max_pool(x, 3, "pool_2", padding)
    for number, count in enumerate(filters[1:], start=3):
        x = _conv.conv(x, count, 3, seeds, f"conv_{number}")
    x = _max_pool(x, 3, "pool_5", padding)
    return keras.layers.Flatten(name="flatten")(x)


def _vgg(images, seeds, *, stages):
    """Apply stages of (convolutions, filters), each of which ends with a pooling."""
    x = images
    for stage, (repeats, filters) in enumerate(stages, start=1):
        for number in range(1, repeats + 1):
            x = _conv.conv(x, filters, 3, seeds, f"conv_{stage}_{number}")
        x = _max_pool(x, 2, f"pool_{stage}", padding="same")
    return keras.layers.Flatten(name="flatten")(x)


def _resnet(images, seeds, *, stem, block, stages, skip=True):
    """Apply stages of (blocks, filters), each but the first halving the image."""
    x = stem(images, seeds)
    for stage, (repeats, filters) in enumerate(stages, start=1):
        for number in range(1, repeats + 1):
            halve = stage > 1 and number == 1
            name = f"stage_{stage}_block_{number}"
            x = block(x, filters, seeds, name, strides=2 if halve else 1, skip=skip)
    return keras.layers.GlobalAveragePooling2D(name="pool")(x)


def _small_stem(images, seeds):
    return _conv.conv_norm(images, 16, 3, seeds, "stem", strides=2)


def _resnet_stem(images, seeds):
    x = keras.layers.ZeroPadding2D(3, name="stem_pad")(images)
    x = _conv.conv_norm(x, 64, 7, seeds, "stem", strides=2, padding="valid")
    # Zeros are as good as minus infinity: what is pooled has passed a ReLU.
    x = keras.layers.ZeroPadding2D(1, name="stem_pool_pad")(x)
    return _max_pool(x, 3, "stem_pool", padding="valid")


def _efficientnet(images, seeds, *, stem, stages, head):
    """Apply stages of (blocks, filters, kernel size, strides, expansion)."""
    x = _conv.conv_norm(images, stem, 3, seeds, "stem", strides=2, activation="swish")
    for stage, (repeats, filters, kernel_size, strides, expansion) in enumerate(
        stages, start=1
    ):
        for number in range(1, repeats + 1):
            x = _conv.mbconv_block(
                x,
                filters,
                kernel_size,
                seeds,
                f"stage_{stage}_block_{number}",
                expansion=expansion,
                strides=strides if number == 1 else 1,
            )
    x = _conv.conv_norm(x, head, 1, seeds, "head", activation="swish")
    return keras.layers.GlobalAveragePooling2D(name="pool")(x)


def _max_pool(x, size: int, name: str, padding: str):
    return keras.layers.MaxPooling2D(size, strides=2, padding=padding, name=name)(x)


class Architecture(NamedTuple):
    features: Callable  # (images, seeds) -> (B, D)
    units: tuple[int, ...] = ()  # of the dense layers between features and logits
    size: tuple[int, int] | None = None  # what images are resized to; None: as they are


ARCHITECTURES = {
    "lenet5": Architecture(_lenet5, size=(32, 32)),
    "compact": Architecture(_compact),
    "alexnet": Architecture(
        partial(_alexnet, first=(24, 5, 2), filters=(48, 64, 64, 48), padding="same"),
        units=(256, 128),
    ),
    "alexnet_full": Architecture(
        partial(
            _alexnet, first=(96, 11, 4), filters=(256, 384, 384, 256), padding="valid"
        ),
        units=(4096, 4096),
        size=(227, 227),
    ),
    "vgg": Architecture(
        partial(_vgg, stages=((2, 16), (2, 32), (2, 64))), units=(128,)
    ),
    "vgg16": Architecture(
        partial(_vgg, stages=((2, 64), (2, 128), (3, 256), (3, 512), (3, 512))),
        units=(4096, 4096),
        size=(224, 224),
    ),
    "resnet": Architecture(
        partial(
            _resnet,
            stem=_small_stem,
            block=_conv.basic_block,
            stages=((5, 16), (5, 32), (5, 64)),
        )
    ),
    "resnet50": Architecture(
        partial(
            _resnet,
            stem=_resnet_stem,
            block=_conv.bottleneck_block,
            stages=((3, 64), (4, 128), (6, 256), (3, 512)),
        )
    ),
    "efficientnet": Architecture(
        partial(
            _efficientnet,
            stem=16,
            stages=((1, 16, 3, 1, 1), (2, 24, 3, 2, 4), (2, 40, 5, 1, 4)),
            head=128,
        )
    ),
    "efficientnet_b0": Architecture(
        partial(
            _efficientnet,
            stem=32,
            stages=(
                (1, 16, 3, 1, 1),
                (2, 24, 3, 2, 6),
                (2, 40, 5, 2, 6),
                (3, 80, 3, 2, 6),
                (3, 112, 5, 1, 6),
                (4, 192, 5, 2, 6),
                (1, 320, 3, 1, 6),
            ),
            head=1280,
        )
    ),
}


def _check(input_shape, num_outputs: int, architecture: str, skips: bool) -> None:
    _layers.check_image(input_shape)
    _layers.check_count(num_outputs=num_outputs)
    if architecture not in ARCHITECTURES:
        raise ValueError(
            f"Unknown architecture. Expected one of {tuple(ARCHITECTURES)}. "
            f"Received: architecture={architecture!r}"
        )
    if not skips and architecture not in ("resnet", "resnet50"):
        raise ValueError(
            "`skips` must be True but for 'resnet' and 'resnet50'. "
            f"Received: skips={skips!r}, architecture={architecture!r}"
        )
