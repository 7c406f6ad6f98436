import functools
import os
import re
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf

from models import _conv, _layers, cnn

ROOT = Path(cnn.__file__).parents[1]


def images(*shape):
    return np.random.default_rng(0).uniform(size=shape).astype("float32")


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
    image = images(1, 32, 32, 1)
    layers = [model.get_layer(name).output for name in ("c1", "s2", "c3", "s4")]
    c1, s2, c3, s4 = keras.Model(model.input, layers)(image)
    for maps, pooled in [(c1, s2), (c3, s4)]:
        half, filters = pooled.shape[1], pooled.shape[-1]
        blocks = maps.numpy().reshape(1, half, 2, half, 2, filters)
        np.testing.assert_allclose(pooled, blocks.mean(axis=(2, 4)), atol=1e-6)


def test_an_image_of_the_right_size_is_not_changed_by_the_resizing():
    model = cnn.build((32, 32, 1), 10)
    image = images(1, 32, 32, 1)
    resized = keras.Model(model.input, model.get_layer("resize").output)(image)
    np.testing.assert_array_equal(resized, image)


@pytest.mark.parametrize("architecture", ["compact", "alexnet", "vgg"])
@pytest.mark.parametrize("shape", [(28, 28, 1), (32, 32, 3)])
def test_a_small_form_reads_small_images(architecture, shape):
    check_small_form(architecture, shape)


@pytest.mark.slow
@pytest.mark.parametrize("architecture", ["resnet", "efficientnet"])
@pytest.mark.parametrize("shape", [(28, 28, 1), (32, 32, 3)])
def test_a_deep_small_form_reads_small_images(architecture, shape):
    check_small_form(architecture, shape)


def check_small_form(architecture, shape):
    """Check the range and dtype of the outputs, each row by itself, and the seed."""
    build = functools.partial(
        cnn.build, shape, 10, architecture=architecture, dropout=0.5
    )
    model, batch = build(seed=3), images(4, *shape)
    logits = model(batch, training=False).numpy()
    assert logits.shape == (4, 10)
    assert logits.dtype == np.float32
    assert 0 < np.abs(logits).max() < 100
    alone = model(batch[:1], training=False)
    np.testing.assert_allclose(logits[:1], alone, rtol=1e-4, atol=1e-5)
    again = build(seed=3)
    np.testing.assert_array_equal(again(batch[:1], training=False), alone)
    assert (build(seed=4)(batch[:1], training=False).numpy() != alone.numpy()).any()
    assert np.isfinite(again(batch[:1], training=True)).all()  # a batch of one


@pytest.mark.slow
@pytest.mark.parametrize("architecture", ["resnet50", "efficientnet_b0"])
@pytest.mark.parametrize("shape", [(28, 28, 1), (32, 32, 3)])
def test_a_published_form_without_a_fixed_size_reads_small_images(architecture, shape):
    logits = cnn.build(shape, 10, architecture=architecture)(images(2, *shape))
    assert np.isfinite(logits).all()


def test_compact_has_fewer_than_100000_weights():
    model = cnn.build((28, 28, 1), 10, architecture="compact")
    convolutions = 9 * (1 * 32 + 32 * 64 + 64 * 96)
    assert model.count_params() == convolutions + 4 * 192 + 15_370 == 90_154
    assert model.count_params() < 100_000


def test_skips_change_no_shape_but_that_of_the_projections():
    with_skips, without = (
        cnn.build((28, 28, 1), 10, architecture="resnet", skips=skips)
        for skips in (True, False)
    )
    shapes = {layer.name: layer.output.shape for layer in with_skips.layers}
    for layer in without.layers:
        assert shapes[layer.name] == layer.output.shape
    gone = set(shapes) - {layer.name for layer in without.layers}
    assert all(name.endswith("_add") or "_skip_" in name for name in gone)
    assert sum(name.endswith("_add") for name in gone) == 15


