"""Eight of the corruptions that cameras, weather and storage bring to pictures.

Source: Hendrycks and Dietterich 2019, "Benchmarking Neural Network Robustness to Common
Corruptions and Perturbations", with the strengths that they published for CIFAR-10,
32x32 pixels. Left out are those that need pictures of their own (frost), textures
finer than small pictures have (glass, snow, fog), or scenes (zoom).

What changes pixels one by one (noise, brightness, contrast, JPEG) is the same for every
size. Lengths of blurs grow with the square root of the shorter side: half as long at 8
pixels, 1.4 times as long at 64. In proportion to the side they would be nothing at 8
pixels, which are blurred already; in pixels they would be nothing in large pictures.

Different from the paper: brightness is added to every channel, not to the value of HSV;
motion blur is an even line in one of eight directions, not a Gaussian with one tail.
"""

import io
import math

import numpy as np
from PIL import Image
from scipy import ndimage

from components.corruptions import check

NAMES = (
    "gaussian_noise",
    "shot_noise",
    "impulse_noise",
    "gaussian_blur",
    "motion_blur",
    "brightness",
    "contrast",
    "jpeg",
)
NOISE_DEVIATION = (0.04, 0.06, 0.08, 0.09, 0.10)  # of the range of a pixel
PHOTONS = (500, 250, 100, 75, 50)  # that make a white pixel
IMPULSE_SHARE = (0.01, 0.02, 0.03, 0.05, 0.07)  # of values
BLUR_DEVIATION = (0.4, 0.6, 0.7, 0.8, 1.0)  # in pixels at 32x32
MOTION_LENGTH = (2.0, 3.0, 4.0, 5.0, 6.0)  # likewise; about as far as the paper's
BRIGHTER = (0.05, 0.10, 0.15, 0.20, 0.30)  # of the range of a pixel
CONTRAST = (0.75, 0.50, 0.40, 0.30, 0.15)  # that is left
QUALITY = (80, 65, 58, 50, 40)  # of JPEG

_DIRECTIONS = 8  # of motion, over half a turn
_WHITE = np.float32(255.0)


def corrupt(
    name: str, values: np.ndarray, strength: int, *, rng: np.random.Generator
) -> np.ndarray:
    """Spoil pictures.

    Args:
      name: one of `NAMES`.
      values: (N, H, W, C) float32, 0 to 255.
      strength: 1 to 5.
      rng: where draws come from.

    Returns:
      (N, H, W, C) float32, 0 to 255.

    Raises:
      ValueError: `name` or `strength` is none of these.
    """
    check(name, NAMES, strength)
    changed = _CHANGES[name](values, strength - 1, rng)
    return np.clip(changed, 0.0, _WHITE).astype(np.float32, copy=False)


def _gaussian_noise(
    pixels: np.ndarray, level: int, rng: np.random.Generator
) -> np.ndarray:
    noise = rng.standard_normal(pixels.shape, np.float32)
    return pixels + _WHITE * np.float32(NOISE_DEVIATION[level]) * noise


def _shot_noise(pixels: np.ndarray, level: int, rng: np.random.Generator) -> np.ndarray:
    """Count photons, which come as a Poisson process does."""
    scale = PHOTONS[level] / _WHITE
    return rng.poisson(pixels * scale) / scale


def _impulse_noise(
    pixels: np.ndarray, level: int, rng: np.random.Generator
) -> np.ndarray:
    """Set values to black or to white, as many to one as to the other."""
    draws = rng.random(pixels.shape, np.float32)
    share = IMPULSE_SHARE[level]
    impulses = np.where(draws < share / 2, np.float32(0.0), _WHITE)
    return np.where(draws < share, impulses, pixels)


def _gaussian_blur(
    pixels: np.ndarray, level: int, rng: np.random.Generator
) -> np.ndarray:
    del rng  # nothing is drawn
    deviation = BLUR_DEVIATION[level] * _length_scale(pixels)
    return ndimage.gaussian_filter(pixels, deviation, axes=(1, 2), mode="reflect")


def _motion_blur(
    pixels: np.ndarray, level: int, rng: np.random.Generator
) -> np.ndarray:
    drawn = rng.integers(_DIRECTIONS, size=len(pixels))
    blurred = np.empty_like(pixels)
    for direction in np.unique(drawn):
        angle = math.pi * direction / _DIRECTIONS
        kernel = line_kernel(MOTION_LENGTH[level] * _length_scale(pixels), angle)
        chosen = drawn == direction
        blurred[chosen] = ndimage.convolve(
            pixels[chosen], kernel[None, :, :, None], mode="reflect"
        )
    return blurred


def line_kernel(length: float, angle: float) -> np.ndarray:
    """Return the kernel of an even motion, (side, side) float32, sum 1, side odd.

    Args:
      length: of the line, in pixels.
      angle: between the line and the rows, in radians.
    """
    places = (np.arange(64) + 0.5) / 64 - 0.5  # along the line, centred
    x, y = (length * places * turn(angle) for turn in (math.cos, math.sin))
    reach = math.ceil(length / 2)
    cells = np.arange(-reach, reach + 1)
    # Each place shares its weight between the four pixels around it.
    columns = np.maximum(0.0, 1.0 - np.abs(x[:, None] - cells))
    rows = np.maximum(0.0, 1.0 - np.abs(y[:, None] - cells))
    return (rows.T @ columns / len(places)).astype(np.float32)


def _brightness(pixels: np.ndarray, level: int, rng: np.random.Generator) -> np.ndarray:
    del rng
    return pixels + _WHITE * np.float32(BRIGHTER[level])


def _contrast(pixels: np.ndarray, level: int, rng: np.random.Generator) -> np.ndarray:
    """Bring values nearer to the mean of their picture and channel."""
    del rng
    mean = pixels.mean(axis=(1, 2), keepdims=True)
    return mean + np.float32(CONTRAST[level]) * (pixels - mean)


def _jpeg(pixels: np.ndarray, level: int, rng: np.random.Generator) -> np.ndarray:
    """Encode and decode: three channels as colours, others each as a grey picture."""
    del rng
    rounded = np.round(pixels).astype(np.uint8)
    if rounded.shape[-1] == 3:
        return np.stack([_through_jpeg(image, QUALITY[level]) for image in rounded])
    grey = np.moveaxis(rounded, -1, 1)  # (N, C, H, W)
    flat = grey.reshape(-1, *grey.shape[2:])
    decoded = np.stack([_through_jpeg(image, QUALITY[level]) for image in flat])
    return np.moveaxis(decoded.reshape(grey.shape), 1, -1)


def _through_jpeg(image: np.ndarray, quality: int) -> np.ndarray:
    stream = io.BytesIO()
    Image.fromarray(image).save(stream, "JPEG", quality=quality)
    with Image.open(stream) as decoded:
        return np.asarray(decoded)


def _length_scale(pixels: np.ndarray) -> float:
    return math.sqrt(min(pixels.shape[1:3]) / 32)


_CHANGES = {
    "gaussian_noise": _gaussian_noise,
    "shot_noise": _shot_noise,
    "impulse_noise": _impulse_noise,
    "gaussian_blur": _gaussian_blur,
    "motion_blur": _motion_blur,
    "brightness": _brightness,
    "contrast": _contrast,
    "jpeg": _jpeg,
}
