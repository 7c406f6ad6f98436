"""Neighbourhoods on their way into a model: by hand, and there and back."""

from pathlib import Path

import apache_beam as beam
import numpy as np
import pytest
import tensorflow as tf
import tensorflow_transform as tft
import tensorflow_transform.beam as tft_beam
from apache_beam.runners.portability.fn_api_runner import FnApiRunner
from tensorflow.core.protobuf.meta_graph_pb2 import TensorInfo
from tensorflow_transform.tf_metadata import dataset_metadata

from components import graph_input
from components.columns import LABEL
from components.sources import files, graph
from components.transform import preprocessing_fn
from models import Graph
from recipes.errors import BadInputError
from tests.components.sections import section

CORA = Path(__file__).parents[3] / "shared/data/cora/cora.npz"
# A root with two neighbours, of which the first has one more; and a node alone.
SPARSE = [
    {
        "nodes": [7, 3, 9, 4],
        "senders": [1, 2, 0, 3],
        "receivers": [0, 0, 1, 1],
        "feature_ids": [0, 2, 1, 1, 2],
        "feature_counts": [2, 1, 0, 2],
        "feature_values": [3.0, 1.0, 0.1, -1.5, 1e-30],
    },
    {
        "nodes": [5],
        "senders": [],
        "receivers": [],
        "feature_ids": [2],
        "feature_counts": [1],
        "feature_values": [2.5],
    },
]
EDGES = np.array([[[0, 1, 1, 0], [1, 0, 0, 1], [0] * 4, [0] * 4], np.zeros((4, 4))])
NUMBERS = np.array(
    [
        [[3, 0, 1], [0, 0.1, 0], [0, 0, 0], [0, -1.5, 1e-30]],
        [[0, 0, 2.5], [0] * 3, [0] * 3, [0] * 3],
    ],
    "float32",
)
BINARY = [{k: v for k, v in row.items() if k != "feature_values"} for row in SPARSE]
DENSE = [
    {
        **{name: row[name] for name in ("nodes", "senders", "receivers")},
        "node_features": numbers[: len(row["nodes"])].ravel().tolist(),
    }
    for row, numbers in zip(SPARSE, NUMBERS, strict=True)
]
every_form = pytest.mark.parametrize("rows", [SPARSE, DENSE], ids=["sparse", "dense"])


def options(**keys):
    keys = {"num_features": 3, "max_nodes": 4, "normalize": "none", **keys}
    return section(graph=keys)["graph"]


def spec_of(row):
    """Return the raw feature spec, as the schema of such rows has it."""
    floats = ("feature_values", "node_features")
    return {
        name: tf.io.VarLenFeature(tf.float32 if name in floats else tf.int64)
        for name in row
    }


def example(row):
    feature = {
        name: tf.train.Feature(float_list=tf.train.FloatList(value=values))
        if name in ("feature_values", "node_features")
        else tf.train.Feature(int64_list=tf.train.Int64List(value=values))
        for name, values in row.items()
    }
    return tf.train.Example(features=tf.train.Features(feature=feature))


def parsed(rows):
    serialized = [example(row).SerializeToString() for row in rows]
    return tf.io.parse_example(serialized, spec_of(rows[0]))


def inputs_of(rows, **keys):
    """Return what a model gets of raw rows."""
    chosen = options(**keys)
    columns = graph_input.columns(parsed(rows), chosen)
    found = graph_input.model_inputs(columns, chosen)
    return found["features"].numpy(), found["adjacency"].numpy()


def raw_inputs(rows, width=3):
    """Return rows as a client sends them to `serve_raw`."""
    info = TensorInfo()
    for size in (-1, -1, width):
        info.tensor_shape.dim.add(size=size)
    examples = [example(row) for row in rows]
    return {
        name: graph_input.raw_column(name, info, examples)
        for name in ("features", "adjacency")
    }


@every_form
def test_a_neighbourhood_becomes_the_matrices_made_by_hand(rows):
    features, adjacency = inputs_of(rows)
    np.testing.assert_array_equal(features, NUMBERS)
    np.testing.assert_array_equal(adjacency, EDGES)
    assert graph_input.input_shape(options()) == Graph(4, 3)


