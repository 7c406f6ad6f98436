"""Spoiled pictures, recordings and rows: values by hand, and what strength means."""

import csv
import gzip
import io
import wave
import zipfile
from pathlib import Path

import numpy as np
import pytest
from sklearn.datasets import load_digits

from components.corruptions import STRENGTHS, audio, images, tables, texts

DATA = Path(__file__).parents[3] / "shared/data"
SPOKEN = DATA / "spoken-digits/recordings_3_speakers.zip"
FASHION = DATA / "fashion-mnist/t10k-images-idx3-ubyte.gz"
ADULT = DATA / "adult/adult.test"
ALL = range(1, STRENGTHS + 1)


def draws(seed=0):
    return np.random.default_rng(seed)


def flat(value, size=64, channels=1, num_images=20):
    return np.full((num_images, size, size, channels), value, np.float32)


@pytest.fixture(scope="module")
def digits():
    pixels = load_digits().images[:400, ..., None] * (255 / 16)
    return np.round(pixels).astype(np.float32)


@pytest.fixture(scope="module")
def fashion():
    if not FASHION.exists():
        pytest.skip("needs shared/data/fashion-mnist")
    with gzip.open(FASHION) as file:
        body = file.read(16 + 100 * 784)[16:]
    return np.frombuffer(body, np.uint8).reshape(-1, 28, 28, 1).astype(np.float32)


@pytest.fixture(scope="module")
def spoken():
    """Return (20, 4000) samples: half a second of spoken digits, padded with zeros."""
    if not SPOKEN.exists():
        pytest.skip("needs shared/data/spoken-digits")
    batch = np.zeros((20, 4000), np.float32)
    with zipfile.ZipFile(SPOKEN) as archive:
        for row, name in enumerate(sorted(archive.namelist())[:20]):
            with wave.open(io.BytesIO(archive.read(name))) as file:
                samples = np.frombuffer(file.readframes(4000), "<i2")
            batch[row, : len(samples)] = samples / 32768
    return batch


@pytest.fixture(scope="module")
def people():
    """Return rows of Adult as columns: two of numbers, two of texts."""
    if not ADULT.exists():
        pytest.skip("needs shared/data/adult")
    with ADULT.open() as file:
        rows = [r for r in csv.reader(file, skipinitialspace=True) if len(r) == 15]
    age, _, _, school, _, _, job, *_ = zip(*rows[:4000], strict=True)
    return {
        "age": np.array(age, np.float64),
        "share": np.array(age, np.float32) / 90,
        "school": np.array([text.encode() for text in school], object),
        "job": np.array([text.replace("?", "").encode() for text in job], object),
    }


def spread(columns):
    return {name: float(columns[name].std()) for name in ("age", "share")}


def distances(module, name, values):
    """Return the root mean square change at each strength."""
    changed = [module.corrupt(name, values, s, rng=draws()) for s in ALL]
    return [float(np.sqrt(np.mean((c - values) ** 2))) for c in changed]


def test_brightness_adds_a_share_of_the_range_and_stops_at_white():
    pixels = np.array([0.0, 100.0, 250.0], np.float32).reshape(1, 1, 3, 1)
    got = images.corrupt("brightness", pixels, 3, rng=draws())
    np.testing.assert_allclose(got.ravel(), [38.25, 138.25, 255.0])


def test_contrast_halves_the_distance_to_the_mean_of_each_channel():
    pixels = np.array([[0.0, 10.0], [200.0, 20.0]], np.float32).reshape(1, 1, 2, 2)
    got = images.corrupt("contrast", pixels, 2, rng=draws())
    np.testing.assert_allclose(got[0, 0], [[50.0, 12.5], [150.0, 17.5]])


def test_gaussian_noise_has_the_deviation_that_was_published():
    got = images.corrupt("gaussian_noise", flat(127.5), 5, rng=draws())
    assert got.mean() == pytest.approx(127.5, abs=0.5)
    assert got.std() == pytest.approx(25.5, rel=0.01)  # a tenth of 255


def test_shot_noise_varies_as_the_count_of_photons_does():
    got = images.corrupt("shot_noise", flat(51.0), 5, rng=draws())
    # A fifth of 50 photons are 10, with a deviation of sqrt(10), each worth 255 / 50.
    assert got.mean() == pytest.approx(51.0, rel=0.01)
    assert got.std() == pytest.approx(np.sqrt(10) * 5.1, rel=0.01)


