"""What several families share: the hidden stack, seeds and argument checks."""

import random
from collections.abc import Iterator, Sequence

import keras


def seeds(seed: int) -> Iterator[int]:
    """Yield one seed per layer, the same ones for the same `seed`.

    Layers get seeds of their own because Keras draws equal values for equal seeds and
    shapes. The global random state is neither read nor changed.
    """
    generator = random.Random(seed)
    while True:
        yield generator.getrandbits(31)


def hidden_stack(inputs, units: Sequence[int], layer_seeds, *, activation, dropout):
    """Apply dense layers `hidden_1`, `hidden_2`, ..., each followed by dropout.

    Args:
      inputs: (B, D).
      units: width of each layer; empty returns `inputs`.
      layer_seeds: iterator from `seeds`.
      activation: name of a Keras activation.
      dropout: share of each layer's outputs to drop while training, 0 to 1.

    Returns:
      (B, units[-1]).
    """
    outputs = inputs
    for number, width in enumerate(units, start=1):
        outputs = dense(
            width, next(layer_seeds), name=f"hidden_{number}", activation=activation
        )(outputs)  # (B, width)
        if dropout:
            outputs = keras.layers.Dropout(
                dropout, seed=next(layer_seeds), name=f"dropout_{number}"
            )(outputs)
    return outputs


def dense(units: int, seed: int, **arguments) -> keras.layers.Dense:
    """Return a dense layer whose kernel is drawn from `seed`."""
    initializer = keras.initializers.GlorotUniform(seed)
    return keras.layers.Dense(units, kernel_initializer=initializer, **arguments)


def logits_layer(num_outputs: int, seed: int, name: str = "logits"):
    """Return the dense output layer, which stays in float32 under a mixed policy."""
    return dense(num_outputs, seed, name=name, dtype="float32")


def check_count(**count) -> None:
    """Raise ValueError unless the value is a whole number of at least 1."""
    for name, value in count.items():
        if not _is_count(value):
            raise ValueError(
                f"`{name}` must be a whole number of at least 1. "
                f"Received: {name}={value!r}"
            )


def check_counts(**counts) -> None:
    """Raise ValueError unless the value is a tuple of whole numbers of at least 1."""
    for name, values in counts.items():
        if not isinstance(values, (tuple, list)) or not all(map(_is_count, values)):
            raise ValueError(
                f"`{name}` must be a tuple of whole numbers of at least 1. "
                f"Received: {name}={values!r}"
            )


def check_image(input_shape) -> None:
    """Raise ValueError unless the value is (height, width, channels)."""
    check_counts(input_shape=input_shape)
    if len(input_shape) != 3:
        raise ValueError(
            "`input_shape` must be (height, width, channels). "
            f"Received: input_shape={input_shape!r}"
        )


def check_dropout(dropout: float) -> None:
    """Raise ValueError unless `dropout` is at least 0 and below 1."""
    if not isinstance(dropout, (int, float)) or not 0 <= dropout < 1:
        raise ValueError(
            "`dropout` must be a number of at least 0 and below 1. "
            f"Received: dropout={dropout!r}"
        )


def _is_count(number) -> bool:
    return isinstance(number, int) and not isinstance(number, bool) and number >= 1
