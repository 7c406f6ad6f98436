"""Sampled neighbourhoods of a graph as a model reads them.

Raw features are those of components/sources/graph.py. A neighbourhood has from one node
to hundreds, mostly few, and most numbers of most nodes are 0; so what is stored is a
list of numbers as text, which takes as much room as there is to say. Transformed
columns:

- `edges_xf` (batch, 1): the place of each edge in the adjacency, row by row: receiver x
  max_nodes + sender, such as "1 64 130"; edges from a node to itself are left out;
- `node_features_xf`: where the source lists what is not 0, (batch, 1), the places in a
  matrix of (max_nodes, num_features), and, where they are not all 1,
  `node_values_xf` (batch, 1), the values there. Otherwise (batch, max_nodes x
  num_features) float32.

`serve_raw` takes `features` (batch, nodes, num_features) float32, the root first, and
`adjacency` (batch, nodes, nodes) float32: 1 at [receiver, sender] of each edge, which
leads from a neighbour to the node it was sampled for. Neighbourhoods of fewer nodes
than others are filled up with zeros; the last nodes beyond max_nodes are left out. If
all features trained on were 0 or 1, each but 0 counts as 1.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

import models
from components.columns import transformed_name
from recipes.errors import BadInputError

EDGES = transformed_name("edges")
NODE_FEATURES = transformed_name("node_features")
NODE_VALUES = transformed_name("node_values")
FLOAT_DIGITS = 8  # after the first: every float32 comes back as the same number


def columns(
    features: Mapping[str, tf.Tensor | tf.SparseTensor], section: Mapping[str, Any]
) -> dict[str, tf.Tensor]:
    """Return the transformed columns.

    Raises:
      BadInputError: nodes have no features.
      tf.errors.InvalidArgumentError, when run: lists of an example contradict each
        other or the recipe.
    """
    num_nodes = _lists(features["nodes"]).row_lengths()  # (B,)
    edges = {EDGES: _edges(features, num_nodes, section["max_nodes"])}
    if "node_features" in features:
        return edges | _dense_features(features, num_nodes, section)
    if "feature_ids" in features:
        return edges | _sparse_features(features, num_nodes, section)
    raise BadInputError(
        "[transform.graph] The nodes have no features. Expected `node_features`, or "
        f"`feature_ids` and `feature_counts`. Received: {', '.join(sorted(features))}"
    )


def input_shape(section: Mapping[str, Any]) -> models.Graph:
    """Return what `build` of a model family takes as its `input_shape`."""
    return models.Graph(section["max_nodes"], section["num_features"])


def model_inputs(
    features: Mapping[str, tf.Tensor], section: Mapping[str, Any]
) -> dict[str, tf.Tensor]:
    """Return what `models.Graph` describes, from transformed columns."""
    num_nodes, num_features = section["max_nodes"], section["num_features"]
    edges = _parsed(features[EDGES], tf.int64)
    adjacency = _scattered(edges, tf.ones_like(edges.values, tf.float32), num_nodes**2)
    adjacency = tf.minimum(adjacency, 1.0)  # an edge given twice
    if features[NODE_FEATURES].dtype == tf.string:
        numbers = _listed_numbers(features, section)
    else:
        numbers = _dense_numbers(features[NODE_FEATURES], section)
    return {
        "features": tf.reshape(numbers, [-1, num_nodes, num_features]),
        "adjacency": tf.reshape(adjacency, [-1, num_nodes, num_nodes]),
    }


def raw_signature(section: Mapping[str, Any]) -> dict[str, tf.TensorSpec]:
    """Return what `serve_raw` takes."""
    shapes = {
        "features": [None, None, section["num_features"]],
        "adjacency": [None, None, None],
    }
    return {name: tf.TensorSpec(shape, name=name) for name, shape in shapes.items()}


def raw_features(
    inputs: Mapping[str, tf.Tensor],
    section: Mapping[str, Any],
    raw_spec: Mapping[str, Any],
) -> dict[str, tf.Tensor | tf.SparseTensor]:
    """Return what `parse_example` would have returned of these neighbourhoods."""
    numbers, adjacency = inputs["features"], inputs["adjacency"]
    batch_size, num_nodes = tf.unstack(tf.shape(numbers, tf.int64)[:2])
    no_loops = tf.zeros([batch_size, num_nodes])
    adjacency = tf.linalg.set_diag(adjacency, no_loops)
    example, receiver, sender = tf.unstack(tf.where(adjacency != 0), axis=1)
    filled, _, column = tf.unstack(tf.where(numbers != 0), axis=1)

    def lists(values: tf.Tensor, examples: tf.Tensor) -> tf.RaggedTensor:
        return tf.RaggedTensor.from_value_rowids(values, examples, batch_size)

    nodes = tf.tile(tf.range(num_nodes)[None], [batch_size, 1])
    counts = tf.math.count_nonzero(numbers, axis=2)  # (B, N)
    flat = tf.reshape(numbers, [batch_size, num_nodes * section["num_features"]])
    made = {
        "nodes": tf.RaggedTensor.from_tensor(nodes),
        "senders": lists(sender, example),
        "receivers": lists(receiver, example),
        "node_features": tf.RaggedTensor.from_tensor(flat),
        "feature_ids": lists(column, filled),
        "feature_counts": tf.RaggedTensor.from_tensor(counts),
        "feature_values": lists(tf.boolean_mask(numbers, numbers != 0), filled),
    }
    return {n: _as_parsed(made[n], raw_spec[n]) for n in made if n in raw_spec}


def raw_column(name: str, info: Any, rows: Sequence[tf.train.Example]) -> np.ndarray:
    """Return raw examples as `serve_raw` takes them.

    Args:
      name: `features` or `adjacency`.
      info: TensorInfo of that input.
      rows: examples of raw features.
    """
    most = max(len(_values(row, "nodes")) for row in rows)
    if name == "adjacency":
        adjacency = np.zeros((len(rows), most, most), np.float32)
        for matrix, row in zip(adjacency, rows, strict=True):
            matrix[_values(row, "receivers"), _values(row, "senders")] = 1
        return adjacency
    num_features = info.tensor_shape.dim[2].size
    features = np.zeros((len(rows), most, num_features), np.float32)
    for matrix, row in zip(features, rows, strict=True):
        _fill(matrix, row)
    return features


def _edges(
    features: Mapping[str, Any], num_nodes: tf.Tensor, max_nodes: int
) -> tf.Tensor:
    senders, receivers = (_lists(features[name]) for name in ("senders", "receivers"))
    _, sender, receiver = _checked(
        [senders.row_splits, senders.values, receivers.values],
        "senders and receivers: expected as many of one as of the other",
        _equal(senders.row_lengths(), receivers.row_lengths()),
    )
    last = tf.gather(num_nodes, senders.value_rowids()) - 1
    sender, receiver = _checked(
        [sender, receiver],
        "senders and receivers: expected places in `nodes`",
        tf.minimum(sender, receiver) >= 0,
        tf.maximum(sender, receiver) <= last,
    )
    is_kept = (tf.maximum(sender, receiver) < max_nodes) & (sender != receiver)
    return _written(senders, receiver * max_nodes + sender, is_kept)


def _dense_features(
    features: Mapping[str, Any], num_nodes: tf.Tensor, section: Mapping[str, Any]
) -> dict[str, tf.Tensor]:
    width = section["num_features"]
    lists = _lists(features["node_features"])
    (values,) = _checked(
        [lists.values],
        f"node_features: expected num_features ({width}) of each of `nodes`",
        _equal(lists.row_lengths(), num_nodes * width),
    )
    shape = [None, section["max_nodes"] * width]
    return {NODE_FEATURES: lists.with_values(values).to_tensor(shape=shape)}


def _sparse_features(
    features: Mapping[str, Any], num_nodes: tf.Tensor, section: Mapping[str, Any]
) -> dict[str, tf.Tensor]:
    width = section["num_features"]
    ids, counts = _lists(features["feature_ids"]), _lists(features["feature_counts"])
    column, count = _checked(
        [ids.values, counts.values],
        "feature_counts: expected one of each of `nodes`, which add up to the number "
        "of feature_ids",
        _equal(counts.row_lengths(), num_nodes),
        counts.values >= 0,
        _equal(tf.reduce_sum(counts, axis=1), ids.row_lengths()),
    )
    (column,) = _checked(
        [column],
        f"feature_ids: expected 0 to num_features - 1 ({width - 1})",
        column >= 0,
        column < width,
    )
    node = tf.repeat(tf.ragged.range(num_nodes).values, count)
    is_kept = node < section["max_nodes"]
    written = {NODE_FEATURES: _written(ids, node * width + column, is_kept)}
    if "feature_values" in features:
        values = _lists(features["feature_values"])
        (value,) = _checked(
            [values.values],
            "feature_values: expected as many as feature_ids",
            _equal(values.row_lengths(), ids.row_lengths()),
        )
        written[NODE_VALUES] = _written(ids, value, is_kept)
    return written


def _dense_numbers(numbers: tf.Tensor, section: Mapping[str, Any]) -> tf.Tensor:
    """Return the numbers of (batch, nodes x features) by node, as the recipe wants."""
    numbers = tf.reshape(numbers, [-1, section["num_features"]])
    if section["normalize"] == "none":
        return numbers
    return tf.math.divide_no_nan(numbers, tf.reduce_sum(tf.abs(numbers), 1, True))


def _listed_numbers(
    features: Mapping[str, tf.Tensor], section: Mapping[str, Any]
) -> tf.Tensor:
    """Return the same, (batch, nodes x features), of what is not 0.

    Scaled before they are among the zeros, which are many times as many.
    """
    num_nodes, num_features = section["max_nodes"], section["num_features"]
    places = _parsed(features[NODE_FEATURES], tf.int64)
    values = tf.ones_like(places.values, tf.float32)
    if NODE_VALUES in features:
        values = _parsed(features[NODE_VALUES], tf.float32).values
    if section["normalize"] == "rows":
        node = places.value_rowids() * num_nodes + places.values // num_features
        num_rows = places.nrows() * num_nodes
        sums = tf.math.unsorted_segment_sum(tf.abs(values), node, num_rows)
        values = tf.math.divide_no_nan(values, tf.gather(sums, node))
    return _scattered(places, values, num_nodes * num_features)


def _lists(feature: tf.Tensor | tf.SparseTensor) -> tf.RaggedTensor:
    if isinstance(feature, tf.SparseTensor):
        return tf.RaggedTensor.from_sparse(feature)
    return tf.RaggedTensor.from_tensor(feature)  # as many values in every example


def _checked(tensors: list[tf.Tensor], message: str, *laws: tf.Tensor) -> list:
    """Return the tensors, which fail when they are used if a law does not hold."""
    failing = [tf.debugging.Assert(tf.reduce_all(law), [message]) for law in laws]
    with tf.control_dependencies([op for op in failing if op is not None]):
        return [tf.identity(tensor) for tensor in tensors]


def _equal(one: tf.Tensor, two: tf.Tensor) -> tf.Tensor:
    return tf.reduce_all(one == two)


def _written(like: tf.RaggedTensor, values: tf.Tensor, is_kept: tf.Tensor) -> tf.Tensor:
    """Return numbers of each example as text, (batch, 1)."""
    as_float = {"precision": FLOAT_DIGITS, "scientific": True}
    text = tf.strings.as_string(values, **as_float if values.dtype.is_floating else {})
    kept = tf.ragged.boolean_mask(like.with_values(text), like.with_values(is_kept))
    return tf.strings.reduce_join(kept, axis=1, separator=" ", keepdims=True)


def _parsed(column: tf.Tensor, dtype: tf.DType) -> tf.RaggedTensor:
    """Return the numbers of each example that `_written` has written."""
    words = tf.strings.split(column[:, 0])
    return words.with_values(tf.strings.to_number(words.values, dtype))


def _scattered(places: tf.RaggedTensor, values: tf.Tensor, size: int) -> tf.Tensor:
    """Return (batch, size) zeros but for values at places."""
    cells = tf.stack([places.value_rowids(), places.values], axis=1)
    return tf.scatter_nd(cells, values, [places.nrows(), size])


def _as_parsed(lists: tf.RaggedTensor, feature: Any) -> tf.Tensor | tf.SparseTensor:
    if isinstance(feature, tf.io.VarLenFeature):
        return lists.to_sparse()
    return tf.ensure_shape(lists.to_tensor(), [None, *feature.shape])


def _fill(matrix: np.ndarray, row: tf.train.Example) -> None:
    """Write the features of an example's nodes to (nodes, num_features) zeros."""
    numbers = _values(row, "node_features")
    if len(numbers):
        numbers = numbers.reshape(-1, matrix.shape[1])
        matrix[: len(numbers)] = numbers
        return
    counts = _values(row, "feature_counts")
    node = np.repeat(np.arange(len(counts)), counts)
    values = _values(row, "feature_values")
    matrix[node, _values(row, "feature_ids")] = values if len(values) else 1


def _values(row: tf.train.Example, name: str) -> np.ndarray:
    feature = row.features.feature[name]  # absent: an empty one
    if feature.WhichOneof("kind") == "float_list":
        return np.array(feature.float_list.value, np.float32)
    return np.array(feature.int64_list.value, np.int64)
