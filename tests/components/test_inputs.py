"""What a model sees, and in which order."""

import numpy as np
import pytest
import tensorflow as tf

from components import inputs
from tests.components.records import example, write

TABLE = {
    "label": {"feature": "tip", "classes": None, "above": 0.2, "divide_by": None},
    "image": None,
    "numeric": ["miles"],
    "buckets": {"age": 4},
    "vocabulary": {"town": 9},
}
IMAGE = {
    "label": {"feature": "digit", "classes": [3, 5, 8], "above": None},
    "image": {"feature": "scan", "shape": [2, 3, 1]},
    "numeric": [],
    "buckets": {},
    "vocabulary": {},
}
SPEC = {
    name: tf.io.FixedLenFeature([1], dtype)
    for name, dtype in {
        "miles_xf": tf.float32,
        "age_xf": tf.int64,
        "town_xf": tf.int64,
        "strata_label": tf.int64,
    }.items()
}
NUM_EXAMPLES, BATCH, STEPS = 22, 4, 5


@pytest.fixture
def files(tmp_path):
    """Two files of 22 examples in all; `miles` counts them."""
    rows = [
        example(miles_xf=float(i), age_xf=i % 4, town_xf=i % 9, strata_label=i % 2)
        for i in range(NUM_EXAMPLES)
    ]
    return [write(tmp_path / "a.gz", rows[:15]), write(tmp_path / "b.gz", rows[15:])]


def epochs(files, *, seed, first=0, num_epochs=1):
    """Return (epochs, steps, batch) the numbers of the examples in training order."""
    batches = inputs.training_batches(
        files,
        SPEC,
        TABLE,
        global_batch_size=BATCH,
        steps_per_epoch=STEPS,
        first_epoch=first,
        seed=seed,
    )
    taken = batches.take(num_epochs * STEPS).as_numpy_iterator()
    order = [features["miles"][:, 0].astype(int).tolist() for features, _ in taken]
    return np.reshape(order, (num_epochs, STEPS, BATCH)).tolist()


def test_the_shape_and_the_outputs_come_from_the_recipe():
    assert inputs.input_shape(TABLE) == {"miles": None, "age": 5, "town": 11}
    assert inputs.num_outputs(TABLE) == 1
    assert inputs.input_shape(IMAGE) == (2, 3, 1)
    assert inputs.num_outputs(IMAGE) == 3


def test_examples_of_all_files_are_counted(files):
    assert inputs.count(files) == NUM_EXAMPLES


def test_batches_come_once_in_file_order_with_their_labels(files):
    got = list(inputs.batches(files, SPEC, TABLE, 8).as_numpy_iterator())
    numbers = np.concatenate([features["miles"][:, 0] for features, _ in got])
    assert numbers.tolist() == list(range(NUM_EXAMPLES))
    assert [len(labels) for _, labels in got] == [8, 8, 6]
    features, labels = got[0]
    assert set(features) == {"miles", "age", "town"}
    assert features["town"].shape == labels.shape == (8, 1)
    assert labels[:, 0].tolist() == [0, 1] * 4


def test_an_epoch_holds_no_example_twice(files):
    (epoch,) = epochs(files, seed=0)
    assert len(np.unique(epoch)) == STEPS * BATCH


def test_epochs_differ_in_their_order(files):
    one, two = epochs(files, seed=0, num_epochs=2)
    assert one != two


def test_the_same_seed_gives_the_same_order(files):
    assert epochs(files, seed=3, num_epochs=2) == epochs(files, seed=3, num_epochs=2)


def test_another_seed_gives_another_order(files):
    assert epochs(files, seed=3) != epochs(files, seed=4)


def test_a_resumed_training_sees_what_an_undisturbed_one_would_have_seen(files):
    whole = epochs(files, seed=0, num_epochs=4)
    assert epochs(files, seed=0, first=2, num_epochs=2) == whole[2:]


def test_images_are_decoded_to_pixels_from_0_to_255():
    pixels = np.array([[[0], [17], [255]], [[1], [2], [3]]], np.uint8)
    png = tf.io.encode_png(pixels).numpy()
    got = inputs.model_inputs({"scan_xf": tf.constant([[png], [png]])}, IMAGE)
    assert got.dtype == tf.float32
    np.testing.assert_array_equal(got, [pixels, pixels])


def test_images_of_another_size_are_resized():
    png = tf.io.encode_png(np.full((4, 6, 1), 9, np.uint8)).numpy()
    got = inputs.decode_images(tf.constant([png]), (2, 3, 1))
    np.testing.assert_array_equal(got, np.full((1, 2, 3, 1), 9.0))
