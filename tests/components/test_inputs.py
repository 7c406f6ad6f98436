"""What a model sees, and in which order."""

import io
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

import models
from components import input_checks, inputs
from recipes.errors import BadInputError
from tests.components.records import example, write
from tests.components.sections import section

TABLE = section(
    label={"feature": "tip", "above": 0.2},
    numeric=["miles"],
    buckets={"age": 4},
    vocabulary={"town": 9},
)
DIGIT = {"feature": "digit", "classes": [3, 4, 5]}
IMAGE = section(label=DIGIT, image={"feature": "scan", "shape": [2, 3, 1]})
SPEC = {
    name: tf.io.FixedLenFeature([1], dtype)
    for name, dtype in {
        "miles_xf": tf.float32,
        "age_xf": tf.int64,
        "town_xf": tf.int64,
        "strata_label": tf.int64,
    }.items()
}
DATA = Path(__file__).parents[3] / "shared/data"
SIGNS = sorted(DATA.glob("sign-digits/sample/*/*.JPG"))
NUM_EXAMPLES, BATCH, STEPS = 22, 4, 5


@pytest.fixture
def files(tmp_path):
    """Two files of 22 examples in all; `miles` counts them."""
    rows = [
        example(miles_xf=float(i), age_xf=i % 4, town_xf=i % 9, strata_label=i % 2)
        for i in range(NUM_EXAMPLES)
    ]
    return [write(tmp_path / "a.gz", rows[:15]), write(tmp_path / "b.gz", rows[15:])]


def training(files, transform=TABLE, *, seed=0, first=0, num_epochs=1):
    """Return the (inputs, labels) batches of some epochs, from a step on."""
    batches = inputs.training_batches(
        files,
        SPEC,
        transform,
        global_batch_size=BATCH,
        steps_per_epoch=STEPS,
        first_step=first,
        seed=seed,
    )
    return list(batches.take(num_epochs * STEPS).as_numpy_iterator())


def epochs(files, **keys):
    """Return (epochs, steps, batch) the numbers of the examples in training order."""
    batches = training(files, **keys)
    order = [features["miles"][:, 0].astype(int).tolist() for features, _ in batches]
    return np.reshape(order, (-1, STEPS, BATCH)).tolist()


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
    assert epochs(files, seed=0, first=2 * STEPS, num_epochs=2) == whole[2:]
    inside = epochs(files, seed=0, first=STEPS + 3, num_epochs=2)
    assert sum(inside, []) == sum(whole, [])[STEPS + 3 : 3 * STEPS + 3]


def augmented(**augment):
    return {**TABLE, "augment": section(numeric=["x"], augment=augment)["augment"]}


def test_a_resumed_training_sees_the_same_changes_too(files):
    transform = augmented(noise=0.5, missing=0.2, mixup=0.4)
    whole = training(files, transform, num_epochs=2)
    resumed = training(files, transform, first=STEPS - 2)
    tf.nest.map_structure(
        np.testing.assert_array_equal, resumed, whole[STEPS - 2 : 2 * STEPS - 2]
    )


def test_changes_are_drawn_anew_for_each_batch_and_seed(files):
    def changes(**keys):
        noisy = training(files, augmented(noise=0.1), **keys)
        numbers = [features["miles"][:, 0] for features, _ in noisy]
        return np.concatenate([n - np.round(n) for n in numbers])

    drawn = changes(num_epochs=2)
    assert len(np.unique(drawn)) > 0.9 * len(drawn)
    assert not np.isin(changes(seed=1), drawn).any()


def test_only_what_is_trained_on_is_changed(files):
    transform = augmented(noise=0.5, missing=0.5, mixup=0.4)
    changed, want = (
        list(inputs.batches(files, SPEC, section, 8).as_numpy_iterator())
        for section in (transform, TABLE)
    )
    tf.nest.map_structure(np.testing.assert_array_equal, changed, want)


def test_labels_are_untouched_but_for_mixup(files):
    for _, labels in training(files, augmented(noise=0.5, missing=0.5)):
        assert labels.dtype == np.int64
        assert set(labels[:, 0]) <= {0, 1}
    assert inputs.soft_labels(augmented(mixup=0.4))
    assert not inputs.soft_labels(augmented(noise=0.5))
    for _, labels in training(files, augmented(mixup=0.4)):
        assert labels.dtype == np.float32
        assert labels.shape == (BATCH, 1)


