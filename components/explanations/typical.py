"""The example that explanations compare with: what is usual."""

from collections.abc import Iterable, Sequence

import keras
import numpy as np
import tensorflow as tf

from components.explanations import Inputs


def typical(batches: Iterable[Inputs]) -> Inputs:
    """Return the means of numbers and the most frequent ids over batches.

    Args:
      batches: at least one; tensors (B, ...), float32 numbers of any shape or (B, 1)
        int64 ids; or dicts of them.

    Returns:
      One example of that structure, without the batch axis, as NumPy arrays.
    """
    parts = []
    for batch in batches:
        parts.append([_part(column) for column in keras.tree.flatten(batch)])
    columns = [_joined(column) for column in zip(*parts, strict=True)]
    return keras.tree.pack_sequence_as(batch, columns)


def _part(column: tf.Tensor) -> tuple[int, np.ndarray] | np.ndarray:
    """Return what is kept of a batch: its size and sum, or its ids."""
    if column.dtype.is_floating:
        return len(column), tf.reduce_sum(column, axis=0).numpy()
    return column.numpy()


def _joined(parts: Sequence[tuple[int, np.ndarray] | np.ndarray]) -> np.ndarray:
    if isinstance(parts[0], tuple):
        counts, sums = zip(*parts, strict=True)
        return (np.sum(sums, axis=0) / sum(counts)).astype(np.float32)
    ids, counts = np.unique(np.concatenate(parts), return_counts=True)
    return ids[[counts.argmax()]]
