"""A graph in an .npz: `edges`, `labels`, `features` or their CSR parts, `*_idx`."""

import itertools
import zipfile
import zlib

import numpy as np
import pyarrow as pa

from components.sources import files
from components.sources.graph_data import Features, Graph, dense, sparse
from components.sources.graph_sampling import Lists
from recipes.errors import BadInputError

PARTS = {"train": "train_idx", "val": "val_idx", "test": "test_idx"}
LARGEST_BYTES = 16 << 30  # of all arrays: they are held in memory
_SPARSE = ("feat_data", "feat_indices", "feat_indptr", "feat_shape")
_READ = ("edges", "labels", "features", *_SPARSE, *PARTS.values())
_UNREADABLE = (
    OSError,
    ValueError,  # also: holds Python objects, which could run code
    EOFError,
    MemoryError,  # declares more than there can be
    zipfile.BadZipFile,
    zlib.error,
)


def load(file: files.File) -> Graph:
    """Read a graph.

    Raises:
      BadInputError: an array is not there, has another shape or type, or names a node
        or a column that there is not.
    """
    arrays = _Arrays(file)
    labels = arrays.get("labels", 1)
    nodes = len(labels)
    edges = arrays.indices("edges", 2, nodes)
    if edges.shape[1] != 2:
        raise arrays.refusal("edges", "two columns", edges.shape)
    return Graph(
        edges=edges,
        labels=pa.array(labels.tolist() if labels.dtype.kind in "US" else labels),
        ids=np.arange(nodes),
        names=range(nodes),
        features=_features(arrays, nodes),
        parts=_parts(arrays, nodes),
    )


class _Arrays:
    """The arrays of an .npz, checked as they are fetched."""

    def __init__(self, file: files.File):
        self._where = file.relative
        try:
            with (
                files.open_binary(file.path) as stream,
                np.load(stream, allow_pickle=False) as arrays,
            ):
                self._names = arrays.files
                self._check_size(arrays.zip)
                read = [name for name in arrays.files if name in _READ]
                self._arrays = {name: arrays[name] for name in read}
        except _UNREADABLE as error:
            raise BadInputError(
                f"{self._where}: not a readable .npz: {error}"
            ) from error

    def _check_size(self, archive: zipfile.ZipFile) -> None:
        read = [f"{name}.npy" for name in _READ]
        size = sum(i.file_size for i in archive.infolist() if i.filename in read)
        if size > LARGEST_BYTES:
            raise BadInputError(
                f"{self._where}: expected arrays of at most {LARGEST_BYTES / 1e9:.0f} "
                f"GB in all, unpacked. Received: {size / 1e9:,.0f} GB"
            )

    def __contains__(self, name: str) -> bool:
        return name in self._arrays

    def get(self, name: str, num_axes: int) -> np.ndarray:
        if name not in self._arrays:
            raise BadInputError(
                f"{self._where}: has no array {name!r}. Expected edges, labels, and "
                "features or feat_data, feat_indices, feat_indptr, feat_shape. "
                f"Received: {', '.join(self._names)}"
            )
        values = self._arrays[name]
        if values.ndim != num_axes:
            raise self.refusal(name, f"{num_axes} axes", values.shape)
        return values

    def numbers(self, name: str, num_axes: int) -> np.ndarray:
        values = self.get(name, num_axes)
        if values.dtype.kind not in "buif" or not np.isfinite(values).all():
            raise self.refusal(name, "numbers, none missing", values.dtype)
        return values

    def indices(self, name: str, num_axes: int, below: int | None = None) -> np.ndarray:
        """Return int64 that are not negative, and below a bound."""
        values = self.get(name, num_axes)
        if values.dtype.kind not in "ui":
            raise self.refusal(name, "whole numbers", values.dtype)
        outside = values < 0
        if below is not None:
            outside |= values >= below
        if outside.any():
            first = np.argwhere(outside)[0]
            expected = f"0 to {below - 1}" if below else "0 or more"
            told = f"{values[tuple(first)]} in row {first[0] + 1}"
            raise self.refusal(name, expected, told)
        return values.astype(np.int64)

    def refusal(self, name: str, expected: str, received: object) -> BadInputError:
        return BadInputError(
            f"{self._where}: {name}: expected {expected}. Received: {received}"
        )


def _features(arrays: _Arrays, nodes: int) -> Features:
    if "features" in arrays:
        values = arrays.numbers("features", 2)
        if len(values) != nodes:
            raise arrays.refusal("features", f"{nodes} rows, as labels", values.shape)
        return dense(values)
    shape = arrays.indices("feat_shape", 1)
    bounds = arrays.indices("feat_indptr", 1)
    if len(shape) != 2 or shape[0] != nodes or len(bounds) != nodes + 1:
        raise arrays.refusal("feat_shape", f"{nodes} rows, as labels", shape.tolist())
    columns = arrays.indices("feat_indices", 1, int(shape[1]))
    if bounds[0] or (np.diff(bounds) < 0).any() or bounds[-1] != len(columns):
        raise arrays.refusal(
            "feat_indptr", f"bounds rising from 0 to {len(columns)}", bounds
        )
    values = arrays.numbers("feat_data", 1)
    if len(values) != len(columns):
        raise arrays.refusal("feat_data", f"{len(columns)} values", len(values))
    return sparse(Lists(bounds, columns), values)


def _parts(arrays: _Arrays, nodes: int) -> dict[str, np.ndarray]:
    parts = {
        part: arrays.indices(name, 1, nodes)
        for part, name in PARTS.items()
        if name in arrays
    }
    for (one, ours), (other, theirs) in itertools.combinations(parts.items(), 2):
        both = np.intersect1d(ours, theirs)
        if len(both):
            told = f"{both[0]}, which is in {PARTS[one]}, too"
            raise arrays.refusal(PARTS[other], "nodes of its own", told)
    return parts