def test_edges_from_a_node_to_itself_are_left_out():
    loops = {"senders": [1, 2, 1, 0, 3], "receivers": [0, 0, 1, 1, 1]}
    _, adjacency = inputs_of([{**BINARY[0], **loops}, BINARY[1]])
    np.testing.assert_array_equal(adjacency, EDGES)


def test_without_values_every_listed_feature_is_1():
    features, _ = inputs_of(BINARY)
    np.testing.assert_array_equal(features, (NUMBERS != 0).astype("float32"))


def test_edges_and_features_are_stored_as_short_texts():
    columns = graph_input.columns(parsed(BINARY), options())
    assert columns["edges_xf"].numpy().tolist() == [[b"1 2 4 7"], [b""]]
    assert columns["node_features_xf"].numpy().tolist() == [[b"0 2 4 10 11"], [b"2"]]


@every_form
def test_the_last_nodes_are_cut_with_their_edges(rows):
    features, adjacency = inputs_of(rows, max_nodes=2)
    np.testing.assert_array_equal(features, NUMBERS[:, :2])
    np.testing.assert_array_equal(adjacency, EDGES[:, :2, :2])


@every_form
def test_the_rows_of_normalized_features_add_up_to_1_or_0(rows):
    features, _ = inputs_of(rows, normalize="rows")
    np.testing.assert_allclose(features[0, 0], [0.75, 0, 0.25])
    sums = np.abs(features).sum(axis=-1)
    np.testing.assert_allclose(sums, [[1, 1, 0, 1], [1, 0, 0, 0]], rtol=1e-6)


def test_every_float_survives_being_written():
    draw = np.random.default_rng(0).integers(1, 2**31 - 2**24, 300, np.int32)
    values = draw.view(np.float32)  # of all sizes
    row = {
        **{"nodes": [0], "senders": [], "receivers": []},
        **{"feature_ids": range(300), "feature_counts": [300]},
        "feature_values": values.tolist(),
    }
    features, _ = inputs_of([row], max_nodes=1, num_features=300)
    normal = values >= np.finfo("float32").tiny
    np.testing.assert_array_equal(features[0, 0, normal], values[normal])


@pytest.mark.parametrize("rows", [SPARSE, BINARY, DENSE])
def test_matrices_from_a_client_give_the_same_as_the_record(rows):
    inputs = {name: tf.constant(v) for name, v in raw_inputs(rows).items()}
    loops = tf.linalg.set_diag(inputs["adjacency"], tf.ones([2, 4]))
    inputs["adjacency"] = loops  # of no effect
    raw = graph_input.raw_features(inputs, options(), spec_of(rows[0]))
    assert set(raw) == set(rows[0])
    columns = graph_input.columns(raw, options())
    found = graph_input.model_inputs(columns, options())
    features, adjacency = inputs_of(rows)
    np.testing.assert_array_equal(found["features"], features)
    np.testing.assert_array_equal(found["adjacency"], adjacency)


def test_examples_of_one_length_may_come_dense():
    fixed = {
        n: tf.io.FixedLenFeature([1], f.dtype) for n, f in spec_of(DENSE[1]).items()
    }
    fixed |= {n: tf.io.VarLenFeature(tf.int64) for n in ("senders", "receivers")}
    fixed["node_features"] = tf.io.FixedLenFeature([3], tf.float32)
    serialized = [example(DENSE[1]).SerializeToString()] * 2
    features = tf.io.parse_example(serialized, fixed)
    columns = graph_input.columns(features, options())
    found = graph_input.model_inputs(columns, options())
    np.testing.assert_array_equal(found["features"], NUMBERS[[1, 1]])
    alone = {"features": NUMBERS[1:, :1], "adjacency": np.zeros((1, 1, 1), "float32")}
    raw = graph_input.raw_features(alone, options(), fixed)
    np.testing.assert_array_equal(raw["node_features"], NUMBERS[1, :1])
    np.testing.assert_array_equal(raw["nodes"], [[0]])


