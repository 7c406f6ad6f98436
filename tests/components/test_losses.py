"""Losses by kind: values by hand, Keras's own where it has them, options refused."""

import math

import keras
import numpy as np
import pytest
import tensorflow as tf

from components import losses
from components.losses import ClassCrossentropy, TokenAccuracy, TokenCrossentropy
from recipes.errors import BadInputError
from tests.components.records import example, write
from tests.components.sections import section
from tests.components.trainings import SPEC, TRANSFORM, train_section

LOGITS = np.array([[2.0, 0.0, -1.0], [0.5, 0.5, 3.0]], "float32")
SHARES = np.array([[0.75, 0.25, 0.0], [0.0, 0.1, 0.9]], "float32")
NUMBERS = np.array([[0], [1]])
ONE_HOT = np.eye(3, dtype="float32")[NUMBERS[:, 0]]


@pytest.mark.parametrize("smoothing", [0.0, 0.2])
@pytest.mark.parametrize(("labels", "same"), [(NUMBERS, ONE_HOT), (SHARES, SHARES)])
def test_of_classes_it_is_kerass(labels, same, smoothing):
    want = keras.losses.CategoricalCrossentropy(True, smoothing)(same, LOGITS)
    assert float(ClassCrossentropy(3, smoothing)(labels, LOGITS)) == pytest.approx(
        float(want), rel=1e-5
    )


@pytest.mark.parametrize("smoothing", [0.0, 0.2])
@pytest.mark.parametrize("labels", [[[0], [1]], [[0.3], [1.0]]])
def test_of_yes_or_no_it_is_kerass(labels, smoothing):
    logits = np.array([[0.7], [-40.0]], "float32")
    labels = np.array(labels)
    stock = keras.losses.BinaryCrossentropy(True, smoothing)
    want = stock(labels.astype("float32"), logits)
    assert float(ClassCrossentropy(1, smoothing)(labels, logits)) == pytest.approx(
        float(want), rel=1e-5
    )


def test_a_class_weighs_as_much_as_it_is_given():
    even = np.zeros((2, 3), "float32")  # each class has the loss ln 3
    loss = ClassCrossentropy(3, class_weights=[3.0, 0.5, 1.0])
    by_hand = np.array([3.0, 0.5])
    np.testing.assert_allclose(loss.call(NUMBERS, even), np.log(3) * by_hand, rtol=1e-6)
    mixed = np.array([0.75 * 3 + 0.25 * 0.5, 0.1 * 0.5 + 0.9])
    np.testing.assert_allclose(loss.call(SHARES, even), np.log(3) * mixed, rtol=1e-6)
    yes_or_no = ClassCrossentropy(1, class_weights=[0.5, 2.0])
    got = yes_or_no.call(np.array([[0.0], [1.0], [0.5]], "float32"), tf.zeros((3, 1)))
    np.testing.assert_allclose(got, np.log(2) * np.array([0.5, 2.0, 1.25]), rtol=1e-6)


def test_balanced_weights_make_the_classes_equal():
    weights = losses.balanced([30, 10, 0])
    assert weights == [pytest.approx(20 / 30), 2.0, 0.0]
    assert 30 * weights[0] == 10 * weights[1]


def test_the_labels_of_a_split_are_counted(tmp_path):
    rows = [example(a_xf=0.0, b_xf=0.0, strata_label=n) for n in (0, 2, 2, 0, 2)]
    assert losses.label_counts([write(tmp_path / "1.gz", rows)], SPEC, 4) == [
        2,
        0,
        3,
        0,
    ]


def test_padding_is_not_predicted():
    logits = np.zeros((2, 3, 4), "float32")
    logits[0, 0, 2] = 50.0
    ids = np.array([[2, 1, 0], [0, 0, 0]])  # tokens of 2 and of 0 places
    got = TokenCrossentropy().call(tf.constant(ids), tf.constant(logits))
    np.testing.assert_allclose(got, [math.log(4) / 2, 0.0], rtol=1e-5)
    accuracy = TokenAccuracy("accuracy")
    accuracy.update_state(tf.constant(ids), tf.constant(logits))
    assert (
        float(accuracy.result()) == 0.5
    )  # 2 is right; 1 is not 0, the first of equals


def test_tokens_are_smoothed_like_classes():
    ids = tf.constant([[1, 2]])
    logits = tf.constant(np.random.default_rng(0).normal(size=(1, 2, 3)), tf.float32)
    one_by_one = ClassCrossentropy(3, 0.3).call(tf.reshape(ids, [2, 1]), logits[0])
    got = TokenCrossentropy(0.3).call(ids, logits)
    np.testing.assert_allclose(got, [np.mean(one_by_one)], rtol=1e-5)


@pytest.mark.parametrize(
    ("labels", "logits", "want"),
    [
        ([[0], [1], [1]], [[-1.0], [2.0], [-0.1]], [1, 1, 0]),
        ([[0.4], [0.6]], [[-1.0], [-1.0]], [1, 0]),
        ([[2], [0]], [[0.0, 1.0, 2.0], [0.0, 1.0, 2.0]], [1, 0]),
        ([[0.2, 0.7, 0.1]], [[0.0, 1.0, 0.5]], [1]),
    ],
)
def test_an_example_is_right_where_its_largest_share_is_predicted(labels, logits, want):
    got = losses._is_right(tf.constant(labels), tf.constant(logits))
    np.testing.assert_array_equal(got, want)


SERIES = section(label=None, series={"context": 4, "horizon": 2, "channels": 1})


def test_a_series_is_trained_on_squares():
    loss, metric = losses.of(SERIES, train_section())
    assert float(loss(tf.constant([[1.0, 2.0]]), tf.constant([[1.0, 5.0]]))) == 4.5
    assert metric.name == "mae"


@pytest.mark.parametrize(
    "option", [{"label_smoothing": 0.1}, {"class_weights": "balanced"}]
)
def test_options_for_classes_are_refused_elsewhere(option):
    name = next(iter(option))
    with pytest.raises(BadInputError, match=f"train.{name}` needs classes"):
        losses.of(SERIES, train_section(**option))


def test_balanced_weights_come_from_the_counts():
    train = train_section(class_weights="balanced")
    loss, _ = losses.of(TRANSFORM, train, [30, 10])
    got = loss.call(np.array([[0.0], [1.0]], "float32"), tf.zeros((2, 1)))
    np.testing.assert_allclose(got, np.log(2) * np.array([2 / 3, 2.0]), rtol=1e-6)
