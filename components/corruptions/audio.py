"""Recordings as rooms, microphones and telephone lines spoil them.

Nothing here asks for the sample rate: lengths are shares of the recording, and
frequencies shares of the highest one that the samples can hold. Zeros at the end are
the padding of a batch and no part of the recording.
"""

import numpy as np
from scipy import fft

from components.corruptions import check

NAMES = ("white_noise", "gain", "time_shift", "band_limit")
SIGNAL_TO_NOISE_DB = (30.0, 20.0, 10.0, 5.0, 0.0)
GAIN_DB = (3.0, 6.0, 12.0, 18.0, 24.0)  # louder or quieter
SHIFT_SHARE = (0.05, 0.10, 0.15, 0.20, 0.30)  # of the recording
PASS_SHARE = (0.75, 0.50, 0.375, 0.25, 0.125)  # of frequencies


def corrupt(
    name: str, values: np.ndarray, strength: int, *, rng: np.random.Generator
) -> np.ndarray:
    """Spoil recordings.

    Args:
      name: `white_noise`: as far below the power of the recording as the strength
        says; where the sum would leave the range both get quieter, and silence stays
        silent; `gain`: louder or quieter, as is drawn for each recording, and cut at
        -1 and 1; `time_shift`: earlier or later, likewise, with silence where nothing
        was; `band_limit`: without the high frequencies.
      values: (N, samples) float32, -1 to 1.
      strength: 1 to 5.
      rng: where draws come from.

    Returns:
      (N, samples) float32, -1 to 1.

    Raises:
      ValueError: `name` or `strength` is none of these.
    """
    check(name, NAMES, strength)
    changed = _CHANGES[name](values, strength - 1, rng)
    return np.clip(changed, -1.0, 1.0).astype(np.float32, copy=False)


def _white_noise(
    samples: np.ndarray, level: int, rng: np.random.Generator
) -> np.ndarray:
    noise = rng.standard_normal(samples.shape, np.float32)
    quieter = 10.0 ** (-SIGNAL_TO_NOISE_DB[level] / 20.0)
    noisy = samples + quieter * as_loud(noise, samples)
    return noisy / np.maximum(1.0, np.abs(noisy).max(axis=1, keepdims=True))


def as_loud(sound: np.ndarray, samples: np.ndarray) -> np.ndarray:
    """Cut sounds to the length of recordings, and give them their power.

    By the power that a sound has, not the expected one of its kind, so that short ones
    are exact too.

    Args:
      sound: (N, samples) floats.
      samples: (N, samples) floats.

    Returns:
      (N, samples) float64.
    """
    inside = np.arange(samples.shape[1]) < _lengths(samples)[:, None]
    cut = np.where(inside, sound, 0.0)
    wanted, own = (np.sum(of**2, axis=1, keepdims=True) for of in (samples, cut))
    # A silent recording has no length: no sound is left, and none is wanted.
    return cut * np.sqrt(wanted / np.maximum(own, np.finfo(np.float64).tiny))


def _lengths(samples: np.ndarray) -> np.ndarray:
    """Return where each recording ends and padding begins, (N,) int64."""
    places = np.arange(1, samples.shape[1] + 1)
    return np.where(samples != 0.0, places, 0).max(axis=1)


def _gain(samples: np.ndarray, level: int, rng: np.random.Generator) -> np.ndarray:
    signs = rng.choice([-1.0, 1.0], size=(len(samples), 1))
    return samples * 10.0 ** (signs * GAIN_DB[level] / 20.0)


def _time_shift(
    samples: np.ndarray, level: int, rng: np.random.Generator
) -> np.ndarray:
    by = np.round(SHIFT_SHARE[level] * _lengths(samples)).astype(np.int64)
    by *= rng.choice([-1, 1], size=len(samples))
    origins = np.arange(samples.shape[1]) - by[:, None]
    is_there = (origins >= 0) & (origins < samples.shape[1])
    return np.take_along_axis(samples, origins * is_there, axis=1) * is_there


def _band_limit(
    samples: np.ndarray, level: int, rng: np.random.Generator
) -> np.ndarray:
    del rng  # nothing is drawn
    spectrum = fft.rfft(samples, axis=1)  # (N, samples // 2 + 1)
    spectrum[:, round(PASS_SHARE[level] * spectrum.shape[1]) :] = 0.0
    return fft.irfft(spectrum, n=samples.shape[1], axis=1)


_CHANGES = {
    "white_noise": _white_noise,
    "gain": _gain,
    "time_shift": _time_shift,
    "band_limit": _band_limit,
}
