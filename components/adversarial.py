"""Inputs changed a little so that a model errs: to train on, and to examine with.

`attack` is projected gradient descent; one step without a random start is the fast
gradient sign method. Goodfellow, Shlens and Szegedy 2015, "Explaining and Harnessing
Adversarial Examples"; Madry et al. 2018, "Towards Deep Learning Models Resistant to
Adversarial Attacks"; one step after a random start: Wong, Rice and Kolter 2020, "Fast
is better than free".

A training replaces a share of each batch. Who is replaced, and where the attack on them
starts, depends on the recipe's seed, the number of the update and the place in the
whole batch: a resumed training, one in parts and one on several replicas see the same.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import tensorflow as tf

from components.augment_images import fold

Call = Callable[[tf.Tensor], tf.Tensor]
Number = float | tf.Tensor
MOST_APART = 10.0  # logits of an example that is attacked
_ENDS = (tf.reduce_max, tf.reduce_min)
# How pixels are scaled -> the lowest and highest that a model can get.
RANGES = {"none": (0.0, 255.0), "unit": (0.0, 1.0), "signed": (-1.0, 1.0)}


def attack(
    call: Call,
    inputs: Any,
    labels: Any,
    *,
    epsilon: Number,
    step_size: Number,
    steps: int,
    low: float,
    high: float,
    seed: Any = None,
) -> tf.Tensor:
    """Return inputs near the given ones for which the cross-entropy is higher.

    Every step goes along the sign of the gradient, of logits at most `MOST_APART`
    apart, and back into what is allowed: no value farther than `epsilon` from where it
    was, none outside of `low` to `high`. Where the gradient is not finite, it stays.

    Args:
      call: ready inputs to (B, C) logits, or (B, 1) of a yes-or-no label. Each example
        must be answered alone as among others: no batch statistics.
      inputs: (B, ...) floats.
      labels: (B,) or (B, 1) class numbers, or (B, C) shares of classes.
      epsilon: in units of the inputs; a tensor if it broadcasts to them.
      step_size: likewise.
      steps: how many, 1 or more.
      low: that a value may have.
      high: likewise.
      seed: (2,) int of a random start within `epsilon`; None starts at the inputs.

    Returns:
      float32, in the shape of `inputs`.
    """
    inputs = tf.convert_to_tensor(inputs, tf.float32)
    start = inputs
    if seed is not None:
        start += epsilon * tf.random.stateless_uniform(tf.shape(inputs), seed, -1, 1)
    return _ascend(
        call,
        start,
        tf.convert_to_tensor(labels),
        bounds=_bounds(inputs, epsilon, (low, high)),
        step_size=step_size,
        steps=steps,
    )


def cross_entropy(labels: tf.Tensor, logits: tf.Tensor) -> tf.Tensor:
    """Return (B,) nats; labels and logits as in `attack`."""
    logits = tf.cast(logits, tf.float32)
    if logits.shape[-1] == 1:
        shares = tf.cast(tf.reshape(labels, [-1]), tf.float32)
        return tf.nn.sigmoid_cross_entropy_with_logits(shares, logits[:, 0])
    if labels.dtype.is_floating and labels.shape[-1] == logits.shape[-1]:
        return tf.nn.softmax_cross_entropy_with_logits(labels, logits)
    numbers = tf.cast(tf.reshape(labels, [-1]), tf.int32)
    return tf.nn.sparse_softmax_cross_entropy_with_logits(numbers, logits)


@dataclass(frozen=True)
class Attacker:
    """What a training does to its batches, in units of the network's inputs.

    Attributes:
      epsilon, step_size, steps, low, high: see `attack`.
      per_mille: of all examples that are attacked.
      seed: of the training.
    """

    epsilon: float
    step_size: float
    steps: int
    low: float
    high: float
    per_mille: int
    seed: int

    def replace(
        self,
        call: Call,
        inputs: tf.Tensor,
        labels: tf.Tensor,
        *,
        update: tf.Tensor,
        place: tuple[Any, int] = (0, 1),
    ) -> tf.Tensor:
        """Return a part of a batch in which every so many-th example is attacked.

        Args:
          call: ready inputs to logits.
          inputs: (B, H, W, C) float32, as the network gets them.
          labels: see `attack`.
          update: () int64, the number of this update.
          place: which part of the batch this is, from 0, and of how many equal ones.
        """
        number, parts = place
        size = tf.shape(inputs)[0]
        first = size * number
        rows = self._rows(first, size)

        def attacked() -> tf.Tensor:
            chosen = tf.gather(inputs, rows)
            # Drawn for the whole batch: each part takes its own.
            shape = tf.concat([[size * parts], tf.shape(inputs)[1:]], axis=0)
            found = _ascend(
                call,
                chosen + tf.gather(self._noise(shape, update), first + rows),
                tf.gather(labels, rows),
                bounds=_bounds(chosen, self.epsilon, (self.low, self.high)),
                step_size=self.step_size,
                steps=self.steps,
            )
            return tf.tensor_scatter_nd_update(inputs, rows[:, None], found)

        # A convolution of no images at all fails.
        return tf.cond(tf.size(rows) > 0, attacked, lambda: inputs)

    def _noise(self, shape: tf.Tensor, update: tf.Tensor) -> tf.Tensor:
        seed = fold(tf.stack([tf.constant(self.seed, tf.int64), update]), "adversarial")
        return tf.random.stateless_uniform(shape, seed, -self.epsilon, self.epsilon)

    def _rows(self, first: tf.Tensor, size: tf.Tensor) -> tf.Tensor:
        """Return which of `size` examples, behind `first` others, are attacked.

        They are spread evenly: the k-th of a batch, from 1, is the first example at
        which the share of all up to it comes to k.
        """
        before = first * self.per_mille // 1000
        until = (first + size) * self.per_mille // 1000
        counts = 1000 * (tf.range(before, until) + 1)
        return (counts + self.per_mille - 1) // self.per_mille - 1 - first


def attacker(config: Mapping[str, Any]) -> Attacker | None:
    """Return what the Trainer's `train.adversarial` asks for; None without it."""
    train = config["train"]
    section = train["adversarial"]
    if not section:
        return None
    low, high = RANGES[config["transform"]["image"]["normalize"]]
    epsilon, steps = section["epsilon"], section["steps"]
    # One step of 1.25 is the size of Wong et al., several are to come to 2.5.
    step_size = section["step_size"] or epsilon * min(1.25, 2.5 / steps)
    return Attacker(
        epsilon=epsilon * (high - low),
        step_size=step_size * (high - low),
        steps=steps,
        low=low,
        high=high,
        per_mille=round(1000 * section["share"]),
        seed=train["seed"],
    )


