"""Inputs of no data set: what they keep of the real ones, and what they lose."""

import numpy as np
import pytest

from components.corruptions import elsewhere

REAL = {
    "image": np.random.default_rng(1).uniform(0, 80, (30, 8, 6, 3)).astype(np.float32),
    "text": [b"good morning to you", "café noir", b"", "no"],
    "audio": 0.1 * np.random.default_rng(2).standard_normal((9, 400), np.float32),
    "table": {
        "miles": np.array([1.5, 2.5, np.nan, 4.0], np.float32),
        "area": np.array([7.0, 8.0, 9.0, np.nan]),
        "town": np.array([b"Bern", b"Genf", b"", b"Chur"], object),
    },
}
ALL = [(kind, name) for kind, names in elsewhere.NAMES.items() for name in names]


def replace(name, values, seed=0):
    return elsewhere.replace(name, values, rng=np.random.default_rng(seed))


def same(first, second):
    if isinstance(first, dict):
        return all(same(first[name], second[name]) for name in first)
    if isinstance(first, list):
        return first == second
    is_float = first.dtype.kind == "f"
    return np.array_equal(first, second, equal_nan=is_float)


@pytest.mark.parametrize(("kind", "name"), ALL)
def test_the_seed_decides_and_another_gives_others(kind, name):
    first, again = (replace(name, REAL[kind]) for _ in "12")
    assert same(first, again)
    assert not same(first, REAL[kind])
    assert not same(first, replace(name, REAL[kind], seed=1))


@pytest.mark.parametrize("name", elsewhere.NAMES["image"] + elsewhere.NAMES["audio"])
def test_arrays_keep_dtype_and_shape(name):
    values = REAL["image" if name in elsewhere.NAMES["image"] else "audio"]
    got = replace(name, values)
    assert (got.dtype, got.shape) == (values.dtype, values.shape)


def test_noise_images_fill_the_whole_range():
    got = replace("noise_images", np.zeros((10, 32, 32, 3), np.float32))
    assert 0.0 <= got.min() < 1.0 < 254.0 < got.max() <= 255.0
    assert got.std() == pytest.approx(255 / np.sqrt(12), rel=0.01)


def test_shuffled_pixels_are_the_same_pixels_of_each_picture_in_another_order():
    pixels = REAL["image"]
    got = replace("shuffled_pixels", pixels)
    orders = set()
    flat = (batch.reshape(30, 48, 3) for batch in (pixels, got))
    for before, after in zip(*flat, strict=True):
        places = {tuple(pixel): place for place, pixel in enumerate(before)}
        order = tuple(places[tuple(pixel)] for pixel in after)
        assert sorted(order) == list(range(48))
        orders.add(order)
    assert len(orders) == 30


def test_random_letters_keep_the_lengths_of_words():
    got = replace("random_letters", REAL["text"])
    assert [[len(word) for word in text.split()] for text in got] == [
        [4, 7, 2, 3],
        [4, 4],
        [],
        [2],
    ]
    assert [type(text) for text in got] == [bytes, str, bytes, str]


def test_mixed_words_are_all_words_dealt_again():
    got = replace("mixed_words", REAL["text"])
    decoded = [t if isinstance(t, str) else t.decode() for t in got]
    want = ["café", "good", "morning", "no", "noir", "to", "you"]
    assert sorted(" ".join(decoded).split()) == want
    assert [len(text.split()) for text in got] == [4, 2, 0, 1]


@pytest.mark.parametrize("name", elsewhere.NAMES["audio"])
def test_recordings_are_as_loud_as_those_they_replace(name):
    got, want = (
        (of.astype(np.float64) ** 2).mean(axis=1)
        for of in (replace(name, REAL["audio"]), REAL["audio"])
    )
    np.testing.assert_allclose(got, want, rtol=1e-3)


@pytest.mark.parametrize("name", elsewhere.NAMES["audio"])
def test_silence_stays_silent_and_loud_stays_in_range(name):
    silence = np.zeros((1, 300), np.float32)
    np.testing.assert_array_equal(replace(name, silence), silence)
    assert np.abs(replace(name, np.ones((1, 300), np.float32))).max() <= 1.0


def test_a_tone_has_one_frequency_within_the_range():
    got = replace("tones", np.full((20, 1000), 0.1, np.float32))
    peaks = np.abs(np.fft.rfft(got * np.hanning(1000), axis=1)).argmax(axis=1) / 1000
    assert ((peaks >= 0.004) & (peaks <= 0.401)).all()
    assert len(set(peaks)) > 15


def test_shuffled_columns_keep_each_column_and_lose_the_rows():
    rows = np.arange(1000.0)
    got = replace("shuffled_columns", {"a": rows, "b": 2 * rows})
    np.testing.assert_array_equal(np.sort(got["a"]), rows)
    np.testing.assert_array_equal(np.sort(got["b"]), 2 * rows)
    assert abs(np.corrcoef(got["a"], got["b"])[0, 1]) < 0.15


def test_unseen_numbers_lie_far_above_and_unseen_texts_are_new():
    got = replace("unseen_values", REAL["table"])
    # Three ranges of 2.5 above 4, and ten; of 2 above 9.
    assert ((got["miles"] >= 11.5) & (got["miles"] <= 29.0)).all()
    assert ((got["area"] >= 15.0) & (got["area"] <= 29.0)).all()
    np.testing.assert_array_equal(got["area"], np.round(got["area"]))
    assert got["miles"].dtype == np.float32
    assert not set(got["town"]) & set(REAL["table"]["town"])
    assert all(len(town) == 10 for town in got["town"])


def test_a_column_without_a_range_gets_new_numbers_too():
    got = replace("unseen_values", {"a": np.full(9, 5.0), "b": np.full(9, np.nan)})
    assert (got["a"] >= 8.0).all()
    assert (got["b"] >= 3.0).all()


def test_unknown_names_are_refused():
    with pytest.raises(ValueError, match="noise_images.*Received: name='snow'"):
        replace("snow", REAL["image"])