def test_soft_labels_of_classes_have_a_column_for_each():
    got = inputs._softened(tf.constant([[2], [0]], tf.int64), 3)
    assert got.numpy().tolist() == [[0, 0, 1], [1, 0, 0]]


def test_evaluation_can_have_its_labels_as_training_has_them(files):
    batches = inputs.batches(files, SPEC, TABLE, 8, soft=True)
    _, labels = next(batches.as_numpy_iterator())
    assert labels.dtype == np.float32
    assert labels[:, 0].tolist() == [0, 1] * 4


def test_texts_and_recordings_have_a_shape_too():
    text = section(text={"length": 9, "vocabulary": 50})
    assert inputs.input_shape(text) == models.Tokens(9, 50)
    bag = section(text={"vocabulary": 50, "output": "tfidf"})
    assert inputs.input_shape(bag) == (50,)
    audio = {"sample_rate": 8000, "seconds": 1.0}
    assert inputs.input_shape(section(audio=audio)) == (98, 40, 1)


def test_text_goes_to_the_model_as_it_was_transformed():
    ids = tf.constant([[3, 1, 0]], tf.int64)
    assert inputs.model_inputs({"text_xf": ids}, section(text={"length": 3})) is ids


def scan(pixels, kind="PNG", mode=None):
    """Return (H, W) or (H, W, C) pixels as an encoded image."""
    stream = io.BytesIO()
    image = Image.fromarray(np.asarray(pixels, np.uint8))
    (image.convert(mode) if mode else image).save(stream, kind)
    return stream.getvalue()


def seen(*encoded, shape=(2, 3, 1), **keys):
    """Return what the model is called on."""
    image = {"feature": "scan", "shape": shape, **keys}
    column = tf.constant([[one] for one in encoded])
    return inputs.model_inputs({"scan_xf": column}, section(image=image)).numpy()


