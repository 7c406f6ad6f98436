"""What each column of a table adds to a score: Shapley values by sampled orders.

An example starts as the baseline; its columns are put in one after another, and each
gets what the score changed by. Averaged over orders, that is fair to columns that only
together say something. In every order the changes add up to the whole difference.

Strumbelj and Kononenko 2014, "Explaining prediction models and individual predictions
with feature contributions". Difference: the columns not put in yet come from one
baseline, not from examples drawn at random, and every order is also gone backwards
(Mitchell et al. 2022, "Sampling permutations for Shapley value estimation").
"""

from collections.abc import Mapping, Sequence

import numpy as np
import tensorflow as tf

from components.explanations import LogitsOf, class_scores


def orders(num_columns: int, num_pairs: int = 8, *, seed: int = 0) -> np.ndarray:
    """Return (2 * num_pairs, num_columns) int32: random orders, and each backwards."""
    rng = np.random.default_rng(seed)
    drawn = [rng.permutation(num_columns) for _ in range(num_pairs)]
    return np.array([one[::step] for one in drawn for step in (1, -1)], np.int32)


def shapley(
    logits_of: LogitsOf,
    inputs: Mapping[str, tf.Tensor],
    baseline: Mapping[str, tf.Tensor],
    classes: tf.Tensor,
    *,
    owners: Mapping[str, Sequence[int]],
    orders: np.ndarray,
) -> tf.Tensor:
    """Share the score's difference to the baseline out among columns.

    Args:
      logits_of: see the package.
      inputs: input name -> (B, 1).
      baseline: input name -> (1,).
      classes: (B,) int64, whose score is explained.
      owners: input name -> numbers of the columns that it is made of; it is put in
        with the last of them.
      orders: (orders, columns) int32, of `orders`.

    Returns:
      (B, columns) float32.
    """
    num_columns = orders.shape[1]
    num_stages = num_columns + 1

    def changes(order: tf.Tensor) -> tf.Tensor:
        place = tf.argsort(order)  # of each column in this order
        is_in = place[None] < tf.range(num_stages)[:, None]  # (stages, columns)
        stages = {
            name: _stages(is_in, owners[name], column, baseline[name])
            for name, column in inputs.items()
        }
        repeated = tf.tile(classes, [num_stages])
        scores = class_scores(logits_of(stages), repeated)
        scores = tf.reshape(scores, [num_stages, -1])  # (stages, B)
        return tf.gather(scores[1:] - scores[:-1], place)  # (columns, B)

    by_order = tf.map_fn(
        changes,
        tf.constant(orders),
        fn_output_signature=tf.float32,
        parallel_iterations=1,  # else memory grows with the orders
    )
    return tf.transpose(tf.reduce_mean(by_order, axis=0))


def _stages(
    is_in: tf.Tensor, owners: Sequence[int], column: tf.Tensor, baseline: tf.Tensor
) -> tf.Tensor:
    """Return a (B, 1) column as it is at each stage, one under the other."""
    ready = tf.reduce_all(tf.gather(is_in, owners, axis=1), axis=1)  # (stages,)
    start = tf.cast(baseline, column.dtype)
    stages = tf.where(ready[:, None, None], column[None], start)  # (stages, B, 1)
    return tf.reshape(stages, [-1, 1])
