"""Read the examples of a split: record by record, as tables, or some by number.

Records are counted from 0 in the order of the sorted shards; `origins/` of the artifact
has a line for each, with the place in the source that it came from.
"""

import gzip
import itertools
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import tensorflow as tf
from tfx_bsl.coders.example_coder import ExamplesToRecordBatchDecoder

BATCH_RECORDS = 16_384
BATCH_BYTES = 16 << 20
_STEP_BYTES = 1 << 20  # read at once, if all records are like the first


def records(uri: str, split: str) -> Iterator[list[bytes]]:
    """Yield serialized examples, at most BATCH_RECORDS or about BATCH_BYTES at once."""
    files = sorted(str(path) for path in Path(uri, f"Split-{split}").glob("*.gz"))
    if not files:
        return
    data = tf.data.TFRecordDataset(files, "GZIP", buffer_size=1 << 20)
    first = next(iter(data.take(1).as_numpy_iterator()), b"")
    at_once = min(BATCH_RECORDS // 4, 1 + _STEP_BYTES // (1 + len(first)))
    batch: list[bytes] = []
    size_bytes = 0
    for step in data.batch(at_once).prefetch(2).as_numpy_iterator():
        read = step.tolist()
        batch += read
        size_bytes += sum(map(len, read))
        if len(batch) >= BATCH_RECORDS or size_bytes >= BATCH_BYTES:
            yield batch
            batch, size_bytes = [], 0
    if batch:
        yield batch


def tables(uri: str, split: str) -> Iterator[pa.RecordBatch]:
    """Yield the examples as tables: columns of lists of int64, float32 or bytes.

    A column that no record of a batch has is missing from it, or of type null.
    """
    decoder = ExamplesToRecordBatchDecoder()
    return (decoder.DecodeBatch(batch) for batch in records(uri, split))


def select(uri: str, split: str, rows: Sequence[int]) -> Iterator[pa.RecordBatch]:
    """Yield the records of these numbers, which must rise, as `tables` does."""
    decoder = ExamplesToRecordBatchDecoder()
    return map(decoder.DecodeBatch, select_records(uri, split, rows))


def select_records(uri: str, split: str, rows: Sequence[int]) -> Iterator[list[bytes]]:
    """Yield the records of these numbers, which must rise, as `records` does."""
    wanted, start = np.asarray(rows, np.int64), 0
    for batch in records(uri, split):
        first, last = np.searchsorted(wanted, (start, start + len(batch)))
        if first < last:
            yield [batch[row] for row in wanted[first:last] - start]
        start += len(batch)
        if last == len(wanted):
            return


def column(table: pa.RecordBatch, name: str) -> pa.Array:
    """Return a column of lists; of nulls, where no record of the batch has it."""
    if name in table.schema.names:
        return table.column(name)
    return pa.nulls(table.num_rows)


def names(uri: str, split: str, rows: Iterable[int]) -> dict[int, str]:
    """Return where these records came from, such as `trips.csv row 17`, by number."""
    wanted = set(rows)
    found = {row: f"record {row + 1}" for row in wanted}
    lines = itertools.islice(_origins(uri, split), max(wanted, default=-1) + 1)
    found |= {row: line for row, line in enumerate(lines) if row in wanted}
    return found


def spread(count: int, size: int) -> np.ndarray:
    """Return at most `size` rising numbers below `count`, evenly spaced."""
    if count <= size:
        return np.arange(count)
    return np.arange(size) * count // size


def _origins(uri: str, split: str) -> Iterator[str]:
    for path in sorted(Path(uri, "origins", f"Split-{split}").glob("*.txt.gz")):
        with gzip.open(path, "rt", encoding="utf-8") as lines:
            yield from (line.rstrip("\n") for line in lines)
