import keras
import numpy as np
import pytest
import tensorflow as tf

import models
from models import Series, _forecast_layers, forecast
from tests.models.families import computes_in_half_precision, is_finer_than_half

# TensorFlow 2.21 tensors do not yet know the `copy` argument of NumPy 2.
pytestmark = pytest.mark.filterwarnings(
    "ignore:__array__ implementation doesn't accept a copy:DeprecationWarning"
)
SHAPE = Series(context=20, channels=3, horizon=4, targets=(2, 0))
SMALL = {
    "dlinear": {},
    "nlinear": {},
    "patch": {"units": 8, "depth": 1},
    "lstm": {"units": 8},
    "tcn": {"units": 8},
}
BY_CHANNEL = ("dlinear", "nlinear", "patch")
every_method = pytest.mark.parametrize("method", forecast.METHODS)


def small(method, shape=SHAPE, **arguments):
    size = shape.horizon * len(shape.targets)
    return forecast.build(shape, size, method=method, **SMALL[method], **arguments)


def series(shape=SHAPE, rows=4, seed=0):
    size = (rows, shape.context, shape.channels)
    return np.random.default_rng(seed).normal(size=size).astype("float32")


@every_method
def test_outputs_are_a_float32_row_of_steps_by_targets(method):
    outputs = small(method)(series())
    assert outputs.shape == (4, 8)
    assert outputs.dtype == "float32"


@pytest.mark.slow
@every_method
def test_a_batch_can_be_learned_by_heart(method):
    model = small(method)
    labels = np.random.default_rng(1).normal(size=(4, 8)).astype("float32")
    model.compile(keras.optimizers.Adam(0.02), "mse")
    first = model.train_on_batch(series(), labels)
    losses = [model.train_on_batch(series(), labels) for _ in range(100)]
    assert losses[-1] < first / 10


@every_method
def test_a_saved_file_gives_the_same_outputs(method, tmp_path):
    model = small(method)
    model.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras")
    np.testing.assert_allclose(again(series()), model(series()), atol=1e-6)


@every_method
def test_dropout_and_mixed_precision_keep_the_outputs_in_float32(method):
    arguments = {} if method in ("dlinear", "nlinear") else {"dropout": 0.5}
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        model = small(method, **arguments)
    finally:
        keras.config.set_dtype_policy("float32")
    assert computes_in_half_precision(model) == (method in ("patch", "lstm", "tcn"))
    outputs = model(series(), training=True)
    assert outputs.dtype == "float32"
    assert np.isfinite(outputs).all()
    want = small(method, **arguments)(series())
    np.testing.assert_allclose(model(series()), want, atol=0.1)
    if method != "dlinear":
        # What level and scale come to, which are in float32 whatever it is.
        steps = keras.Model(model.input, model.get_layer("denormalize").input[0])
        outputs = steps(series())
    assert is_finer_than_half(outputs)


@every_method
def test_two_builds_have_equal_names_and_weights_by_the_seed_alone(method):
    keras.utils.set_random_seed(1)
    one, two, other = small(method), small(method), small(method, seed=1)
    assert [a.name for a in one.layers] == [b.name for b in two.layers]
    for first, second in zip(one.get_weights(), two.get_weights(), strict=True):
        np.testing.assert_array_equal(first, second)
    different = zip(one.get_weights(), other.get_weights(), strict=True)
    assert any((first != second).any() for first, second in different)


@pytest.mark.parametrize("method", ["nlinear", "patch", "lstm", "tcn"])
def test_a_constant_added_to_a_channel_is_added_to_its_forecast(method):
    model = small(method)
    moved = model(series() + np.float32([5, 0, -30])).numpy().reshape(4, 4, 2)
    as_it_was = model(series()).numpy().reshape(4, 4, 2)
    np.testing.assert_allclose(moved, as_it_was + [-30, 5], atol=1e-4)


