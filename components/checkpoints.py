"""What a training needs to go on from exactly where it was: one file, whole or not."""

import json
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import keras
import numpy as np

from components.averages import assign, values
from components.train_step import Learner

Arrays = dict[str, np.ndarray]
_STATE = "state"


@dataclass
class State:
    """How far a training has come, beside what its variables hold."""

    step: int = 0  # updates made
    epochs: list[dict[str, float]] = field(default_factory=list)  # logs of each
    epoch_seconds: list[float] = field(default_factory=list)  # of each, in all
    seconds: float = 0.0  # spent in all
    timed_steps: int = 0  # updates whose time was taken
    timed_seconds: float = 0.0
    stopped: str | None = None  # why it ended early
    best: dict[str, float] | None = None  # `value` and `epoch`, for early stopping
    best_weights: list[np.ndarray] = field(default_factory=list)  # of that epoch


class Checkpoints:
    """The newest checkpoint of one training in a directory that outlives it.

    It holds the network's variables, those of its random generators too, the
    optimizer's with averages and loss scale, the epoch's metrics so far, and `State`.
    Keras's BackupAndRestore writes weights and epoch to two files, and not the
    generators.
    """

    def __init__(self, directory: Path, *, writes: bool = True):
        """Use a directory, which `save` creates.

        Args:
          directory: shared by all workers of a training.
          writes: whether this process is the one worker that saves.
        """
        self._directory, self._writes = directory, writes
        self.restored_step = 0

    def restore(self, learner: Learner) -> tuple[State, list[np.ndarray]]:
        """Load the newest checkpoint, or return a fresh state.

        Returns:
          The state, and the values of `learner.metrics_variables` within an epoch.
        """
        with learner.distribute_strategy.scope():
            learner.optimizer.build(learner.trainable_variables)
        found = sorted(self._directory.glob("step-*.npz"))
        if not found:
            return State(), []
        with np.load(found[-1]) as arrays:
            state = State(**json.loads(str(arrays[_STATE])))
            state.best_weights = _group(arrays, "best")
            assign(learner.network.variables, _group(arrays, "network"))
            assign(learner.optimizer.variables, _group(arrays, "optimizer"))
            metrics = _group(arrays, "metrics")
        learner.updates.assign(state.step)
        self.restored_step = state.step
        return state, metrics

    def save(self, learner: Learner, state: State) -> None:
        """Replace the last checkpoint, unless the weights have diverged.

        All workers call it at the same update.
        """
        metrics = values(learner.metrics_variables)  # every worker has a part of them
        network = values(learner.network.variables)
        if learner.first_failure() or not all(np.isfinite(a).all() for a in network):
            return
        if not self._writes:
            return
        arrays = {
            **_numbered("network", network),
            **_numbered("optimizer", values(learner.optimizer.variables)),
            **_numbered("metrics", metrics),
            **_numbered("best", state.best_weights),
        }
        plain = json.dumps({**vars(state), "best_weights": []})
        self._replace(state.step, arrays | {_STATE: np.array(plain)})

    def _replace(self, step: int, arrays: Arrays) -> None:
        self._directory.mkdir(parents=True, exist_ok=True)
        older = list(self._directory.glob("step-*.npz"))
        draft = self._directory / "draft"
        with draft.open("wb") as file:
            np.savez(file, **arrays)
        newest = self._directory / f"step-{step:09d}.npz"
        os.replace(draft, newest)
        for path in older:
            if path != newest:
                path.unlink(missing_ok=True)


class Saver(keras.callbacks.Callback):
    """Saves after every epoch, and every so many updates.

    Last of all callbacks, so that the state is what the others made of it.
    """

    def __init__(self, checkpoints: Checkpoints, state: State, every: int | None):
        super().__init__()
        self._checkpoints, self._state, self._every = checkpoints, state, every
        self._saved_step = state.step

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        step = self._state.step
        if self._every and step // self._every > self._saved_step // self._every:
            self._save()

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        self._save()

    def _save(self) -> None:
        self._checkpoints.save(self.model, self._state)
        self._saved_step = self._state.step


class ResumedMetrics(keras.callbacks.Callback):
    """Adds what an epoch's metrics had come to before the training was killed.

    Keras creates them in the first update, and resets them before each epoch.
    """

    def __init__(self, metrics: list[np.ndarray]):
        super().__init__()
        self._metrics = metrics

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        if self._metrics:
            variables = self.model.metrics_variables
            pairs = zip(values(variables), self._metrics, strict=True)
            assign(variables, [here + before for here, before in pairs])
            self._metrics = []


def _numbered(group: str, arrays: list[np.ndarray]) -> Arrays:
    return {f"{group}/{number}": array for number, array in enumerate(arrays)}


def _group(arrays: Any, group: str) -> list[np.ndarray]:
    count = sum(1 for name in arrays.files if name.startswith(f"{group}/"))
    return [arrays[f"{group}/{number}"] for number in range(count)]
