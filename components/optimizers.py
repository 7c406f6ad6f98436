"""Optimizers by the name a recipe uses, with the learning rate over a training."""

import math
from collections.abc import Mapping
from typing import Any

import keras
import tensorflow as tf

from recipes.errors import BadInputError

_KINDS = {
    "adam": (keras.optimizers.Adam, {}),
    "sgd": (keras.optimizers.SGD, {}),
    "momentum": (keras.optimizers.SGD, {"momentum": 0.9}),
    "rmsprop": (keras.optimizers.RMSprop, {}),
}
_DECAYED = ("kernel", "embedding")  # in the name of what `weight_decay` shrinks


def create(
    train: Mapping[str, Any],
    *,
    num_steps: int,
    factors: Mapping[str, float] | None = None,
) -> keras.Optimizer:
    """Return the optimizer that the recipe's `train` section describes.

    Call it inside the scope of the strategy.

    Args:
      train: the section.
      num_steps: updates of the whole training, for the schedule.
      factors: path of a variable -> factor on its learning rate.

    Raises:
      BadInputError: the warm-up is as long as the training.
    """
    kind, arguments = _KINDS[train["optimizer"]]
    replicas = tf.distribute.get_strategy().num_replicas_in_sync
    # Keras clips each replica's gradients by themselves; the train step hands every
    # replica the mean of all, which is `replicas` times smaller than their sum.
    norm = train["clip_norm"] and train["clip_norm"] / replicas
    return _per_variable(kind)(
        decay=train["weight_decay"],
        factors=factors or {},
        learning_rate=_learning_rate(train, num_steps),
        global_clipnorm=norm,
        use_ema=train["ema"] is not None,
        ema_momentum=train["ema"] or 0.0,
        name=train["optimizer"],
        **arguments,
    )


def inner(optimizer: keras.Optimizer) -> keras.Optimizer:
    """Return the optimizer itself, without the one that scales its loss."""
    return getattr(optimizer, "inner_optimizer", optimizer)


def averages(optimizer: keras.Optimizer) -> dict[str, keras.Variable]:
    """Return path of a trained variable -> its average; {} without `ema`."""
    own = inner(optimizer)
    if not own.use_ema:
        return {}
    pairs = zip(
        own._trainable_variables, own._model_variables_moving_average, strict=True
    )
    return {variable.path: average for variable, average in pairs}


def _learning_rate(train: Mapping[str, Any], num_steps: int) -> Any:
    if train["warmup_steps"] >= num_steps:
        raise BadInputError(
            f"Expected fewer train.warmup_steps than the {num_steps} updates of the "
            f"training. Received: {train['warmup_steps']}"
        )
    if train["schedule"] == "constant" and not train["warmup_steps"]:
        return train["learning_rate"]
    return Schedule(
        train["schedule"],
        train["learning_rate"],
        num_steps=num_steps,
        warmup_steps=train["warmup_steps"],
    )


class Schedule(keras.optimizers.schedules.LearningRateSchedule):
    """A linear rise to the peak, then a fall towards 0; or none, `constant`.

    The rate is 0 after the last update, so that the last one still moves the weights.
    `share_of_time`, 0 to 1, is for a training that ends by the clock: the fall is as
    far along as the updates or the time, whichever is further.
    """

    def __init__(self, shape: str, peak: float, *, num_steps: int, warmup_steps: int):
        super().__init__()
        self._shape, self._peak = shape, peak
        self._num_steps, self._warmup_steps = num_steps, warmup_steps
        self.share_of_time = keras.Variable(
            0.0, trainable=False, dtype="float32", name="share_of_time"
        )

    def __call__(self, step: tf.Tensor) -> tf.Tensor:
        """Return the rate, () float32, of the update after `step` others."""
        step = tf.cast(step, tf.float32)
        warm = tf.minimum((step + 1) / max(1, self._warmup_steps), 1.0)
        done = (step - self._warmup_steps) / (self._num_steps - self._warmup_steps)
        time = tf.convert_to_tensor(self.share_of_time)
        done = tf.clip_by_value(tf.maximum(done, time), 0.0, 1.0)
        if self._shape == "cosine":
            warm *= 0.5 * (1 + tf.cos(math.pi * done))
        elif self._shape == "linear":
            warm *= 1 - done
        return self._peak * warm


def _per_variable(kind: type[keras.Optimizer]) -> type[keras.Optimizer]:
    return type(kind.__name__, (_PerVariable, kind), {})


class _PerVariable:
    """Mixed into an optimizer: rates and decay by variable, averages left alone.

    Keras's own `weight_decay` shrinks at the full rate what learns at a lower one.
    """

    def __init__(
        self, *, decay: float, factors: Mapping[str, float], **arguments: Any
    ) -> None:
        super().__init__(**arguments)
        self._decay, self._factors = decay, dict(factors)

    def build(self, variables: list[keras.Variable]) -> None:
        super().build(variables)
        self._rates = tuple(self._factors.get(v.path, 1.0) for v in variables)
        self._decays = tuple(
            self._decay if any(word in v.name for word in _DECAYED) else 0.0
            for v in variables
        )

    def update_step(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
        index = self._get_variable_index(variable)
        learning_rate = tf.cast(learning_rate, variable.dtype) * self._rates[index]
        if self._decays[index]:
            shrinkage = learning_rate * self._decays[index]
            self.assign_sub(variable, variable * shrinkage)
        super().update_step(gradient, variable, learning_rate)

    def finalize_variable_values(self, var_list: list[keras.Variable]) -> None:
        """Leave the weights alone: `fit`, which calls this, may go on in another."""
