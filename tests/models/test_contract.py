"""What every family promises, checked for each file in `models/`."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import models
from tests.models.families import (
    computes_in_half_precision,
    example_inputs,
    example_labels,
    is_finer_than_half,
    is_language,
    loss_of,
    tiny_model,
)

# TensorFlow 2.21 tensors do not yet know the `copy` argument of NumPy 2.
pytestmark = pytest.mark.filterwarnings(
    "ignore:__array__ implementation doesn't accept a copy:DeprecationWarning"
)
every_family = pytest.mark.parametrize("name", models.names())
ROWS = 4


def rows(batch, keep):
    return keras.tree.map_structure(lambda array: array[keep], batch)


def assert_close(got, want):
    np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-6)


@every_family
def test_build_gives_one_float32_row_of_logits_per_example(name):
    model = tiny_model(name)
    logits = model(example_inputs(name, ROWS))
    shape = (ROWS, models.load(name).TINY["num_outputs"])
    if is_language(name):
        shape = (*example_labels(name, ROWS).shape, shape[1])
    assert logits.shape == shape
    assert logits.dtype == "float32"
    assert not model.compiled


@every_family
def test_layers_have_names_of_their_own(name):
    one, two = tiny_model(name), tiny_model(name)  # Keras counts up names it invents
    assert [a.name for a in one.layers] == [b.name for b in two.layers]


@every_family
def test_each_weight_gets_a_finite_gradient(name):
    model = tiny_model(name)
    labels = example_labels(name, ROWS)
    with tf.GradientTape() as tape:
        logits = model(example_inputs(name, ROWS), training=True)
        loss = loss_of(name)(labels, logits)
    gradients = tape.gradient(loss, model.trainable_variables)
    for variable, gradient in zip(model.trainable_variables, gradients, strict=True):
        values = tf.convert_to_tensor(gradient).numpy()
        assert np.isfinite(values).all(), variable.path
        assert values.any(), f"{variable.path} has no influence on the loss"


@pytest.mark.slow
@every_family
def test_one_batch_can_be_learned_by_heart(name):
    model = tiny_model(name)
    model.compile(keras.optimizers.Adam(0.02), loss_of(name))
    batch = example_inputs(name, ROWS), example_labels(name, ROWS)
    first = model.train_on_batch(*batch)
    losses = [model.train_on_batch(*batch) for _ in range(100)]
    assert losses[-1] < first / 10


@every_family
def test_saved_file_gives_the_same_outputs(name, tmp_path):
    model, batch = tiny_model(name), example_inputs(name, ROWS)
    model.save(tmp_path / "model.keras")
    assert_close(keras.saving.load_model(tmp_path / "model.keras")(batch), model(batch))


@pytest.mark.slow
@every_family
def test_export_gives_the_same_outputs(name, tmp_path):
    model, batch = tiny_model(name), example_inputs(name, ROWS)
    model.export(str(tmp_path), verbose=False)
    exported = tf.saved_model.load(str(tmp_path))  # keep: it owns the variables
    assert_close(exported.serve(batch), model(batch))


@every_family
def test_a_row_does_not_depend_on_the_rows_beside_it(name):
    model, batch = tiny_model(name), example_inputs(name, ROWS)
    alone = model(rows(batch, slice(1)), training=False)
    backwards = model(rows(batch, slice(None, None, -1)), training=False)
    padded = keras.tree.map_structure(lambda a: np.pad(a[:1], _pad(a)), batch)
    assert_close(backwards[-1:], alone)
    assert_close(model(padded, training=False)[:1], alone)


def _pad(array):
    return [(0, ROWS), *[(0, 0)] * (array.ndim - 1)]


@every_family
def test_mixed_precision_keeps_the_logits_in_float32(name):
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        model = tiny_model(name)
    finally:
        keras.config.set_dtype_policy("float32")
    logits = model(example_inputs(name, ROWS)).numpy()
    assert logits.dtype == np.float32
    assert is_finer_than_half(logits)
    want = tiny_model(name)(example_inputs(name, ROWS))
    if computes_in_half_precision(model):
        np.testing.assert_allclose(logits, want, atol=0.03)
    else:
        assert name == "forecast"  # linear: nothing but what gives the forecast
        np.testing.assert_array_equal(logits, want)


@every_family
def test_the_seed_alone_decides_the_weights(name):
    keras.utils.set_random_seed(1)
    first = tiny_model(name, seed=7).get_weights()
    keras.utils.set_random_seed(2)
    again = tiny_model(name, seed=7).get_weights()
    other = tiny_model(name, seed=8).get_weights()
    for one, two in zip(first, again, strict=True):
        np.testing.assert_array_equal(one, two)
    assert any((one != two).any() for one, two in zip(first, other, strict=True))


@every_family
@pytest.mark.parametrize(
    "wrong", [{"num_outputs": 0}, {"num_outputs": True}, {"input_shape": None}]
)
def test_a_value_out_of_range_is_named(name, wrong):
    with pytest.raises(ValueError, match=rf"`{next(iter(wrong))}` must .*Received"):
        tiny_model(name, **wrong)