@pytest.mark.parametrize("skip", [True, False])
def test_what_a_residual_block_learns_is_added_to_its_inputs(skip):
    inputs = keras.Input((5, 5, 2))
    x = keras.layers.ReLU()(inputs)
    outputs = _conv.basic_block(x, 2, _layers.seeds(0), "block", skip=skip)
    model = keras.Model(inputs, outputs)
    scale, *others = model.get_layer("block_2_norm").get_weights()
    model.get_layer("block_2_norm").set_weights([np.zeros_like(scale), *others])
    batch = images(1, 5, 5, 2) - 0.5
    np.testing.assert_array_equal(model(batch), np.maximum(batch, 0) * skip)


def test_squeeze_and_excitation_scales_whole_channels():
    inputs = keras.Input((4, 4, 3))
    outputs = _conv.squeeze_excite(inputs, 2, _layers.seeds(0), "block")
    model = keras.Model(inputs, outputs)
    # Excitation by its bias alone: sigmoid(0), and of log 3: 3 / 4.
    bias = np.array([0.0, np.log(3.0), -np.log(3.0)])
    model.get_layer("block_excite").set_weights([np.zeros((1, 1, 2, 3)), bias])
    batch = images(1, 4, 4, 3)
    np.testing.assert_allclose(model(batch), batch * [0.5, 0.75, 0.25], rtol=1e-6)


def test_response_norm_matches_the_operation_of_tensorflow():
    batch = 100 * images(2, 3, 3, 7)
    want = tf.nn.local_response_normalization(
        batch, depth_radius=2, bias=2.0, alpha=1e-4, beta=0.75
    )
    np.testing.assert_allclose(_conv.LocalResponseNorm()(batch), want, rtol=1e-5)


def test_saved_file_of_alexnet_gives_the_same_outputs(tmp_path):
    model, batch = cnn.build((8, 8, 1), 3, architecture="alexnet"), images(1, 8, 8, 1)
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    np.testing.assert_allclose(loaded(batch), model(batch), rtol=1e-6)


def test_dropout_acts_in_training_only():
    model = cnn.build((8, 8, 1), 3, dropout=0.5)
    batch = images(1, 8, 8, 1)
    np.testing.assert_array_equal(model(batch), model(batch))
    assert (model(batch, training=True).numpy() != model(batch).numpy()).any()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("architecture", "side", "num_weights"),
    [
        # Krizhevsky et al. 2012: "60 million", of two towers; one tower has 34,944 +
        # 614,656 + 885,120 + 1,327,488 + 884,992 + 37,752,832 + 16,781,312 + 4,097,000.
        ("alexnet_full", 227, 62_378_344),
        (
            "vgg16",
            224,
            138_357_544,
        ),  # Simonyan and Zisserman 2015, table 2: 138 million
        # keras.applications counts 25,636,712, with 26,560 biases of convolutions
        # which the normalisation after them cancels.
        ("resnet50", 224, 25_636_712 - 26_560),
        # keras.applications counts 5,330,571, with 7 numbers that normalise its inputs.
        ("efficientnet_b0", 224, 5_330_571 - 7),
    ],
)
def test_a_published_form_has_the_weights_of_the_paper(architecture, side, num_weights):
    model = cnn.build((side, side, 3), 1000, architecture=architecture)
    assert model.count_params() == num_weights


def resnet_name(name):
    """Return what keras.applications calls a layer of ours that has weights."""
    if name.startswith("stem"):
        return name.replace("stem", "conv1").replace("norm", "bn")
    stage, block, part, kind = re.fullmatch(
        r"stage_(\d)_block_(\d)_(\d|skip)_(conv|norm)", name
    ).groups()
    part = part.replace("skip", "0")
    return f"conv{int(stage) + 1}_block{block}_{part}_{kind.replace('norm', 'bn')}"


