import numpy as np
import pytest

from models import mlp


def test_outputs_match_hand_computed_values():
    model = mlp.build((1, 2), 1, units=(2,), scale=0.5)
    weights = [[1.0, -1.0], [2.0, 1.0]], [0.0, 1.0], [[1.0], [-2.0]], [0.5]
    model.set_weights([np.array(values) for values in weights])
    # (2, 4) -> scaled (1, 2) -> hidden (1+4, -1+2+1) = (5, 2) -> 5 - 4 + 0.5
    # (-2, 0) -> scaled (-1, 0) -> hidden (-1, 2), cut to (0, 2) -> -4 + 0.5
    got = model(np.array([[[2.0, 4.0]], [[-2.0, 0.0]]], "float32"))
    np.testing.assert_allclose(got, [[1.5], [-3.5]], rtol=1e-6)


def test_without_hidden_layers_it_is_linear():
    model = mlp.build((3,), 2, units=())
    assert [weights.shape for weights in model.weights] == [(3, 2), (2,)]


def test_a_table_becomes_numbers_and_learned_vectors():
    model = mlp.build({"age": None, "job": 3}, 1, units=(), embedding_dim=2)
    model.get_layer("vector_job").set_weights([np.array([[0, 0], [1, 2], [3, 4.0]])])
    model.get_layer("logits").set_weights([np.array([[10.0], [1], [-1]]), np.ones(1)])
    got = model({"age": np.array([[0.5]], "float32"), "job": np.array([[2]])})
    np.testing.assert_allclose(got, [[10 * 0.5 + 3 - 4 + 1]])


def test_hidden_layers_of_equal_shape_start_different():
    model = mlp.build((4,), 2, units=(4, 4))
    first, second = (model.get_layer(f"hidden_{n}").kernel.numpy() for n in (1, 2))
    assert (first != second).all()


def test_dropout_acts_in_training_only():
    model = mlp.build((4,), 2, units=(64,), dropout=0.5)
    inputs = np.ones((1, 4), "float32")
    np.testing.assert_array_equal(model(inputs), model(inputs))
    assert (model(inputs, training=True).numpy() != model(inputs).numpy()).any()


def test_a_table_may_hold_a_single_feature():
    for shape in ({"age": None}, {"job": 3}):
        model = mlp.build(shape, 1, units=())
        (name,) = shape
        assert model({name: np.array([[2], [1]])}).shape == (2, 1)


@pytest.mark.parametrize(
    ("shape", "wrong"),
    [((4,), {"embedding_dim": 8}), ({"age": None, "job": 3}, {"scale": 1.0})],
)
def test_an_argument_of_another_kind_of_input_is_refused(shape, wrong):
    name, value = next(iter(wrong.items()))
    message = rf"`{name}` must be left out .*Received: {name}={value}"
    with pytest.raises(ValueError, match=message):
        mlp.build(shape, 2, **wrong)


@pytest.mark.parametrize(
    "wrong",
    [{"units": 64}, {"units": (8, 0)}, {"dropout": 1.0}, {"activation": "reluu"}],
)
def test_a_value_out_of_range_is_named(wrong):
    name, value = next(iter(wrong.items()))
    with pytest.raises(
        ValueError, match=rf"`{name}` must .*Received: {name}="
    ) as caught:
        mlp.build((4,), 2, **wrong)
    assert repr(value) in str(caught.value)
