"""The LiteRT file answers what the model answers."""

import warnings

import numpy as np
import pytest
import tensorflow as tf

import models
from components import compress, litert
from recipes.errors import BadInputError


def interpreter(content):
    with warnings.catch_warnings():
        # TensorFlow 2.21 names a package that it does not depend on.
        warnings.filterwarnings("ignore", r"\s*Warning: tf.lite.Interpreter")
        return tf.lite.Interpreter(model_content=content)


def written(model, folder):
    litert.write(model, {"export": {"litert": True}}, str(folder))
    return (folder / litert.FILE).read_bytes()


def test_the_file_answers_as_the_model_in_batches_of_any_size(tmp_path):
    model = models.build("mlp", (4, 4, 1), 3, units=(6,))
    run = interpreter(written(model, tmp_path)).get_signature_runner()
    images = np.random.default_rng(0).normal(size=(5, 4, 4, 1)).astype("float32")
    for batch in (images, images[:1]):
        (got,) = run(inputs=batch).values()
        np.testing.assert_allclose(got, model(batch), rtol=1e-5, atol=1e-6)


@pytest.mark.slow
def test_columns_of_a_table_keep_their_names(tmp_path):
    shape = {"miles": None, "town": 5}
    model = models.build("wide_deep", shape, 1, units=(4,))
    run = interpreter(written(model, tmp_path)).get_signature_runner()
    details = run.get_input_details()
    assert set(details) == set(shape)
    columns = {
        "miles": np.array([[0.5], [-2.0]], details["miles"]["dtype"]),
        "town": np.array([[4], [0]], details["town"]["dtype"]),
    }
    (got,) = run(**columns).values()
    np.testing.assert_allclose(got, model(columns), rtol=1e-5, atol=1e-6)


def test_nothing_is_written_unless_asked_for(tmp_path):
    litert.write(None, {"export": {"litert": False}}, str(tmp_path))
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_what_litert_cannot_do_is_an_error_of_the_recipe(tmp_path):
    model = models.build("mlp", (4, 4, 1), 3, units=())
    compress.quantize(model)
    with pytest.raises(
        BadInputError, match=r"Leave out `export\.litert`\. LiteRT says: "
    ):
        written(model, tmp_path)