def efficientnet_name(name):
    """Return what keras.applications calls a layer of ours that has weights."""
    if name.startswith(("stem", "head")):
        return name.replace("head", "top").replace("norm", "bn")
    stage, block, part = re.fullmatch(r"stage_(\d)_block_(\d)_(\w+)", name).groups()
    parts = {
        "depthwise": "dwconv",
        "depthwise_norm": "bn",
        "reduce": "se_reduce",
        "excite": "se_expand",
    }
    part = parts.get(part, part.replace("norm", "bn"))
    return f"block{stage}{'abcd'[int(block) - 1]}_{part}"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("architecture", "reference", "name_of", "scale"),
    [
        ("resnet50", keras.applications.ResNet50, resnet_name, 1.0),
        # The reference scales pixels by 1/255 itself.
        (
            "efficientnet_b0",
            keras.applications.EfficientNetB0,
            efficientnet_name,
            1 / 255,
        ),
    ],
)
def test_a_published_form_matches_keras_applications(
    architecture, reference, name_of, scale
):
    shape = (64, 96, 3)
    model = cnn.build(shape, 7, architecture=architecture, scale=scale)
    reference = reference(
        weights=None, input_shape=shape, classes=7, classifier_activation=None
    )
    draw = np.random.default_rng(0)
    for layer in model.layers:
        if not layer.weights:
            continue
        name = "predictions" if layer.name == "logits" else name_of(layer.name)
        twin = reference.get_layer(name)
        values = [
            w if w.ndim > 1 else draw.uniform(0.5, 1.0, w.shape)
            for w in layer.get_weights()
        ]
        layer.set_weights(values)
        no_bias = len(twin.weights) - len(values)  # see the counts of weights above
        twin.set_weights([*values, *([np.zeros(values[-1].shape[-1])] * no_bias)])
        twin.epsilon = _conv.EPSILON  # theirs is another for ResNet
    batch = 255 * images(2, *shape)
    want = reference(batch, training=False).numpy()
    got = model(batch, training=False).numpy()
    np.testing.assert_allclose(got, want, rtol=1e-3, atol=1e-4 * np.abs(want).max())


@pytest.mark.slow
def test_two_replicas_normalise_the_batch_of_one(tmp_path):
    code = """
import keras, numpy as np, tensorflow as tf
from models import cnn
cpu = tf.config.list_physical_devices("CPU")[0]
two = [tf.config.LogicalDeviceConfiguration()] * 2
tf.config.set_logical_device_configuration(cpu, two)
devices = [device.name for device in tf.config.list_logical_devices("CPU")]
draw = np.random.default_rng(0)
data = tf.data.Dataset.from_tensor_slices((
    draw.uniform(size=(40, 8, 8, 1)).astype("float32"), draw.integers(3, size=40)
)).batch(8)
for devices in (devices[:1], devices):
    with tf.distribute.MirroredStrategy(devices).scope():
        model = cnn.build((8, 8, 1), 3, architecture="compact")
        loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        model.compile(keras.optimizers.SGD(0.1), loss, jit_compile=False)
    model.fit(data, shuffle=False, verbose=0)
    print(*model.evaluate(data, return_dict=True, verbose=0).values())
"""
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        env={**os.environ, "CUDA_VISIBLE_DEVICES": "-1"},
        capture_output=True,
        text=True,
        check=True,
    )
    one, two = map(float, done.stdout.split())
    assert one != pytest.approx(np.log(3), abs=1e-3)
    assert two == pytest.approx(one, abs=1e-5)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"architecture": "lenet"}, r"Expected one of \('lenet5', .*\)\. .*'lenet'"),
        ({"skips": False}, r"`skips` must .*skips=False, architecture='lenet5'"),
        ({"input_shape": (8, 8)}, r"\(height, width, channels\)\. .*\(8, 8\)"),
    ],
)
def test_a_wrong_argument_is_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        cnn.build(**{"input_shape": (8, 8, 1), "num_outputs": 2, **arguments})
