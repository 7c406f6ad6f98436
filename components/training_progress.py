"""How far a training is: for the terminal while it runs, for its record afterwards."""

import hashlib
import json
import logging
import time
from collections.abc import Callable, Mapping
from typing import Any

import keras

from components.checkpoints import State

# One JSON object a line; the local runner shows them while the step runs.
progress = logging.getLogger("strata.progress")

_REPORT_SECONDS = 0.5


class Progress(keras.callbacks.Callback):
    """Counts updates and seconds, and reports each epoch and the loss within it."""

    def __init__(
        self,
        state: State,
        num_epochs: int,
        steps_per_epoch: int,
        clock: Callable[[], float] = time.monotonic,
    ):
        super().__init__()
        self._state, self._clock = state, clock
        self._num_epochs, self._steps = num_epochs, steps_per_epoch
        self._epoch = self._epoch_step = 0
        self._reported = clock()
        self._before, self._started = state.seconds, clock()
        self._last_step: tuple[int, float] | None = None

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        self._epoch, self._epoch_step = epoch, self._state.step

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        state, now = self._state, self._clock()
        state.step = self._epoch_step + batch + 1
        state.seconds = self._before + now - self._started
        # The first update also builds the graph: it says nothing of the others.
        if self._last_step:
            state.timed_steps += state.step - self._last_step[0]
            state.timed_seconds += now - self._last_step[1]
        self._last_step = state.step, now
        if now - self._reported > _REPORT_SECONDS:
            self._reported = now
            update = state.step - self._epoch * self._steps
            self._say({"update": update, "updates": self._steps, **_floats(logs)})

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        state = self._state
        state.seconds = self._before + self._clock() - self._started
        state.epochs.append(_floats(logs))
        state.epoch_seconds.append(state.seconds - sum(state.epoch_seconds))
        self._last_step = None  # `eval` is not part of an update
        self._say(state.epochs[-1])

    def _say(self, values: Mapping[str, float]) -> None:
        epoch = {"epoch": self._epoch + 1, "epochs": self._num_epochs}
        progress.info("%s", json.dumps({**epoch, **values}))


def outcome(state: State, train: Mapping[str, Any]) -> dict[str, Any]:
    """Return what the record of a training says of how it went.

    Times are of all its lives together, as far as they were kept; those of an update
    are without the first of each epoch.
    """
    seconds = state.timed_seconds / state.timed_steps if state.timed_steps else None
    return {
        "updates": state.step,
        "stopped": state.stopped,
        "exported_epoch": state.best["epoch"] if state.best else len(state.epochs),
        "epochs": state.epochs,
        "seconds": round(state.seconds, 2),
        "epoch_seconds": [round(each, 3) for each in state.epoch_seconds],
        "seconds_per_step": seconds,
        "examples_per_second": seconds and train["global_batch_size"] / seconds,
    }


def fingerprint(model: keras.Model) -> str:
    """Return the SHA-256 of all weights' bytes, in order."""
    digest = hashlib.sha256()
    for weight in model.weights:
        digest.update(weight.value.numpy().tobytes())
    return digest.hexdigest()


def _floats(logs: Mapping[str, Any] | None) -> dict[str, float]:
    return {name: round(float(value), 6) for name, value in (logs or {}).items()}