@pytest.mark.parametrize(
    ("form", "changes", "message"),
    [
        (BINARY, {"senders": [1, 2, 0, 4]}, "places in `nodes`"),
        (BINARY, {"receivers": [0, 0, -1, 1]}, "places in `nodes`"),
        (BINARY, {"receivers": [0, 0, 1]}, "as many of one as of the other"),
        (BINARY, {"feature_ids": [0, 2, 1, 1, 3]}, r"0 to num_features - 1 \(2\)"),
        (BINARY, {"feature_ids": [0, 2, 1, 1]}, "add up to the number"),
        (BINARY, {"feature_counts": [2, 1, -1, 3]}, "add up to the number"),
        (BINARY, {"feature_counts": [2, 1, 2]}, "one of each of `nodes`"),
        (SPARSE, {"feature_values": [1.0]}, "as many as feature_ids"),
        (DENSE, {"node_features": [1.0] * 11}, r"num_features \(3\) of each"),
    ],
)
def test_lists_that_contradict_each_other_are_refused(form, changes, message):
    rows = [{**form[0], **changes}, form[1]]
    with pytest.raises(tf.errors.InvalidArgumentError, match=message):
        inputs_of(rows)


def test_nodes_without_features_are_refused():
    rows = [{n: row[n] for n in ("nodes", "senders", "receivers")} for row in SPARSE]
    with pytest.raises(BadInputError, match="Expected `node_features`, or"):
        inputs_of(rows)


@pytest.mark.slow
def test_the_saved_transform_graph_does_and_refuses_the_same(tmp_path):
    chosen = section(graph=options(), label={"feature": "label", "classes": [0, 1, 2]})
    rows = [{**row, "label": [i]} for i, row in enumerate(SPARSE)]
    output = _analyzed(chosen, rows, tmp_path)
    saved = tf.saved_model.load(output.transform_savedmodel_dir)
    columns = saved.transform_fn(parsed(rows))
    assert columns[LABEL].numpy().tolist() == [[0], [1]]
    found = graph_input.model_inputs(columns, options())
    np.testing.assert_array_equal(found["features"], NUMBERS)
    np.testing.assert_array_equal(found["adjacency"], EDGES)
    spec = output.transformed_feature_spec()
    assert {name: column.shape[1:] for name, column in columns.items()} == {
        name: feature.shape for name, feature in spec.items()
    }
    wrong = [{**rows[0], "feature_ids": [0, 2, 1, 1, 3]}, rows[1]]
    with pytest.raises(tf.errors.InvalidArgumentError, match="feature_ids: expected 0"):
        saved.transform_fn(parsed(wrong))


def test_papers_of_cora_reach_the_model_as_the_file_has_them():
    if not CORA.exists():
        pytest.skip("needs the data set cora")
    rows = _papers({"nodes": None, "id_column": "id", "fanout": [168, 168]})
    chosen = options(num_features=1433, max_nodes=64, normalize="rows")
    names = ("nodes", "senders", "receivers", "feature_ids", "feature_counts")
    rows = [{name: row[name] for name in names} for row in rows]
    columns = graph_input.columns(parsed(rows), chosen)
    found = graph_input.model_inputs(columns, chosen)
    data = np.load(CORA)
    bounds, words = data["feat_indptr"], data["feat_indices"]
    for i, row in enumerate(rows):
        kept = row["nodes"][:64]
        for place, node in enumerate(kept):
            (of_node,) = np.nonzero(found["features"][i, place])
            want = np.sort(words[bounds[node] : bounds[node + 1]])
            np.testing.assert_array_equal(of_node, want)
        cited = (data["edges"] == row["nodes"][0]).any(axis=1).sum()
        assert found["adjacency"][i, 0].numpy().sum() == min(cited, 63)


def _analyzed(chosen, rows, folder):
    """Return the transform graph that TFX Transform makes of rows of lists."""
    metadata = dataset_metadata.DatasetMetadata.from_feature_spec(spec_of(rows[0]))
    with (
        beam.Pipeline(runner=FnApiRunner()) as pipeline,
        tft_beam.Context(temp_dir=str(folder / "temp")),
    ):
        data = pipeline | beam.Create(rows)
        made = (data, metadata) | tft_beam.AnalyzeDataset(
            lambda inputs: preprocessing_fn(inputs, {"transform": chosen})
        )
        _ = made | tft_beam.WriteTransformFn(str(folder / "result"))
    return tft.TFTransformOutput(str(folder / "result"))


def _papers(source):
    found = files.list_files([files.Pattern(str(CORA))], graph.SUFFIXES)
    (piece,) = graph.pieces(source, found, {"train": "train"})
    return next(graph.read(piece)).table.to_pylist()
