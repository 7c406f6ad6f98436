"""The session path against `signatures[...]`, on graphs of other kinds."""

import numpy as np
import pytest

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def keras_path(tmp_path_factory):
    """A Keras model with string preprocessing and a recurrent loop."""
    import keras

    path = tmp_path_factory.mktemp("keras") / "1"
    keras.utils.set_random_seed(0)
    lookup = keras.layers.StringLookup(vocabulary=["a", "b", "c"])
    words = keras.Input((None,), dtype="string", name="words")
    x = keras.layers.Embedding(4, 8)(lookup(words))
    x = keras.layers.LSTM(16)(x)
    keras.Model(words, keras.layers.Dense(2)(x)).export(str(path), verbose=False)
    return path


def test_session_agrees_with_the_loaded_function(keras_path):
    import tensorflow as tf

    from serving.saved_model import load

    words = np.array([[b"a", b"b"], [b"c", b"?"]], object)
    model = load(keras_path)
    (output,) = model.signatures["serving_default"].outputs
    (name,) = model.signatures["serving_default"].inputs
    got = model.run("serving_default", {name: words})[output]
    loaded = tf.saved_model.load(str(keras_path))
    want = loaded.signatures["serving_default"](tf.constant(words))[output]
    np.testing.assert_allclose(got, want, rtol=1e-6, atol=1e-7)
    model.close()


def test_tensorflow_1_control_flow_runs(tmp_path):
    import tensorflow as tf

    from serving.saved_model import load

    v1 = tf.compat.v1
    was_v2 = v1.control_flow_v2_enabled()
    v1.disable_control_flow_v2()
    try:
        with tf.Graph().as_default(), v1.Session() as session:
            x = v1.placeholder(tf.float32, [], "x")
            y = v1.while_loop(lambda y: y < 100.0, lambda y: y * 2.0, [x])
            v1.saved_model.simple_save(session, str(tmp_path / "1"), {"x": x}, {"y": y})
    finally:
        if was_v2:
            v1.enable_control_flow_v2()
    model = load(tmp_path / "1")
    assert model.run("serving_default", {"x": np.float32(3.0)})["y"] == 192.0
    model.close()


@pytest.mark.filterwarnings("ignore")  # of Beam and TensorFlow Transform, not ours
def test_a_transform_graph_inside_the_model_runs(tmp_path):
    import tensorflow as tf
    import tensorflow_transform as tft
    import tensorflow_transform.beam as tft_beam
    from tensorflow_transform.tf_metadata import dataset_metadata, schema_utils

    from serving.saved_model import load

    def preprocess(inputs):
        return {
            "x": tft.scale_to_z_score(inputs["x"]),
            "word": tft.compute_and_apply_vocabulary(inputs["word"]),
        }

    spec = {
        "x": tf.io.FixedLenFeature([], tf.float32),
        "word": tf.io.FixedLenFeature([], tf.string),
    }
    rows = [{"x": 1.0, "word": "b"}, {"x": 3.0, "word": "b"}, {"x": 2.0, "word": "a"}]
    metadata = dataset_metadata.DatasetMetadata(
        schema_utils.schema_from_feature_spec(spec)
    )
    with tft_beam.Context(temp_dir=str(tmp_path / "temp")):
        _, transform = (rows, metadata) | tft_beam.AnalyzeAndTransformDataset(
            preprocess
        )
        transform | tft_beam.WriteTransformFn(str(tmp_path / "transform"))

    module = tf.Module()
    output = tft.TFTransformOutput(str(tmp_path / "transform"))
    module.layer = output.transform_features_layer()

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, "examples")])
    def serve(examples):
        return module.layer(tf.io.parse_example(examples, spec))

    module.serve = serve
    tf.saved_model.save(module, str(tmp_path / "1"), {"serving_default": serve})
    model = load(tmp_path / "1")
    example = tf.train.Example()
    example.features.feature["x"].float_list.value.append(3.0)
    example.features.feature["word"].bytes_list.value.append(b"a")
    examples = np.array([example.SerializeToString()], object)
    got = model.run("serving_default", {"examples": examples})
    # Mean 2, variance 2/3; "b" is more frequent, so "a" is entry 1.
    np.testing.assert_allclose(got["x"], [np.sqrt(1.5)], rtol=1e-6)
    assert got["word"].tolist() == [1]
    model.close()
