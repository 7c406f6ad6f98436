"""Weights that a training begins with: which are taken, which may change, and how."""

import json
import logging
from dataclasses import replace
from types import SimpleNamespace

import keras
import numpy as np
import pytest
import tensorflow as tf

import models
from components import export, inputs, start_from
from recipes.errors import BadInputError
from tests.components.conftest import ROWS, TABLE_SPEC, transform

SHAPE = (8, 8, 1)


@pytest.fixture(scope="module")
def save(images):
    """A function that exports a model of images and returns where."""
    section = {**images.section, "image": {**images.section["image"], "shape": SHAPE}}

    def write(model, folder):
        export.write(model, images.output, section, str(folder))
        return str(folder)

    return write


def build(family="mlp", outputs=3, seed=0, **arguments):
    return models.build(family, SHAPE, outputs, seed=seed, **arguments)


def config(directory, **changes):
    section = {
        "run": None,
        "version": "served",
        "freeze": [],
        "learning_rate_factors": {},
        "lora_rank": None,
        **changes,
    }
    train = {"start_from": section, "seed": 0}
    return {"train": train, "start_from_dir": directory}


def prepared(directory, model, **changes):
    start_from.prepare(model, config(directory, **changes))
    return model


@pytest.fixture(scope="module")
def mlp(tmp_path_factory, save):
    """A model with other weights than a new one has, and its SavedModel."""
    model = build(units=(6, 5), seed=1)
    return model, save(model, tmp_path_factory.mktemp("mlp"))


IMAGES = np.random.default_rng(0).normal(size=(4, *SHAPE)).astype("float32")


def answers(model):
    return np.asarray(model(IMAGES, training=False))


def trained(model, steps=3):
    """Move the trainable weights a few steps, so that they differ from the start."""
    for _ in range(steps):
        with tf.GradientTape() as tape:
            loss = tf.reduce_sum(model(IMAGES, training=True) ** 2)
        for variable, gradient in zip(
            model.trainable_variables,
            tape.gradient(loss, model.trainable_variables),
            strict=True,
        ):
            variable.assign_sub(0.01 * tf.convert_to_tensor(gradient))
    return model


def test_without_the_section_nothing_changes():
    model = build(units=(6, 5))
    before = answers(model)
    start_from.prepare(model, {"train": {"start_from": None}})
    np.testing.assert_array_equal(answers(model), before)
    assert start_from.factors(model, {"start_from": None}) == {}


def test_a_model_answers_as_the_one_it_starts_from(mlp):
    source, directory = mlp
    model = build(units=(6, 5))
    assert np.abs(answers(model) - answers(source)).max() > 0.1
    np.testing.assert_array_equal(answers(prepared(directory, model)), answers(source))


@pytest.mark.slow
@pytest.mark.parametrize("dropout", [(0.0, 0.5), (0.5, 0.0)])
def test_dropout_may_differ(tmp_path, dropout, save):
    before, after = dropout
    source = build(units=(6, 5), seed=1, dropout=before)
    model = prepared(save(source, tmp_path), build(units=(6, 5), dropout=after))
    np.testing.assert_array_equal(answers(model), answers(source))


def test_another_number_of_outputs_keeps_the_last_layer_new(mlp, caplog):
    source, directory = mlp
    model = build(units=(6, 5), outputs=7)
    new = model.get_layer("logits").get_weights()
    with caplog.at_level(logging.INFO):
        prepared(directory, model)
    assert "layer logits starts anew" in caplog.text
    for name in ("hidden_1", "hidden_2"):
        for got, want in zip(
            model.get_layer(name).get_weights(),
            source.get_layer(name).get_weights(),
            strict=True,
        ):
            np.testing.assert_array_equal(got, want)
    for got, want in zip(model.get_layer("logits").get_weights(), new, strict=True):
        np.testing.assert_array_equal(got, want)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"units": (6, 4)}, r"hidden_2/kernel \(6, 4\), there \(6, 5\)"),
        ({"units": (6,)}, r"logits/kernel \(6, 3\), there \(6, 5\)"),
        ({"units": (6, 5, 3)}, r"logits/kernel \(3, 3\), there no more weights"),
        ({"units": (6, 5, 5)}, r"hidden_3/kernel \(5, 5\), there \(5, 3\)"),
        ({"family": "cnn"}, r"c1/kernel \(5, 5, 1, 6\), there \(64, 6\)"),
    ],
)
def test_another_model_is_refused_with_the_first_difference(mlp, arguments, message):
    with pytest.raises(BadInputError, match=message):
        prepared(mlp[1], build(**arguments))


