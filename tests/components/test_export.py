"""The served signatures answer what the trained model answers, in every form asked."""

from dataclasses import replace

import keras
import numpy as np
import pytest
import tensorflow as tf

import models
from components import export, input_checks, inputs
from tests.components.conftest import PIXELS, transform
from tests.components.records import example
from tests.components.sections import section
from tests.components.test_audio_features import wav


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


RNG = np.random.default_rng(0)
# Shorter than asked for, as long, and longer.
SAMPLES = [RNG.integers(-9000, 9000, n, "int16") for n in (700, 800, 900)]
TEXTS = ["an apple a day", "", "keeps THE doctor away, they say"]
TIMES = ["2016-07-01T13:45:00Z", "", "2020-02-29", "1999-12-31 23:59:59"]
AUDIO = {"sample_rate": 8000, "seconds": 0.1, "num_mels": 20}
KINDS = {
    "audio": {"audio": AUDIO},
    "samples": {"audio": {**AUDIO, "output": "samples"}},
    "words": {"text": {"length": 5, "vocabulary": 20}},
    "bytes": {"text": {"length": 9, "tokens": "bytes", "vocabulary": 258}},
    "bag": {"text": {"vocabulary": 20, "output": "tfidf"}},
    "columns": {
        "scale": ["share"],
        "hash": {"user": 5},
        "calendar": {"when": ["hour", "weekday", "day_of_year"]},
        "crosses": {"both": {"features": ["user", "place"], "ids": 7}},
    },
}
RAW = {
    "audio": (tf.string, [wav(one) for one in SAMPLES]),
    "text": (tf.string, TEXTS),
    "share": (tf.float32, [0.5, 2.0, 1.5, None]),
    "user": (tf.int64, [7, None, 9, 7]),
    "when": (tf.string, TIMES),
    "place": (tf.string, ["x", "y", "", "x"]),
}


def kind_of_rows(name, folder):
    """Return a section with rows of its kind, transformed, and the raw tensors."""
    settings = section(**KINDS[name])
    used = input_checks.used_features(settings)
    num_rows = len(RAW[used[0]][1])
    values = {feature: RAW[feature][1] for feature in used} | {"y": [0.0, 1.0] * 2}
    rows = [
        {f: v[i] for f, v in values.items() if v[i] not in (None, "")}
        for i in range(num_rows)
    ]
    spec = {f: tf.io.VarLenFeature(RAW[f][0]) for f in used}
    spec["y"] = tf.io.FixedLenFeature([1], tf.float32)
    if "audio" in used:
        spec["audio"] = tf.io.FixedLenFeature([1], tf.string)
        samples = [np.pad(one, (0, 950 - len(one))) for one in SAMPLES]
        raw = {"audio": tf.constant(np.stack(samples) / 32768, tf.float32)}
    else:
        raw = {feature: raw_column(*RAW[feature]) for feature in used}
    return transform(settings, rows, spec, folder), raw


def raw_column(dtype, values):
    if dtype == tf.string:
        return tf.constant([value or "" for value in values])
    missing = [np.nan if value is None else value for value in values]
    return tf.constant(missing, tf.float64 if dtype == tf.int64 else dtype)


@pytest.mark.slow
@pytest.mark.parametrize("name", KINDS)
def test_every_kind_is_answered_alike_in_every_form(name, tmp_path):
    """Examples, raw tensors, and the model on rows transformed offline."""
    transformed, raw = kind_of_rows(name, tmp_path)
    family = {"columns": "wide_deep", "words": "rnn", "bytes": "rnn"}.get(name, "mlp")
    model, saved = exported(transformed, family, tmp_path / "model", units=[4])
    examples = serialized(transformed.rows)
    features = ask(saved, "transform_features", examples=examples)
    logits = model(inputs.model_inputs(features, transformed.section), training=False)
    want = 1 / (1 + np.exp(-np.asarray(logits)))
    assert len(np.unique(want)) == len(transformed.rows)
    for got in (
        ask(saved, "serving_default", examples=examples),
        ask(saved, "serve_raw", **raw),
    ):
        np.testing.assert_allclose(got["probabilities"], want, rtol=1e-6)
    one = {
        alias: tf.zeros(
            [1 if size is None else size for size in spec.shape], spec.dtype
        )
        for alias, spec in saved.signatures["serve_raw"]
        .structured_input_signature[1]
        .items()
    }
    assert ask(saved, "serve_raw", **one)["probabilities"].shape == (1, 1)


def test_pixels_are_scaled_inside_the_model_and_never_augmented(images, tmp_path):
    settings = {"feature": "scan", "shape": [2, 3, 1], "normalize": "standard"}
    changed = section(image=settings, augment={"flip": "both", "brightness": 1.0})
    changed["label"] = images.section["label"]
    changed = replace(images, section=changed)
    model, saved = exported(changed, "mlp", tmp_path, units=[4])
    pixels = tf.constant(PIXELS.astype("float32"))
    logits = model(tf.image.per_image_standardization(pixels), training=False)
    for got in (
        ask(saved, "serving_default", examples=serialized(images.rows)),
        ask(saved, "serve_raw", scan=pixels),
    ):
        want = keras.ops.softmax(logits)
        np.testing.assert_allclose(got["probabilities"], want, rtol=1e-5)


def test_probabilities_of_one_logit_and_of_many():
    one = export._answer(tf.constant([[0.0], [2.0], [-2.0]]))
    assert one["classes"].numpy().tolist() == [0, 1, 0]
    np.testing.assert_allclose(one["probabilities"][1], [0.880797], rtol=1e-5)
    many = export._answer(tf.constant([[0.0, np.log(3.0)]]))
    assert many["classes"].numpy().tolist() == [1]
    np.testing.assert_allclose(many["probabilities"], [[0.25, 0.75]], rtol=1e-6)
