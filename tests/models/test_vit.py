import functools

import keras
import numpy as np
import pytest

from models import vit
from tests.models.families import products_with_and_without_remat

SMALL = {"dim": 8, "num_blocks": 1, "num_heads": 2}


def images(*shape):
    return np.random.default_rng(0).uniform(size=shape).astype("float32")


def shuffled(image, patch_size, order):
    """Return the (H, W, C) image with its patches in another order."""
    height, width, channels = image.shape
    rows, columns = height // patch_size, width // patch_size
    patches = image.reshape(rows, patch_size, columns, patch_size, channels)
    patches = patches.swapaxes(1, 2).reshape(-1, patch_size, patch_size, channels)
    moved = patches[order].reshape(rows, columns, patch_size, patch_size, channels)
    return moved.swapaxes(1, 2).reshape(image.shape)


def test_patches_are_read_row_by_row():
    model = vit.build((4, 4, 1), 2, patch_size=2, dim=4, num_blocks=1, num_heads=1)
    # A kernel that copies: place k of the vector is pixel k of the patch.
    kernel = np.eye(4).reshape(2, 2, 1, 4)
    model.get_layer("patches").set_weights([kernel, np.zeros(4)])
    image = np.arange(16, dtype="float32").reshape(1, 4, 4, 1)
    got = keras.Model(model.input, model.get_layer("sequence").output)(image)
    want = [[0, 1, 4, 5], [2, 3, 6, 7], [8, 9, 12, 13], [10, 11, 14, 15]]
    np.testing.assert_array_equal(got[0], want)


@pytest.mark.parametrize("class_token", [True, False])
def test_only_the_positions_tell_where_a_patch_is(class_token):
    model = vit.build((8, 8, 1), 3, patch_size=4, class_token=class_token, **SMALL)
    image = images(8, 8, 1)
    batch = np.stack([image, shuffled(image, 4, [2, 0, 3, 1])])
    one, two = model(batch).numpy()
    assert np.abs(one - two).max() > 1e-4
    positions = model.get_layer("positions")
    positions.set_weights([np.zeros_like(w) for w in positions.get_weights()])
    one, two = model(batch).numpy()
    np.testing.assert_allclose(one, two, atol=1e-5)


def test_the_class_token_is_the_place_that_is_classified():
    model = vit.build((8, 8, 1), 3, patch_size=4, class_token=True, **SMALL)
    token = np.arange(8, dtype="float32")
    model.get_layer("class_token").set_weights([token.reshape(1, 1, 8)])
    layers = [model.get_layer(name).output for name in ("class_token", "norm", "first")]
    with_token, normed, first = keras.Model(model.input, layers)(images(2, 8, 8, 1))
    assert with_token.shape == (2, 1 + 4, 8)
    np.testing.assert_array_equal(with_token[:, 0], [token, token])
    np.testing.assert_array_equal(first[:, 0], normed[:, 0])


def test_saved_file_keeps_the_class_token(tmp_path):
    model = vit.build((8, 8, 1), 3, patch_size=4, class_token=True, **SMALL)
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    batch = images(1, 8, 8, 1)
    np.testing.assert_allclose(loaded(batch), model(batch), rtol=1e-6)


def test_recomputing_changes_no_gradient():
    build = functools.partial(vit.build, (8, 8, 1), 3, class_token=True, **SMALL)
    kept, recomputed = products_with_and_without_remat(build, images(2, 8, 8, 1))
    assert recomputed >= kept + 6


@pytest.mark.slow
def test_the_published_base_model_has_its_weights_but_for_the_biases_of_keys():
    # Dosovitskiy et al. 2021, table 1: 86 million. Patches 16 * 16 * 3 * 768 + 768,
    # token 768, positions 197 * 768, a block 7,087,872, norm 1,536, logits 769,000.
    # Softmax cancels a bias of the keys, 768 in each block, so there is none here.
    model = vit.build(
        (224, 224, 3),
        1000,
        patch_size=16,
        dim=768,
        num_blocks=12,
        num_heads=12,
        class_token=True,
    )
    parts = 590_592 + 768 + 151_296 + 12 * 7_087_872 + 1_536 + 769_000
    assert parts == 86_567_656
    assert model.count_params() == parts - 12 * 768


def test_convolutions_leave_one_place_of_each_patch():
    model = vit.build((16, 8, 3), 2, patch_size=4, stem="convolutions", **SMALL)
    shapes = [model.get_layer(f"stem_{n}_relu").output.shape[1:] for n in (1, 2)]
    assert shapes == [(8, 4, 4), (4, 2, 8)]
    assert model.get_layer("sequence").output.shape[1:] == (4 * 2, 8)


def test_convolutions_need_patches_of_a_power_of_two():
    with pytest.raises(ValueError, match=r"power of 2 .*patch_size=6"):
        vit.build((12, 12, 1), 2, patch_size=6, stem="convolutions")


@pytest.mark.parametrize(
    "wrong", [{"patch_size": 5}, {"num_heads": 3}, {"dropout": 1}, {"stem": "conv"}]
)
def test_a_wrong_argument_is_named(wrong):
    with pytest.raises(ValueError, match=rf"`{next(iter(wrong))}`.*Received"):
        vit.build((8, 8, 1), 2, **{"patch_size": 4, "dim": 8, "num_heads": 2, **wrong})