def _bounds(
    inputs: tf.Tensor, epsilon: Number, limits: tuple[float, float]
) -> tuple[tf.Tensor, tf.Tensor]:
    """Return the lowest and the highest that each value may become."""
    low, high = limits
    return tf.maximum(inputs - epsilon, low), tf.minimum(inputs + epsilon, high)


def _ascend(
    call: Call,
    start: tf.Tensor,
    labels: tf.Tensor,
    *,
    bounds: tuple[tf.Tensor, tf.Tensor],
    step_size: Number,
    steps: int,
) -> tf.Tensor:
    """Go up the loss by the sign of its gradient, within bounds."""

    def step(at: tf.Tensor) -> tuple[tf.Tensor]:
        with tf.GradientTape() as tape:
            tape.watch(at)
            # The sum: of a mean's smaller gradients half precision loses more.
            loss = tf.reduce_sum(cross_entropy(labels, _tempered(call(at))))
        gradient = tape.gradient(loss, at)
        gradient = tf.where(tf.math.is_finite(gradient), gradient, 0.0)
        ahead = at + step_size * tf.sign(gradient)
        return (tf.clip_by_value(ahead, *bounds),)

    (found,) = tf.while_loop(
        lambda _: True,
        step,
        (tf.clip_by_value(start, *bounds),),
        maximum_iterations=steps,
        parallel_iterations=1,
    )
    return found


def _tempered(logits: tf.Tensor) -> tf.Tensor:
    """Return logits divided by what keeps those of an example within `MOST_APART`.

    Of an answer that is surer the cross-entropy's gradient rounds to 0, and who attacks
    along it stands still.
    """
    logits = tf.cast(logits, tf.float32)
    apart = tf.abs(logits)
    if logits.shape[-1] > 1:
        top, bottom = (of(logits, axis=-1, keepdims=True) for of in _ENDS)
        apart = top - bottom
    return logits / tf.maximum(1.0, tf.stop_gradient(apart) / MOST_APART)
