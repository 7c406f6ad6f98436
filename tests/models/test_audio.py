import numpy as np
import pytest
import tensorflow as tf

from components import audio_features
from models import audio

RATE = 8000
OPTIONS = {"frame_seconds": 0.025, "hop_seconds": 0.01, "num_mels": 20}
NOISE = np.random.default_rng(0).uniform(-0.5, 0.5, size=(2, RATE // 4))


def log_mel(**options):
    return audio.LogMel(RATE, **{**OPTIONS, **options})


def test_mel_bands_match_hand_computed_values():
    # Half of 2000 Hz is 999.99 mel, 20 Hz 31.75: edges of two bands at 31.75, 354.50,
    # 677.24 and 999.99 mel. 250 Hz is 344.17 mel, 500 Hz 607.45, 750 Hz 820.72.
    got = audio.mel_bands(num_mels=2, num_bins=5, sample_rate=2000)
    step = (999.99 - 31.75) / 3
    want = [
        [0, 0],
        [(344.17 - 31.75) / step, 0],
        [(677.24 - 607.45) / step, (607.45 - 354.50) / step],
        [0, (999.99 - 820.72) / step],
        [0, 0],
    ]
    np.testing.assert_allclose(got, want, atol=1e-3)


@pytest.mark.parametrize(("num_mels", "num_bins"), [(13, 129), (40, 257)])
def test_mel_bands_are_those_of_tensorflow(num_mels, num_bins):
    got = audio.mel_bands(num_mels, num_bins, RATE)
    want = tf.signal.linear_to_mel_weight_matrix(
        num_mels, num_bins, RATE, audio.LOWEST_HZ, RATE / 2
    )
    np.testing.assert_allclose(got, want, atol=2e-5)


def test_the_transform_is_the_windowed_fourier_transform():
    samples = NOISE[0, :200]
    window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(200) / 200)
    want = np.fft.rfft(samples * window, 256)
    real, imaginary = np.split(samples @ audio.windowed_transform(200, 256), 2)
    np.testing.assert_allclose(real + 1j * imaginary, want, atol=1e-5)


def test_the_spectrogram_is_the_one_of_the_input_path():
    section = {"sample_rate": RATE, "seconds": 0.25, **OPTIONS}
    samples = NOISE.astype("float32")
    want = audio_features.log_mel(tf.constant(samples), section)
    np.testing.assert_allclose(log_mel()(samples)[..., 0], want, atol=1e-4)


def test_a_tone_lies_in_its_band():
    tone = np.sin(2 * np.pi * 1000 * np.arange(RATE) / RATE)[None].astype("float32")
    spectrogram = log_mel()(tone).numpy()[0, :, :, 0]
    edges = np.linspace(31.75, 1127 * np.log1p(4000 / 700), 22)
    band = np.abs(edges[1:-1] - 1127 * np.log1p(1000 / 700)).argmin()
    assert (spectrogram.argmax(axis=1) == band).all()


def test_silence_is_the_floor_and_its_logits_are_finite():
    silence = np.zeros((1, 2000), "float32")
    np.testing.assert_allclose(log_mel()(silence), np.log(1e-6), rtol=1e-6)
    assert np.isfinite(audio.build((2000,), 3)(silence)).all()


def test_frames_lie_within_the_samples():
    # Frames of 200, each 80 further: 1 + (2000 - 200) // 80.
    assert log_mel()(NOISE.astype("float32")).shape == (2, 23, 20, 1)
    assert log_mel().compute_output_shape((None, 2000)) == (None, 23, 20, 1)


def test_logits_do_not_depend_on_how_loud_a_recording_is():
    model = audio.build((2000,), 3)
    samples = NOISE.astype("float32")
    np.testing.assert_allclose(model(samples * 0.5), model(samples), atol=0.01)


def test_dropout_acts_in_training_only():
    model, samples = audio.build((2000,), 3, dropout=0.5), NOISE.astype("float32")
    np.testing.assert_array_equal(model(samples), model(samples))
    assert (model(samples, training=True).numpy() != model(samples).numpy()).any()


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"input_shape": (2000, 1)}, r"`input_shape` must be \(samples,\).*2000, 1"),
        ({"input_shape": (100,)}, r"a frame of 256 samples.*input_shape=\(100,\)"),
        ({"filters": ()}, r"`filters` must name a convolution.*filters=\(\)"),
        ({"num_mels": 200}, r"`num_mels` must be fewer: .*num_mels=200"),
        ({"hop_seconds": 0.0}, r"`hop_seconds` must .*hop_seconds=0.0"),
        ({"sample_rate": 0}, r"`sample_rate` must .*sample_rate=0"),
    ],
)
def test_a_value_out_of_range_is_named(wrong, message):
    with pytest.raises(ValueError, match=message):
        audio.build(**{"input_shape": (2000,), "num_outputs": 3, **wrong})
