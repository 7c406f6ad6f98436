"""Averages of the weights over the updates, which are exported where a recipe asks."""

from typing import Any

import keras
import numpy as np

from components import optimizers


def exported_values(learner: keras.Model) -> list[np.ndarray]:
    """Return the network's variables as exported: their averages where there are."""
    found = optimizers.averages(learner.optimizer)
    return values([found.get(v.path, v) for v in learner.network.variables])


def values(variables: list[keras.Variable]) -> list[np.ndarray]:
    """Return the value of each variable; of one per replica, what they make together.

    Not `Variable.numpy()`, which cannot read those.
    """
    return [variable.value.numpy() for variable in variables]


def assign(variables: list[keras.Variable], arrays: list[np.ndarray]) -> None:
    """Set each variable to its value."""
    for variable, value in zip(variables, arrays, strict=True):
        variable.assign(value)


class AveragesInTests(keras.callbacks.Callback):
    """Puts the averages into the network while `eval` is looked at.

    Keras's SwapEMAWeights swaps by adding and subtracting, which rounds both.
    """

    def on_test_begin(self, logs: Any = None) -> None:
        variables = self.model.network.variables
        self._trained = values(variables)
        assign(variables, exported_values(self.model))

    def on_test_end(self, logs: Any = None) -> None:
        assign(self.model.network.variables, self._trained)
