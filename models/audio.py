"""A small convolutional network over the log-mel spectrogram of recordings.

Use it for short recordings: words, sounds. It takes the samples as they are; the
spectrogram is computed inside the model, so that whoever calls it needs no code for it.

Spectrogram: power of frames under a Hann window, summed by triangular bands of HTK's
mel scale (Young et al., "The HTK book", section 5.4), natural logarithm, then brought
to mean 0 and standard deviation 1 over the whole recording. Network: Salamon and Bello
2017, "Deep convolutional neural networks and data augmentation for environmental sound
classification", in spirit: 2-D convolutions and pooling over time and frequency. Here
with a normalisation that does not depend on the other recordings of a batch; and of
each feature and band the logits see the largest value at any time.
"""

import math

import keras
import numpy as np
from keras import ops

from models import _conv, _layers

LOWEST_HZ = 20.0  # lower edge of the first band; below is rumble
FLOOR = 1e-6  # added to the power: digital silence is log(1e-6) = -13.8
TINY = {
    "input_shape": (160,),
    "num_outputs": 3,
    "sample_rate": 1000,
    "frame_seconds": 0.016,
    "hop_seconds": 0.016,
    "num_mels": 4,
    "filters": (8,),
}


def build(
    input_shape: tuple[int],
    num_outputs: int,
    *,
    sample_rate: int = 8000,
    frame_seconds: float = 0.032,
    hop_seconds: float = 0.016,
    num_mels: int = 40,
    filters: tuple[int, ...] = (16, 32, 64),
    dropout: float = 0.0,
    seed: int = 0,
) -> keras.Model:
    """Build the model: (B, samples) in -1..1 in, (B, num_outputs) float32 logits out.

    Args:
      input_shape: (samples,).
      num_outputs: number of logits.
      sample_rate: in Hz.
      frame_seconds: length of a frame.
      hop_seconds: from the begin of one frame to that of the next.
      num_mels: bands of the spectrogram.
      filters: of each convolution; each halves time and frequency.
      dropout: share dropped of what goes into the logits.
      seed: decides the initial weights.

    Raises:
      ValueError: an argument is out of range, or a frame does not fit into the samples.
    """
    _check(input_shape, num_outputs, filters)
    _layers.check_dropout(dropout)
    spectrogram = LogMel(
        sample_rate,
        frame_seconds=frame_seconds,
        hop_seconds=hop_seconds,
        num_mels=num_mels,
        dtype="float32",
        name="log_mel",
    )
    spectrogram.check_length(input_shape[0])
    seeds = _layers.seeds(seed)
    inputs = keras.Input(tuple(input_shape), name="inputs")
    x = spectrogram(inputs)  # (B, frames, mels, 1)
    x = _normalization(1, "standardize", scale=False, center=False, dtype="float32")(x)
    for number, count in enumerate(filters, start=1):
        x = _conv.conv(
            x, count, 3, seeds, f"conv_{number}", activation=None, use_bias=False
        )
        x = _normalization(math.gcd(count, 8), f"norm_{number}")(x)
        x = keras.layers.ReLU(name=f"relu_{number}")(x)
        x = keras.layers.MaxPooling2D(2, padding="same", name=f"pool_{number}")(x)
    x = keras.layers.MaxPooling2D((x.shape[1], 1), name="loudest")(x)  # (B, 1, ...)
    x = keras.layers.Flatten(name="flatten")(x)  # (B, bands left * filters[-1])
    if dropout:
        x = keras.layers.Dropout(dropout, seed=next(seeds), name="dropout")(x)
    logits = _layers.logits_layer(num_outputs, next(seeds))(x)  # (B, num_outputs)
    return keras.Model(inputs, logits, name="audio")


