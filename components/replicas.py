"""Mend what Keras 3.15 gets wrong when a model has several replicas on TensorFlow.

- Every replica draws the same random numbers: the state of a seed generator is one
  mirrored variable. So dropout repeats its mask, and a batch has less noise than one
  device gives it.
- Before it builds a model, Keras averages the replicas' shares of the first batch:
  that fails where the shares differ in size, or are on other machines.
- It averages logged values over machines along an axis that scalars do not have.

`mend` replaces private functions of Keras, so it takes only the release that they
were read in.
"""

from collections.abc import Callable
from typing import Any

import keras
import tensorflow as tf
from keras.src.backend.tensorflow import trainer as keras_trainer

from recipes.errors import MissingError

RELEASE = "3.15"


def mend() -> None:
    """Replace the three functions, once a process; one device computes as before.

    Raises:
      MissingError: another release of Keras is installed.
    """
    if not keras.__version__.startswith(f"{RELEASE}."):
        raise MissingError(
            f"Strategies other than `default` need Keras {RELEASE}, of which Strata "
            f"mends three functions. Found: {keras.__version__}. Install "
            f"keras=={RELEASE}.*, or use `strategy: default`."
        )
    if getattr(keras.random.SeedGenerator.next, "is_mended", False):
        return
    keras.random.SeedGenerator.next = _own_seeds(keras.random.SeedGenerator.next)
    keras_trainer.TensorFlowTrainer._maybe_symbolic_build = _build_on_own_share
    keras_trainer.reduce_per_replica = _mean_over_machines(
        keras_trainer.reduce_per_replica
    )


def _own_seeds(next_seed: Callable[..., tf.Tensor]) -> Callable[..., tf.Tensor]:
    """Return a `SeedGenerator.next` whose seeds differ between replicas."""

    def mended(self: keras.random.SeedGenerator, ordered: bool = True) -> tf.Tensor:
        seed = next_seed(self, ordered)
        replica = tf.distribute.get_replica_context()
        if replica is None or replica.num_replicas_in_sync == 1:
            return seed
        number = tf.cast(replica.replica_id_in_sync_group, seed.dtype)
        other = tf.random.experimental.stateless_fold_in(seed, number)
        return tf.where(number == 0, seed, other)

    mended.is_mended = True
    return mended


def _build_on_own_share(
    self: keras.Model, iterator: Any = None, data_batch: Any = None
) -> None:
    """Build on the first replica's share of the first batch."""
    if self._distribute_strategy is None:
        return
    strategy = self.distribute_strategy
    if iterator is not None:
        _, _, steps = next(iter(iterator))
        data_batch = keras.tree.map_structure(
            lambda value: strategy.experimental_local_results(value)[0], next(steps)
        )
    with strategy.scope():
        self._symbolic_build(data_batch=data_batch)


def _mean_over_machines(reduce: Callable[..., Any]) -> Callable[..., Any]:
    """Return a `reduce_per_replica` that can average scalars of several machines."""

    def mended(values: Any, strategy: tf.distribute.Strategy, reduction: str) -> Any:
        is_spread = keras_trainer._collective_all_reduce_multi_worker(strategy)
        if reduction not in ("auto", "mean") or not is_spread:
            return reduce(values, strategy, reduction)
        return keras.tree.map_structure(
            lambda value: strategy.reduce("MEAN", value, axis=None), values
        )

    return mended
