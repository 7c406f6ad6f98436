"""Recordings as the model gets them, against values known beforehand."""

import io
import wave
import zipfile
from pathlib import Path

import numpy as np
import pytest
import scipy.fft
import tensorflow as tf

from components import audio_features, input_checks
from recipes.errors import BadInputError
from tests.components.sections import section

RATE = 8000
SPOKEN = (
    Path(__file__).parents[3] / "shared/data/spoken-digits/recordings_3_speakers.zip"
)


def audio(**keys):
    return section(audio={"sample_rate": RATE, "seconds": 0.25, **keys})["audio"]


def wav(samples, rate=RATE, channels=1):
    """Return 16-bit samples as a WAV file."""
    stream = io.BytesIO()
    with wave.open(stream, "wb") as file:
        file.setnchannels(channels)
        file.setsampwidth(2)
        file.setframerate(rate)
        file.writeframes(np.asarray(samples, "<i2").tobytes())
    return stream.getvalue()


def tone(hertz, seconds=0.25):
    times = np.arange(round(seconds * RATE)) / RATE
    return (0.5 * np.sin(2 * np.pi * hertz * times)).astype("float32")


def reference_log_mel(samples, length, hop, bins, num_mels):
    """The formula of the module's docstring in NumPy, one recording."""
    starts = range(0, len(samples) - length + 1, hop)
    hann = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(length) / length)
    frames = np.stack([samples[s : s + length] * hann for s in starts])
    power = np.abs(np.fft.rfft(frames, 2 * (bins - 1))) ** 2

    def mel(hertz):
        return 1127.0 * np.log(1.0 + hertz / 700.0)

    edges = np.linspace(mel(20.0), mel(RATE / 2), num_mels + 2)
    places = mel(np.arange(bins) * RATE / (2 * (bins - 1)))[:, None]
    low, centre, high = edges[:-2], edges[1:-1], edges[2:]
    rise, fall = (places - low) / (centre - low), (high - places) / (high - centre)
    triangles = np.maximum(0, np.minimum(rise, fall))
    triangles[0] = 0  # not the mean
    return np.log(power @ triangles + 1e-6)


def test_samples_are_decoded_from_minus_1_to_1_cut_and_padded():
    short, long = [0, 16384, -32768], list(range(2500))
    got = audio_features.decode(tf.constant([wav(short), wav(long)]), audio()).numpy()
    assert got.shape == (2, 2000)
    assert got[0, :4].tolist() == [0.0, 0.5, -1.0, 0.0]
    np.testing.assert_array_equal(got[1], np.arange(2000) / 32768)


def test_cutting_and_padding_raw_samples_is_what_decoding_does():
    for length in (0, 1, 1999, 2000, 2001):
        samples = np.arange(length, dtype="float32") % 100
        got = audio_features.cut_or_pad(tf.constant(samples[None] / 32768), audio())
        want = audio_features.decode(tf.constant([wav(samples)]), audio())
        np.testing.assert_array_equal(got, want)


def test_another_sample_rate_is_refused():
    with pytest.raises(tf.errors.InvalidArgumentError, match="another sample rate"):
        audio_features.decode(tf.constant([wav([1, 2], rate=16000)]), audio())


def test_log_mel_equals_the_formula_in_numpy():
    noise = np.random.default_rng(0).normal(size=2000).astype("float32") / 10
    recordings = np.stack([noise, tone(440) + noise / 10])
    got = audio_features.compute(recordings, audio())
    assert got.shape == (2, *input_checks.audio_shape(audio())) == (2, 23, 40, 1)
    for one, samples in zip(got[..., 0], recordings, strict=True):
        want = reference_log_mel(samples, length=200, hop=80, bins=129, num_mels=40)
        np.testing.assert_allclose(one, want, atol=1e-4)


@pytest.mark.skipif(not SPOKEN.exists(), reason="the data sets are not there")
def test_log_mel_of_speech_equals_the_formula_in_numpy():
    settings = audio(seconds=0.4, num_mels=30)
    with zipfile.ZipFile(SPOKEN) as archive:
        names = [name for name in archive.namelist() if name.endswith("_7.wav")]
        recordings = [archive.read(name) for name in names]
    samples = audio_features.decode(tf.constant(recordings), settings)
    got = audio_features.compute(samples, settings)
    assert got.shape == (30, 38, 30, 1)  # ten digits, three speakers
    for one, mels in zip(samples.numpy(), got.numpy(), strict=True):
        want = reference_log_mel(one, length=200, hop=80, bins=129, num_mels=30)
        np.testing.assert_allclose(mels[..., 0], want, atol=1e-3)


def test_mfcc_is_the_cosine_transform_of_log_mel():
    settings = audio(output="mfcc", num_coefficients=12)
    noise = np.random.default_rng(0).normal(size=2000).astype("float32") / 10
    got = audio_features.compute(noise[None], settings)
    assert got.shape == (1, *input_checks.audio_shape(settings)) == (1, 23, 12, 1)
    mels = reference_log_mel(noise, length=200, hop=80, bins=129, num_mels=40)
    want = scipy.fft.dct(mels, type=2, axis=-1, norm="ortho")[:, :12]
    want[:, 0] *= np.sqrt(2)  # HTK gives all coefficients the same factor
    np.testing.assert_allclose(got[0, ..., 0], want, atol=1e-4)


def test_a_tone_is_loudest_in_the_band_around_it():
    mels = audio_features.log_mel(tone(1000)[None], audio()).numpy()[0]
    # mel(20) = 31.7, mel(1000) = 1000.0, mel(4000) = 2146.1: 41 steps of 51.57; edge
    # 18.78 of them away is nearest to the centre of band 18.
    assert set(mels.argmax(axis=1)) == {18}


def test_silence_is_the_floor():
    mels = audio_features.log_mel(tf.zeros([1, 2000]), audio())
    np.testing.assert_allclose(mels, np.full((1, 23, 40), np.log(1e-6)), rtol=1e-6)


def test_samples_stay_samples():
    settings = audio(output="samples")
    samples = tone(440)[None]
    assert audio_features.compute(samples, settings) is samples
    assert input_checks.audio_shape(settings) == (2000,)


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"seconds": 0.00001}, "hold no sample"),
        ({"seconds": 0.01}, "80 samples are less than a frame of 200"),
        ({"frame_seconds": 0.0001}, "Received: 1 and 80 samples at 8000 Hz"),
        ({"hop_seconds": 0.00001}, "Received: 200 and 0 samples"),
        ({"output": "mfcc", "num_coefficients": 41}, r"at most num_mels \(40\)"),
        ({"num_mels": 120}, "3 of 120 bands are narrower than"),
        ({"sample_rate": 40, "frame_seconds": 0.1, "hop_seconds": 0.1}, "40 of 40"),
    ],
)
def test_settings_that_cannot_be_met_are_refused(keys, message):
    with pytest.raises(BadInputError, match=rf"^\[transform.audio\] .*{message}"):
        input_checks.check(section(audio=audio(**keys)))


@pytest.mark.parametrize("num_mels", [20, 90, 100, 120, 200])
def test_bands_are_counted_empty_where_the_filters_are(num_mels):
    settings = audio(num_mels=num_mels)
    filters = tf.signal.linear_to_mel_weight_matrix(num_mels, 129, RATE, 20.0, RATE / 2)
    empty = int((filters.numpy().sum(axis=0) == 0).sum())
    assert input_checks._empty_bands(settings) == empty