@keras.saving.register_keras_serializable(package="strata")
class LogMel(keras.layers.Layer):
    """Compute (B, frames, mels, 1) of (B, samples); frames lie within the samples.

    The transform is a product with a fixed matrix, the window in it: frames are short,
    and every format that a model is exported to knows products.
    """

    def __init__(self, sample_rate, *, frame_seconds, hop_seconds, num_mels, **options):
        super().__init__(**options)
        _layers.check_count(sample_rate=sample_rate, num_mels=num_mels)
        self.sample_rate, self.num_mels = sample_rate, num_mels
        self.frame_seconds, self.hop_seconds = frame_seconds, hop_seconds
        self.length = _num_samples("frame_seconds", frame_seconds, sample_rate)
        self.hop = _num_samples("hop_seconds", hop_seconds, sample_rate)
        fft_length = 1 << (self.length - 1).bit_length()
        self._transform = windowed_transform(self.length, fft_length)
        self._bands = mel_bands(num_mels, fft_length // 2 + 1, sample_rate)
        self._check_bands()

    def call(self, samples):
        frames = ops.extract_sequences(samples, self.length, self.hop)
        spectrum = ops.matmul(frames, self._transform)  # (B, frames, 2 * bins)
        real, imaginary = ops.split(ops.square(spectrum), 2, axis=-1)
        power = real + imaginary
        return ops.log(ops.matmul(power, self._bands) + FLOOR)[..., None]

    def check_length(self, num_samples: int) -> None:
        """Raise ValueError unless a frame fits into so many samples."""
        if num_samples < self.length:
            raise ValueError(
                f"`input_shape` must hold at least a frame of {self.length} samples. "
                f"Received: input_shape=({num_samples},)"
            )

    def _check_bands(self):
        empty = int((self._bands.sum(axis=0) == 0).sum())
        if empty:
            raise ValueError(
                f"`num_mels` must be fewer: {empty} bands are narrower than the "
                "spectrum's resolution. Lower it, or raise `frame_seconds`. "
                f"Received: num_mels={self.num_mels}"
            )

    def compute_output_shape(self, input_shape):
        num_frames = 1 + (input_shape[1] - self.length) // self.hop
        return (input_shape[0], num_frames, self.num_mels, 1)

    def get_config(self):
        return {
            **super().get_config(),
            "sample_rate": self.sample_rate,
            "frame_seconds": self.frame_seconds,
            "hop_seconds": self.hop_seconds,
            "num_mels": self.num_mels,
        }


def windowed_transform(length: int, fft_length: int) -> np.ndarray:
    """Return the matrix (length, 2 * bins) from samples to their Fourier transform.

    The samples go under a periodic Hann window and are followed by zeros up to
    `fft_length`; columns are the real parts of frequencies 0 to half, then the
    imaginary ones.
    """
    places = np.arange(length)[:, None]
    window = 0.5 - 0.5 * np.cos(2 * np.pi * places / length)
    angles = 2 * np.pi * places * np.arange(fft_length // 2 + 1) / fft_length
    parts = [window * np.cos(angles), -window * np.sin(angles)]
    return np.concatenate(parts, axis=1).astype("float32")


def mel_bands(num_mels: int, num_bins: int, sample_rate: int) -> np.ndarray:
    """Return the share (num_bins, num_mels) of each frequency in each mel band.

    Bands are triangles on the mel scale, from `LOWEST_HZ` to half the sample rate; each
    begins in the middle of the one before. Frequency 0 belongs to none.
    """
    edges = np.linspace(_mel(LOWEST_HZ), _mel(sample_rate / 2), num_mels + 2)
    low, centre, high = edges[:-2], edges[1:-1], edges[2:]
    mels = _mel(np.linspace(0, sample_rate / 2, num_bins))[:, None]  # (num_bins, 1)
    rising, falling = (mels - low) / (centre - low), (high - mels) / (high - centre)
    bands = np.clip(np.minimum(rising, falling), 0, None)
    bands[0] = 0
    return bands.astype("float32")


def _mel(hertz):
    return 1127.0 * np.log1p(np.asarray(hertz) / 700.0)


def _normalization(groups, name, **arguments):
    return keras.layers.GroupNormalization(groups, name=name, **arguments)


def _num_samples(name, seconds, sample_rate):
    number = round(seconds * sample_rate)
    if number < 1:
        raise ValueError(
            f"`{name}` must hold at least one sample at {sample_rate} Hz. "
            f"Received: {name}={seconds!r}"
        )
    return number


def _check(input_shape, num_outputs: int, filters) -> None:
    _layers.check_counts(input_shape=input_shape, filters=filters)
    _layers.check_count(num_outputs=num_outputs)
    if len(input_shape) != 1:
        raise ValueError(
            "`input_shape` must be (samples,), as `output: samples` of an audio gives. "
            f"Received: input_shape={input_shape!r}"
        )
    if not filters:
        raise ValueError(
            f"`filters` must name a convolution or more. Received: filters={filters!r}"
        )
