import functools

import numpy as np
import pytest

from models import Tokens, transformer_encoder
from tests.models.families import products_with_and_without_remat

SHAPE = Tokens(length=6, num_ids=9)
IDS = np.array([[3, 5, 2, 0, 0, 0], [1, 8, 4, 4, 7, 6]])


def build(**arguments):
    tiny = {"dim": 8, "num_blocks": 2, "num_heads": 2}
    return transformer_encoder.build(
        **{"input_shape": SHAPE, "num_outputs": 3, **tiny, **arguments}
    )


@pytest.mark.parametrize("pooling", transformer_encoder.POOLINGS)
def test_padding_does_not_change_logits(pooling):
    short = build(input_shape=Tokens(length=3, num_ids=9), pooling=pooling)
    long = build(pooling=pooling)
    weights = [w.copy() for w in long.get_weights()]
    for place, weight in enumerate(weights):
        if weight.shape == (6, 8):  # positions
            weights[place] = weight[:3]
    short.set_weights(weights)
    np.testing.assert_allclose(long(IDS[:1]), short(IDS[:1, :3]), atol=1e-5)


def test_without_positions_the_order_of_tokens_does_not_matter():
    model = build()
    table = model.get_layer("token_positions").table
    backwards = IDS[1:, ::-1]
    assert np.abs(model(backwards) - model(IDS[1:])).max() > 1e-4
    table.assign(np.zeros(table.shape))
    np.testing.assert_allclose(model(backwards), model(IDS[1:]), atol=1e-5)


def test_mean_leaves_padding_out():
    layer = transformer_encoder.MaskedMean()
    inputs = np.array([[[1.0], [3.0], [8.0]]] * 2, "float32")
    places = np.array([[True, True, False], [False] * 3])[:, None, None]
    np.testing.assert_allclose(layer(inputs, places), [[2.0], [0.0]])


def test_first_sees_nothing_but_what_the_first_token_has_gathered():
    model = build(pooling="first", num_blocks=1)
    attention = model.get_layer("block_1_attention").output_projection
    attention.kernel.assign(np.zeros(attention.kernel.shape))
    other = np.array([[3, 1, 1, 1, 1, 1]])
    np.testing.assert_allclose(model(other), model(IDS[:1]), atol=1e-6)


def test_recomputing_changes_no_gradient():
    kept, recomputed = products_with_and_without_remat(
        functools.partial(build, num_blocks=1), IDS
    )
    assert recomputed >= kept + 6


def test_dropout_acts_in_training_only():
    model = build(dropout=0.5)
    np.testing.assert_array_equal(model(IDS), model(IDS))
    assert (model(IDS, training=True).numpy() != model(IDS).numpy()).any()


def test_the_number_of_weights_is_that_of_the_parts():
    # Per block: query, value, output 8 * 8 + 8 each, key 8 * 8, feed-forward
    # 8 * 32 + 32 + 32 * 8 + 8, two normalisations of 16.
    block = 3 * 72 + 64 + (8 * 32 + 32) + (32 * 8 + 8) + 2 * 16
    want = 9 * 8 + 6 * 8 + 2 * block + 16 + (8 * 3 + 3)
    assert build().count_params() == want


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"input_shape": (6,)}, r"`input_shape` must be `Tokens.*input_shape=\(6,\)"),
        ({"pooling": "max"}, r"`pooling` must be one of .*pooling='max'"),
        ({"dim": 9}, r"`dim` must be a multiple of `num_heads`.*dim=9, num_heads=2"),
        ({"num_blocks": 0}, r"`num_blocks` must .*num_blocks=0"),
        ({"hidden_dim": 0}, r"`hidden_dim` must .*hidden_dim=0"),
        ({"dropout": 1.0}, r"`dropout` must .*dropout=1.0"),
    ],
)
def test_a_value_out_of_range_is_named(wrong, message):
    with pytest.raises(ValueError, match=message):
        build(**wrong)
