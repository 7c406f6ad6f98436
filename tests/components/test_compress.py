"""What pruning and int8 do to a model, and when they are refused."""

import copy

import keras
import numpy as np
import pytest
import tensorflow as tf

import models
from components import compress, export
from recipes.errors import RefusedError
from tests.components.sections import section
from tests.components.test_export import ask

IMAGE = section(image={"feature": "scan", "shape": [2, 3, 1]})
IMAGE["label"] = {"feature": "digit", "classes": [3, 5, 8], "above": None}


def config(prune=0.0, quantize="none", drop=1.0, transform=IMAGE, units=(64, 64)):
    return {
        "transform": transform,
        "model": {"family": "mlp", "arguments": {"units": list(units)}},
        "export": {"prune": prune, "quantize": quantize, "drop_at_most": drop},
    }


def mlp(units=(64, 64), **arguments):
    return models.build("mlp", (2, 3, 1), 3, units=units, **arguments)


IMAGES = np.random.default_rng(0).normal(size=(8, 2, 3, 1)).astype("float32")


def never(model):
    raise AssertionError("nothing was asked for")


def test_a_model_that_stays_as_it_is_is_not_scored():
    model = mlp()
    assert compress.apply(model, config(), never) == (model, {})


def test_the_smallest_weights_of_each_kernel_become_zero():
    model = mlp(units=())
    kernel = np.array([3, -1, 0.5, 4, -5, 6, 7, -8, 9] + [10] * 9, "float32")
    model.get_layer("logits").kernel.assign(kernel.reshape(6, 3))
    assert compress.prune(model, 0.2) == pytest.approx(3 / (18 + 3))  # floor(3.6)
    want = np.array([0, 0, 0, 4, -5, 6, 7, -8, 9] + [10] * 9)
    got = np.asarray(model.get_layer("logits").kernel)
    np.testing.assert_array_equal(got.reshape(-1), want)


def test_a_pruned_copy_leaves_the_model_as_it_was():
    model = mlp(seed=3)
    before = model.get_weights()
    scores = iter([0.9, 0.8])
    small, record = compress.apply(model, config(prune=0.5), lambda _: next(scores))
    for got, want in zip(model.get_weights(), before, strict=True):
        np.testing.assert_array_equal(got, want)
    kernels = [w for w in small.get_weights() if w.ndim == 2]
    assert [np.mean(k == 0) for k in kernels] == [0.5, 0.5, 0.5]
    assert (record["float32"], record["pruned"]) == (0.9, 0.8)
    assert 0.48 < record["zeros"] < 0.5  # biases are kept


def quantized(model, **changes):
    return compress.apply(model, config(quantize="int8", **changes), lambda _: 0.5)


def test_int8_answers_nearly_the_same_in_less_space():
    model = mlp(units=(64,), dropout=0.1)
    small, record = quantized(model, units=(64,))
    kernels = [v for v in small.variables if v.name == "kernel"]
    assert {v.dtype for v in kernels} == {"int8"}
    want = np.asarray(model(IMAGES, training=False))
    got = np.asarray(small(IMAGES, training=False))
    assert 0 < np.abs(got - want).max() < 0.05 * np.abs(want).max()
    assert record["bytes"]["float32"] == 4 * model.count_params()
    # A byte a weight; biases and one scale for each unit are of four bytes.
    num_kernel, num_bias = 6 * 64 + 64 * 3, 64 + 3
    assert record["bytes"]["int8"] == num_kernel + 2 * 4 * num_bias


@pytest.mark.slow
def test_pruned_weights_stay_zero_in_int8():
    small, record = quantized(mlp(), prune=0.5)
    kernel = next(v for v in small.variables if v.name == "kernel")
    assert np.mean(np.asarray(kernel) == 0) >= 0.5
    assert set(record) == {"float32", "bytes", "zeros", "pruned", "int8"}


@pytest.mark.slow
def test_a_layer_without_int8_stays_as_it_is():
    arguments = {"family": "cnn", "arguments": {}}
    image = section(image={"feature": "scan", "shape": [8, 8, 1]})
    image["label"] = IMAGE["label"]
    settings = {**config(quantize="int8", transform=image), "model": arguments}
    model = models.build("cnn", (8, 8, 1), 3)
    small, _ = compress.apply(model, settings, lambda _: 0.5)
    assert small.get_layer("c3").kernel.dtype == "float32"
    assert small.get_layer("f6").kernel.dtype == "int8"


@pytest.mark.parametrize(
    ("scores", "drop", "message"),
    [
        ((0.95, 0.90), 0.04, "pruned .* fell from 0.9500 to 0.9000, by 0.0500"),
        ((0.95, float("nan")), 0.04, "accuracy fell from 0.9500 to nan"),
    ],
)
def test_a_model_that_lost_too_much_is_refused(scores, drop, message):
    answers = iter(scores)
    settings = config(prune=0.1, drop=drop)
    with pytest.raises(RefusedError, match=message) as raised:
        compress.apply(mlp(), settings, lambda _: next(answers))
    assert raised.value.exit_code == 4
    assert f"drop_at_most={drop}" in str(raised.value)


def test_a_drop_as_large_as_allowed_passes():
    answers = iter((0.75, 0.5))
    _, record = compress.apply(
        mlp(), config(prune=0.1, drop=0.25), lambda _: next(answers)
    )
    assert record["pruned"] == 0.5


def test_a_loss_is_compared_by_its_share():
    record = {"float32": -2.0, "pruned": -2.2}
    settings = config(drop=0.11)
    settings["transform"] = {**IMAGE, "image": None, "series": {"horizon": 1}}
    compress._check(record, settings)  # rose by a tenth
    settings["export"]["drop_at_most"] = 0.09
    with pytest.raises(
        RefusedError, match="the loss rose from 2.0000 to 2.2000, by 0.1"
    ):
        compress._check(record, settings)


@pytest.mark.slow
def test_an_exported_int8_model_answers_as_it_does_here(images, tmp_path):
    settings = config(quantize="int8", units=(256, 256))
    settings["transform"] = copy.deepcopy(images.section)
    model = mlp(units=(256, 256))
    small, _ = compress.apply(model, settings, lambda _: 0.5)
    sizes = {}
    for name, each in {"float32": model, "int8": small}.items():
        folder = tmp_path / name
        export.write(each, images.output, settings["transform"], str(folder))
        got = ask(
            tf.saved_model.load(str(folder)),
            "serve_raw",
            scan=tf.constant(IMAGES),
        )
        want = keras.ops.softmax(each(IMAGES, training=False))
        np.testing.assert_allclose(got["probabilities"], want, rtol=1e-4, atol=1e-6)
        sizes[name] = sum(p.stat().st_size for p in folder.rglob("variables.data*"))
    assert sizes["int8"] < 0.3 * sizes["float32"]
