import keras
import numpy as np
import pytest

from models import cnn


def test_lenet5_has_the_shapes_of_the_paper():
    # LeCun et al. 1998, figure 2: C1 6@28x28, S2 6@14x14, C3 16@10x10, S4 16@5x5,
    # C5 120, F6 84, OUTPUT 10; here (height, width, maps).
    model = cnn.build((32, 32, 1), 10)
    shapes = {layer.name: layer.output.shape[1:] for layer in model.layers}
    assert shapes["c1"] == (28, 28, 6)
    assert shapes["s2"] == (14, 14, 6)
    assert shapes["c3"] == (10, 10, 16)
    assert shapes["s4"] == (5, 5, 16)
    assert shapes["c5"] == (1, 1, 120)
    assert shapes["f6"] == (84,)
    assert shapes["logits"] == (10,)


@pytest.mark.parametrize("size", [(32, 32), (8, 8), (28, 40)])
def test_lenet5_has_61706_weights_for_images_of_any_size(size):
    # The paper's C1 156, C5 48,120 and F6 10,164; C3 with all six maps
    # 16 * (6 * 25 + 1) = 2,416; logits 10 * (84 + 1) = 850.
    model = cnn.build((*size, 1), 10)
    assert model.count_params() == 156 + 2_416 + 48_120 + 10_164 + 850 == 61_706


def test_lenet5_of_a_flat_image_with_equal_weights_matches_the_closed_form():
    model = cnn.build((20, 20, 1), 2, scale=1 / 255)
    weight = 0.01
    model.set_weights(
        [np.full(w.shape, weight if len(w.shape) > 1 else 0.0) for w in model.weights]
    )
    # Every unit of a layer is equal: tanh(number of inputs * weight * input).
    value = 1.0
    for num_inputs in (25, 6 * 25, 16 * 25, 120):
        value = np.tanh(num_inputs * weight * value)
    got = model(np.full((1, 20, 20, 1), 255, "float32"))
    np.testing.assert_allclose(got, np.full((1, 2), 84 * weight * value), rtol=1e-5)


def test_lenet5_pools_by_averaging():
    model = cnn.build((32, 32, 1), 10)
    image = np.random.default_rng(0).uniform(size=(1, 32, 32, 1)).astype("float32")
    layers = [model.get_layer(name).output for name in ("c1", "s2", "c3", "s4")]
    c1, s2, c3, s4 = keras.Model(model.input, layers)(image)
    for maps, pooled in [(c1, s2), (c3, s4)]:
        half, filters = pooled.shape[1], pooled.shape[-1]
        blocks = maps.numpy().reshape(1, half, 2, half, 2, filters)
        np.testing.assert_allclose(pooled, blocks.mean(axis=(2, 4)), atol=1e-6)


def test_an_image_of_the_right_size_is_not_changed_by_the_resizing():
    model = cnn.build((32, 32, 1), 10)
    image = np.random.default_rng(0).uniform(size=(1, 32, 32, 1)).astype("float32")
    resized = keras.Model(model.input, model.get_layer("resize").output)(image)
    np.testing.assert_array_equal(resized, image)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"architecture": "lenet"}, r"Expected one of \('lenet5',\)\. .*'lenet'"),
        ({"input_shape": (8, 8)}, r"\(height, width, channels\)\. .*\(8, 8\)"),
    ],
)
def test_a_wrong_argument_is_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        cnn.build(**{"input_shape": (8, 8, 1), "num_outputs": 2, **arguments})
