import keras
import numpy as np
import pytest

from models import wide_deep

SHAPE = {"miles": None, "hour": 3}


def inputs_of(miles, hours):
    return {
        "miles": np.array(miles, "float32")[:, None],
        "hour": np.array(hours, "int64")[:, None],
    }


def test_logits_match_hand_computed_values():
    model = wide_deep.build(SHAPE, 1, units=(1,), embedding_dim=1)
    values = {
        "wide_hour": [[[10.0], [20.0], [30.0]]],
        "linear": [[[2.0]]],
        "deep_hour": [[[1.0], [2.0], [-5.0]]],
        "hidden_1": [[[1.0], [3.0]], [0.5]],  # rows: the embedding, then the number
        "deep": [[[4.0]], [0.25]],
    }
    for name, weights in values.items():
        model.get_layer(name).set_weights([np.array(w) for w in weights])
    got = model(inputs_of([1.0, 1.0], [1, 2]))
    # hour 1: wide 20 + 2 * 1; hidden 2 + 3 + 0.5; deep 4 * 5.5 + 0.25
    # hour 2: wide 30 + 2 * 1; hidden -5 + 3 + 0.5, cut to 0; deep 0.25
    np.testing.assert_allclose(got, [[22 + 22.25], [32 + 0.25]], rtol=1e-6)


def test_the_wide_part_starts_at_zero():
    model = wide_deep.build(SHAPE, 2)
    parts = [model.get_layer("wide").output, model.get_layer("deep").output]
    wide, deep = keras.Model(model.input, parts)(inputs_of([0.5, -2.0], [0, 2]))
    np.testing.assert_array_equal(wide, np.zeros((2, 2)))
    assert deep.numpy().all()


def test_the_wide_part_alone_learns_a_linear_rule():
    draw = np.random.default_rng(0)
    inputs = inputs_of(draw.normal(size=256), draw.integers(3, size=256))
    offsets = np.array([-1.0, 0.0, 1.0])
    labels = 2 * inputs["miles"] - offsets[inputs["hour"]] > 0
    model = wide_deep.build(SHAPE, 1)
    wide = keras.Model(model.input, model.get_layer("wide").output)
    loss = keras.losses.BinaryCrossentropy(from_logits=True)
    wide.compile(keras.optimizers.Adam(0.5), loss)
    for _ in range(60):
        wide.train_on_batch(inputs, labels)
    assert len(wide.weights) == 2
    assert np.mean((wide(inputs).numpy() > 0) == labels) > 0.98


@pytest.mark.parametrize("shape", [{"hour": 3}, {"miles": None}])
def test_a_table_may_hold_a_single_feature(shape):
    model = wide_deep.build(shape, 2)
    inputs = inputs_of([0.5, -2.0], [0, 2])
    logits = model({name: inputs[name] for name in shape}).numpy()
    assert (logits[0] != logits[1]).all()


def test_the_order_of_the_features_does_not_matter():
    shape = {"miles": None, "hour": 3, "fare": None, "day": 3}
    inputs = {
        **inputs_of([0.5, -2.0], [0, 2]),
        "fare": np.array([[3.0], [1.0]], "float32"),
        "day": np.array([[1], [1]]),
    }
    one = wide_deep.build(shape, 2)
    two = wide_deep.build(dict(reversed(shape.items())), 2)
    np.testing.assert_array_equal(one(inputs), two(inputs))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"input_shape": (3,)}, r"`input_shape` must map .*\(3,\)"),
        ({"input_shape": {"hour": 0}}, "`hour` must be a whole number .*hour=0"),
        ({"input_shape": {"trip miles": None}}, "feature name .*'trip miles'"),
        ({"input_shape": {"class": 3}}, "feature name .*'class'"),
        ({"embedding_dim": 0}, "`embedding_dim` must be .*embedding_dim=0"),
    ],
)
def test_a_wrong_argument_is_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        wide_deep.build(**{"input_shape": SHAPE, "num_outputs": 1, **arguments})
