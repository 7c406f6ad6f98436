"""Attributions of models whose answers can be taken apart by hand."""

import itertools

import keras
import numpy as np
import pytest
import tensorflow as tf

from components.explanations import class_scores, completeness_gap
from components.explanations.grad_cam import grad_cam, last_convolution
from components.explanations.gradients import integrated_gradients, saliency
from components.explanations.importance import (
    accuracy,
    auc,
    permutation_importance,
)
from components.explanations.shapley import orders, shapley
from components.explanations.token_shares import token_shares
from components.explanations.typical import typical

INPUTS = tf.constant([[1.0, 2.0, 3.0], [-1.0, 0.5, 4.0]])
BASELINE = np.array([0.5, 1.0, -1.0], np.float32)
WEIGHTS = tf.constant([[2.0, 1.0], [-3.0, 5.0], [0.0, 0.0]])  # of the third: none
CLASSES = tf.constant([0, 1], tf.int64)


def linear(inputs):
    return inputs @ WEIGHTS


def product(inputs):
    return inputs[:, :1] * inputs[:, 1:2]


def test_the_score_of_a_single_logit_is_negative_for_class_0():
    logits = tf.constant([[2.0], [2.0], [-3.0]])
    got = class_scores(logits, tf.constant([1, 0, 0], tf.int64))
    assert got.numpy().tolist() == [2, -2, 3]


@pytest.mark.parametrize("steps", [1, 7])
def test_integrated_gradients_of_a_linear_model_are_weight_times_difference(steps):
    got = integrated_gradients(linear, INPUTS, BASELINE, CLASSES, steps=steps)
    want = (INPUTS.numpy() - BASELINE) * WEIGHTS.numpy().T  # row 0 class 0, row 1 1
    np.testing.assert_allclose(got, want, rtol=1e-5)
    gap = completeness_gap(linear, INPUTS, BASELINE, CLASSES, got)
    np.testing.assert_allclose(gap, [0, 0], atol=1e-5)


def test_two_factors_share_their_product():
    """From 0 to (a, b) the gradients of ab integrate to b/2 and a/2."""
    ones = tf.ones([2], tf.int64)
    zeros = np.zeros(3, np.float32)
    got = integrated_gradients(product, INPUTS, zeros, ones, steps=4)
    np.testing.assert_allclose(got, [[1, 1, 0], [-0.25, -0.25, 0]], rtol=1e-6)


def test_the_gap_falls_with_the_square_of_the_steps():
    def cubic(inputs):
        return tf.reduce_sum(inputs**3, axis=1, keepdims=True)

    ones = tf.ones([2], tf.int64)
    gaps = [
        completeness_gap(
            cubic,
            INPUTS,
            BASELINE,
            ones,
            integrated_gradients(cubic, INPUTS, BASELINE, ones, steps=steps),
        ).numpy()
        for steps in (2, 4)
    ]
    np.testing.assert_allclose(gaps[0] / gaps[1], 4, rtol=1e-3)


def test_features_that_do_the_same_get_the_same():
    def symmetric(inputs):
        return tf.tanh(inputs[:, :1] + inputs[:, 1:2])

    inputs = tf.constant([[0.7, 0.7, 5.0]])
    zeros, one = np.zeros(3, np.float32), tf.ones([1], tf.int64)
    got = integrated_gradients(symmetric, inputs, zeros, one)[0].numpy()
    assert got[0] == got[1] > 0.4
    assert got[2] == 0


def test_saliency_is_the_size_of_the_gradient():
    got = saliency(linear, INPUTS, CLASSES)
    assert got.numpy().tolist() == [[2, 3, 0], [1, 5, 0]]


TABLE = {
    "a": tf.constant([[1.0], [2.0]]),
    "b": tf.constant([[3.0], [-1.0]]),
    "kind": tf.constant([[2], [0]], tf.int64),
    "unused": tf.constant([[9.0], [9.0]]),
}
USUAL = {
    "a": np.array([0.0], np.float32),
    "b": np.array([1.0], np.float32),
    "kind": np.array([1]),
    "unused": np.array([0.0], np.float32),
}
OWNERS = {"a": [0], "b": [1], "kind": [2], "unused": [3]}


