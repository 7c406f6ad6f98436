"""Windows become what a model reads, and its answers the units of the series again."""

import json

import apache_beam as beam
import numpy as np
import pytest
import tensorflow as tf
import tensorflow_transform as tft
import tensorflow_transform.beam as tft_beam
from apache_beam.runners.portability.fn_api_runner import FnApiRunner
from tensorflow_transform.tf_metadata import dataset_metadata

import models
from components import export, series_input
from components.columns import LABEL
from recipes.errors import BadInputError
from recipes.transform import Transform

CONTEXT, HORIZON, TARGETS = 3, 2, [2, 0]
ROWS = np.random.default_rng(0).normal([5, -300, 0.01], [1, 40, 3e-3], (12, 3))
ROWS = ROWS.astype("float32")
DENSE = {
    "context": tf.io.FixedLenFeature([9], tf.float32),
    "horizon": tf.io.FixedLenFeature([4], tf.float32),
    "time": tf.io.VarLenFeature(tf.string),
}
SPARSE = {
    "context": tf.io.VarLenFeature(tf.float32),
    "horizon": tf.io.VarLenFeature(tf.float32),
    "time": tf.io.FixedLenFeature([1], tf.string),
}


def transform_section(**keys):
    sizes = {"context": CONTEXT, "horizon": HORIZON, "channels": 3}
    keys = {"series": {**sizes, "targets": TARGETS, **keys}}
    return Transform.model_validate_json(json.dumps(keys)).model_dump(mode="json")


SECTION = transform_section()["series"]


def windows(rows, time=lambda row: f"2016-12-31T{row:02}:00:00"):
    """Return all windows, one step apart, in no order."""
    count = len(rows) - CONTEXT - HORIZON + 1
    return [
        {
            "context": rows[i : i + CONTEXT].ravel().tolist(),
            "horizon": rows[i + CONTEXT :][:HORIZON, TARGETS].ravel().tolist(),
            "time": [time(i + CONTEXT)],
        }
        for i in np.random.default_rng(1).permutation(count)
    ]


def example(row):
    made = tf.train.Features()
    for name, values in row.items():
        if name == "time":
            made.feature[name].bytes_list.value.extend(v.encode() for v in values)
        else:
            made.feature[name].float_list.value.extend(values)
    return tf.train.Example(features=made).SerializeToString()


def analyze(rows, spec, folder):
    """Return the transform graph of some raw windows."""
    metadata = dataset_metadata.DatasetMetadata.from_feature_spec(spec)
    result = str(folder / "result")
    with (
        beam.Pipeline(runner=FnApiRunner()) as pipeline,
        tft_beam.Context(temp_dir=str(folder / "temp")),
    ):
        data = pipeline | beam.Create(rows)
        graph = (data, metadata) | tft_beam.AnalyzeDataset(
            lambda features: series_input.columns(features, SECTION)
        )
        _ = graph | tft_beam.WriteTransformFn(result)
        _ = metadata | tft_beam.WriteMetadata(
            f"{result}/{tft.TFTransformOutput.RAW_METADATA_DIR}", pipeline
        )
    return tft.TFTransformOutput(result)


@pytest.fixture(scope="module")
def learned(tmp_path_factory):
    return analyze(windows(ROWS), DENSE, tmp_path_factory.mktemp("series"))


def transformed(output, rows, spec):
    parsed = tf.io.parse_example([example(row) for row in rows], spec)
    return output.transform_features_layer()(parsed)


def moments(columns):
    return np.split(columns["series_scale_xf"].numpy()[0].astype("float64"), 2)


@pytest.mark.slow
def test_each_row_counts_once_in_mean_and_standard_deviation(learned):
    mean, deviation = moments(transformed(learned, windows(ROWS), DENSE))
    known = ROWS.astype("float64")
    np.testing.assert_allclose(mean[[0, 2]], known.mean(axis=0)[[0, 2]], rtol=1e-6)
    np.testing.assert_allclose(deviation[[0, 2]], known.std(axis=0)[[0, 2]], rtol=1e-6)
    # Of a channel that is no target the last horizon is not in any window.
    np.testing.assert_allclose(mean[1], known[:-HORIZON, 1].mean(), rtol=1e-6)
    np.testing.assert_allclose(deviation[1], known[:-HORIZON, 1].std(), rtol=1e-6)


@pytest.mark.slow
def test_contexts_and_labels_are_standardised_step_by_step(learned):
    rows = windows(ROWS)
    columns = transformed(learned, rows, DENSE)
    mean, deviation = moments(columns)
    context = np.array([row["context"] for row in rows]).reshape(-1, 3, 3)
    horizon = np.array([row["horizon"] for row in rows]).reshape(-1, 2, 2)
    got = series_input.model_inputs(columns, SECTION)
    np.testing.assert_allclose(got, (context - mean) / deviation, atol=1e-4)
    want = (horizon - mean[TARGETS]) / deviation[TARGETS]
    np.testing.assert_allclose(columns[LABEL], want.reshape(-1, 4), atol=1e-4)


def test_answers_have_the_mean_and_deviation_of_their_channels():
    # Means 10, 20, 30 and deviations 1, 2, 3; targets are the channels 2 and 0.
    scale = tf.constant([[10.0, 20, 30, 1, 2, 3]] * 2)
    columns = {"context_xf": tf.zeros([2, 9]), "series_scale_xf": scale}
    scaled = tf.constant([[0.0, 0.0, 1.0, 1.0], [-1.0, 2.0, 0.5, 0.0]])
    answers = series_input.Answers(lambda context, training: scaled, None, SECTION)
    want = [[[30, 10], [33, 11]], [[27, 12], [31.5, 10]]]
    np.testing.assert_allclose(answers(columns)["forecast"], want, rtol=1e-6)


