"""When a training ends early: nothing gained, out of time, or no longer a number."""

import math
import time
from collections.abc import Callable, Mapping
from typing import Any

import keras
import numpy as np

from components import optimizers
from components.averages import exported_values
from components.checkpoints import State
from components.input_checks import kind
from components.training_data import Config, Data, length, training_batches
from recipes.errors import BadInputError

Clock = Callable[[], float]
_LOOK_SECONDS = 0.5  # between two looks at the device, each of which waits for it
_NO_INPUT = (
    "Its batch holds numbers alone: lower train.learning_rate, or set train.clip_norm."
)


class EarlyStopping(keras.callbacks.Callback):
    """Ends after epochs without an improvement, and keeps the best weights."""

    def __init__(self, options: Mapping[str, Any], state: State):
        super().__init__()
        self._patience, self._state = options["patience"], state
        self._key = f"val_{options['metric']}"
        self._sign = -1 if options["metric"] == "loss" else 1

    def on_epoch_end(self, epoch: int, logs: Mapping[str, float] | None = None) -> None:
        if self._key not in logs:
            raise BadInputError(
                f"`train.early_stopping.metric: accuracy` needs a model that has one. "
                f"Received: {', '.join(sorted(logs))}. Use `loss`."
            )
        value, state = float(logs[self._key]), self._state
        if state.best is None or self._sign * (value - state.best["value"]) > 0:
            state.best = {"value": value, "epoch": epoch + 1}
            state.best_weights = exported_values(self.model)
        elif epoch + 1 - state.best["epoch"] >= self._patience:
            self.model.stop_training = True
            state.stopped = "early stopping"


class TimeBudget(keras.callbacks.Callback):
    """Ends at the update at which a training has taken so long, over all its lives.

    A schedule of the learning rate is told the share of time that is gone.
    """

    def __init__(self, minutes: float, state: State):
        super().__init__()
        self._seconds, self._state = minutes * 60, state
        self._told = 0.0

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        share = self._state.seconds / self._seconds
        if share >= 1:
            self.model.stop_training = True
            self._state.stopped = "time budget"
        elif share - self._told > 0.01:
            self._tell(share)

    def on_train_begin(self, logs: Any = None) -> None:
        self._tell(self._state.seconds / self._seconds)

    def _tell(self, share: float) -> None:
        self._told = share
        schedule = optimizers.inner(self.model.optimizer)._learning_rate
        if isinstance(schedule, optimizers.Schedule):
            schedule.share_of_time.assign(min(share, 1.0))


class FiniteLoss(keras.callbacks.Callback):
    """Stops a training whose loss is no longer a number, and says at which update.

    The device notes the update, see `Learner`; here is looked twice a second.
    """

    def __init__(self, data: Data, config: Config, clock: Clock = time.monotonic):
        super().__init__()
        self._data, self._config, self._clock = data, config, clock
        self._looked = clock()

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        if self._clock() - self._looked > _LOOK_SECONDS:
            self._look()

    def on_test_begin(self, logs: Any = None) -> None:
        self._look()

    def on_epoch_end(self, epoch: int, logs: Mapping[str, float] | None = None) -> None:
        self._look()
        loss = float(logs["val_loss"])
        if not math.isfinite(loss):
            raise BadInputError(
                f"The loss on `eval` became {loss} after epoch {epoch + 1}. Lower "
                "train.learning_rate, or look for values in `eval` that are no numbers."
            )

    def _look(self) -> None:
        self._looked = self._clock()
        update = self.model.first_failure()
        if not update:
            return
        steps, _ = length(self._data.num_examples, self._config["train"])
        epoch, step = divmod(update - 1, steps)
        batch = next(iter(training_batches(self._data, self._config, update - 1)))
        found = _not_finite(batch, self._config["transform"])
        raise BadInputError(
            f"The loss was no number in epoch {epoch + 1} at step {step + 1} of "
            f"{steps} (update {update}). {found or _NO_INPUT}"
        )


def _not_finite(batch: Any, transform: Mapping[str, Any]) -> str | None:
    """Return a sentence on the first value of a batch that is no number, if any."""
    inputs, labels, *_ = batch  # weights may follow
    if not isinstance(inputs, dict):
        of = kind(transform)
        name = "context" if of == "series" else transform[of]["feature"]
        inputs = {name: inputs}
    for name, tensor in {**inputs, "the label": labels}.items():
        values = np.asarray(tensor)
        if values.dtype.kind != "f" or np.isfinite(values).all():
            continue
        place = np.argwhere(~np.isfinite(values))[0]
        return (
            f"Its batch holds {values[tuple(place)]} in {name}, example "
            f"{place[0] + 1} of {len(values)}: mend the data, or what `transform` "
            "makes of them."
        )
    return None