def of_columns(score, owners=OWNERS, drawn=None):
    drawn = orders(4) if drawn is None else drawn
    ones = tf.ones([2], tf.int64)
    values = shapley(score, TABLE, USUAL, ones, owners=owners, orders=drawn)
    gap = completeness_gap(score, TABLE, USUAL, ones, values)
    np.testing.assert_allclose(gap, [0, 0], atol=1e-5)
    return values.numpy()


def test_columns_that_only_add_up_get_what_they_add():
    by_kind = tf.constant([10.0, 20.0, 40.0])

    def score(columns):
        return 2 * columns["a"] - columns["b"] + tf.gather(by_kind, columns["kind"])

    want = [[2, -2, 20, 0], [4, 2, -10, 0]]
    np.testing.assert_allclose(of_columns(score), want, atol=1e-5)


def test_columns_that_act_together_share_it():
    """Of ab with b's baseline 1, a gets a(b + 1)/2 and b gets a(b - 1)/2."""

    def score(columns):
        return columns["a"] * columns["b"]

    want = [[2, 1, 0, 0], [0, -2, 0, 0]]
    np.testing.assert_allclose(of_columns(score), want, atol=1e-5)


def test_an_input_made_of_two_columns_comes_with_the_later_one():
    crossed = OWNERS | {"kind": [0, 1]}

    def score(columns):
        return tf.cast(columns["kind"], tf.float32)

    first_a = np.array([[0, 1, 2, 3]], np.int32)
    got = of_columns(score, crossed, first_a)
    assert got.tolist() == [[0, 1, 0, 0], [0, -1, 0, 0]]
    first_b = np.array([[3, 1, 2, 0]], np.int32)
    assert of_columns(score, crossed, first_b)[0].tolist() == [1, 0, 0, 0]


def test_sampled_orders_come_near_the_mean_over_all():
    def score(columns):
        a, b = columns["a"], columns["b"]
        return tf.sin(a * b) * tf.cast(columns["kind"] + 1, tf.float32)

    every = np.array(list(itertools.permutations(range(4))), np.int32)
    got, want = of_columns(score), of_columns(score, drawn=every)
    assert abs(got - want).max() < 0.15 * abs(want).max()


def test_each_order_is_also_gone_backwards():
    drawn = orders(5, 3)
    assert drawn.shape == (6, 5)
    assert (np.sort(drawn, axis=1) == np.arange(5)).all()
    np.testing.assert_array_equal(drawn[::2], drawn[1::2, ::-1])


IDS = tf.constant([[3, 1, 2, 0, 0], [1, 1, 3, 2, 1]], tf.int64)
WORTH = tf.constant([0.0, 1.0, -4.0, 0.5])


def of_tokens(score, ids=IDS):
    ones = tf.ones([len(ids)], tf.int64)
    values = token_shares(score, ids, ones, num_pairs=1)
    empty = np.zeros(ids.shape[1], np.int64)
    gap = completeness_gap(score, ids, empty, ones, values)
    np.testing.assert_allclose(gap, np.zeros(len(ids)), atol=1e-5)
    return values.numpy()


def test_tokens_that_only_add_up_get_what_they_add():
    def score(ids):
        return tf.reduce_sum(tf.gather(WORTH, ids), axis=1, keepdims=True)

    want = [[0.5, 1, -4, 0, 0], [1, 1, 0.5, -4, 1]]
    np.testing.assert_allclose(of_tokens(score), want, atol=1e-6)


