"""Weights that make the label independent of a group."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from components import reweigh
from components.train_step import Learner
from components.training_data import Data, training_batches
from tests.components.records import example, write
from tests.components.sections import section
from tests.components.trainings import config

SEX = section(
    label={"feature": "y", "above": 0.0},
    numeric=["a"],
    vocabulary={"sex": 1},
    augment={"missing": 0.9},
)
SPEC = {
    "a_xf": tf.io.FixedLenFeature([1], tf.float32),
    "sex_xf": tf.io.FixedLenFeature([1], tf.int64),
    "strata_label": tf.io.FixedLenFeature([1], tf.int64),
}
COUNTS = np.array([[60, 20], [40, 80]])  # (sex, label)
WANT = [[40 / 60, 40 / 20], [60 / 40, 60 / 80]]  # expected by chance / counted


def test_the_weights_of_two_groups_by_hand():
    np.testing.assert_allclose(reweigh.weights(COUNTS), WANT, rtol=1e-6)


def test_weighed_groups_have_equal_shares_of_labels_and_the_marginals_stay():
    counts = np.random.default_rng(0).integers(20, 99, (7, 3))
    weighed = counts * reweigh.weights(counts)
    shares = weighed / weighed.sum(axis=1, keepdims=True)
    np.testing.assert_allclose(shares, np.tile(shares[0], (7, 1)), rtol=1e-5)
    for axis in (0, 1):
        np.testing.assert_allclose(weighed.sum(axis), counts.sum(axis), rtol=1e-5)


def test_a_pair_that_never_occurs_divides_nothing_by_zero():
    found = reweigh.weights(np.array([[0, 20], [20, 20], [0, 0]]))
    np.testing.assert_allclose(found, [[1, 2 / 3], [4 / 3 / 2, 4 / 3], [1, 1]])


def test_a_pair_of_which_there_are_few_keeps_its_weight():
    found = reweigh.weights(np.array([[19, 21], [40, 20]]))
    expected = [59 * 40 / 100, 41 * 40 / 100, 59 * 60 / 100, 41 * 60 / 100]
    want = [[1, expected[1] / 21], [expected[2] / 40, expected[3] / 20]]
    np.testing.assert_allclose(found, want, rtol=1e-6)


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("reweigh")
    rows = [
        example(a_xf=float(sex), sex_xf=sex, strata_label=label)
        for (sex, label), count in np.ndenumerate(COUNTS)
        for _ in range(count)
    ]
    path = write(folder / "train.gz", rows)
    return Data(train=[path], eval=[path], spec=SPEC)


def settings(**changes):
    return config(transform=SEX, reweigh=["sex"], global_batch_size=20, **changes)


def batches(data, first, count, **changes):
    found = training_batches(data, settings(**changes), first).take(count)
    return list(found.as_numpy_iterator())


def test_batches_carry_the_weights_of_what_the_examples_were(data):
    """Augmentation empties most cells of `sex`: its group stays what it was."""
    found = batches(data, 0, 10)
    pairs = []
    for inputs, labels, weights in found:
        assert inputs["a"].shape == (20, 1)
        assert weights.dtype == np.float32
        pairs += zip(labels[:, 0].tolist(), weights.tolist(), strict=True)
    assert len(pairs) == COUNTS.sum()
    for (sex, label), count in np.ndenumerate(COUNTS):
        near = [w for y, w in pairs if y == label and w == pytest.approx(WANT[sex][y])]
        assert len(near) == count


def test_a_resumed_training_gets_the_weights_of_an_undisturbed_one(data):
    whole = batches(data, 0, 4)
    for got, want in zip(batches(data, 2, 2), whole[2:], strict=True):
        np.testing.assert_array_equal(got[2], want[2])


def test_a_weight_is_a_factor_of_an_examples_loss():
    inputs = keras.Input((1,))
    kernel = keras.layers.Dense(1, use_bias=False, kernel_initializer="ones")
    learner = Learner(keras.Model(inputs, kernel(inputs)), parts=2)
    learner.compile(
        keras.optimizers.SGD(1.0), keras.losses.MeanSquaredError(), run_eagerly=True
    )
    x, weights = np.array([[1.0], [2.0], [3.0], [4.0]]), np.array([1.0, 0.5, 0.0, 2.0])
    batch = tf.data.Dataset.from_tensors((x, np.zeros((4, 1)), weights))
    (loss,) = learner.fit(batch, verbose=0, shuffle=False).history["loss"]
    assert loss == pytest.approx((1 + 0.5 * 4 + 2 * 16) / 4)
    # d/dk of the mean of weight (k x)^2 is 2 * loss at k = 1.
    assert learner.network.get_weights()[0].item() == pytest.approx(1 - 2 * loss)


def test_columns_are_crossed():
    transform = section(
        label={"feature": "y", "above": 0.0}, hash={"town": 2}, buckets={"age": 3}
    )
    both = config(transform=transform, reweigh=["town", "age"])
    features = {
        "town_xf": tf.constant([[0], [2]], tf.int64),
        "age_xf": tf.constant([[3], [1]], tf.int64),
    }
    # Three ids of towns, four of ages; the last of each is for missing.
    assert reweigh._groups(features, both).numpy().tolist() == [3, 9]


def test_without_columns_batches_have_no_weights(data):
    plain = training_batches(data, config(transform=SEX), 0)
    assert len(next(iter(plain))) == 2