def test_impulses_are_as_often_black_as_white():
    got = images.corrupt("impulse_noise", flat(100.0), 5, rng=draws())
    values, counts = np.unique(got, return_counts=True)
    np.testing.assert_array_equal(values, [0.0, 100.0, 255.0])
    np.testing.assert_allclose(counts / got.size, [0.035, 0.93, 0.035], atol=0.002)


@pytest.mark.parametrize("size", [8, 28, 64])
def test_gaussian_blur_keeps_the_mean_of_each_picture(size):
    pixels = draws().uniform(0, 255, (3, size, size, 3)).astype(np.float32)
    got = images.corrupt("gaussian_blur", pixels, 5, rng=draws())
    want = pixels.mean(axis=(1, 2))
    np.testing.assert_allclose(got.mean(axis=(1, 2)), want, rtol=1e-5)


def test_a_point_is_blurred_as_far_as_the_size_of_the_picture_says():
    for size, deviation in ((8, 0.5), (32, 1.0), (128, 2.0)):
        pixels = np.zeros((1, size, size, 1), np.float32)
        pixels[0, size // 2, size // 2] = 255.0
        got = images.corrupt("gaussian_blur", pixels, 5, rng=draws())[0, ..., 0]
        beside = got[size // 2, size // 2 + 1] / got[size // 2, size // 2]
        assert beside == pytest.approx(np.exp(-0.5 / deviation**2), rel=1e-3)


def test_motion_of_two_pixels_along_a_row_covers_three():
    got = images.line_kernel(2.0, 0.0)
    # Evenly from -1 to 1: half of it is nearest to the centre, a quarter to each side.
    want = [[0.0, 0.0, 0.0], [0.25, 0.5, 0.25], [0.0, 0.0, 0.0]]
    np.testing.assert_allclose(got, want, atol=1e-3)


def test_motion_across_is_motion_along_turned():
    along, across = (images.line_kernel(3.0, angle) for angle in (0.0, np.pi / 2))
    np.testing.assert_allclose(across, along.T, atol=1e-6)
    assert images.line_kernel(4.2, 0.7).sum() == pytest.approx(1.0)


def test_pictures_of_a_batch_move_in_different_directions():
    pixels = np.zeros((50, 9, 9, 1), np.float32)
    pixels[:, 4, 4] = 255.0
    got = images.corrupt("motion_blur", pixels, 5, rng=draws())
    assert len(np.unique(got.reshape(50, -1).round(2), axis=0)) == 8


def test_jpeg_keeps_a_flat_colour_and_not_its_detail():
    colour = np.tile(np.float32([200, 30, 90]), (1, 16, 16, 1))
    got = images.corrupt("jpeg", colour, 5, rng=draws())
    np.testing.assert_allclose(got, colour, atol=6)
    noise = draws().uniform(0, 255, colour.shape).astype(np.float32)
    changed = images.corrupt("jpeg", noise, 5, rng=draws())
    assert np.abs(changed - noise).mean() > 20


def test_channels_that_are_no_colours_are_compressed_each_for_itself():
    pixels = draws().uniform(0, 255, (2, 16, 8, 2)).astype(np.float32)
    together = images.corrupt("jpeg", pixels, 3, rng=draws())
    for channel in (0, 1):
        alone = images.corrupt("jpeg", pixels[..., [channel]], 3, rng=draws())
        np.testing.assert_array_equal(together[..., [channel]], alone)


@pytest.mark.parametrize("name", images.NAMES)
def test_pictures_change_more_with_each_strength(name, digits, fashion):
    for pixels in (digits, fashion):
        found = distances(images, name, pixels)
        assert found[0] > 0.0
        assert found == sorted(set(found)), found


@pytest.mark.parametrize("name", images.NAMES)
@pytest.mark.parametrize("shape", [(2, 8, 8, 1), (3, 17, 9, 3), (1, 64, 64, 4)])
def test_pictures_keep_dtype_shape_and_range(name, shape):
    pixels = draws().uniform(0, 255, shape).astype(np.float32)
    before = pixels.copy()
    got = images.corrupt(name, pixels, 5, rng=draws())
    assert (got.dtype, got.shape) == (np.float32, shape)
    assert got.min() >= 0.0
    assert got.max() <= 255.0
    np.testing.assert_array_equal(pixels, before)


@pytest.mark.parametrize("strength", ALL)
def test_noise_is_as_far_below_a_recording_as_asked(strength, spoken):
    quiet = spoken * (0.02 / np.abs(spoken).max(axis=1, keepdims=True))
    noise = audio.corrupt("white_noise", quiet, strength, rng=draws()) - quiet
    got = 10 * np.log10((quiet**2).sum(axis=1) / (noise**2).sum(axis=1))
    want = audio.SIGNAL_TO_NOISE_DB[strength - 1]
    np.testing.assert_allclose(got, want, atol=0.1)


def test_a_loud_recording_gets_quieter_with_its_noise_and_is_not_cut(spoken):
    loud = spoken / np.abs(spoken).max(axis=1, keepdims=True)
    got = audio.corrupt("white_noise", loud, 5, rng=draws())
    same = draws().standard_normal(loud.shape, np.float32)
    for row, samples, noise in zip(got, loud, same, strict=True):
        length = np.flatnonzero(samples)[-1] + 1  # behind it is padding
        row, samples, noise = row[:length], samples[:length], noise[:length]
        parts = np.stack([samples, noise], axis=1)
        factors, unexplained, *_ = np.linalg.lstsq(parts, row)
        assert unexplained[0] < 1e-6  # nothing but a share of each
        signal, added = (factors * parts).T
        assert (signal**2).sum() == pytest.approx((added**2).sum(), rel=0.01)
        assert np.abs(row).max() == pytest.approx(1.0)
        assert factors[0] < 1.0


def test_silence_gets_no_noise():
    silence = np.zeros((2, 100), np.float32)
    got = audio.corrupt("white_noise", silence, 5, rng=draws())
    np.testing.assert_array_equal(got, silence)


def test_padding_is_no_part_of_a_recording():
    samples = draws().uniform(-0.3, 0.3, (4, 200)).astype(np.float32)
    padded = np.pad(samples, ((0, 0), (0, 300)))
    noisy = audio.corrupt("white_noise", padded, 5, rng=draws())
    assert (noisy[:, :200] != samples).any()
    assert not noisy[:, 200:].any()
    shifted = audio.corrupt("time_shift", padded, 3, rng=draws())
    starts = (shifted != 0).argmax(axis=1)
    assert set(starts) == {0, 30}  # 15 percent of 200


def test_gain_of_six_decibels_doubles_or_halves():
    samples = draws().uniform(-0.4, 0.4, (40, 50)).astype(np.float32)
    factors = audio.corrupt("gain", samples, 2, rng=draws()) / samples
    got = np.unique(factors.mean(axis=1).round(3))
    np.testing.assert_allclose(got, [10 ** (-6 / 20), 10 ** (6 / 20)], atol=1e-3)


def test_a_shift_brings_silence_and_keeps_the_rest():
    samples = np.arange(1, 11, dtype=np.float32)[None].repeat(40, axis=0) / 10
    got = np.unique(audio.corrupt("time_shift", samples, 4, rng=draws()), axis=0)
    want = [[0, 0, 1, 2, 3, 4, 5, 6, 7, 8], [3, 4, 5, 6, 7, 8, 9, 10, 0, 0]]
    np.testing.assert_allclose(got * 10, want, rtol=1e-6)


def test_a_band_limit_takes_the_high_tone_and_leaves_the_low_one():
    times = np.arange(1000) / 1000
    low, high = (0.4 * np.sin(2 * np.pi * hertz * times) for hertz in (100, 300))
    samples = np.float32([low + high])
    got = audio.corrupt("band_limit", samples, 2, rng=draws())  # up to 250 Hz
    np.testing.assert_allclose(got[0], low, atol=1e-5)
    kept = audio.corrupt("band_limit", samples, 1, rng=draws())  # up to 375 Hz
    np.testing.assert_allclose(kept, samples, atol=1e-5)


@pytest.mark.parametrize("name", ["white_noise", "gain", "band_limit"])
def test_recordings_change_more_with_each_strength(name, spoken):
    found = distances(audio, name, spoken)
    assert found[0] > 0.0
    assert found == sorted(set(found)), found


@pytest.mark.parametrize("name", audio.NAMES)
def test_recordings_keep_dtype_shape_and_range(name):
    samples = draws().uniform(-1, 1, (5, 333)).astype(np.float32)
    before = samples.copy()
    got = audio.corrupt(name, samples, 5, rng=draws())
    assert (got.dtype, got.shape) == (np.float32, samples.shape)
    assert np.abs(got).max() <= 1.0
    np.testing.assert_array_equal(samples, before)


@pytest.mark.parametrize("strength", ALL)
def test_as_many_cells_go_missing_as_asked(strength, people):
    got = tables.corrupt("missing", people, strength, deviations={}, rng=draws())
    for name, cells in got.items():
        there = ~tables.is_missing(people[name])
        share, num_cells = tables.CELL_SHARE[strength - 1], there.sum()
        bound = 4 * np.sqrt(share * (1 - share) / num_cells)
        assert tables.is_missing(cells)[there].mean() == pytest.approx(share, abs=bound)
        kept = ~tables.is_missing(cells)
        np.testing.assert_array_equal(cells[kept], people[name][kept])


@pytest.mark.parametrize("strength", ALL)
def test_jitter_is_a_share_of_the_given_deviation(strength, people):
    given = {"age": 20.0, "share": 0.3}
    got = tables.corrupt("jitter", people, strength, deviations=given, rng=draws())
    share = tables.JITTER_SHARE[strength - 1]
    noise = got["share"] - people["share"]
    assert noise.std() == pytest.approx(0.3 * share, rel=0.05)
    # Rounding adds the variance of an even draw of width 1.
    want = np.sqrt((20.0 * share) ** 2 + 1 / 12)
    assert (got["age"] - people["age"]).std() == pytest.approx(want, rel=0.05)
    np.testing.assert_array_equal(got["age"], np.round(got["age"]))
    assert got["school"] is people["school"]


@pytest.mark.parametrize("strength", ALL)
def test_as_many_categories_change_as_asked_each_to_one_of_the_column(strength, people):
    got = tables.corrupt(
        "swapped", people, strength, deviations=spread(people), rng=draws()
    )
    share = tables.CELL_SHARE[strength - 1]
    for name in ("school", "job"):
        there = ~tables.is_missing(people[name])
        bound = 4 * np.sqrt(share * (1 - share) / there.sum())
        changed = got[name] != people[name]
        assert changed[there].mean() == pytest.approx(share, abs=bound)
        assert not changed[~there].any()
        assert set(got[name]) <= set(people[name])
    assert got["age"] is people["age"]


def test_codes_without_a_deviation_are_swapped_and_nan_is_no_category():
    codes = np.array([1.0, 2.0, np.nan] * 100)
    one = {"area": codes, "same": np.full(300, 7.0)}
    got = tables.corrupt("swapped", one, 5, deviations={}, rng=draws())
    assert set(got["area"][::3]) == {1.0, 2.0}
    assert np.isnan(got["area"][2::3]).all()
    np.testing.assert_array_equal(got["same"], one["same"])


@pytest.mark.parametrize("name", tables.NAMES)
def test_rows_keep_columns_and_dtypes_and_change_a_copy(name, people):
    before = {column: cells.copy() for column, cells in people.items()}
    got = tables.corrupt(name, people, 3, deviations=spread(people), rng=draws())
    for column, cells in before.items():
        np.testing.assert_array_equal(people[column], cells)
        assert (got[column].dtype, got[column].shape) == (cells.dtype, cells.shape)
    assert list(got) == list(people)


def test_the_seed_decides_all_that_is_drawn(digits, spoken, people):
    batches = {images: digits[:10], audio: spoken, texts: [b"one two three"] * 99}
    for module, values in batches.items():
        for name in module.NAMES:
            first, again = (module.corrupt(name, values, 3, rng=draws()) for _ in "12")
            np.testing.assert_array_equal(first, again)
    own = [
        tables.corrupt("missing", people, 3, deviations={}, rng=draws(seed))["age"]
        for seed in (0, 0, 1)
    ]
    np.testing.assert_array_equal(own[0], own[1])
    assert (np.isnan(own[0]) != np.isnan(own[2])).any()


@pytest.mark.parametrize("module", [images, texts, audio])
def test_unknown_names_and_strengths_are_refused(module):
    values = flat(0.0)
    for strength in (0, 6, 2.5):
        with pytest.raises(ValueError, match=f"from 1 to 5. Received: .*{strength}"):
            module.corrupt(module.NAMES[0], values, strength, rng=draws())
    with pytest.raises(ValueError, match=f"{module.NAMES[0]}.*Received: name='frost'"):
        module.corrupt("frost", values, 1, rng=draws())


def test_tables_refuse_them_too():
    with pytest.raises(ValueError, match="Received: strength=0"):
        tables.corrupt("missing", {}, 0, deviations={}, rng=draws())
    with pytest.raises(ValueError, match="Received: name='frost'"):
        tables.corrupt("frost", {}, 1, deviations={}, rng=draws())
