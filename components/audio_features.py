"""Decode recordings and compute their features, inside the exported model's graph.

Log-mel: power spectrum of frames under a Hann window, summed by the triangular bands
of HTK's mel scale, natural logarithm. MFCC: the orthonormal cosine transform (type II)
of that, as HTK has it, without lifting.
"""

from collections.abc import Mapping
from typing import Any

import tensorflow as tf

from components.input_checks import LOWEST_HZ, frame_samples, num_samples

FLOOR = 1e-6  # added to the power: digital silence is log(1e-6) = -13.8


def decode(encoded: tf.Tensor, audio: Mapping[str, Any]) -> tf.Tensor:
    """Decode WAVs and cut them or pad them with silence to the same length.

    Args:
      encoded: (batch,) bytes, 16-bit PCM; the first channel is used.
      audio: the recipe's section of that name.

    Returns:
      (batch, samples) float32, -1 to 1.

    Raises:
      InvalidArgumentError: when run on a WAV of another sample rate.
    """
    wanted = num_samples(audio)

    def one(wav: tf.Tensor) -> tf.Tensor:
        samples, rate = tf.audio.decode_wav(
            wav, desired_channels=1, desired_samples=wanted
        )
        same_rate = tf.debugging.assert_equal(
            rate, audio["sample_rate"], "The WAV has another sample rate."
        )
        with tf.control_dependencies([same_rate]):
            return tf.ensure_shape(samples[:, 0], [wanted])

    return tf.map_fn(one, encoded, fn_output_signature=tf.float32)


def cut_or_pad(samples: tf.Tensor, audio: Mapping[str, Any]) -> tf.Tensor:
    """Cut (batch, any) samples, or pad them with silence, to the recipe's length."""
    wanted = num_samples(audio)
    cut = samples[:, :wanted]
    padded = tf.pad(cut, [[0, 0], [0, wanted - tf.shape(cut)[1]]])
    return tf.ensure_shape(padded, [None, wanted])


def compute(samples: tf.Tensor, audio: Mapping[str, Any]) -> tf.Tensor:
    """Return (batch, samples) as they are, or (batch, frames, bands, 1) features."""
    if audio["output"] == "samples":
        return samples
    features = log_mel(samples, audio)
    if audio["output"] == "mfcc":
        features = tf.signal.mfccs_from_log_mel_spectrograms(features)
        features = features[..., : audio["num_coefficients"]]
    return features[..., None]


def log_mel(samples: tf.Tensor, audio: Mapping[str, Any]) -> tf.Tensor:
    """Return (batch, frames, mels), of frames that lie within the samples."""
    length, hop, fft_length = frame_samples(audio)
    spectrum = tf.signal.stft(samples, length, hop, fft_length)  # (B, frames, bins)
    power = tf.square(tf.math.real(spectrum)) + tf.square(tf.math.imag(spectrum))
    bands = tf.signal.linear_to_mel_weight_matrix(
        audio["num_mels"],
        fft_length // 2 + 1,
        audio["sample_rate"],
        LOWEST_HZ,
        audio["sample_rate"] / 2,
    )
    return tf.math.log(tf.matmul(power, bands) + FLOOR)  # (B, frames, mels)
