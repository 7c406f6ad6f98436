"""Inputs that surely belong to no data set, for the score that has to tell them.

`NAMES` says for each kind what there is. Each is made from a batch of real inputs, of
which it keeps dtype, shape and range, and most keep what makes it harder to tell: the
pixels, the lengths of words, loudness and length, the distribution of each column.
"""

import string
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from components.corruptions.audio import as_loud

NAMES = {
    "image": ("noise_images", "shuffled_pixels"),
    "text": ("random_letters", "mixed_words"),
    "audio": ("noise_recordings", "tones"),
    "table": ("shuffled_columns", "unseen_values"),
}
# A cycle in 200 samples to one in 2.5: 40 Hz to 3.2 kHz at 8 kHz.
TONE_CYCLES = (0.005, 0.4)

_LETTERS = np.array(list(string.ascii_lowercase))


def replace(name: str, values: Any, *, rng: np.random.Generator) -> Any:
    """Return as many inputs from elsewhere.

    Args:
      name: one of `NAMES`. `mixed_words` draws from the words of the whole batch: it
        is from elsewhere only for a model that heeds their order or company, as
        `shuffled_columns` is only where columns depend on each other.
      values: as `corrupt` of that kind takes them.
      rng: where draws come from.

    Raises:
      ValueError: `name` is none of `NAMES`.
    """
    if name not in _MAKERS:
        raise ValueError(
            f"`name` must be one of {', '.join(_MAKERS)}. Received: name={name!r}"
        )
    return _MAKERS[name](values, rng)


def _noise_images(pixels: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Draw every value evenly from 0 to 255."""
    return np.float32(255.0) * rng.random(pixels.shape, np.float32)


def _shuffled_pixels(pixels: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Shuffle each picture by itself; the channels of a pixel stay together."""
    flat = pixels.reshape(len(pixels), -1, pixels.shape[-1])  # (N, H * W, C)
    order = rng.permuted(np.tile(np.arange(flat.shape[1]), (len(flat), 1)), axis=1)
    return np.take_along_axis(flat, order[..., None], axis=1).reshape(pixels.shape)


def _random_letters(
    texts: Sequence[bytes | str], rng: np.random.Generator
) -> list[bytes | str]:
    """Replace each word by as many small letters, evenly drawn."""
    return [_like(text, _letters(_decoded(text), rng)) for text in texts]


def _letters(text: str, rng: np.random.Generator) -> str:
    drawn = (rng.choice(_LETTERS, len(word)) for word in text.split())
    return " ".join("".join(letters) for letters in drawn)


def _mixed_words(
    texts: Sequence[bytes | str], rng: np.random.Generator
) -> list[bytes | str]:
    """Deal the words of all texts out again: as many to each as it had."""
    split = [_decoded(text).split() for text in texts]
    words = [word for own in split for word in own]
    dealt = iter(rng.permutation(len(words)))
    mixed = [" ".join(words[next(dealt)] for _ in own) for own in split]
    return [_like(text, new) for text, new in zip(texts, mixed, strict=True)]


def _decoded(text: bytes | str) -> str:
    if isinstance(text, str):
        return text
    return text.decode("utf-8", "surrogateescape")


def _like(text: bytes | str, new: str) -> bytes | str:
    if isinstance(text, str):
        return new
    return new.encode("utf-8", "surrogateescape")


def _noise_recordings(samples: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    noise = rng.standard_normal(samples.shape, np.float32)
    return _in_range(as_loud(noise, samples))


def _tones(samples: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return one sine each, of any frequency in the range of `TONE_CYCLES`."""
    cycles, start = rng.uniform(*TONE_CYCLES, len(samples)), rng.random(len(samples))
    times = np.arange(samples.shape[1])
    turns = cycles[:, None] * times + start[:, None]
    return _in_range(as_loud(np.sin(2.0 * np.pi * turns), samples))


def _in_range(samples: np.ndarray) -> np.ndarray:
    return np.clip(samples, -1.0, 1.0).astype(np.float32)


def _shuffled_columns(
    columns: Mapping[str, np.ndarray], rng: np.random.Generator
) -> dict[str, np.ndarray]:
    return {name: rng.permutation(cells) for name, cells in columns.items()}


def _unseen_values(
    columns: Mapping[str, np.ndarray], rng: np.random.Generator
) -> dict[str, np.ndarray]:
    return {name: _unseen(cells, rng) for name, cells in columns.items()}


def _unseen(cells: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return texts of ten random letters, or numbers of 3 to 10 ranges above the top.

    Whole numbers stay whole; a column of one number has 1 for its range.
    """
    if cells.dtype.kind != "f":
        drawn = rng.choice(_LETTERS, (len(cells), 10))
        return np.array(["".join(letters).encode() for letters in drawn], object)
    seen = cells[~np.isnan(cells)]
    low, high = (seen.min(), seen.max()) if len(seen) else (0.0, 0.0)
    width = high - low or 1.0
    far = high + width * rng.uniform(3.0, 10.0, cells.shape)
    return (np.round(far) if cells.dtype == np.float64 else far).astype(cells.dtype)


_MAKERS = {
    "noise_images": _noise_images,
    "shuffled_pixels": _shuffled_pixels,
    "random_letters": _random_letters,
    "mixed_words": _mixed_words,
    "noise_recordings": _noise_recordings,
    "tones": _tones,
    "shuffled_columns": _shuffled_columns,
    "unseen_values": _unseen_values,
}
