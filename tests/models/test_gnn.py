"""Layers over a neighbourhood: values by hand, and what must make no difference."""

import keras
import numpy as np
import pytest

from models import Graph, gnn
from tests.models.families import computes_in_half_precision, is_finer_than_half

# 2 -> 1 -> 0 and 0 -> 1: the path 0 - 1 - 2 as seen from its end, node 0.
PATH = np.array([[[0, 1, 0], [1, 0, 1], [0, 0, 0]]], "float32")
ONE_NUMBER = np.array([[[1.0], [2.0], [4.0]]], "float32")
every_layer = pytest.mark.parametrize("layer", gnn.LAYERS)


def model_of(layer, num_nodes=6, **arguments):
    heads = {"num_heads": 2} if layer == "gat" else {}
    arguments = {"units": (8,), **heads, **arguments}
    return gnn.build(Graph(num_nodes, 4), 3, layer=layer, **arguments)


def neighbourhoods(batch_size, num_nodes, seed=0):
    draw = np.random.default_rng(seed)
    edges = draw.random((batch_size, num_nodes, num_nodes)) < 0.4
    return {
        "features": draw.normal(size=(batch_size, num_nodes, 4)).astype("float32"),
        "adjacency": (edges & ~np.eye(num_nodes, dtype=bool)).astype("float32"),
    }


def of_path(layer, weights):
    """Return the logit of node 0 of the path, whose features are 1, 2 and 4."""
    heads = {"num_heads": 1} if layer == "gat" else {}
    model = gnn.build(Graph(3, 1), 1, layer=layer, units=(1,), **heads)
    shapes = {weight.path: weight.shape for weight in model.weights}
    assert set(shapes) == set(weights)
    model.set_weights([np.full(shapes[path], weights[path]) for path in shapes])
    return model({"features": ONE_NUMBER, "adjacency": PATH}).numpy().item()


def test_gcn_of_a_path_matches_values_by_hand():
    weights = {
        "hidden_1/kernel": 2.0,
        "hidden_1/bias": -4.0,
        "output/kernel": 3.0,
        "output/bias": 0.5,
    }
    # 2x - 4 is -2, 0, 4. Node 0 takes the mean of its own and node 1's, -1, cut to 0;
    # node 1 that of all three, 2/3. The answer: the mean of 3 * 0 and 3 * 2/3, + 0.5.
    assert of_path("gcn", weights) == pytest.approx(1.5)


def test_sage_of_a_path_matches_values_by_hand():
    weights = {
        "hidden_1_own/kernel": 1.0,
        "hidden_1_own/bias": -3.0,
        "hidden_1_sent/kernel": 2.0,
        "output_own/kernel": 5.0,
        "output_own/bias": 0.5,
        "output_sent/kernel": -1.0,
    }
    # Node 0: 1 - 3 + 2 * 2 = 2. Node 1: 2 - 3 + 2 * (1 + 4) / 2 = 4.
    # The answer: 5 * 2 + 0.5 - 4.
    assert of_path("sage", weights) == pytest.approx(6.5)


def test_gat_of_a_path_matches_values_by_hand():
    weights = {
        "hidden_1/kernel": 1.0,
        "hidden_1/bias": 0.0,
        "hidden_1_sent/kernel": 1.0,
        "hidden_1_received/kernel": -2.0,
        "output/kernel": 2.0,
        "output/bias": -1.0,
        "output_sent/kernel": 0.0,
        "output_received/kernel": 1.0,
    }

    def hidden(receiver, senders):
        scores = np.array([sender - 2 * receiver for sender in senders])
        shares = np.exp(np.where(scores > 0, scores, 0.2 * scores))
        return (shares * senders).sum() / shares.sum()  # above 0: ELU leaves it

    # The output's scores are the same for all senders: a mean.
    mean = (hidden(1, [1, 2]) + hidden(2, [1, 2, 4])) / 2
    assert of_path("gat", weights) == pytest.approx(2 * mean - 1, rel=1e-5)


@every_layer
def test_the_order_of_the_other_nodes_makes_no_difference(layer):
    model, batch = model_of(layer), neighbourhoods(3, 6)
    order = [0, 4, 2, 5, 1, 3]
    moved = {
        "features": batch["features"][:, order],
        "adjacency": batch["adjacency"][:, order][:, :, order],
    }
    np.testing.assert_allclose(model(moved), model(batch), rtol=1e-5, atol=1e-6)


