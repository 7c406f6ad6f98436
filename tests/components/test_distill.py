"""What a teacher gives to a student, and which teachers are refused."""

from dataclasses import replace

import numpy as np
import pytest
import tensorflow as tf

import models
from components import distill, export, inputs
from recipes.errors import BadInputError
from recipes.transform import WHOLE
from tests.components.conftest import (
    PIXELS,
    ROWS,
    TABLE_SPEC,
    transform,
)


def push(transformed, family, folder, **arguments):
    """Return a model, exported as a version that can teach."""
    shape = inputs.input_shape(transformed.section)
    num_outputs = inputs.num_outputs(transformed.section)
    model = models.build(family, shape, num_outputs, **arguments)
    export.write(model, transformed.output, transformed.section, str(folder))
    return model


def config(section, directory):
    options = {"teacher": "x", "temperature": 2.0, "weight": 0.5}
    train = {"distill": options}
    return {"train": train, "transform": section, "teacher_dir": str(directory)}


@pytest.fixture(scope="module")
def taught(table, tmp_path_factory):
    folder = tmp_path_factory.mktemp("teacher")
    return push(table, "wide_deep", folder, units=[4], embedding_dim=2), folder


def teacher(transformed, folder):
    return distill.teacher(config(transformed.section, folder), transformed.output)


def columns(transformed):
    together = {name: c[:, None] for name, c in transformed.columns.items()}
    return inputs.model_inputs(together, transformed.section)


def test_without_the_section_there_is_no_teacher():
    assert distill.teacher({"train": {"distill": None}}, None) is None


def test_a_teacher_of_tables_answers_as_the_model_it_was(table, taught):
    model, folder = taught
    got = teacher(table, folder)(columns(table))
    np.testing.assert_allclose(got, model(columns(table), training=False), rtol=1e-5)


def test_a_teacher_of_images_answers_as_the_model_it_was(images, tmp_path):
    model = push(images, "mlp", tmp_path, units=[4])
    pixels = tf.constant(PIXELS.astype("float32"))
    got = teacher(images, tmp_path)(pixels)
    np.testing.assert_allclose(got, model(pixels, training=False), rtol=1e-5)


def test_what_only_varies_the_inputs_may_differ(table, taught):
    changed = {**table.section, "augment": {**table.section["augment"], "noise": 0.1}}
    assert teacher(replace(table, section=changed), taught[1])


def test_another_transform_section_is_refused(table, taught):
    changed = replace(table, section={**table.section, "numeric": ["miles"]})
    message = r"`transform\.numeric` differs .* Here: \['miles'\]\. There: \['miles', "
    with pytest.raises(BadInputError, match=message):
        teacher(changed, taught[1])


@pytest.mark.slow
@pytest.mark.parametrize(
    ("rows", "column"),
    [
        ([{**r, "speed": r["speed"] * 3} for r in ROWS], "speed_xf"),
        (
            [{**r, "town": "b" if r.get("town") == "a" else "a"} for r in ROWS],
            "town_xf",
        ),
    ],
)
def test_a_teacher_of_other_data_is_refused(taught, tmp_path, rows, column, table):
    """The same section learns other means and other vocabularies from other data."""
    other = transform(table.section, rows, TABLE_SPEC, tmp_path)
    with pytest.raises(BadInputError, match=f"other data: the column {column}"):
        teacher(other, taught[1])


@pytest.mark.slow
def test_the_same_data_transformed_again_is_accepted(taught, tmp_path, table):
    again = transform(table.section, ROWS, TABLE_SPEC, tmp_path)
    assert teacher(again, taught[1])


def test_a_version_that_cannot_be_called_is_refused(table, tmp_path):
    tf.saved_model.save(tf.Module(), str(tmp_path))
    with pytest.raises(BadInputError, match="no function `call_model`"):
        teacher(table, tmp_path)
    with pytest.raises(BadInputError, match="No teacher at"):
        teacher(table, tmp_path / "none")


def test_a_model_that_predicts_no_classes_has_no_teacher():
    series = dict.fromkeys(WHOLE) | {"series": {"horizon": 2}}
    with pytest.raises(BadInputError, match="predicts classes. Received: .*series"):
        distill.teacher(config(series, ""), None)


OPTIONS = {"temperature": 2.0, "weight": 0.75}


def test_the_loss_of_many_classes_by_hand():
    # At T = 2 the teacher says (0.75, 0.25) and the student (0.5, 0.5).
    student = tf.constant([[0.0, 0.0]])
    teacher = tf.constant([[2 * np.log(3.0), 0.0]], tf.float32)
    divergence = 0.75 * np.log(0.75 / 0.5) + 0.25 * np.log(0.25 / 0.5)
    want = 0.75 * 4 * divergence + 0.25 * 1.6
    got = distill.loss(tf.constant(1.6), student, teacher, OPTIONS)
    np.testing.assert_allclose(got, want, rtol=1e-6)


def test_one_logit_is_as_two_of_which_one_is_zero():
    rng = np.random.default_rng(0)
    student, teacher = rng.normal(size=(2, 5, 1)).astype("float32")
    labels_loss = tf.constant(0.7)
    pairs = [np.concatenate([x, 0 * x], axis=1) for x in (student, teacher)]
    one = distill.loss(labels_loss, student, teacher, OPTIONS)
    two = distill.loss(labels_loss, *pairs, OPTIONS)
    np.testing.assert_allclose(one, two, rtol=1e-5)


def test_a_student_that_agrees_has_the_ordinary_loss_alone():
    logits = tf.constant([[1.0, -2.0, 0.5]] * 2)
    each = distill.loss(tf.constant([1.0, 3.0]), logits, logits, OPTIONS)
    np.testing.assert_allclose(each, [0.25, 0.75], atol=1e-6)


def test_the_gradient_is_that_of_soft_labels_and_none_reaches_the_teacher():
    student = tf.Variable([[0.3, -0.2, 1.0]])
    teacher = tf.Variable([[2.0, 0.0, -1.0]])
    with tf.GradientTape() as tape:
        total = distill.loss(tf.constant(0.0), student, teacher, OPTIONS)
    got, none = tape.gradient(total, [student, teacher])
    soft = [tf.nn.softmax(logits / 2.0) for logits in (student, teacher)]
    want = 0.75 * 4 * (soft[0] - soft[1]) / 2.0
    np.testing.assert_allclose(got, want, rtol=1e-5)
    assert none is None
