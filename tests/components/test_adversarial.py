"""Attacks on inputs, and trainings on attacked ones."""

import json
import subprocess
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf

from components.adversarial import Attacker, attack, attacker, cross_entropy
from components.train_step import Learner
from tests.components.sections import section
from tests.components.trainings import train_section

RNG = np.random.default_rng(0)
KERNEL = np.array([[2.0], [-3.0], [0.5]], "float32")
OPTIONS = {"epsilon": 0.1, "step_size": 0.1, "steps": 1, "low": 0.0, "high": 1.0}


def linear(inputs):
    return tf.matmul(inputs, KERNEL)


def test_one_step_on_a_linear_model_goes_against_the_label_by_epsilon():
    """x + epsilon sign(dL/dx), and dL/dx = (p - y) w: Goodfellow 2015, section 5."""
    inputs = [[0.5, 0.5, 0.5], [0.5, 0.5, 0.95]]
    found = attack(linear, inputs, [[1], [0]], **OPTIONS)
    want = [[0.4, 0.6, 0.4], [0.6, 0.4, 1.0]]  # the last is cut off at `high`
    np.testing.assert_allclose(found, want, rtol=1e-6)


def test_of_several_classes_the_gradient_is_that_of_the_cross_entropy():
    kernel = tf.constant([[1.0, 0.0, -1.0], [0.0, 2.0, 1.0]])
    logits = np.array([0.5, 1.0, 0.0])  # of (0.5, 0.5)
    shares = np.exp(logits) / np.exp(logits).sum()
    gradient = kernel.numpy() @ (shares - [0, 1, 0])
    found = attack(lambda x: x @ kernel, [[0.5, 0.5]], np.array([1]), **OPTIONS)
    np.testing.assert_allclose(found[0], 0.5 + 0.1 * np.sign(gradient), rtol=1e-6)
    soft = np.array([[0.0, 1.0, 0.0]], "float32")
    same = attack(lambda x: x @ kernel, [[0.5, 0.5]], soft, **OPTIONS)
    np.testing.assert_array_equal(same, found)


def test_many_steps_stay_in_the_ball_and_in_the_range_and_raise_the_loss():
    kernel = RNG.normal(size=(12, 3)).astype("float32")
    inputs = RNG.uniform(size=(20, 2, 2, 3)).astype("float32")
    labels = RNG.integers(0, 3, 20)

    def call(images):
        return tf.sin(3 * tf.reshape(images, [-1, 12])) @ kernel

    options = {**OPTIONS, "step_size": 0.03, "steps": 7}
    found = attack(call, inputs, labels, **options, seed=[1, 2]).numpy()
    assert found.dtype == np.float32
    assert np.abs(found - inputs).max() <= 0.1 + 1e-6
    assert found.min() >= 0
    assert found.max() <= 1
    before, after = (
        cross_entropy(tf.constant(labels), call(images)) for images in (inputs, found)
    )
    assert np.mean(after) > np.mean(before) + 0.3
    assert np.all(np.asarray(after) >= np.asarray(before) - 1e-4)
    graph = tf.function(lambda x: attack(call, x, labels, **options, seed=[1, 2]))
    np.testing.assert_allclose(graph(inputs), found, atol=1e-6)


def test_a_random_start_is_of_its_seed():
    inputs = RNG.uniform(0.2, 0.8, (4, 3)).astype("float32")
    options = {**OPTIONS, "step_size": 0.0}

    def started(seed):
        return attack(linear, inputs, np.zeros(4), **options, seed=seed).numpy()

    np.testing.assert_array_equal(started([1, 1]), started([1, 1]))
    assert np.abs(started([1, 1]) - started([1, 2])).max() > 0.01
    np.testing.assert_array_equal(started(None), inputs)


def config(normalize="unit", **options):
    image = {"shape": [2, 2, 1], "normalize": normalize}
    label = {"feature": "y", "classes": [0, 1, 2]}
    return {
        "train": train_section(adversarial=options, seed=5),
        "transform": section(label=label, image=image),
    }


