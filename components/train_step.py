"""One update of a model's weights, over all replicas and in as many parts as asked."""

from collections.abc import Callable, Iterator, Mapping
from operator import itemgetter
from typing import Any

import keras
import tensorflow as tf

from components import distill
from components.adversarial import Attacker
from components.inputs import Inputs

Teacher = Callable[[Inputs], tf.Tensor]


class Learner(keras.Model):
    """A family's model as it is trained; `network` is the model itself.

    Counts its updates on the device, and remembers the first whose loss was no number:
    looking at each loss from Python would wait for each.
    """

    def __init__(
        self,
        network: keras.Model,
        *,
        parts: int = 1,
        teacher: Teacher | None = None,
        distillation: Mapping[str, Any] | None = None,
        attacker: Attacker | None = None,
    ):
        """Wrap a built model; call it inside the scope of the strategy.

        Args:
          network: uncompiled; one tensor, the logits, as its output.
          parts: that a batch is computed in, one after the other.
          teacher: gives the logits to learn from beside the labels.
          distillation: the recipe's `train.distill`, for the teacher.
          attacker: changes inputs so that the network errs; the teacher sees them as
            they were.
        """
        # Without autocast: the network, as it is served, rounds for itself.
        super().__init__(name="learner", autocast=False)
        self.network = network
        self._parts = parts
        self._teacher, self._distillation = teacher, distillation
        self._attacker = attacker
        self.updates = _counter("updates")
        self._failed_at = _counter("failed_at")
        self.built = True

    def first_failure(self) -> int:
        """Return the number, from 1, of the first update whose loss was none, or 0."""
        # All replicas hold the same; to read a common value, all workers would have to
        # ask at the same update.
        local = self.distribute_strategy.experimental_local_results
        return int(local(self._failed_at.value)[0].numpy())

    def call(self, inputs: Inputs, training: bool | None = None) -> tf.Tensor:
        # A tensor of its own: a mask that Keras ties to the logits is none for losses.
        return tf.identity(self.network(inputs, training=training))

    def train_step(self, data: Any) -> dict[str, tf.Tensor]:
        """Make an update of (inputs, labels) or (inputs, labels, weights)."""
        total: list[tf.Tensor | None] = []
        mean_loss = 0.0
        for number, batch in enumerate(_split(data, self._parts)):
            # Without this, all parts run at once and need the memory of all.
            with tf.control_dependencies([g for g in total if g is not None]):
                loss, gradients = self._gradients(batch, number)
            total = _added(total, gradients) if total else gradients
            mean_loss += loss / self._parts
        self.optimizer.apply_gradients(
            zip(self._over_replicas(total), self.trainable_variables, strict=True)
        )
        self._watch(mean_loss)
        return self.get_metrics_result()

    def _gradients(
        self, batch: Any, part: int
    ) -> tuple[tf.Tensor, list[tf.Tensor | None]]:
        """Return the loss of a part, and its share in the gradients of the batch."""
        inputs, labels, weights = keras.utils.unpack_x_y_sample_weight(batch)
        replicas = self.distribute_strategy.num_replicas_in_sync
        teaching = self._teacher(inputs) if self._teacher else None
        if self._attacker:
            inputs = self._attacked(inputs, labels, part)
        with tf.GradientTape() as tape:
            logits = self(inputs, training=True)
            # Keras divides it by the number of replicas, whose gradients are added up.
            loss = self.compute_loss(inputs, labels, logits, weights) * replicas
            if teaching is not None:
                more = sum((tf.reduce_sum(one) for one in self.losses), 0.0)
                mixed = distill.loss(loss - more, logits, teaching, self._distillation)
                loss = mixed + more  # of which the teacher takes no share
            share = loss / (replicas * self._parts)
            scaled = self.optimizer.scale_loss(share)
        gradients = tape.gradient(scaled, self.trainable_variables)
        size = tf.shape(labels)[0]
        self._loss_tracker.update_state(loss, sample_weight=size)
        self.compute_metrics(inputs, labels, logits)
        return loss, gradients

    def _attacked(self, inputs: tf.Tensor, labels: tf.Tensor, part: int) -> tf.Tensor:
        """Return a part in which some inputs make the network err.

        The network is asked as it is served: without dropout or batch statistics, so
        that nothing of it changes by being asked.
        """
        replica = tf.distribute.get_replica_context()
        number = replica.replica_id_in_sync_group * self._parts + part
        return self._attacker.replace(
            lambda changed: self.network(changed, training=False),
            inputs,
            labels,
            update=tf.convert_to_tensor(self.updates),
            place=(number, replica.num_replicas_in_sync * self._parts),
        )

    def _over_replicas(self, gradients: list[tf.Tensor]) -> list[tf.Tensor]:
        """Return the mean over replicas where an optimizer must see the whole batch's.

        Keras clips, and asks whether all is finite, before it adds up the replicas'.
        """
        replica = tf.distribute.get_replica_context()
        looks = isinstance(self.optimizer, keras.optimizers.LossScaleOptimizer)
        looks = looks or self.optimizer.global_clipnorm
        if not looks or replica.num_replicas_in_sync == 1:
            return gradients
        present = [g for g in gradients if g is not None]
        means = iter(replica.all_reduce(tf.distribute.ReduceOp.MEAN, present))
        return [None if g is None else next(means) for g in gradients]

    def _watch(self, loss: tf.Tensor) -> None:
        """Count the update, and note its number if the loss is the first to fail."""
        failed = tf.cast(~tf.math.is_finite(loss), tf.int32)
        replica = tf.distribute.get_replica_context()
        if replica.num_replicas_in_sync > 1:
            failed = replica.all_reduce(tf.distribute.ReduceOp.SUM, failed)
        updates = tf.convert_to_tensor(self.updates) + 1
        first = tf.convert_to_tensor(self._failed_at)
        is_first = (failed > 0) & (first == 0)
        self.updates.assign(updates)
        self._failed_at.assign(tf.where(is_first, updates, first))


def _counter(name: str) -> keras.Variable:
    return keras.Variable(
        0,
        dtype="int64",
        trainable=False,
        aggregation="only_first_replica",
        synchronization="on_read",
        name=name,
    )


def _split(data: Any, parts: int) -> Iterator[Any]:
    """Yield a batch in equal parts, in order."""
    if parts == 1:
        yield data
        return
    splits = keras.tree.map_structure(lambda tensor: tf.split(tensor, parts), data)
    for part in range(parts):
        yield keras.tree.map_structure_up_to(data, itemgetter(part), splits)


def _added(
    total: list[tf.Tensor | None], gradients: list[tf.Tensor | None]
) -> list[tf.Tensor | None]:
    # Those of embeddings come as rows, which cannot be added as they are.
    return [
        None if one is None else tf.convert_to_tensor(one) + tf.convert_to_tensor(other)
        for one, other in zip(total, gradients, strict=True)
    ]
