"""A graph: an example per node, with a sample of its neighbourhood.

Features: `node` (id of the root), `label` (of the root alone), `nodes` (ids, the root
first), `senders` and `receivers` (edges, as places in `nodes`; they lead from the
neighbour that was sampled to the node that sampled it), and of the nodes either
`node_features` (nodes x columns numbers), or, where most of those are 0, `feature_ids`
(columns that are not 0, node by node), `feature_counts` (how many of each node) and,
where they are not all 1, `feature_values`.

Edges lead both ways; one given twice counts once, one from a node to itself not at all.
A node samples the same neighbours whoever asks: its number, the hop and theirs decide,
not the order of edges in the file. The graph is held in memory by each worker.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from components import split_slices
from components.sources import (
    BATCH_BYTES,
    BATCH_ROWS,
    Batch,
    Piece,
    files,
    graph_npz,
    graph_sampling,
    graph_tables,
)
from components.sources.graph_data import Graph, lists
from recipes.errors import BadInputError

SUFFIXES = (".npz", ".csv", ".tsv", ".csv.gz", ".tsv.gz", ".csv.bz2", ".tsv.bz2")
# Of one graph: every piece loads it anew.
MAX_PIECES = 8
MIN_ROOTS = 16_384


def pieces(
    source: Mapping[str, Any],
    found: Sequence[files.File],
    splits: Mapping[str, int | str],
) -> list[Piece]:
    """Return some roots each. Reads every graph once.

    Raises:
      BadInputError: a graph cannot be used, or lacks a part that `splits` names.
    """
    made: list[Piece] = []
    for some in _graphs(source, found):
        options = {
            "files": [[file.path, file.relative] for file in some],
            "nodes": source["nodes"],
            "id_column": source["id_column"],
            "fanout": source["fanout"],
        }
        graph = _load(options)
        size = sum(file.size_bytes for file in some)
        notes = _notes(graph)
        for part in _parts(graph, some[0].part, splits):
            count = len(_roots(graph, part))
            step = max(MIN_ROOTS, -(-count // MAX_PIECES))
            for start in range(0, count, step):
                own = {"start": start, "stop": start + step, "notes": notes}
                size_bytes = size * min(step, count - start) // count
                made.append(Piece("", part, size_bytes, {**options, **own}))
                notes = []
    return made


def read(piece: Piece) -> Iterator[Batch]:
    """Read the neighbourhoods of some roots."""
    options = piece.options
    graph = _load(options)
    num_nodes = len(graph.labels)
    adjacent = graph_sampling.neighbours(graph.edges, num_nodes)
    samples = [
        graph_sampling.sample(adjacent, fanout, hop)
        for hop, fanout in enumerate(options["fanout"])
    ]
    roots = _roots(graph, piece.part)[options["start"] : options["stop"]]
    where = options["nodes"] or options["files"][0][1]
    notes = tuple(options["notes"])
    size = _batch_size(graph, options["fanout"])
    for i in range(0, len(roots), size):
        some = roots[i : i + size]
        names = [f"{where} node {graph.names[root]}" for root in some.tolist()]
        yield Batch(names, _table(graph, some, samples), notes=notes)
        notes = ()


def _graphs(
    source: Mapping[str, Any], found: Sequence[files.File]
) -> list[list[files.File]]:
    """Return the files of each graph: an .npz is one, and so are all CSVs of a part."""
    if source["nodes"] is None:
        for file in found:
            if not file.path.endswith(".npz"):
                raise BadInputError(
                    f"[data.graph] nodes: expected a CSV of nodes beside the edges in "
                    f"{file.relative}, or an .npz that holds both."
                )
        return [[file] for file in found]
    parts = sorted({file.part for file in found})
    return [[file for file in found if file.part == part] for part in parts]


def _load(options: Mapping[str, Any]) -> Graph:
    some = [files.File(path, relative, 0) for path, relative in options["files"]]
    if options["nodes"] is None:
        return graph_npz.load(some[0])
    return graph_tables.load(some, options["nodes"], options["id_column"])


def _parts(graph: Graph, part: str, splits: Mapping[str, int | str]) -> list[str]:
    """Return the parts to be read; a graph without any is one, named like its files."""
    texts = {s: text for s, text in splits.items() if isinstance(text, str)}
    if part or not texts:
        return [part]
    return sorted({s.part for s in split_slices.parse(texts, graph.parts.keys())})


def _roots(graph: Graph, part: str) -> np.ndarray:
    return graph.parts.get(part, np.arange(len(graph.labels)))


def _notes(graph: Graph) -> list[str]:
    loops = int((graph.edges[:, 0] == graph.edges[:, 1]).sum())
    adjacent = graph_sampling.neighbours(graph.edges, len(graph.labels))
    twice = len(graph.edges) - loops - len(adjacent.values) // 2
    notes = list(graph.notes)
    if loops:
        notes.append(f"{loops} edges from a node to itself left out")
    if twice:
        notes.append(f"{twice} edges given more than once left out")
    return notes


def _batch_size(graph: Graph, fanout: Sequence[int]) -> int:
    """Return how many examples fit into a batch, were every sample full."""
    nodes = 1 + int(np.cumprod(fanout).sum())
    per_node = 8 + 16 + graph.features.bytes_per_node()  # its id, an edge, its features
    return max(1, min(BATCH_ROWS, int(BATCH_BYTES / (nodes * per_node))))


def _table(
    graph: Graph, roots: np.ndarray, samples: Sequence[graph_sampling.Lists]
) -> pa.RecordBatch:
    found = graph_sampling.neighbourhoods(roots, samples, len(graph.labels))
    nodes = graph_sampling.Lists(found.nodes.bounds, graph.ids[found.nodes.values])
    columns = {
        "node": pa.array(graph.ids[roots]),
        "label": graph.labels.take(pa.array(roots)),
        "nodes": lists(nodes),
        "senders": lists(found.senders),
        "receivers": lists(found.receivers),
        **graph.features.of(found.nodes),
    }
    return pa.RecordBatch.from_pydict(columns)