def test_a_directory_without_weights_is_refused(tmp_path):
    with pytest.raises(BadInputError, match="No weights in"):
        prepared(str(tmp_path), build())


@pytest.mark.slow
def test_a_quantized_version_is_refused(tmp_path, save):
    source = build(units=())
    source.get_layer("logits").quantize("int8")
    with pytest.raises(BadInputError, match="quantized to int8"):
        prepared(save(source, tmp_path), build(units=()))


@pytest.mark.parametrize(
    ("patterns", "still"),
    [
        (["hidden_1"], {"hidden_2", "logits"}),
        (["hidden_*"], {"logits"}),
        (["hidden_2", "log?ts"], {"hidden_1"}),
    ],
)
def test_frozen_layers_stay_as_they_are(mlp, patterns, still):
    source, directory = mlp
    model = trained(prepared(directory, build(units=(6, 5)), freeze=patterns))
    moved = {
        layer.name
        for layer, other in zip(model.layers, source.layers, strict=True)
        if layer.weights
        and np.abs(layer.get_weights()[0] - other.get_weights()[0]).max() > 0
    }
    assert moved == still


def test_frozen_batch_normalization_keeps_its_statistics(mlp, tmp_path, save):
    def normalized():
        inputs = keras.Input(SHAPE, name="inputs")
        x = keras.layers.BatchNormalization(name="norm")(inputs)
        x = keras.layers.Flatten(name="flatten")(x)
        return keras.Model(inputs, keras.layers.Dense(3, name="logits")(x))

    directory = save(normalized(), tmp_path)
    model = trained(prepared(directory, normalized(), freeze=["norm"]))
    norm = model.get_layer("norm")
    np.testing.assert_array_equal(norm.moving_mean, [0.0])
    np.testing.assert_allclose(norm(IMAGES, training=True), IMAGES, rtol=1e-3)


def test_an_unknown_pattern_is_refused_with_the_names_there_are(mlp):
    with pytest.raises(
        BadInputError,
        match=r"freeze` names no layer .*hidden_1, hidden_2, logits\. Received: 'blo",
    ):
        prepared(mlp[1], build(units=(6, 5)), freeze=["block_*"])
    train = config("", learning_rate_factors={"hidden": 0.1})["train"]
    with pytest.raises(BadInputError, match="learning_rate_factors` names no layer"):
        start_from.factors(build(), train)


def test_factors_are_told_by_the_path_of_what_is_trained(mlp):
    model = prepared(mlp[1], build(units=(6, 5)), freeze=["hidden_2"])
    patterns = {"hidden_*": 0.1, "hidden_1": 0.5, "logits": 1.0}
    train = config("", learning_rate_factors=patterns)["train"]
    got = start_from.factors(model, train)
    assert got == {"hidden_1/kernel": 0.5, "hidden_1/bias": 0.5}


class Block(keras.layers.Layer):
    """A layer with one inside, as attention has."""

    def __init__(self, **arguments):
        super().__init__(**arguments)
        self.inner = keras.layers.Dense(4, name="inner")

    def build(self, shape):
        self.inner.build(shape)

    def call(self, inputs):
        return self.inner(inputs)


def of_all_kinds():
    """Return a model with every kind of layer that takes low-rank changes."""
    keras.utils.set_random_seed(0)
    inputs = keras.Input(SHAPE, name="inputs")
    x = keras.layers.Conv2D(3, 3, name="conv")(inputs)
    x = keras.layers.Reshape((36, 3), name="rows")(x)
    x = keras.layers.EinsumDense("abc,cd->abd", (36, 4), name="einsum")(x)
    x = Block(name="block")(x)
    ids = keras.ops.cast(x[:, :2, 0] > 0, "int64")
    seen = keras.layers.Embedding(2, 4, name="ids")(ids)
    x = keras.layers.Concatenate(axis=1, name="both")([x, seen])
    x = keras.layers.Flatten(name="flatten")(x)
    return keras.Model(inputs, keras.layers.Dense(3, name="logits")(x))


@pytest.mark.slow
def test_low_rank_changes_are_trained_in_place_of_every_kind_of_kernel(tmp_path, save):
    directory = save(of_all_kinds(), tmp_path)
    model = prepared(directory, of_all_kinds(), lora_rank=2)
    before = {v.path: v.numpy() for v in model.variables}
    np.testing.assert_allclose(answers(model), answers(of_all_kinds()), rtol=1e-5)
    trained(model)
    kernels = {"conv/kernel", "einsum/kernel", "block/inner/kernel", "logits/kernel"}
    kernels |= {"ids/embeddings"}
    unmoved = {
        v.path for v in model.variables if np.array_equal(v.numpy(), before[v.path])
    }
    assert unmoved == kernels
    assert sum("lora" in v.path for v in model.trainable_variables) == 10


