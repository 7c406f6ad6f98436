"""A graph in memory: edges, labels and features of its nodes."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa

from components.sources.graph_sampling import Lists

MOSTLY_ZERO = 0.1  # share of values that are not 0; below it only those are kept


@dataclass(frozen=True)
class Features:
    """Numbers of each node: all of them, or those that are not 0.

    Attributes:
      dense: (N, D) float32, or None.
      columns: of each node, the columns that are not 0, or None.
      values: float32, one for each of them, or None where all are 1.
    """

    dense: np.ndarray | None = None
    columns: Lists | None = None
    values: np.ndarray | None = None

    def of(self, nodes: Lists) -> dict[str, pa.Array]:
        """Return features of examples, each with a list of nodes."""
        if self.dense is not None:
            bounds = nodes.bounds * self.dense.shape[1]
            values = self.dense[nodes.values].reshape(-1)
            return {"node_features": lists(Lists(bounds, values))}
        if self.columns is None:
            return {}
        ids = self.columns.take(nodes.values)
        bounds = ids.bounds[nodes.bounds]
        counts = np.diff(ids.bounds)
        found = {
            "feature_ids": lists(Lists(bounds, ids.values)),
            "feature_counts": lists(Lists(nodes.bounds, counts)),
        }
        if self.values is not None:
            values = Lists(self.columns.bounds, self.values).take(nodes.values)
            found["feature_values"] = lists(Lists(bounds, values.values))
        return found

    def bytes_per_node(self) -> float:
        """Return about how much of an example a node takes."""
        if self.dense is not None:
            return 4 * self.dense.shape[1]
        if self.columns is None:
            return 0
        return 12 * len(self.columns.values) / max(1, len(self.columns.bounds) - 1)


@dataclass(frozen=True)
class Graph:
    """A graph; nodes are numbered from 0.

    Attributes:
      edges: (E, 2) int64, pairs of nodes.
      labels: (N,) of the nodes.
      ids: (N,) int64, what the files call the nodes; their numbers where that is text.
      names: (N,) what the files call them.
      features: of the nodes.
      parts: nodes of each part.
      notes: for people.
    """

    edges: np.ndarray
    labels: pa.Array
    ids: np.ndarray
    names: Sequence[object]
    features: Features
    parts: Mapping[str, np.ndarray] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


def dense(values: np.ndarray) -> Features:
    """Return features of (N, D) numbers; many columns of zeros are not kept as such."""
    values = values.astype(np.float32)
    rows, columns = np.nonzero(values)
    if values.shape[1] <= 64 or len(rows) >= MOSTLY_ZERO * values.size:
        return Features(dense=values)
    bounds = np.searchsorted(rows, np.arange(len(values) + 1))
    return sparse(Lists(bounds, columns), values[rows, columns])


def sparse(columns: Lists, values: np.ndarray) -> Features:
    """Return features of the columns that are not 0, and their values."""
    if (values == 1).all():
        return Features(columns=columns)
    return Features(columns=columns, values=values.astype(np.float32))


def lists(values: Lists) -> pa.Array:
    """Return lists as a column."""
    flat = np.ascontiguousarray(values.values)
    return pa.LargeListArray.from_arrays(pa.array(values.bounds), pa.array(flat))