@pytest.mark.parametrize("individual", [False, True])
def test_nlinear_expects_of_a_constant_series_the_constant(individual):
    model = small("nlinear", individual=individual)
    flat = np.tile(np.float32([3, -1, 7]), (2, SHAPE.context, 1))
    np.testing.assert_allclose(model(flat), [[7, 3] * 4] * 2, rtol=1e-6)


@pytest.mark.parametrize("method", BY_CHANNEL)
def test_a_channel_that_is_not_predicted_does_not_count(method):
    model, changed = small(method), series()
    changed[..., 1] = 0
    np.testing.assert_array_equal(model(changed), model(series()))
    assert not np.allclose(small("lstm")(changed), small("lstm")(series()))


@pytest.mark.parametrize("method", BY_CHANNEL)
def test_equal_channels_get_equal_forecasts_and_some_targets_those_of_all(method):
    every = Series(20, 3, 4, (0, 1, 2))
    both = small(method, every)
    swapped = both(series()[..., [2, 1, 0]]).numpy().reshape(4, 4, 3)
    straight = both(series()).numpy().reshape(4, 4, 3)
    np.testing.assert_allclose(swapped, straight[..., [2, 1, 0]], atol=1e-6)
    some = small(method)
    some.set_weights(both.get_weights())
    got = some(series()).numpy().reshape(4, 4, 2)
    np.testing.assert_allclose(got, straight[..., [2, 0]], atol=1e-6)


def test_individual_weights_look_at_each_channel_by_itself():
    model = small("dlinear", individual=True)
    changed = series()
    changed[..., 0] = 1
    one, two = (model(x).numpy().reshape(4, 4, 2) for x in (series(), changed))
    np.testing.assert_array_equal(one[..., 0], two[..., 0])  # of channel 2
    assert (one[..., 1] != two[..., 1]).any()
    # trend and rest: 4 steps from 20 and a bias, for 2 targets.
    assert model.count_params() == 2 * 2 * 4 * 21
    assert small("dlinear").count_params() == 2 * 4 * 21


def test_individual_weights_start_as_wide_as_shared_ones():
    # Glorot and Bengio 2010: up to sqrt(6 / (20 + 4)) = 0.5.
    model = small("nlinear", individual=True)
    kernel = np.abs(model.get_layer("linear_steps").kernel)
    assert kernel.shape == (2, 20, 4)
    assert 0.45 < kernel.max() <= 0.5


def test_dlinear_is_linear_in_the_trend_and_what_is_left():
    # Zeng et al. 2023, section 4: two linear layers, their outputs added up.
    model = small("dlinear")
    weights = {w.path: w.numpy() for w in model.weights}
    x = series()[..., [2, 0]]
    trend = _forecast_layers.MovingAverage(forecast.MOVING_AVERAGE)(x).numpy()
    want = sum(
        np.einsum("blt,lh->bht", part, weights[f"{name}_steps/kernel"])
        for name, part in (("trend", trend), ("rest", x - trend))
    )
    np.testing.assert_allclose(model(series()), want.reshape(4, 8), atol=1e-5)


def test_moving_average_repeats_the_ends():
    x = np.array([[[3.0, 0], [6, 0], [9, 3]]], "float32")
    got = _forecast_layers.MovingAverage(3)(x)
    np.testing.assert_allclose(got, [[[4, 0], [6, 1], [8, 2]]], rtol=1e-6)
    wide = _forecast_layers.MovingAverage(25)(np.full((1, 2, 1), 5, "float32"))
    np.testing.assert_allclose(wide, [[[5], [5]]], rtol=1e-6)


def test_patches_overlap_by_half_and_the_last_one_goes_beyond_the_end():
    x = np.stack([np.arange(6.0), np.arange(10.0, 16)], axis=-1)[None]
    got = _forecast_layers.Patches(4, 2)(x).numpy().tolist()
    assert got == [
        [[0, 1, 2, 3], [2, 3, 4, 5], [4, 5, 5, 5]],
        [[10, 11, 12, 13], [12, 13, 14, 15], [14, 15, 15, 15]],
    ]