@pytest.mark.slow
def test_merged_changes_answer_alike_and_start_another_training(tmp_path, save):
    directory = save(of_all_kinds(), tmp_path / "first")
    model = trained(prepared(directory, of_all_kinds(), lora_rank=2))
    want = answers(model)
    assert np.abs(want - answers(of_all_kinds())).max() > 0.01
    start_from.merge(model)
    np.testing.assert_allclose(answers(model), want, rtol=1e-4, atol=1e-5)
    again = prepared(save(model, tmp_path / "second"), of_all_kinds())
    np.testing.assert_allclose(answers(again), want, rtol=1e-4, atol=1e-5)


def test_merging_what_has_no_changes_is_no_change(mlp):
    model = prepared(mlp[1], build(units=(6, 5)))
    start_from.merge(model)
    np.testing.assert_array_equal(answers(model), answers(mlp[0]))


def test_low_rank_leaves_frozen_layers_and_a_new_last_layer_alone(mlp):
    model = build(units=(6, 5), outputs=7)
    prepared(mlp[1], model, lora_rank=1, freeze=["hidden_1"])
    trainable = {v.path for v in model.trainable_variables}
    assert trainable == {
        "hidden_2/bias",
        "hidden_2/lora_kernel_a",
        "hidden_2/lora_kernel_b",
        "logits/kernel",
        "logits/bias",
    }


def test_low_rank_with_everything_frozen_is_refused(mlp):
    with pytest.raises(BadInputError, match="lora_rank` needs a dense"):
        prepared(mlp[1], build(units=(6, 5)), lora_rank=1, freeze=["*"])


def test_the_same_seed_draws_the_same_changes(mlp):
    one, two = (prepared(mlp[1], build(units=(6, 5)), lora_rank=2) for _ in range(2))
    layers = [m.get_layer("hidden_1") for m in (one, two)]
    np.testing.assert_array_equal(*(layer.lora_kernel_a for layer in layers))
    other = one.get_layer("hidden_2").lora_kernel_a[0]
    assert np.abs(layers[0].lora_kernel_a[0] - other).max() > 0


@pytest.fixture(scope="module")
def stored(table, tmp_path_factory):
    """What a model of a table is, exported."""
    shape = inputs.input_shape(table.section)
    model = models.build("wide_deep", shape, 1, units=(2,))
    folder = tmp_path_factory.mktemp("stored")
    export.write(model, table.output, table.section, str(folder))
    return str(folder)


def checked(transformed, directory):
    settings = config(directory) | {"transform": transformed.section}
    start_from.check(settings, transformed.output)


@pytest.mark.slow
def test_weights_of_the_same_inputs_are_taken(table, stored, tmp_path, caplog):
    label = {**table.section["label"], "above": 0.5}
    noise = {**table.section["augment"], "noise": 0.1}
    checked(table, stored)
    other = {**table.section, "label": label, "augment": noise}
    checked(replace(table, section=other), stored)
    assert not caplog.records
    checked(table, str(tmp_path))  # it does not say what it was trained with


def test_weights_of_other_inputs_are_refused(table, tmp_path):
    path = tmp_path / export.SECTION
    path.parent.mkdir()
    path.write_text(json.dumps(table.section))
    other = replace(table, section={**table.section, "numeric": [], "scale": ["miles"]})
    with pytest.raises(BadInputError, match="`transform` differs in numeric, scale"):
        checked(other, str(tmp_path))


@pytest.mark.slow
def test_another_vocabulary_is_refused_and_another_scale_is_told(
    table, stored, tmp_path, caplog
):
    rows = [{**row, "speed": 3 * row["speed"]} for row in ROWS]
    checked(transform(table.section, rows, TABLE_SPEC, tmp_path / "1"), stored)
    assert "speed_xf is scaled otherwise than in" in caplog.text
    rows = [{**r, "town": "b" if r.get("town") == "a" else "a"} for r in ROWS]
    other = transform(table.section, rows, TABLE_SPEC, tmp_path / "2")
    with pytest.raises(BadInputError, match="another vocabulary: town_xf is numbered"):
        checked(other, stored)


@pytest.mark.slow
def test_a_label_that_stands_elsewhere_is_no_reason_to_refuse(table, stored, caplog):
    spec = table.output.raw_feature_spec()
    del spec["speed"]  # the stored graph needs it
    output = SimpleNamespace(
        raw_feature_spec=lambda: spec,
        transform_savedmodel_dir=table.output.transform_savedmodel_dir,
    )
    checked(replace(table, output=output), stored)
    assert "could not compare the inputs" in caplog.text
