"""Find images that are almost the same: re-encoded, resized, brightened.

Each image is shrunk to a grey thumbnail; two are almost the same where the pixels of
their thumbnails correlate, which brightness and contrast do not change. The nearest of
`train` is found exactly, by products of matrices, not by a hash: small pictures of the
same kind of thing (28x28 clothes, 8x8 digits) share most bits of any short hash.
"""

import re
import warnings
from collections.abc import Iterable

import numpy as np
from PIL import Image

from components.sources import images

SIDE = 16
# Of unrelated images the nearest reaches 0.991 (digits, 8x8), 0.94 (photos of hands),
# 0.66 (blood cells); 0.3 % of Fashion-MNIST's test images exceed 0.995, and look the
# same. JPEG at quality 90, noise of 3 of 255, a tenth brighter: 0.997 and more.
MIN_CORRELATION = 0.995
_MIN_CONTRAST = 2.0  # standard deviation, of 255: a blank image resembles every other
# Of a BMP also the upper bytes of the size of its second header: "BMW" is a word.
_HEADER = re.compile(rb"\x89PNG|\xff\xd8\xff|GIF8[79]a|BM.{13}\0\0\0", re.DOTALL)
_TRAIN_BLOCK, _OTHER_BLOCK = 8_192, 2_048


def thumbnails(encoded: Iterable[bytes | None]) -> np.ndarray:
    """Return (images, SIDE * SIDE) uint8; zeros for what is not a readable image."""
    small = [_thumbnail(image) for image in encoded]
    return np.array(small, np.uint8).reshape(-1, SIDE * SIDE)


def nearest(train: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Return for each of `other` the number of an almost equal one of `train`, or -1.

    Args:
      train: (images, SIDE * SIDE) uint8 thumbnails.
      other: (others, SIDE * SIDE) uint8.
    """
    found = np.full(len(other), -1)
    best = np.full(len(other), MIN_CORRELATION, np.float32)
    for start in range(0, len(train), _TRAIN_BLOCK):
        block = _standardized(train[start : start + _TRAIN_BLOCK]).T
        for first in range(0, len(other), _OTHER_BLOCK):
            here = slice(first, first + _OTHER_BLOCK)
            correlations = _standardized(other[here]) @ block
            at = correlations.argmax(axis=1)
            highest = correlations[np.arange(len(at)), at]
            better = highest > best[here]
            found[here] = np.where(better, start + at, found[here])
            best[here] = np.where(better, highest, best[here])
    return found


def is_image(encoded: bytes) -> bool:
    """Tell whether bytes begin as a PNG, JPEG, GIF or BMP file does."""
    return bool(_HEADER.match(encoded))


def _thumbnail(encoded: bytes | None) -> np.ndarray:
    blank = np.zeros(SIDE * SIDE, np.uint8)
    if not encoded:
        return blank
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of odd but readable files
            image = images.opened(encoded)
            image.draft("L", (4 * SIDE, 4 * SIDE))  # JPEG decodes small, for less
            grey = image.convert("L")
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
        return blank  # what cannot be read is reported where data come in
    shrunk = grey.resize((SIDE, SIDE), Image.Resampling.BOX)
    return np.asarray(shrunk).reshape(-1)


def _standardized(thumbnails: np.ndarray) -> np.ndarray:
    pixels = thumbnails.astype(np.float32)
    pixels -= pixels.mean(axis=1, keepdims=True)
    norm = np.linalg.norm(pixels, axis=1, keepdims=True)
    flat = norm < _MIN_CONTRAST * SIDE
    return np.where(flat, 0, pixels / np.maximum(norm, 1e-6))
