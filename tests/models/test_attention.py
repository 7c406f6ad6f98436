import keras
import numpy as np
import pytest
import tensorflow as tf

from models import _attention, _layers
from tests.models.families import products_with_and_without_remat

X = np.random.default_rng(0).normal(size=(2, 5, 8)).astype("float32")


def attention(**arguments):
    layer = _attention.Attention(8, 2, **arguments)
    layer.build((None, 5, 8))
    return layer


def identity_attention(dim):
    """Return a layer with one head whose four projections change nothing."""
    layer = _attention.Attention(dim, 1)
    layer.build((None, 2, dim))
    for dense in (layer.query, layer.key, layer.value, layer.output_projection):
        dense.kernel.assign(np.eye(dim))
    return layer


def softmax(scores):
    exponentials = np.exp(scores - scores.max(axis=-1, keepdims=True))
    return exponentials / exponentials.sum(axis=-1, keepdims=True)


def test_attention_of_two_places_matches_hand_computed_values():
    # Queries (1, 0) and (0, 2), scores divided by sqrt(2): the first sees scores
    # (1, 0) / sqrt(2), the second (0, 4) / sqrt(2); the values are the places.
    x = np.array([[[1.0, 0.0], [0.0, 2.0]]], "float32")
    first, second = 1 / (1 + np.exp(-1 / np.sqrt(2))), 1 / (1 + np.exp(4 / np.sqrt(2)))
    want = [[[first, 2 * (1 - first)], [second, 2 * (1 - second)]]]
    np.testing.assert_allclose(identity_attention(2)(x), want, rtol=1e-6)


def test_heads_look_each_for_themselves():
    # Two heads of width 4 are two layers of one head, on halves of the projections.
    layer = attention()
    query, key, value = (
        X @ dense.kernel.numpy() for dense in (layer.query, layer.key, layer.value)
    )
    heads = []
    for half in (slice(0, 4), slice(4, 8)):
        scores = query[..., half] @ key[..., half].transpose(0, 2, 1) / np.sqrt(4)
        heads.append(softmax(scores) @ value[..., half])
    want = np.concatenate(heads, axis=-1) @ layer.output_projection.kernel.numpy()
    np.testing.assert_allclose(layer(X), want, rtol=1e-4, atol=1e-5)


def test_queries_may_look_at_something_else():
    layer, others = attention(), X[:, ::-1][:, :3]
    together = layer(X, others)
    assert together.shape == (2, 5, 8)
    np.testing.assert_allclose(layer(X[:, 1:2], others), together[:, 1:2], atol=1e-6)


def test_the_mask_hides_what_it_must():
    mask = np.array([True, True, False, True, False])[None, None, None]
    layer, changed = attention(), X.copy()
    changed[:, [2, 4]] = 9.0
    kept = [0, 1, 3]
    got = layer(changed, attention_mask=mask).numpy()[:, kept]
    want = layer(X[:, kept]).numpy()
    np.testing.assert_allclose(got, want, atol=1e-6)


def test_who_may_look_nowhere_gets_zeros_and_finite_gradients():
    layer, x = attention(), tf.constant(X)
    with tf.GradientTape() as tape:
        tape.watch(x)
        outputs = layer(x, attention_mask=np.zeros((2, 1, 1, 5), bool))
    np.testing.assert_array_equal(outputs, np.zeros((2, 5, 8)))
    for gradient in tape.gradient(outputs, [x, *layer.trainable_variables]):
        assert np.isfinite(tf.convert_to_tensor(gradient)).all()


def test_causal_attention_hides_the_future():
    layer, changed = attention(causal=True), X.copy()
    changed[:, 3:] = 0.0
    got, want = layer(changed).numpy(), layer(X).numpy()
    np.testing.assert_allclose(got[:, :3], want[:, :3], atol=1e-6)
    assert (np.abs(got - want)[:, 3:] > 1e-3).any()


def test_causal_mask_lets_the_last_query_see_every_key():
    got = _attention.causal_mask(2, 3)
    np.testing.assert_array_equal(got, [[[[1, 1, 0], [1, 1, 1]]]])