@pytest.mark.parametrize(
    ("normalize", "low", "high"),
    [("none", 0.0, 255.0), ("unit", 0.0, 1.0), ("signed", -1.0, 1.0)],
)
def test_epsilon_is_that_of_pixels_from_0_to_1(normalize, low, high):
    found = attacker(config(normalize, epsilon=0.1, steps=5, share=0.25))
    width = high - low
    want = Attacker(0.1 * width, 0.05 * width, 5, low, high, per_mille=250, seed=5)
    assert (found.epsilon, found.step_size) == pytest.approx((want.epsilon, width / 20))
    assert (found.low, found.high, found.steps) == (low, high, 5)
    assert (found.per_mille, found.seed) == (250, 5)
    once = attacker(config(normalize, epsilon=0.1))
    assert once.step_size == pytest.approx(0.125 * width)
    chosen = attacker(config(normalize, epsilon=0.1, step_size=0.02))
    assert chosen.step_size == pytest.approx(0.02 * width)


def test_without_the_section_there_is_no_attacker():
    assert attacker({"train": {"adversarial": None}}) is None


def replaced(inputs, labels, share, place=(0, 1), update=3):
    whole = Attacker(0.1, 0.04, 3, 0.0, 1.0, per_mille=round(1000 * share), seed=5)
    arguments = {"update": tf.constant(update, tf.int64), "place": place}
    return whole.replace(linear, tf.constant(inputs), labels, **arguments).numpy()


@pytest.mark.parametrize(
    ("share", "rows"),
    [(0.5, [1, 3, 5, 7]), (0.25, [3, 7]), (1.0, range(8)), (0.3, [3, 6])],
)
def test_a_share_of_the_batch_is_attacked_spread_evenly(share, rows):
    inputs = RNG.uniform(size=(8, 3)).astype("float32")
    found = replaced(inputs, np.zeros((8, 1), int), share)
    changed = np.flatnonzero(np.any(found != inputs, axis=1))
    assert changed.tolist() == list(rows)