def test_a_window_no_longer_than_a_stride_is_one_patch():
    x = np.arange(6.0)[None, :, None]
    assert _forecast_layers.Patches(6, 8)(x).numpy().tolist() == [[[0, 1, 2, 3, 4, 5]]]


def test_patch_cuts_336_steps_into_42_patches():
    # Nie et al. 2023, section 4: PatchTST/42 has a context of 336.
    model = forecast.build(Series(336, 1, 96, (0,)), 96, method="patch", depth=1)
    assert model.get_layer("patches").output.shape == (None, 42, 16)
    assert model.get_layer("flatten").output.shape == (None, 42 * 16)


def test_a_window_is_normalised_and_restored():
    # Channel 1 stands still: it is divided by sqrt(1e-5) = 0.00316.
    x = np.array([[[1.0, 5], [3, 5]]], "float32")
    normal, level, scale = _forecast_layers.Normalize("window")(x)
    np.testing.assert_allclose(normal, [[[-1, 0], [1, 0]]], atol=1e-4)
    restored = _forecast_layers.Denormalize((1, 0))([normal, level, scale])
    np.testing.assert_allclose(
        restored, [[[5 - 0.00316, 2], [5 + 0.00316, 2]]], atol=1e-4
    )


def test_no_step_of_the_tcn_sees_the_future():
    model = small("tcn")
    blocks = [layer.output for layer in model.layers if layer.name.endswith("_add")]
    inner = keras.Model(model.input, blocks)
    x, changed = tf.zeros((1, 20, 3)), np.zeros((1, 20, 3), "float32")
    # But for the last step: its value is subtracted everywhere.
    changed[:, 12:-1] = series(rows=1)[:, 12:-1]
    for one, two in zip(inner(x), inner(changed), strict=True):
        np.testing.assert_array_equal(one[:, :12], two[:, :12])
        assert (one[:, 12] != two[:, 12]).numpy().any()


def test_the_last_step_of_the_tcn_sees_the_first():
    # Blocks of dilation 1, 2, 4 look back 4 * (1 + 2 + 4) = 28 steps, two only 12.
    model = small("tcn")
    names = [layer.name for layer in model.layers if layer.name.endswith("_add")]
    assert names == ["block_1_add", "block_2_add", "block_3_add"]
    x = tf.Variable(series(rows=1))
    with tf.GradientTape() as tape:
        outputs = tf.reduce_sum(model(x) ** 2)
    gradient = tape.gradient(outputs, x).numpy()
    assert gradient[0, 0].any()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"method": "arima"}, r"Expected one of \('dlinear', .*'arima'"),
        ({"input_shape": (20, 3)}, r"`input_shape` must be a Series.*\(20, 3\)"),
        ({"input_shape": Series(20, 3, 4, (3, 0))}, r"must have targets from 0 to"),
        ({"input_shape": Series(20, 3, 4, ())}, r"must have targets from 0 to"),
        ({"input_shape": Series(0, 3, 4, (0,))}, r"`context` must .*context=0"),
        ({"num_outputs": 7}, r"`num_outputs` must be horizon \* targets, 8\. .*=7"),
        ({"units": 8}, r"`units`, `depth` and `dropout` must be left out.*dlinear"),
        ({"dropout": 0.1}, r"must be left out of a linear method"),
        ({"method": "lstm", "individual": True}, r"`individual` must be False.*lstm"),
        ({"method": "patch", "units": 6}, r"multiple of `num_heads`"),
        ({"method": "lstm", "depth": 0}, r"`depth` must .*depth=0"),
    ],
)
def test_a_wrong_argument_is_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        models.build(
            "forecast", **{"input_shape": SHAPE, "num_outputs": 8, **arguments}
        )
