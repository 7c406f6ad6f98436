"""The served signatures answer what the trained model answers, in every form asked."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import models
from components import export, inputs
from tests.components.conftest import PIXELS
from tests.components.records import example


def exported(transformed, family, folder, **arguments):
    """Return a model and its SavedModel, loaded again."""
    section = transformed.section
    keras.utils.set_random_seed(0)
    model = models.build(
        family, inputs.input_shape(section), inputs.num_outputs(section), **arguments
    )
    export.write(model, transformed.output, section, str(folder))
    return model, tf.saved_model.load(str(folder))


@pytest.fixture(scope="module")
def wide_deep(table, tmp_path_factory):
    folder = tmp_path_factory.mktemp("wide_deep")
    return exported(table, "wide_deep", folder, units=[4], embedding_dim=2)


@pytest.fixture(scope="module")
def mlp(images, tmp_path_factory):
    return exported(images, "mlp", tmp_path_factory.mktemp("mlp"), units=[4])


def ask(saved, name, **tensors):
    answer = saved.signatures[name](**tensors)
    return {key: value.numpy() for key, value in answer.items()}


def serialized(rows, without=()):
    kept = ({n: v for n, v in row.items() if n not in without} for row in rows)
    return tf.constant([example(**row) for row in kept])


def raw_columns(rows, *, without=()):
    """Return the rows as raw tensors: NaN and '' say missing."""
    numbers = {"miles": tf.float32, "speed": tf.float32, "age": tf.float64}
    numbers["day"] = tf.float64
    columns = {
        name: tf.constant([row.get(name, np.nan) for row in rows], dtype)
        for name, dtype in numbers.items()
    }
    columns["town"] = tf.constant([row.get("town", "") for row in rows])
    return {name: column for name, column in columns.items() if name not in without}


def test_examples_are_answered_as_the_model_does_on_the_transformed_rows(
    table, wide_deep
):
    model, saved = wide_deep
    got = ask(saved, "serving_default", examples=serialized(table.rows))
    columns = {name: column[:, None] for name, column in table.columns.items()}
    logits = model(inputs.model_inputs(columns, table.section), training=False)
    want = 1 / (1 + np.exp(-np.asarray(logits)))
    np.testing.assert_allclose(got["probabilities"], want, rtol=1e-5)
    assert got["classes"].tolist() == (want[:, 0] > 0.5).astype(int).tolist()


def test_raw_tensors_are_answered_as_the_same_rows_in_examples(table, wide_deep):
    _, saved = wide_deep
    raw = ask(saved, "serve_raw", **raw_columns(table.rows))
    want = ask(saved, "serving_default", examples=serialized(table.rows))
    assert len({round(float(p), 5) for p in want["probabilities"][:, 0]}) > 4
    for name in want:
        np.testing.assert_allclose(raw[name], want[name], rtol=1e-6)


@pytest.mark.parametrize("row", range(7))
def test_a_row_is_answered_alone_as_among_others(table, wide_deep, row):
    _, saved = wide_deep
    together = ask(saved, "serve_raw", **raw_columns(table.rows))["probabilities"]
    alone = ask(saved, "serve_raw", **raw_columns([table.rows[row]]))["probabilities"]
    np.testing.assert_allclose(alone[0], together[row], rtol=1e-5)


def test_the_label_is_not_needed_to_be_answered(table, wide_deep):
    _, saved = wide_deep
    with_label = ask(saved, "serving_default", examples=serialized(table.rows))
    bare = serialized(table.rows, without=("tip", "fare"))
    without = ask(saved, "serving_default", examples=bare)
    np.testing.assert_array_equal(with_label["probabilities"], without["probabilities"])


def test_the_examiner_reads_labels_from_the_transformed_features(table, wide_deep):
    _, saved = wide_deep
    got = ask(saved, "transform_features", examples=serialized(table.rows))
    for name, column in table.columns.items():
        np.testing.assert_allclose(got[name][:, 0], column, rtol=1e-6)


def test_whole_numbers_keep_their_digits_on_the_wire(wide_deep):
    _, saved = wide_deep
    _, specs = saved.signatures["serve_raw"].structured_input_signature
    assert specs["age"].dtype == specs["day"].dtype == tf.float64
    assert specs["miles"].dtype == tf.float32
    assert specs["town"].dtype == tf.string
    assert {tuple(spec.shape) for spec in specs.values()} == {(None,)}


def test_pixels_are_answered_as_the_image_they_come_from(images, mlp):
    model, saved = mlp
    png = ask(saved, "serving_default", examples=serialized(images.rows))
    pixels = PIXELS.astype("float32")
    raw = ask(saved, "serve_raw", scan=tf.constant(pixels))
    want = keras.ops.softmax(model(pixels, training=False))
    for got in (png, raw):
        np.testing.assert_allclose(got["probabilities"], want, rtol=1e-5)
        assert got["classes"].tolist() == np.argmax(want, axis=-1).tolist()
        assert got["classes"].dtype == np.int64


def test_probabilities_of_one_logit_and_of_many():
    one = export._answer(tf.constant([[0.0], [2.0], [-2.0]]))
    assert one["classes"].numpy().tolist() == [0, 1, 0]
    np.testing.assert_allclose(one["probabilities"][1], [0.880797], rtol=1e-5)
    many = export._answer(tf.constant([[0.0, np.log(3.0)]]))
    assert many["classes"].numpy().tolist() == [1]
    np.testing.assert_allclose(many["probabilities"], [[0.25, 0.75]], rtol=1e-6)
