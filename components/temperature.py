"""One number that says how much too sure a model is: its logits are divided by it.

Guo et al. 2017, "On Calibration of Modern Neural Networks", section 4.2. It changes no
order of the classes, so no accuracy. Difference: 1 is more likely from the start, so
that few examples, or such as are all answered rightly, do not make a model sure.
"""

from typing import Any

import numpy as np

LOWEST, HIGHEST = 0.05, 20.0
# Before any example is seen, the inverse temperature is from a Gamma distribution of
# this rate and mode 1: its logarithm has a standard deviation of about 1 / sqrt(4).
_PRIOR = 4.0
_HALVINGS = 60


def fit(logits: np.ndarray, labels: np.ndarray) -> float:
    """Return the likeliest temperature, from LOWEST to HIGHEST.

    In the inverse temperature the log-loss is convex, and so is what the prior adds:
    where the slope changes sign is found by halving. Of many examples it is that of the
    least log-loss, of a few dozen it stays near 1.

    Args:
      logits: (N, C), or (N, 1) of a yes-or-no label.
      labels: (N,) whole numbers.
    """
    logits = _of_classes(logits)
    low, high = np.log(1 / HIGHEST), np.log(1 / LOWEST)
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        if _slope(logits, labels, np.exp(middle)) > 0:
            high = middle
        else:
            low = middle
    return float(np.exp(-(low + high) / 2))


def log_loss(logits: np.ndarray, labels: np.ndarray, temperature: float = 1.0) -> float:
    """Return the mean nats of the given labels; arguments as in `fit`."""
    scaled = _of_classes(logits) / temperature
    return float(np.mean(_log_total(scaled) - _given(scaled, labels)))


def figures(logits: np.ndarray, labels: np.ndarray) -> dict[str, Any]:
    """Return what the record of a training says: the temperature and what it gained.

    `value`; `log_loss` on these examples without it, and `scaled_log_loss` with it.
    """
    value = fit(logits, labels)
    return {
        "value": value,
        "log_loss": log_loss(logits, labels),
        "scaled_log_loss": log_loss(logits, labels, value),
        "examples": len(labels),
    }


def _slope(logits: np.ndarray, labels: np.ndarray, inverse: float) -> float:
    """Return what log-loss, summed, and prior grow by with the inverse temperature."""
    scaled = logits * inverse
    probabilities = np.exp(scaled - _log_total(scaled)[:, None])
    expected = (probabilities * logits).sum(axis=1)
    prior = _PRIOR * (1 - 1 / inverse)
    return float(np.sum(expected - _given(logits, labels)) + prior)


def _of_classes(logits: np.ndarray) -> np.ndarray:
    """Return (N, C) float64; one logit is that of class 1 against 0."""
    wide = np.asarray(logits, np.float64)
    return np.concatenate([0 * wide, wide], axis=1) if wide.shape[1] == 1 else wide


def _given(logits: np.ndarray, labels: np.ndarray) -> np.ndarray:
    return np.take_along_axis(logits, labels[:, None], axis=1)[:, 0]


def _log_total(logits: np.ndarray) -> np.ndarray:
    highest = logits.max(axis=1)
    return highest + np.log(np.exp(logits - highest[:, None]).sum(axis=1))