@every_layer
def test_padding_makes_no_difference(layer):
    batch = neighbourhoods(3, 6)
    padded = {
        "features": np.pad(batch["features"], [(0, 0), (0, 3), (0, 0)]),
        "adjacency": np.pad(batch["adjacency"], [(0, 0), (0, 3), (0, 3)]),
    }
    small, large = model_of(layer), model_of(layer, num_nodes=9)
    large.set_weights(small.get_weights())
    np.testing.assert_allclose(large(padded), small(batch), rtol=1e-5, atol=1e-6)


@every_layer
def test_a_node_is_seen_from_as_many_steps_as_there_are_layers(layer):
    # 5 -> 4 -> 3 -> 2 -> 1 -> 0
    chain = np.eye(6, k=1, dtype="float32")[None]
    batch = {"features": np.ones((1, 6, 4), "float32"), "adjacency": chain}
    model = model_of(layer, units=(8, 8))
    want = model(batch).numpy()
    for node in range(1, 6):
        changed = {**batch, "features": batch["features"].copy()}
        changed["features"][0, node] = [3, -2, 1, 0]
        has_influence = (np.abs(model(changed) - want) > 1e-6).any()
        assert has_influence == (node <= 3), node


@every_layer
def test_a_node_alone_has_an_answer_of_its_own_features(layer):
    batch = neighbourhoods(2, 6)
    batch["adjacency"][:] = 0
    model = model_of(layer)
    other = {**batch, "features": batch["features"].copy()}
    other["features"][:, 1:] = 7
    np.testing.assert_array_equal(model(other), model(batch))
    other["features"][:, 0] = 7
    assert (np.abs(model(other) - model(batch)) > 1e-3).any()


@every_layer
def test_every_layer_is_saved_and_read_back(layer, tmp_path):
    model, batch = model_of(layer, dropout=0.1, l2=1e-3), neighbourhoods(2, 6)
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(loaded(batch), model(batch))
    np.testing.assert_allclose(sum(loaded.losses), sum(model.losses))


@pytest.mark.slow
@pytest.mark.parametrize("layer", ["sage", "gat"])
def test_a_batch_can_be_learned_by_heart(layer):
    model, batch = model_of(layer, units=(16,)), neighbourhoods(4, 6)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.Adam(0.02), loss)
    losses = [model.train_on_batch(batch, np.array([0, 1, 2, 1])) for _ in range(60)]
    assert losses[-1] < losses[0] / 10


@every_layer
def test_dropout_acts_in_training_only(layer):
    model, batch = model_of(layer, dropout=0.5), neighbourhoods(2, 6)
    np.testing.assert_array_equal(model(batch), model(batch))
    assert (model(batch, training=True).numpy() != model(batch).numpy()).any()


@every_layer
def test_mixed_precision_rounds_neither_logits_nor_shares(layer):
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        model = model_of(layer, dropout=0.5)
    finally:
        keras.config.set_dtype_policy("float32")
    assert computes_in_half_precision(model)
    assert is_finer_than_half(model(neighbourhoods(4, 6)))
    shares = [x for x in model.layers if "shares" in x.name or "message" in x.name]
    assert {x.compute_dtype for x in shares} == {"float32"}


def test_attention_has_eight_heads_unless_told():
    model = gnn.build(Graph(6, 4), 3, layer="gat", units=(8,))
    assert model.get_layer("hidden_1_sent").kernel.shape == (8, 1)


def test_l2_weighs_the_kernels_of_hidden_layers_alone():
    model = model_of("gcn", l2=0.5)
    kernel = model.get_layer("hidden_1").kernel.numpy()
    (penalty,) = model.losses
    np.testing.assert_allclose(penalty, 0.5 * (kernel**2).sum(), rtol=1e-5)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"layer": "gin"}, r"`layer` must be one of .*layer='gin'"),
        ({"units": (8, 0)}, r"`units` must .*units=\(8, 0\)"),
        ({"layer": "gat", "units": (9,)}, r"multiples of `num_heads`.*num_heads=2"),
        ({"layer": "gat", "num_heads": 0}, r"`num_heads` must .*num_heads=0"),
        ({"num_heads": 2}, r"`num_heads` must be left out .*num_heads=2, layer='gcn'"),
        ({"dropout": 1.0}, r"`dropout` must .*dropout=1.0"),
        ({"l2": -1.0}, r"`l2` must .*l2=-1.0"),
    ],
)
def test_a_wrong_argument_is_named(wrong, message):
    with pytest.raises(ValueError, match=message):
        model_of(**{"layer": "gcn", **wrong})