def test_keys_and_values_kept_between_steps_give_what_one_pass_gives():
    layer = attention(causal=True)
    kept, steps = [], []
    for place in range(5):
        kept.append(layer.project_keys_values(X[:, place : place + 1]))
        keys, values = (
            np.concatenate(each, axis=2) for each in zip(*kept, strict=True)
        )
        steps.append(layer.attend(X[:, place : place + 1], keys, values))
    np.testing.assert_allclose(np.concatenate(steps, axis=1), layer(X), atol=1e-6)


def test_weights_are_computed_in_float32_under_a_mixed_policy():
    # 300 equal places must add up to 1.
    layer = _attention.Attention(4, 1, dtype="mixed_bfloat16")
    layer.build((None, 300, 4))
    layer.query.kernel.assign(np.zeros((4, 4)))
    layer.value.kernel.assign(np.eye(4))
    layer.output_projection.kernel.assign(np.eye(4))
    outputs = layer(np.ones((1, 300, 4), "float32"))
    assert outputs.dtype == "bfloat16"
    np.testing.assert_allclose(keras.ops.cast(outputs, "float32"), 1.0, rtol=0.005)


@pytest.mark.parametrize(
    "make", [lambda remat: attention(remat=remat), lambda remat: feed_forward(remat)]
)
def test_recomputing_changes_no_gradient(make):
    kept, recomputed = products_with_and_without_remat(make, X)
    assert recomputed > kept


def feed_forward(remat=False):
    layer = _attention.FeedForward(16, remat=remat)
    layer.build((None, 5, 8))
    return layer


def test_the_feed_forward_part_sees_each_place_by_itself():
    layer = feed_forward()
    np.testing.assert_allclose(layer(X)[:, 2:3], layer(X[:, 2:3]), atol=1e-6)


def test_positions_are_added_and_can_be_had_one_by_one():
    layer = _attention.PositionEmbedding(7)
    got = layer(X)
    np.testing.assert_allclose(got, X + layer.table.numpy()[:5], atol=1e-7)
    np.testing.assert_array_equal(layer.embed(np.array([3])), layer.table.numpy()[3:4])


def test_padding_is_where_the_id_is_0():
    got = _attention.PaddingMask()(np.array([[5, 1, 0]]))
    np.testing.assert_array_equal(got, [[[[True, True, False]]]])


def test_blocks_without_positions_permute_with_the_tokens():
    block = block_model()
    order = np.array([3, 0, 4, 1, 2])
    np.testing.assert_allclose(
        block(X[:, order]), block(X).numpy()[:, order], atol=1e-5
    )


def test_a_block_that_gives_nothing_passes_on_what_it_was_given():
    block = block_model()
    for name in ("b_attention", "b_feed_forward"):
        output = block.get_layer(name).output_projection
        output.kernel.assign(np.zeros(output.kernel.shape))
    np.testing.assert_allclose(block(X), X)


def test_equal_layers_of_a_block_start_different():
    block = block_model()
    layer = block.get_layer("b_attention")
    kernels = [d.kernel.numpy() for d in (layer.query, layer.key, layer.value)]
    assert not np.allclose(kernels[0], kernels[1])
    assert not np.allclose(kernels[1], kernels[2])


def test_a_saved_block_is_the_same_block(tmp_path):
    block = block_model(causal=True)
    block.save(tmp_path / "block.keras")
    loaded = keras.saving.load_model(tmp_path / "block.keras")
    np.testing.assert_allclose(loaded(X), block(X), atol=1e-6)


def block_model(**arguments):
    inputs = keras.Input((5, 8))
    outputs = _attention.encoder_block(
        inputs,
        None,
        _layers.seeds(0),
        num_heads=2,
        hidden_dim=16,
        name="b",
        **arguments,
    )
    return keras.Model(inputs, outputs)


def test_a_width_that_heads_do_not_share_evenly_is_named():
    with pytest.raises(
        ValueError, match=r"`dim` must be a multiple .*dim=6, num_heads=4"
    ):
        _attention.Attention(6, 4)
