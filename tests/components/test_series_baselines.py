"""Simple forecasts of series whose future is known by hand."""

import json

import numpy as np
import pytest
import tensorflow as tf

from components import series_baselines
from components.columns import LABEL
from recipes.transform import Transform
from tests.components.records import write

SERIES = {"context": 4, "horizon": 3, "channels": 2, "targets": [1]}
SPEC = {
    "context_xf": tf.io.FixedLenFeature([8], tf.float32),
    LABEL: tf.io.FixedLenFeature([3], tf.float32),
}


def section(**keys):
    keys = {"series": {**SERIES, **keys}}
    return Transform.model_validate_json(json.dumps(keys)).model_dump(mode="json")


def example(context, horizon):
    values = {"context_xf": np.ravel(context), LABEL: np.ravel(horizon)}
    features = {
        name: tf.train.Feature(float_list=tf.train.FloatList(value=value))
        for name, value in values.items()
    }
    packed = tf.train.Example(features=tf.train.Features(feature=features))
    return packed.SerializeToString()


def store(folder, values, *, parts=2):
    """Write all windows of a series; the first channel is noise."""
    folder.mkdir()
    noise = np.random.default_rng(0).normal(size=len(values)) * 100
    both = np.stack([noise, values], axis=1)
    rows = [
        example(both[i : i + 4], both[i + 4 : i + 7, 1]) for i in range(len(both) - 6)
    ]
    for part in range(parts):
        write(folder / f"{part}.gz", rows[part::parts])
    return folder


def windows(values, context, horizon):
    """Return all windows of a series of one channel."""
    length = context + horizon
    cut = np.lib.stride_tricks.sliding_window_view(np.float32(values), length)
    return cut[:, :context, None], cut[:, context:, None]


def test_a_season_is_found_and_gives_no_error(tmp_path):
    # 1 5 3 comes again and again; the mean of any context of 4 is (9 + first) / 4.
    train = store(tmp_path / "train", [1.0, 5.0, 3.0] * 10)
    test = store(tmp_path / "test", [1.0, 5.0, 3.0] * 3)
    got, errors = series_baselines.compare(train, test, SPEC, section())
    assert {n: e.mean() for n, e in errors.items()} == {
        n: pytest.approx(s["mse"]) for n, s in got.items()
    }
    assert list(got) == ["last_value", "season", "mean", "ridge"]
    assert got["season"] == {"mse": 0.0, "mae": 0.0, "lag": 3}
    # Contexts 1 5 3 1 | 5 3 1, 5 3 1 5 | 3 1 5, 3 1 5 3 | 1 5 3: each difference of two
    # values that are 0, 2 or 4 apart, the last value of each is met once.
    assert got["last_value"]["mse"] == pytest.approx((16 + 4 + 4 + 16 + 4 + 4) / 9)
    assert got["last_value"]["mae"] == pytest.approx((4 + 2 + 2 + 4 + 2 + 2) / 9)
    mean = [np.array([1, 3, 5]) - (9 + first) / 4 for first in (1, 5, 3)]
    assert got["mean"]["mse"] == pytest.approx(np.mean(np.square(mean)))
    assert got["ridge"]["mse"] < 0.1


def test_the_line_of_a_ramp_goes_on():
    known = windows(np.arange(400) / 100, 4, 3)
    forecast = series_baselines.ridge(known)
    context, horizon = windows([6.0, 6.01, 6.02, 6.03, 6.04, 6.05, 6.06], 4, 3)
    np.testing.assert_allclose(forecast(context, 3), horizon, atol=0.01)


def test_channels_keep_their_places_in_the_linear_forecast():
    draw = np.random.default_rng(0)
    context = draw.normal(size=(50, 4, 3)).astype("float32")
    horizon = np.stack([context[:, 3], 2 * context[:, 0]], axis=1)
    got = series_baselines.ridge((context, horizon))(context[:7], 2)
    np.testing.assert_allclose(got, horizon[:7], atol=0.1)


def test_season_repeats_the_last_steps_of_each_channel():
    context = np.array([[[0, 9], [1, 8], [2, 7]]], np.float32)
    got = series_baselines.season(context, 5, 2)
    assert got.tolist() == [[[1, 8], [2, 7], [1, 8], [2, 7], [1, 8]]]


def test_scores_count_every_number_the_same_whatever_the_batches():
    ones = np.ones((3, 2, 1), np.float32)
    batches = [(ones, ones[:, :1]), (ones[:1], 4 * ones[:1, :1])]
    got, errors = series_baselines.scores(batches, {"zero": lambda c, h: 0 * c[:, :h]})
    assert errors["zero"].tolist() == [1, 1, 1, 16]
    assert got == {"zero": {"mse": (3 * 1 + 16) / 4, "mae": (3 * 1 + 4) / 4}}


def test_of_too_many_windows_some_are_taken_from_everywhere(tmp_path, monkeypatch):
    monkeypatch.setattr(series_baselines, "MAX_VALUES", 4 * 7)
    monkeypatch.setattr(series_baselines, "BATCH_VALUES", 11 * 3)  # three windows
    folder = store(tmp_path / "train", np.arange(16.0), parts=1)  # ten windows
    context, horizon = series_baselines.sample(folder, SPEC, section())
    assert context[:, 0, 0].tolist() == [0, 3, 6, 9]
    assert horizon[:, -1, 0].tolist() == [6, 9, 12, 15]
