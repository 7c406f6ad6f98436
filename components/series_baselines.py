"""What a forecast must be compared with: four simple ones, scored on `test`.

- `last_value`: the last value stays.
- `season`: the last `lag` steps come again and again; the lag is the one that does best
  on `train`.
- `mean`: the mean of the context.
- `ridge`: a linear model from the context to the horizon, the same for all channels,
  each by itself. On many series it is as good as the best networks.

Each sees only the channel that it predicts, standardised as the model's input is.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.linear_model import Ridge

from components import inputs, series_input

MAX_VALUES = 25_000_000  # of the windows learned from, together
MAX_SEASON_VALUES = 1_000_000  # of those that the lag is chosen by
BATCH_VALUES = 4_000_000  # read at once
# Of contexts and what follows them: (windows, steps, targets) float32 each.
Windows = tuple[np.ndarray, np.ndarray]
Forecast = Callable[[np.ndarray, int], np.ndarray]


def compare(
    train: Path, test: Path, spec: inputs.Spec, transform: Mapping[str, Any]
) -> tuple[dict[str, dict[str, float]], dict[str, np.ndarray]]:
    """Return the test scores of each simple forecast, and the error of each window.

    Args:
      train: directory of transformed examples, gzipped TFRecord files.
      test: likewise.
      spec: how they are stored.
      transform: the recipe's section of that name, of a series.

    Returns:
      Name -> metric -> value, and name -> (windows,) float64 mean squared error.
    """
    known = sample(train, spec, transform)
    lag = best_lag(known)
    forecasts: dict[str, Forecast] = {
        "last_value": lambda context, horizon: season(context, horizon, 1),
        "season": lambda context, horizon: season(context, horizon, lag),
        "mean": _mean,
        "ridge": ridge(known),
    }
    result, errors = scores(_windows(_files(test), spec, transform), forecasts)
    result["season"]["lag"] = lag
    return result, errors


def sample(directory: Path, spec: inputs.Spec, transform: Mapping[str, Any]) -> Windows:
    """Return windows, of too many every so many-th."""
    files = _files(directory)
    shape = series_input.input_shape(transform["series"])
    size = (shape.context + shape.horizon) * len(shape.targets)
    every = max(1, -(-inputs.count(files) // max(1, MAX_VALUES // size)))
    kept: list[Windows] = []
    skip = 0
    for context, horizon in _windows(files, spec, transform):
        kept.append((context[skip::every].copy(), horizon[skip::every].copy()))
        skip = (skip - len(context)) % every
    contexts, horizons = zip(*kept, strict=True)
    return np.concatenate(contexts), np.concatenate(horizons)


def scores(
    windows: Iterable[Windows], forecasts: Mapping[str, Forecast]
) -> tuple[dict[str, dict[str, float]], dict[str, np.ndarray]]:
    """Return both errors of each forecast, and the squared one of each window."""
    squared: dict[str, list[np.ndarray]] = {name: [] for name in forecasts}
    absolute = dict.fromkeys(forecasts, 0.0)
    count = 0
    for context, horizon in windows:
        count += len(horizon)
        for name, forecast in forecasts.items():
            error = forecast(context, horizon.shape[1]) - horizon
            square = np.square(error, dtype=np.float64)
            squared[name].append(square.reshape(len(horizon), -1).mean(axis=1))
            sizes = np.abs(error).reshape(len(horizon), -1)
            absolute[name] += float(sizes.mean(axis=1, dtype=np.float64).sum())
    errors = {name: np.concatenate(found) for name, found in squared.items()}
    means = {
        name: {"mse": float(errors[name].mean()), "mae": absolute[name] / count}
        for name in forecasts
    }
    return means, errors


def season(context: np.ndarray, horizon: int, lag: int) -> np.ndarray:
    """Repeat the last `lag` steps: (B, context, T) -> (B, horizon, T)."""
    return context[:, context.shape[1] - lag + np.arange(horizon) % lag]


def best_lag(windows: Windows) -> int:
    """Return the lag by which `season` has the least squared error."""
    context, horizon = windows
    every = -(-horizon.size // MAX_SEASON_VALUES)
    context, horizon = context[::every], horizon[::every]
    errors = [
        np.square(season(context, horizon.shape[1], lag) - horizon).mean()
        for lag in range(1, context.shape[1] + 1)
    ]
    return 1 + int(np.argmin(errors))


def ridge(windows: Windows) -> Forecast:
    """Fit a linear model; return its forecast."""
    context, horizon = (_by_channel(part) for part in windows)
    # Steps rise together: in single precision their matrix is nearly singular.
    model = Ridge(copy_X=False).fit(context.astype(np.float64), horizon)

    def forecast(context: np.ndarray, horizon: int) -> np.ndarray:
        steps = model.predict(_by_channel(context))  # (B * T, horizon)
        steps = steps.reshape(len(context), context.shape[2], horizon)
        return np.swapaxes(steps, 1, 2)

    return forecast


def _mean(context: np.ndarray, horizon: int) -> np.ndarray:
    return np.repeat(context.mean(axis=1, keepdims=True), horizon, axis=1)


def _by_channel(windows: np.ndarray) -> np.ndarray:
    """Make (B, steps, T) into (B * T, steps)."""
    return np.swapaxes(windows, 1, 2).reshape(-1, windows.shape[1])


def _windows(
    files: list[str], spec: inputs.Spec, transform: Mapping[str, Any]
) -> Iterator[Windows]:
    shape = series_input.input_shape(transform["series"])
    steps = shape.context * shape.channels + shape.horizon * len(shape.targets)
    batch_size = max(1, min(1024, BATCH_VALUES // steps))
    for context, label in inputs.batches(files, spec, transform, batch_size):
        horizon = label.numpy().reshape(-1, shape.horizon, len(shape.targets))
        yield context.numpy()[..., list(shape.targets)], horizon


def _files(directory: Path) -> list[str]:
    return sorted(str(path) for path in directory.glob("*.gz"))
