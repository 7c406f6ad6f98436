"""What augmentation changes, what it leaves, and that a seed decides all of it."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from components import augment, input_checks
from recipes.errors import BadInputError
from recipes.transform import Augment
from tests.components.sections import section

REPOSITORY = Path(__file__).parents[2]
SEED = tf.constant([0, 0], tf.int64)
IMAGE = {"image": {"shape": [4, 6, 3]}}
TABLE = {
    "numeric": ["miles"],
    "scale": ["share"],
    "vocabulary": {"town": 9},
    "calendar": {"when": ["hour", "weekday"]},
    "crosses": {"both": {"features": ["town", "when"], "ids": 50}},
}
MISSING_IDS = {"town": 10, "when_hour": 24, "when_weekday": 7}
PIXELS = tf.random.stateless_uniform([1000, 4, 6, 3], [1, 1], 0.0, 255.0)


def images(pixels=PIXELS, seed=SEED, **options):
    return augment.decoded(pixels, section(**IMAGE, augment=options), seed).numpy()


def columns(num_rows):
    numbers = tf.random.stateless_normal([2, num_rows, 1], [5, 5])
    ids = tf.random.stateless_uniform([4, num_rows, 1], [6, 6], 0, 7, tf.int64)
    names = ("town", "when_hour", "when_weekday", "both")
    floats = {"miles": numbers[0], "share": 0.1 * numbers[1]}
    return floats | dict(zip(names, ids, strict=True))


def table(columns, **options):
    changed = augment.decoded(columns, section(**TABLE, augment=options), SEED)
    return {name: column.numpy() for name, column in changed.items()}


def text(ids, share, **keys):
    keys = {"length": ids.shape[1], **keys}
    options = section(text=keys, augment={"word_dropout": share})
    return augment.decoded(tf.constant(ids), options, SEED).numpy()


def spectrogram(features, **options):
    audio = {"sample_rate": 8000, "seconds": 0.25}
    return augment.prepared(features, section(audio=audio, augment=options), SEED)


def test_half_of_the_images_are_flipped_and_nothing_else_changes():
    got, pixels = images(flip="horizontal"), PIXELS.numpy()
    flipped = (got == pixels[:, :, ::-1]).all(axis=(1, 2, 3))
    kept = (got == pixels).all(axis=(1, 2, 3))
    assert (flipped ^ kept).all()
    assert 460 < flipped.sum() < 540  # deviation 16


def test_vertical_flips_turn_rows_and_both_give_all_four():
    pixels = PIXELS.numpy()
    vertical = images(flip="vertical")
    turned = (vertical == pixels[:, ::-1]).all(axis=(1, 2, 3))
    assert 460 < turned.sum() < 540
    both = images(flip="both")
    for variant in (pixels, pixels[:, ::-1], pixels[:, :, ::-1], pixels[:, ::-1, ::-1]):
        assert 200 < (both == variant).all(axis=(1, 2, 3)).sum() < 300


def test_a_crop_shows_a_part_and_loses_at_most_its_share():
    ramp = tf.tile(tf.reshape(tf.range(101.0), [1, 1, 101, 1]), [500, 101, 1, 3])
    keys = {"image": {"shape": [101, 101, 3]}, "augment": {"crop": 0.4}}
    got = augment.decoded(ramp, section(**keys), SEED).numpy()[:, 50, :, 0]
    inner = got[:, 10:91]  # the outermost pixels may lie half outside
    shares = (inner[:, -1] - inner[:, 0]) / 80
    np.testing.assert_array_less(0.6 - 1e-4, shares)
    np.testing.assert_array_less(shares, 1 + 1e-4)
    assert shares.min() < 0.61
    assert shares.max() > 0.99
    np.testing.assert_array_less(0, np.diff(inner, axis=1))  # never mirrored
    assert abs(inner[:, 40].mean() - 50) < 1  # cut at both ends alike
    assert inner[:, 40].std() > 2


def test_a_crop_keeps_the_proportions():
    ramps = tf.stack(tf.meshgrid(tf.range(50.0), tf.range(50.0)), axis=-1)
    pixels = tf.tile(tf.pad(ramps, [[0, 0], [0, 0], [0, 1]])[None], [20, 1, 1, 1])
    keys = {"image": {"shape": [50, 50, 3]}, "augment": {"crop": 0.5}}
    got = augment.decoded(pixels, section(**keys), SEED).numpy()
    across = got[:, 25, 30, 0] - got[:, 25, 20, 0]
    down = got[:, 30, 25, 1] - got[:, 20, 25, 1]
    np.testing.assert_allclose(across, down, rtol=1e-4)


def test_rotations_turn_by_at_most_the_angle_to_both_sides():
    ramps = tf.stack(tf.meshgrid(tf.range(51.0), tf.range(51.0)), axis=-1)
    pixels = tf.tile(tf.pad(ramps, [[0, 0], [0, 0], [0, 1]])[None], [500, 1, 1, 1])
    keys = {"image": {"shape": [51, 51, 3]}, "augment": {"rotate": 30}}
    got = augment.decoded(pixels, section(**keys), SEED).numpy()
    step = got[:, 25, 26, :2] - got[:, 25, 25, :2]  # to the right, in old pixels
    np.testing.assert_allclose(np.linalg.norm(step, axis=1), 1, atol=1e-4)
    angles = np.degrees(np.arctan2(step[:, 1], step[:, 0]))
    assert -30 <= angles.min() < -29
    assert 29 < angles.max() <= 30
    np.testing.assert_allclose(got[:, 25, 25, :2], 25, atol=1e-4)  # about the centre


def test_brightness_shifts_whole_images():
    grey = tf.fill([1000, 4, 6, 3], 100.0)
    got = images(grey, brightness=0.2)
    assert (got.max(axis=(1, 2, 3)) == got.min(axis=(1, 2, 3))).all()
    shifts = got[:, 0, 0, 0] - 100
    assert -51 <= shifts.min() < -50
    assert 50 < shifts.max() <= 51


def test_contrast_scales_about_the_mean_of_each_colour():
    base = np.full((1000, 4, 6, 3), 100.0, "float32")
    base[:, :2], base[:, 2:, :, 1] = 110.0, 90.0
    got = images(tf.constant(base), contrast=0.5)
    np.testing.assert_allclose(got.mean(axis=(1, 2)), base.mean(axis=(1, 2)), rtol=1e-4)
    factors = (got[:, 0, 0, 0] - got[:, 3, 0, 0]) / 10
    assert 0.5 <= factors.min() < 0.51
    assert 1.49 < factors.max() <= 1.5


def test_cutout_hides_a_square_of_the_share_of_the_shorter_side():
    got = images(cutout=0.5)  # 2 x 2 of 4 x 6
    hidden = (got != PIXELS.numpy()).all(axis=3)
    assert {1, 2, 4} >= set(hidden.sum(axis=(1, 2)))
    # The centre is one of 24 pixels; it is cut by the top row or the left column.
    assert abs((hidden.sum(axis=(1, 2)) == 4).mean() - 15 / 24) < 0.05
    mean = PIXELS.numpy().mean(axis=(1, 2))
    filled = np.where(hidden[..., None], mean[:, None, None], PIXELS)
    np.testing.assert_allclose(got, filled, rtol=1e-4)
    assert (hidden.mean(axis=0) > 0.02).all()  # anywhere


@pytest.mark.parametrize(
    "options",
    [{"brightness": 1.0}, {"contrast": 1.0}, {"crop": 0.9}, {"rotate": 180.0}],
)
def test_pixels_stay_between_0_and_255(options):
    got = images(**options)
    assert got.shape == PIXELS.shape
    assert got.dtype == np.float32
    assert got.min() >= 0
    assert got.max() <= 255
    assert (got != PIXELS.numpy()).any()


EVERYTHING = {
    "flip": "both",
    "crop": 0.3,
    "rotate": 20.0,
    "brightness": 0.2,
    "contrast": 0.2,
    "cutout": 0.3,
}


def test_a_seed_decides_everything():
    np.testing.assert_array_equal(images(**EVERYTHING), images(**EVERYTHING))
    other_step = images(seed=tf.constant([0, 1], tf.int64), **EVERYTHING)
    other_seed = images(seed=tf.constant([1, 0], tf.int64), **EVERYTHING)
    assert (images(**EVERYTHING) != other_step).mean() > 0.9
    assert (other_seed != other_step).mean() > 0.9


def test_draws_are_the_ones_of_any_other_process():
    # Recorded once: counters, hash seeds or threads must not come in.
    got = images(PIXELS[:4], flip="horizontal", brightness=0.5)
    want = [48.31, 32.15, 0.0, 86.61]
    np.testing.assert_allclose(got[:, 0, 0, 0], want, atol=0.01)


def test_an_option_does_not_change_what_another_draws():
    grey = tf.fill([100, 4, 6, 3], 100.0)
    np.testing.assert_array_equal(
        images(grey, brightness=0.2), images(grey, brightness=0.2, flip="both")
    )


def test_tokens_are_taken_out_and_the_rest_moves_up():
    ids = np.tile(np.arange(1, 21), (500, 1))
    ids[:, 15:] = 0
    got = text(ids, 0.2)
    assert got.shape == ids.shape
    assert got.dtype == np.int64
    lengths = (got != 0).sum(axis=1)
    assert abs(lengths.mean() - 12) < 0.3
    for row, length in zip(got, lengths, strict=True):
        assert (np.diff(row[:length]) > 0).all()  # in order
        assert (row[length:] == 0).all()


def test_a_text_never_loses_its_last_token():
    ids = np.zeros((500, 3), np.int64)
    ids[:, 0] = 7
    np.testing.assert_array_equal(text(ids, 0.9), ids)
    np.testing.assert_array_equal(text(0 * ids, 0.9), 0 * ids)


def test_words_are_taken_out_of_bags_whole():
    bags = np.tile(np.float32([0, 1, 3, 0.5]), (1000, 1))
    got = text(bags, 0.3, output="counts", vocabulary=4)
    assert ((got == 0) | (got == bags)).all()
    np.testing.assert_allclose((got != 0).mean(axis=0), [0, 0.7, 0.7, 0.7], atol=0.05)


def test_noise_on_columns_is_in_their_deviations():
    before = columns(5000)
    after = table(before, noise=0.5)
    assert set(after) == set(before)
    for name, deviation in (("miles", 0.5), ("share", 0.05)):
        added = after[name] - before[name].numpy()
        assert abs(added.std() / deviation - 1) < 0.05
        assert abs(added.mean()) < 0.05 * deviation
    for name in (*MISSING_IDS, "both"):
        np.testing.assert_array_equal(after[name], before[name])


def test_emptied_cells_look_like_missing_ones():
    before = columns(2000)
    after = table(before, missing=0.25)
    missing = {**MISSING_IDS, "miles": 0.0, "share": augment.MISSING_SCALED}
    changed = {}
    for name, value in missing.items():
        assert after[name].dtype == before[name].numpy().dtype
        changed[name] = after[name] != before[name].numpy()
        assert (after[name][changed[name]] == value).all()
        assert abs(changed[name].mean() - 0.25) < 0.04
    np.testing.assert_array_equal(after["both"], before["both"])
    # The parts of one time go together, other columns do not.
    np.testing.assert_array_equal(changed["when_hour"], changed["when_weekday"])
    assert 0.15 < (changed["miles"] & changed["town"]).sum() / 500 < 0.35


def test_noise_on_recordings_is_relative_to_their_loudness():
    loud = tf.tile(tf.sin(tf.range(2000.0))[None] * 0.5, [2, 1]) * [[1.0], [0.01]]
    keys = {"audio": {"sample_rate": 8000, "seconds": 0.25}, "augment": {"noise": 0.1}}
    got = augment.decoded(loud, section(**keys), SEED)
    added = (got - loud).numpy().std(axis=1) / loud.numpy().std(axis=1)
    np.testing.assert_allclose(added, 0.1, rtol=0.1)
    clipped = augment.decoded(tf.sign(loud), section(**keys), SEED).numpy()
    assert abs(clipped).max() == 1.0


@pytest.mark.parametrize(("axis", "name"), [(1, "spec_time"), (2, "spec_frequency")])
def test_one_stretch_of_a_spectrogram_is_masked(axis, name):
    features = tf.random.stateless_normal([400, 23, 40, 1], [2, 2])
    got = spectrogram(features, **{name: 10}).numpy()[..., 0]
    masked = (got != features.numpy()[..., 0]).all(
        axis=3 - axis
    )  # (B, frames or bands)
    widths = masked.sum(axis=1)
    assert set(widths) == set(range(11))
    edges = np.diff(masked, axis=1, prepend=False, append=False).sum(axis=1)
    assert set(edges[widths > 0]) == {2}  # one stretch
    assert masked.any(axis=0).all()  # anywhere
    mean = features.numpy().mean(axis=(1, 2, 3))[:, None, None]
    mask = masked[:, :, None] if axis == 1 else masked[:, None, :]
    want = np.where(mask, mean, features[..., 0])
    np.testing.assert_allclose(got, want, atol=1e-5)


def test_mixup_keeps_the_means_of_inputs_and_labels():
    before, labels = columns(64), tf.one_hot(tf.range(64) % 3, 3)
    after, mixed = augment.mixup(before, labels, 0.4, SEED)
    np.testing.assert_allclose(tf.reduce_sum(mixed, 0), [22, 21, 21], rtol=1e-5)
    np.testing.assert_allclose(tf.reduce_sum(mixed, 1), np.ones(64), rtol=1e-5)
    for name, column in before.items():
        if name in ("miles", "share"):
            assert (after[name] != column).numpy().all()
            np.testing.assert_allclose(
                tf.reduce_mean(after[name]), tf.reduce_mean(column), atol=1e-6
            )
        else:
            np.testing.assert_array_equal(after[name], column)


def test_mixup_mixes_inputs_and_labels_by_the_same_share():
    numbers = tf.reshape(tf.range(8.0), [8, 1])
    inputs, labels = augment.mixup(tf.reshape(numbers, [8, 1, 1]), numbers, 1.0, SEED)
    np.testing.assert_allclose(inputs[:, 0], labels, rtol=1e-6)
    share = (labels[1:] - numbers[:-1]).numpy()
    np.testing.assert_allclose(share, share[:1].repeat(7, 0), rtol=1e-5)
    assert 0.5 <= share[0] <= 1


@pytest.mark.parametrize(("alpha", "want"), [(1e-4, 1.0), (1.0, 0.75), (1e4, 0.5)])
def test_the_larger_share_of_a_beta(alpha, want):
    # Of the uniform distribution (alpha 1) the larger part is 3/4 on average.
    shares = [
        float(augment._larger_share(alpha, tf.constant([0, step], tf.int64)))
        for step in range(200)
    ]
    assert abs(np.mean(shares) - want) < 0.03
    assert all(0.5 <= share <= 1 for share in shares)


KINDS = {
    "image": IMAGE,
    "text": {"text": {}},
    "audio": {"audio": {"sample_rate": 8000, "seconds": 1.0}},
    "table": TABLE,
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("option", Augment.model_fields)
def test_options_that_do_not_fit_the_kind_of_input_are_refused(kind, option):
    value = {"flip": "both", "spec_time": 2, "spec_frequency": 2}.get(option, 0.5)
    wanted = section(**KINDS[kind], augment={option: value})
    assert augment.is_used(wanted)
    if option in input_checks.AUGMENTATIONS[kind]:
        input_checks.check(wanted)
    else:
        with pytest.raises(BadInputError, match=rf"{option} does not fit an? {kind}\."):
            input_checks.check(wanted)


def test_every_option_fits_some_kind_and_none_is_used_by_default():
    known = {o for options in input_checks.AUGMENTATIONS.values() for o in options}
    assert known == set(Augment.model_fields)
    for keys in KINDS.values():
        input_checks.check(section(**keys))
        assert not augment.is_used(section(**keys))


@pytest.mark.parametrize(
    ("output", "option", "value", "message"),
    [
        ("log_mel", "spec_time", 98, "less than the 98 there are. Received: 98"),
        ("log_mel", "spec_frequency", 40, "less than the 40"),
        ("mfcc", "spec_frequency", 2, "does not fit the output 'mfcc'"),
        ("samples", "spec_time", 2, "does not fit the output 'samples'"),
    ],
)
def test_masks_that_do_not_fit_the_features_are_refused(output, option, value, message):
    audio = {"sample_rate": 8000, "seconds": 1.0, "output": output}
    wanted = section(audio=audio, augment={option: value})
    with pytest.raises(BadInputError, match=message):
        input_checks.check(wanted)


def test_checking_needs_no_tensorflow():
    code = "import sys, components.input_checks; print('tensorflow' in sys.modules)"
    result = subprocess.run(
        [sys.executable, "-c", code], cwd=REPOSITORY, capture_output=True, check=True
    )
    assert result.stdout == b"False\n"
