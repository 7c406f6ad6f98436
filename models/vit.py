"""Vision transformer: the image as a sequence of square patches.

Use it where images are many, or to start from one trained elsewhere: it has to learn
that neighbouring pixels belong together, which `cnn` is built on. The defaults suit
images of 28x28 to 32x32 pixels. With few epochs or few images, `stem="convolutions"`
learns much faster. The published ViT-B/16, for 1,000 classes of 224x224x3 images, is

    patch_size=16, dim=768, num_blocks=12, num_heads=12, class_token=True

with 86,558,440 weights: the published 86,567,656 without the biases of the keys, which
softmax cancels.

Dosovitskiy et al. 2021, "An image is worth 16x16 words: transformers for image
recognition at scale", section 3.1. Differences: by default the mean of all places is
classified, as Beyer, Zhai and Kolesnikov 2022, "Better plain ViT baselines for
ImageNet-1k", prefer, and there is no hidden layer before the logits, which the paper
uses in pre-training. The other stem is that of Xiao et al. 2021, "Early convolutions
help transformers see better", section 4: in place of one projection of each patch,
3x3 convolutions that halve the image, and one of 1x1.

The blocks are our own: keras.applications has no such model, and keras-hub would add
tensorflow-text and five seconds to every import.
"""

import keras
from keras import ops

from models import _attention, _conv, _layers

STEMS = ("patches", "convolutions")

TINY = {
    "input_shape": (8, 8, 1),
    "num_outputs": 3,
    "patch_size": 4,
    "dim": 8,
    "num_blocks": 1,
    "num_heads": 2,
}


def build(
    input_shape: tuple[int, int, int],
    num_outputs: int,
    *,
    patch_size: int = 4,
    dim: int = 64,
    num_blocks: int = 4,
    num_heads: int = 4,
    stem: str = "patches",
    class_token: bool = False,
    dropout: float = 0.0,
    remat: bool = False,
    scale: float = 1.0,
    seed: int = 0,
) -> keras.Model:
    """Build the model: (B, H, W, C) in, (B, num_outputs) float32 logits out.

    Args:
      input_shape: height and width in pixels, and channels.
      num_outputs: number of logits.
      patch_size: side of a patch in pixels, a divisor of height and width; with
        `stem="convolutions"` a power of 2.
      dim: width of the vector of each patch; a block widens it to 4 * dim within.
      num_blocks: number of blocks.
      num_heads: parts of the attention, a divisor of `dim`.
      stem: one of `STEMS`, what makes the vectors of the patches.
      class_token: classify by the vector of a learned first place, not by the mean of
        all places.
      dropout: share of each block's updates to drop while training.
      remat: keep less of each block for the gradient and compute it again.
      scale: factor on the pixels, such as 1/255.
      seed: decides the initial weights and the dropout.

    Raises:
      ValueError: an argument is out of range.
    """
    _check(input_shape, patch_size, stem)
    _layers.check_count(num_outputs=num_outputs, num_blocks=num_blocks)
    _attention.check_heads(dim, num_heads)
    _layers.check_dropout(dropout)
    seeds = _layers.seeds(seed)
    inputs = keras.Input(input_shape, name="inputs")
    # float32: a mixed policy would round the pixels before they are scaled.
    x = keras.layers.Rescaling(scale, dtype="float32", name="scale")(inputs)
    project = _patches if stem == "patches" else _convolutions
    x = project(x, patch_size, dim, seeds)  # (B, rows, columns, D)
    x = keras.layers.Reshape((-1, dim), name="sequence")(x)  # (B, T, D), row by row
    if class_token:
        x = ClassToken(seed=next(seeds), name="class_token")(x)  # (B, 1 + T, D)
    x = _attention.PositionEmbedding(x.shape[1], seed=next(seeds), name="positions")(x)
    for number in range(1, num_blocks + 1):
        x = _attention.encoder_block(
            x,
            None,
            seeds,
            num_heads=num_heads,
            hidden_dim=4 * dim,
            name=f"block_{number}",
            dropout=dropout,
            remat=remat,
        )
    x = _attention.norm(x, "norm")
    x = _first(x) if class_token else _mean(x)  # (B, D)
    logits = _layers.logits_layer(num_outputs, next(seeds))(x)  # (B, num_outputs)
    return keras.Model(inputs, logits, name="vit")


@keras.saving.register_keras_serializable(package="strata")
class ClassToken(keras.layers.Layer):
    """Put one learned vector before the places of (B, T, D)."""

    def __init__(self, *, seed=0, **options):
        super().__init__(**options)
        self.seed = seed

    def build(self, input_shape):
        self.token = self.add_weight(
            name="token",
            shape=(1, 1, input_shape[-1]),
            initializer=keras.initializers.RandomNormal(stddev=0.02, seed=self.seed),
        )

    def call(self, inputs):
        token = ops.cast(self.token, inputs.dtype)
        tokens = ops.broadcast_to(token, (ops.shape(inputs)[0], 1, inputs.shape[-1]))
        return ops.concatenate([tokens, inputs], axis=1)

    def compute_output_shape(self, input_shape):
        return (input_shape[0], input_shape[1] + 1, input_shape[2])

    def get_config(self):
        return {**super().get_config(), "seed": self.seed}


def _patches(images, patch_size: int, dim: int, seeds):
    """Project each patch: (B, H, W, C) -> (B, rows, columns, dim)."""
    return keras.layers.Conv2D(
        dim,
        patch_size,
        strides=patch_size,
        kernel_initializer=keras.initializers.LecunNormal(next(seeds)),
        name="patches",
    )(images)


def _convolutions(images, patch_size: int, dim: int, seeds):
    """Halve the images until one place is left of each patch, doubling the filters."""
    x, num_halvings = images, patch_size.bit_length() - 1
    for number in range(1, num_halvings + 1):
        filters = max(1, dim >> (num_halvings - number))
        x = _conv.conv_norm(x, filters, 3, seeds, f"stem_{number}", strides=2)
    return _conv.conv(x, dim, 1, seeds, "patches", activation=None)


def _first(x):
    x = keras.layers.Cropping1D((0, x.shape[1] - 1), name="first")(x)  # (B, 1, D)
    return keras.layers.Flatten(name="flatten")(x)


def _mean(x):
    return keras.layers.GlobalAveragePooling1D(name="mean")(x)


def _check(input_shape, patch_size: int, stem: str) -> None:
    _layers.check_image(input_shape)
    _layers.check_count(patch_size=patch_size)
    if any(side % patch_size for side in input_shape[:2]):
        raise ValueError(
            "`patch_size` must divide height and width. "
            f"Received: patch_size={patch_size!r}, input_shape={input_shape!r}"
        )
    if stem not in STEMS:
        raise ValueError(f"`stem` must be one of {STEMS}. Received: stem={stem!r}")
    if stem == "convolutions" and patch_size & (patch_size - 1):
        raise ValueError(
            "`patch_size` must be a power of 2 with stem='convolutions'. "
            f"Received: patch_size={patch_size!r}"
        )
