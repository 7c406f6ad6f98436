"""Parts of a batch and replicas make the update that one device makes of the whole."""

import json
import subprocess
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf

from components.train_step import Learner, _split
from tests.components.trainings import examples, fitted

# SGD shows a wrong factor on the gradients, which Adam hides.
CHANGES = {"optimizer": "sgd", "learning_rate": 0.5, "epochs": 2}


@pytest.mark.slow
def test_parts_make_the_update_of_the_whole(tmp_path):
    data = examples(tmp_path / "data")
    whole, one, _ = fitted(data, tmp_path / "1", **CHANGES)
    parts, four, _ = fitted(data, tmp_path / "4", **CHANGES, accumulate=4)
    assert_same_weights(parts, whole)
    for got, want in zip(four.epochs, one.epochs, strict=True):
        assert got == pytest.approx(want, abs=2e-6)


def assert_same_weights(got, want):
    pairs = zip(got.network.get_weights(), want.network.get_weights(), strict=True)
    for ours, theirs in pairs:
        np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-7)


def test_a_batch_is_split_in_order():
    batch = {"a": tf.range(6), "b": tf.reshape(tf.range(12), [6, 2])}, tf.range(6) * 10
    first, second, third = _split(batch, 3)
    np.testing.assert_array_equal(second[0]["b"], [[4, 5], [6, 7]])
    np.testing.assert_array_equal(second[1], [20, 30])
    assert (first[0]["a"].shape, third[1].shape) == ((2,), (2,))


def test_the_first_update_to_fail_is_remembered():
    learner = Learner(dense())
    learner.compile(
        keras.optimizers.SGD(0.0), keras.losses.MeanSquaredError(), jit_compile=False
    )
    values = np.ones((5, 1), "float32")
    values[2:4] = np.nan
    batches = tf.data.Dataset.from_tensor_slices((values, values)).batch(1)
    learner.fit(batches, verbose=0, shuffle=False)
    assert (int(learner.updates), learner.first_failure()) == (5, 3)


def dense(**arguments):
    inputs = keras.Input((1,), name="x")
    layer = keras.layers.Dense(1, name="d", **arguments)
    return keras.Model(inputs, layer(inputs))


def test_in_half_precision_the_network_alone_rounds():
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        network = dense(dtype="float32")
        learner = Learner(network)
    finally:
        keras.config.set_dtype_policy(before)
    x = tf.constant([[1.001]])  # 1 in bfloat16
    np.testing.assert_array_equal(learner(x), network(x))


def test_a_teacher_takes_its_share_of_the_loss_on_labels_alone():
    network = dense(
        use_bias=False, kernel_initializer="ones", kernel_regularizer="l2"
    )  # 0.01 of the squared kernel, which is 1
    options = {"temperature": 2.0, "weight": 0.75}
    learner = Learner(network, teacher=network, distillation=options)
    learner.compile(
        keras.optimizers.SGD(0.0), keras.losses.MeanSquaredError(), jit_compile=False
    )
    batch = tf.data.Dataset.from_tensors(([[3.0]], [[1.0]]))
    (loss,) = learner.fit(batch, verbose=0, shuffle=False).history["loss"]
    # It agrees with the student: a quarter of (3 - 1)^2 is left.
    assert loss == pytest.approx(0.25 * 4 + 0.01)


@pytest.mark.slow
def test_replicas_make_the_update_of_one_device(tmp_path):
    """Plain, in parts, clipped, averaged and in half precision; also which step fails.

    A process of its own: logical devices must exist before TensorFlow is used.
    """
    subprocess.run(
        [sys.executable, "-m", "tests.components.mirrored_training", tmp_path],
        check=True,
        timeout=500,
    )
    results = json.loads((tmp_path / "result.json").read_text())
    one, two = results.pop("failed")
    assert one["message"] == two["message"]
    assert "at step 3 of 4 (update 3). Its batch holds nan in a" in one["message"]
    for name, (one, two) in results.items():
        # Half precision rounds the share of each replica by itself.
        rough = 1e-3 if name == "float16" else 1e-5
        assert two["loss"] == pytest.approx(one["loss"], abs=rough), name
        assert two["weights"] == pytest.approx(one["weights"], rel=rough), name