@pytest.mark.slow
def test_a_right_answer_is_told_in_the_units_of_the_series(learned):
    rows = windows(ROWS)
    columns = transformed(learned, rows, DENSE)
    answers = series_input.Answers(lambda _, training: columns[LABEL], learned, SECTION)
    got = answers(columns)
    want = np.array([row["horizon"] for row in rows], "float32").reshape(-1, 2, 2)
    np.testing.assert_allclose(got["forecast"], want, rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(got["scaled"], columns[LABEL])
    assert answers.signatures() == {}


@pytest.mark.slow
def test_the_exported_model_answers_the_same_in_either_form(learned, tmp_path):
    section = transform_section()
    model = models.build(
        "forecast",
        series_input.input_shape(SECTION),
        series_input.num_outputs(SECTION),
        method="nlinear",
    )
    export.write(model, learned, section, str(tmp_path))
    saved = tf.saved_model.load(str(tmp_path))
    rows = [{"context": row["context"]} for row in windows(ROWS)]
    context = np.array([row["context"] for row in rows], "float32").reshape(-1, 3, 3)
    raw = saved.signatures["serve_raw"](context=tf.constant(context))
    serialized = saved.signatures["serving_default"](
        examples=tf.constant([example(row) for row in rows])
    )
    mean, deviation = moments(transformed(learned, windows(ROWS), DENSE))
    scaled = model(((context - mean) / deviation).astype("float32")).numpy()
    want = scaled.reshape(-1, 2, 2) * deviation[TARGETS] + mean[TARGETS]
    for got in (raw, serialized):
        np.testing.assert_allclose(got["scaled"], scaled, atol=1e-4)
        np.testing.assert_allclose(got["forecast"], want, rtol=1e-4)
        assert got["forecast"].shape == (len(rows), HORIZON, 2)


@pytest.mark.slow
def test_lists_of_no_fixed_length_and_numbers_as_time_give_the_same(learned, tmp_path):
    rows = windows(ROWS, time=lambda row: str(row - 5))  # as texts -10 < 2 is wrong
    output = analyze(rows, SPARSE, tmp_path)
    got = transformed(output, rows, SPARSE)
    want = transformed(learned, windows(ROWS), DENSE)
    for name, column in want.items():
        np.testing.assert_allclose(got[name], column, rtol=1e-5, atol=1e-6)


@pytest.mark.slow
def test_a_channel_that_stands_still_is_only_moved(tmp_path):
    still = ROWS.copy()
    still[:, 0] = 7.0
    columns = transformed(
        analyze(windows(still), DENSE, tmp_path), windows(still), DENSE
    )
    assert moments(columns)[1][0] == 1.0
    got = series_input.model_inputs(columns, SECTION)
    np.testing.assert_array_equal(got[..., 0], 0.0)


def test_a_list_with_a_value_missing_gives_no_number():
    short = tf.SparseTensor([[0, 0], [1, 0], [1, 1]], [1.0, 0.0, 2.0], [2, 2])
    got = series_input._dense(short, 2).numpy()
    np.testing.assert_array_equal(got, [[1.0, np.nan], [0.0, 2.0]])


@pytest.mark.parametrize("is_sparse", [False, True])
def test_more_channels_than_the_recipe_says_are_refused(is_sparse):
    # Six numbers a row would also be twice as many rows of three.
    values = tf.constant(ROWS[:4, :2].reshape(2, -1)[:, :4])
    rows = tf.sparse.from_dense(values) if is_sparse else values
    error = tf.errors.InvalidArgumentError if is_sparse else BadInputError
    with pytest.raises(error, match=r"(?s)Expected .*, 2 numbers.*Received:.*4"):
        series_input._dense(rows, 2)


def test_raw_features_are_what_parsing_examples_gives():
    values = np.array([[0.0, 1.0, 2.0] * 3, [5.0, 0.0, 7.0] * 3], "float32")
    raw = {"context": tf.constant(values.reshape(-1, 3, 3))}
    serialized = [example({"context": row}) for row in values]
    for spec in (DENSE, SPARSE):
        got = series_input.raw_features(raw, SECTION, spec)
        want = tf.io.parse_example(serialized, {"context": spec["context"]})
        assert got.keys() == want.keys()
        got, want = (tf.nest.flatten(f, expand_composites=True) for f in (got, want))
        for one, two in zip(got, want, strict=True):
            np.testing.assert_array_equal(one, two)


@pytest.mark.parametrize(
    ("earlier", "later"),
    [
        ("2016-07-01T23:00:00", "2016-07-02T00:00:00"),
        ("2016-12-31T23:59:59", "2017-01-01T00:00:00"),
        ("2016-07-01T23:00:00", "2016-07-01T23:00:00.500000"),
        ("9", "10"),
        ("-10", "-9"),
        ("-1.5", "1e-05"),
        ("", "-10"),
        ("", "2016-07-01T23:00:00"),
    ],
)
def test_numbers_made_of_times_rise_as_they_do(earlier, later):
    got = series_input._number(tf.constant([[earlier], [later]])).numpy()
    assert got[0] < got[1]


def test_without_targets_all_channels_are_predicted():
    section = transform_section(targets=None)["series"]
    assert series_input.input_shape(section) == models.Series(3, 3, 2, (0, 1, 2))
    assert series_input.num_outputs(section) == 6