def test_parts_of_a_batch_are_attacked_as_the_whole():
    inputs = RNG.uniform(size=(12, 3)).astype("float32")
    labels = RNG.integers(0, 2, (12, 1))
    whole = replaced(inputs, labels, 0.3)
    parts = [
        replaced(inputs[at : at + 2], labels[at : at + 2], 0.3, (at // 2, 6))
        for at in range(0, 12, 2)
    ]
    np.testing.assert_allclose(np.concatenate(parts), whole, rtol=1e-6)


def test_parts_in_which_no_row_is_chosen_stay_as_they_are():
    """A convolution of an empty batch fails."""
    convolutions = [keras.layers.Conv2D(4, 3, activation="relu") for _ in range(2)]
    layers = [keras.Input((8, 8, 3)), *convolutions, keras.layers.Flatten()]
    call = keras.Sequential([*layers, keras.layers.Dense(3)])
    whole = Attacker(0.1, 0.04, 2, 0.0, 1.0, per_mille=250, seed=5)

    @tf.function(autograph=False)
    def part(number, inputs):
        labels, update = tf.zeros([2], tf.int64), tf.constant(3, tf.int64)
        return whole.replace(call, inputs, labels, update=update, place=(number, 4))

    inputs = RNG.uniform(size=(4, 2, 8, 8, 3)).astype("float32")
    found = [part(number, one).numpy() for number, one in enumerate(inputs)]
    rows = np.any(np.concatenate(found) != np.concatenate(inputs), axis=(1, 2, 3))
    assert np.flatnonzero(rows).tolist() == [3, 7]


@pytest.mark.parametrize("classes", [1, 2])
def test_an_answer_too_sure_for_a_gradient_is_attacked_all_the_same(classes):
    """Of logits 200 apart the cross-entropy's gradient is 0 in float32."""
    kernel = tf.constant([[-100.0, 100.0], [100.0, -100.0]])[:, -classes:]
    found = attack(lambda x: x @ kernel, [[1.0, 0.0]], [1], **OPTIONS)
    np.testing.assert_allclose(found, [[0.9, 0.1]], rtol=1e-6)


def test_where_the_gradient_is_not_finite_a_value_stays():
    @tf.custom_gradient
    def call(inputs):
        return linear(inputs), lambda _: tf.constant([[np.nan, np.inf, 2.0]])

    found = attack(call, [[0.5, 0.5, 0.5]], [1], **OPTIONS)
    np.testing.assert_allclose(found, [[0.5, 0.5, 0.6]], rtol=1e-6)


def network():
    keras.utils.set_random_seed(1)
    return keras.Sequential(
        [
            keras.Input((2, 2, 1)),
            keras.layers.Flatten(),
            keras.layers.BatchNormalization(),
            keras.layers.Dropout(0.5, seed=3),
            keras.layers.Dense(3),
        ]
    )


IMAGES = RNG.uniform(size=(32, 2, 2, 1)).astype("float32")
CLASSES = RNG.integers(0, 3, (32, 1))
SETTINGS = {"epsilon": 0.1, "step_size": 0.05, "steps": 2, "low": 0.0, "high": 1.0}


def fitted(attacking, batches, start=None, updates=0):
    """Return the weights after an update for each batch of eight."""
    learner = Learner(network(), attacker=attacking)
    learner.compile(
        keras.optimizers.SGD(0.5),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        run_eagerly=True,  # building graphs takes longer than so few updates
    )
    if start:
        for variable, value in zip(learner.network.variables, start, strict=True):
            variable.assign(value)
    learner.updates.assign(updates)
    rows = slice(8 * batches.start, 8 * batches.stop)
    data = tf.data.Dataset.from_tensor_slices((IMAGES[rows], CLASSES[rows])).batch(8)
    learner.fit(data, shuffle=False, verbose=0)
    return [variable.numpy() for variable in learner.network.variables]


def test_an_attack_of_no_size_makes_the_same_update():
    """Nothing is drawn, averaged or counted by asking the network."""
    none = {**SETTINGS, "epsilon": 0.0, "step_size": 0.0}
    plain = fitted(None, range(4))
    attacked = fitted(Attacker(**none, per_mille=500, seed=0), range(4))
    for got, want in zip(attacked, plain, strict=True):
        np.testing.assert_array_equal(got, want)


def test_a_resumed_training_is_attacked_as_an_undisturbed_one():
    attacking = Attacker(**SETTINGS, per_mille=500, seed=0)
    whole = fitted(attacking, range(4))
    half = fitted(attacking, range(2))
    rest = fitted(attacking, range(2, 4), start=half, updates=2)
    for got, want in zip(rest, whole, strict=True):
        np.testing.assert_array_equal(got, want)
    # What is drawn is of the number of the update, and of the training's seed.
    late = fitted(attacking, range(2, 4), start=half, updates=3)
    assert any(np.any(a != b) for a, b in zip(late, whole, strict=True))
    other = fitted(Attacker(**SETTINGS, per_mille=500, seed=1), range(4))
    assert any(np.any(a != b) for a, b in zip(other, whole, strict=True))


@pytest.mark.slow
def test_replicas_and_parts_attack_and_weigh_as_one_device(tmp_path):
    """A process of its own: logical devices must exist before TensorFlow is used."""
    subprocess.run(
        [sys.executable, "-m", "tests.components.replicated_options", tmp_path],
        check=True,
        timeout=400,
    )
    results = json.loads((tmp_path / "result.json").read_text())
    for name, (one, *others) in results.items():
        for other in others:
            np.testing.assert_allclose(
                other["weights"], one["weights"], 1e-5, 1e-6, err_msg=name
            )
            assert other["loss"] == pytest.approx(one["loss"], abs=1e-5), name