GREY = np.uint8([[0, 17, 255], [1, 2, 3]])
COLOUR = np.stack([GREY, 255 - GREY, GREY // 2], axis=-1)


def test_who_looks_at_a_batch_first_changes_nothing(files):
    batches = inputs.training_batches(
        files,
        SPEC,
        TABLE,
        global_batch_size=BATCH,
        steps_per_epoch=STEPS,
        first_step=7,
        seed=0,
    )
    looked_at, seen = (list(batches.take(3).as_numpy_iterator()) for _ in range(2))
    tf.nest.map_structure(np.testing.assert_array_equal, looked_at, seen)


def test_images_are_decoded_to_pixels_from_0_to_255():
    got = seen(scan(GREY), scan(GREY))
    assert got.dtype == np.float32
    np.testing.assert_array_equal(got[..., 0], [GREY, GREY])


def test_an_image_is_decoded_alike_alone_and_beside_one_of_another_size():
    wide = scan(np.full((4, 6), 9))
    got = seen(scan(GREY), wide)
    np.testing.assert_array_equal(got[0, ..., 0], GREY)
    np.testing.assert_array_equal(got[1], seen(wide)[0])
    np.testing.assert_array_equal(got[1], np.full((2, 3, 1), 9.0))


@pytest.mark.parametrize("kind", ["PNG", "BMP", "GIF"])
def test_grey_images_become_the_channels_asked_for(kind):
    for channels in (1, 3, 4):
        got = seen(scan(GREY, kind), shape=(2, 3, channels))
        want = np.repeat(GREY[..., None], channels, axis=-1)
        want[..., 3:] = 255  # opaque
        np.testing.assert_array_equal(got[0], want)


@pytest.mark.parametrize(
    ("kind", "mode"),
    [("PNG", "RGB"), ("PNG", "RGBA"), ("BMP", "RGB"), ("PNG", "P"), ("GIF", "P")],
)
def test_coloured_images_become_the_channels_asked_for(kind, mode):
    two = np.uint8([[[200, 10, 30]] * 3, [[0, 100, 250]] * 3])
    encoded = scan(two, kind, mode)
    shown = Image.open(io.BytesIO(encoded))  # what is left of two colours
    want = np.asarray(shown.convert("RGB"), float)
    np.testing.assert_array_equal(seen(encoded, shape=(2, 3, 3))[0], want)
    opaque = np.pad(want, [(0, 0), (0, 0), (0, 1)], constant_values=255)
    np.testing.assert_array_equal(seen(encoded, shape=(2, 3, 4))[0], opaque)
    if (kind, mode) != ("PNG", "P"):  # libpng rounds colours of a palette otherwise
        luma = want @ [0.299, 0.587, 0.114]
        np.testing.assert_allclose(seen(encoded)[0, ..., 0], luma, atol=1)


def test_jpegs_become_the_channels_asked_for():
    encoded = scan(np.full((2, 3, 3), 200), "JPEG")
    for channels in (1, 3, 4):
        got = seen(encoded, shape=(2, 3, channels))
        want = np.full((2, 3, channels), 200.0)
        want[..., 3:] = 255
        np.testing.assert_allclose(got[0], want, atol=1)


@pytest.mark.skipif(not SIGNS, reason="the data sets are not there")
def test_photos_are_decoded_as_pillow_does():
    photos = [path.read_bytes() for path in SIGNS[:5]]
    want = [np.asarray(Image.open(io.BytesIO(photo)), float) for photo in photos]
    got = seen(*photos, shape=(100, 100, 3))
    assert np.abs(got - want).mean() < 2  # another inverse cosine transform
    halves = seen(*photos, shape=(50, 50, 3))
    of_four = np.reshape(got, (5, 50, 2, 50, 2, 3)).mean(axis=(2, 4))
    np.testing.assert_allclose(halves, of_four, atol=1e-3)


def test_an_animation_is_its_first_frame():
    frames = [Image.fromarray(GREY), Image.fromarray(255 - GREY)]
    stream = io.BytesIO()
    frames[0].save(stream, "GIF", save_all=True, append_images=frames[1:])
    np.testing.assert_array_equal(seen(stream.getvalue())[0, ..., 0], GREY)


def test_padding_keeps_proportions_and_adds_zeros():
    got = seen(scan(np.full((4, 2), 9)), shape=(4, 6, 1), resize="pad")[0, ..., 0]
    np.testing.assert_array_equal(got, [[0, 0, 9, 9, 0, 0]] * 4)


def test_cropping_keeps_proportions_and_the_middle():
    pixels = np.zeros((2, 6))
    pixels[:, 2:4] = 9
    got = seen(scan(pixels), shape=(2, 2, 1), resize="crop")[0, ..., 0]
    np.testing.assert_array_equal(got, [[9, 9]] * 2)
    tall = seen(scan(pixels.T), shape=(4, 4, 1), resize="crop")[0, ..., 0]
    np.testing.assert_array_equal(tall, np.full((4, 4), 9))


def test_a_long_thin_image_is_cut_before_it_is_scaled():
    thin = np.zeros((1, 30_000))
    thin[:, 14_900:15_100] = 9
    # Scaled first it would be 64 x 1,920,000 pixels, half a gigabyte.
    got = seen(scan(thin), shape=(64, 64, 1), resize="crop")
    np.testing.assert_array_equal(got, np.full((1, 64, 64, 1), 9.0))


@pytest.mark.parametrize("size", [(1, 1), (3, 7), (50, 11), (299, 300)])
@pytest.mark.parametrize("resize", ["stretch", "pad", "crop"])
def test_any_size_becomes_the_one_asked_for(size, resize):
    got = seen(scan(np.full(size, 7)), shape=(5, 4, 1), resize=resize)
    assert got.shape == (1, 5, 4, 1)
    assert set(np.unique(got.round(3))) <= ({0.0, 7.0} if resize == "pad" else {7.0})


def test_pixels_are_scaled_as_asked():
    def scaled(how):
        return seen(scan(GREY), normalize=how)[0, ..., 0]

    np.testing.assert_array_equal(scaled("none"), GREY)
    np.testing.assert_allclose(scaled("unit"), GREY / 255, rtol=1e-6)
    np.testing.assert_allclose(scaled("signed"), GREY / 127.5 - 1, atol=1e-6)
    standard = (GREY - GREY.mean()) / GREY.std()
    np.testing.assert_allclose(scaled("standard"), standard, rtol=1e-5)
    assert not seen(scan(0 * GREY), normalize="standard").any()


def test_a_number_of_channels_that_no_image_has_is_refused():
    with pytest.raises(BadInputError, match=r"1 \(grey\), 3 .* Received: 2"):
        input_checks.check(section(image={"shape": [2, 3, 2]}))
