"""A graph in CSVs: edges by the ids of their nodes, and a row per node."""

from collections.abc import Iterator, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from components.sources import Batch, csv, files
from components.sources.graph_data import Features, Graph, dense
from recipes.data import Csv
from recipes.errors import BadInputError

LABEL = "label"


def load(edges: Sequence[files.File], nodes: str, id_column: str) -> Graph:
    """Read a graph.

    Args:
      edges: files whose first two columns are ids of nodes.
      nodes: path of the table with the column `id_column`; its column `label` is the
        label, its other columns of numbers are features.
      id_column: its column of ids.

    Raises:
      BadInputError: a column is not there, two nodes have one id, an edge names none,
        or a feature is missing.
    """
    listed = files.list_files([files.Pattern(nodes)])
    batches = list(_batches(listed))
    table = pa.Table.from_batches([batch.table for batch in batches])
    for column in (id_column, LABEL):
        if column not in table.column_names:
            raise BadInputError(
                f"{nodes}: has no column {column!r}. Expected {id_column!r} and "
                f"{LABEL!r}. Received: {', '.join(table.column_names)}"
            )
    where = [name for batch in batches for name in batch.names]
    names = table.column(id_column).cast(pa.string()).combine_chunks()
    _check_names(names, where)
    features, notes = _features(table, id_column, where)
    found = [np.empty((0, 2), np.int64)]
    found += [_edges(batch, names) for batch in _batches(edges)]
    is_number = pa.types.is_integer(table.column(id_column).type)
    return Graph(
        edges=np.concatenate(found),
        labels=table.column(LABEL).combine_chunks(),
        ids=table.column(id_column).to_numpy() if is_number else np.arange(len(names)),
        names=names.to_pylist(),
        features=features,
        notes=tuple(notes),
    )


def _batches(found: Sequence[files.File]) -> Iterator[Batch]:
    options = Csv(path="").model_dump(mode="json")
    for piece in csv.pieces(options, found, {}):
        for batch in csv.read(piece):
            for bad in batch.bad:  # a graph without some of its edges is another one
                raise BadInputError(f"{bad.where}: {bad.why}")
            yield batch


def _check_names(names: pa.Array, where: Sequence[str]) -> None:
    if names.null_count:
        row = names.is_null().index(True).as_py()
        raise BadInputError(f"{where[row]}: the id of the node is missing.")
    first = pc.index_in(names, value_set=names).to_numpy()
    twice = np.flatnonzero(first != np.arange(len(first)))
    if len(twice):
        row = twice[0]
        raise BadInputError(
            f"{where[row]}: node {names[row]} stands in {where[first[row]]}, too."
        )


def _features(
    table: pa.Table, id_column: str, where: Sequence[str]
) -> tuple[Features, list[str]]:
    others = [n for n in table.column_names if n not in (id_column, LABEL)]
    numbers, texts = [], []
    for name in others:
        kind = table.column(name).type
        is_number = pa.types.is_integer(kind) or pa.types.is_floating(kind)
        (numbers if is_number else texts).append(name)
    notes = [f"node features: {', '.join(numbers)}"] if numbers else []
    notes += [f"column {name} of the nodes is no number: left out" for name in texts]
    if not numbers:
        return Features(), notes
    values = np.empty((len(table), len(numbers)), np.float32)
    for i, name in enumerate(numbers):
        values[:, i] = table.column(name).to_numpy()
    missing = np.argwhere(~np.isfinite(values))
    if len(missing):
        row, column = missing[0]
        raise BadInputError(
            f"{where[row]}: expected a number in column {numbers[column]!r} of every "
            "node. Received: none"
        )
    return dense(values), notes


def _edges(batch: Batch, names: pa.Array) -> np.ndarray:
    """Return (rows, 2) int64 numbers of nodes."""
    if batch.table.num_columns < 2:
        raise BadInputError(f"{batch.names[0]}: expected two columns of node ids.")
    ends = []
    for column in batch.table.columns[:2]:
        found = pc.index_in(column.cast(pa.string()), value_set=names)
        if found.null_count:
            row = found.is_null().index(True).as_py()
            raise BadInputError(
                f"{batch.names[row]}: expected the id of a node. "
                f"Received: {column[row].as_py()!r}"
            )
        ends.append(found.to_numpy())
    return np.stack(ends, axis=1).astype(np.int64)