def test_a_token_comes_to_its_place_among_the_others():
    """Where the first token alone counts, of ab each order of two gives by hand.

    First a, then b: a, 0. First b, then a before it: b and a - b.
    """

    def score(ids):
        return tf.gather(WORTH, ids[:, :1])

    ids = tf.constant([[1, 2, 0], [3, 0, 0], [0, 0, 0]], tf.int64)
    want = [[1 + 2, -2, 0], [0.5, 0, 0], [0, 0, 0]]
    np.testing.assert_allclose(of_tokens(score, ids), want, atol=1e-6)


def test_tokens_that_say_the_same_share_it():
    """Taken out one by one, neither would be missed."""

    def score(ids):
        return tf.reduce_max(tf.gather(WORTH, ids), axis=1, keepdims=True)

    got = of_tokens(score, tf.constant([[1, 1, 0]], tf.int64))
    np.testing.assert_allclose(got, [[0.5, 0.5, 0]], atol=1e-6)


def rows():
    rng = np.random.default_rng(0)
    columns = {name: rng.normal(size=400) for name in ("noise", "signal", "other")}
    return columns, (columns["signal"] > 0).astype(int)


def by_signal(columns):
    return 1 / (1 + np.exp(-columns["signal"]))[:, None]


def test_the_one_informative_column_of_three_is_found():
    columns, labels = rows()
    for score in (accuracy, auc):
        found = permutation_importance(by_signal, columns, labels, score=score)
        # All was right; dealt out anew, half is.
        assert found["signal"].mean == pytest.approx(0.5, abs=0.05)
        assert 0 < found["signal"].deviation < 0.05
        assert found["noise"] == found["other"] == (0, 0)


def test_the_shuffles_of_a_column_do_not_depend_on_the_others():
    columns, labels = rows()
    fewer = {"signal": columns["signal"]}
    together, alone, seeded = (
        permutation_importance(by_signal, some, labels, score=accuracy, seed=seed)
        for some, seed in ((columns, 0), (fewer, 0), (fewer, 1))
    )
    assert together["signal"] == alone["signal"] != seeded["signal"]


def test_accuracy_takes_two_columns_or_one():
    labels, shares = np.array([0, 1, 1]), np.array([0.4, 0.3, 0.9])
    both = np.stack([1 - shares, shares], axis=1)
    assert accuracy(labels, both) == accuracy(labels, shares[:, None]) == 2 / 3


def test_what_is_usual_is_the_mean_and_the_most_frequent():
    numbers = [[1.0], [2.0]], [[6.0]]
    ids = [[4], [7]], [[7]]
    batches = (
        {"n": tf.constant(n), "i": tf.constant(i, tf.int64)}
        for n, i in zip(numbers, ids, strict=True)
    )
    got = typical(batches)
    assert {name: value.tolist() for name, value in got.items()} == {
        "n": [3.0],
        "i": [7],
    }
    images = typical([tf.ones([3, 2, 2, 1]), tf.zeros([1, 2, 2, 1])])
    assert images.tolist() == [[[0.75], [0.75]], [[0.75], [0.75]]]


def bright_minus_dark():
    """Logits of (B, 4, 4, 1): the mean brightness, and its negative."""
    inputs = keras.Input((4, 4, 1))
    maps = keras.layers.Conv2D(1, 1, kernel_initializer="ones", name="maps")(inputs)
    mean = keras.layers.GlobalAveragePooling2D()(maps)
    last = keras.layers.Dense(2)
    model = keras.Model(inputs, last(mean))
    last.set_weights([np.array([[1.0, -1.0]]), np.zeros(2)])
    return model


def test_grad_cam_shows_where_the_features_speak_for_the_class():
    model = bright_minus_dark()
    image = np.zeros((4, 4, 1), np.float32)
    image[1, 2], image[3, 3], image[0, 0] = 8, 2, -5
    images = tf.constant([image, image])
    layer = last_convolution(model)
    got = grad_cam(model, layer, images, tf.constant([0, 1], tf.int64)).numpy()
    want = np.maximum(image[..., 0], 0) / 8, np.maximum(-image[..., 0], 0) / 5
    np.testing.assert_allclose(got, want, rtol=1e-6)
