"""TFRecord files of tf.Example, passed on as they are, or of tf.SequenceExample."""

import struct
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, BinaryIO

import google_crc32c
import numpy as np
import pyarrow as pa
from google.protobuf.message import DecodeError
from tensorflow.core.example.example_pb2 import Example, SequenceExample
from tfx_bsl.coders.sequence_example_coder import SequenceExamplesToRecordBatchDecoder

from components.sources import (
    BATCH_BYTES,
    BATCH_ROWS,
    BadRow,
    Batch,
    Piece,
    files,
    nested,
)
from components.sources.files import File
from recipes.errors import BadInputError

SUFFIXES = ()  # such files are called anything

_HEADER = struct.Struct("<QI")  # length, its checksum
_FOOTER = struct.Struct("<I")  # checksum of the record
_LARGEST_BYTES = 2 << 30
_STEPS = "##SEQUENCE##"  # the column that the decoder makes of feature lists


def pieces(
    source: Mapping[str, Any], files: Sequence[File], splits: Mapping[str, int | str]
) -> list[Piece]:
    """Return a piece per file.

    Raises:
      BadInputError: a file is damaged, or holds the other kind of record.
    """
    del splits
    sequence = source["sequence"]
    for file in files:
        _check_kind(file.path, sequence)
    uneven = _uneven(files) if sequence else []
    return [
        Piece(
            file.path,
            file.part,
            file.size_bytes,
            {"name": file.relative, "sequence": sequence, "uneven": uneven},
        )
        for file in files
    ]


def read(piece: Piece) -> Iterator[Batch]:
    """Read one file; a record that is no such message is bad.

    Raises:
      BadInputError: a checksum is wrong, or the file ends within a record.
    """
    name, sequence = piece.options["name"], piece.options["sequence"]
    message = SequenceExample() if sequence else Example()
    first = 1
    for group in _groups(_records(piece.path)):
        numbers = range(first, first + len(group))
        first += len(group)
        bad = {n for n, r in zip(numbers, group, strict=True) if not _is(message, r)}
        good = [r for n, r in zip(numbers, group, strict=True) if n not in bad]
        names = [f"{name} record {n}" for n in numbers if n not in bad]
        rows = tuple(
            BadRow(f"{name} record {n}", f"no {type(message).__name__}")
            for n in sorted(bad)
        )
        if sequence:
            table = _table(good, piece.options["uneven"])
            yield Batch(names, table=table, bad=rows)
        else:
            yield Batch(names, records=good, bad=rows)


def _records(path: str) -> Iterator[bytes]:
    with files.open_decompressed(path) as file:
        number = 1
        while header := file.read(_HEADER.size):
            yield _record(file, header, f"{path}: record {number}")
            number += 1


def _record(file: BinaryIO, header: bytes, where: str) -> bytes:
    """Return the record that follows a header.

    Raises:
      BadInputError: it is damaged or cut short.
    """
    if len(header) < _HEADER.size:
        raise BadInputError(f"{where}: the file ends within it; copy it again.")
    length, checksum = _HEADER.unpack(header)
    if _masked(header[:8]) != checksum:
        raise BadInputError(
            f"{where}: its length has a wrong checksum. The file is damaged, is no "
            "TFRecord, or is compressed but not called .gz."
        )
    if length > _LARGEST_BYTES:
        raise BadInputError(
            f"{where}: it declares {length:,} bytes. Expected at most 2 GB, as a "
            "message holds."
        )
    record = file.read(length)
    footer = file.read(_FOOTER.size)
    if len(footer) < _FOOTER.size:
        raise BadInputError(f"{where}: the file ends within it; copy it again.")
    if _masked(record) != _FOOTER.unpack(footer)[0]:
        raise BadInputError(f"{where}: it has a wrong checksum; copy the file again.")
    return record


def _masked(data: bytes) -> int:
    """Return the checksum as TFRecords hold it: CRC-32C, rotated, plus a constant."""
    crc = google_crc32c.value(data)
    return ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF


def _groups(records: Iterable[bytes]) -> Iterator[list[bytes]]:
    group: list[bytes] = []
    size = 0
    for record in records:
        group.append(record)
        size += len(record)
        if len(group) == BATCH_ROWS or size >= BATCH_BYTES:
            yield group
            group, size = [], 0
    if group:
        yield group


def _is(message: Example | SequenceExample, record: bytes) -> bool:
    try:
        message.ParseFromString(record)
    except DecodeError:
        return False
    return True


def _check_kind(path: str, sequence: bool) -> None:
    """Refuse a file whose first record is of the other kind.

    A SequenceExample also parses as an Example: its context only, the rest unknown.
    """
    record = next(_records(path), None)
    if record is None:
        raise BadInputError(f"{path}: expected records. There is none.")
    message = SequenceExample()
    if not _is(message, record):
        raise BadInputError(
            f"{path}: record 1: expected a tf.Example or a tf.SequenceExample. It is "
            "neither."
        )
    if bool(message.feature_lists.feature_list) != sequence:
        is_now, say = (
            ("Examples", "false") if sequence else ("SequenceExamples", "true")
        )
        raise BadInputError(
            f"{path}: its records are {is_now}; say `sequence: {say}` in the recipe."
        )


def _uneven(found: Sequence[File]) -> list[str]:
    """Return the feature lists whose steps are not all of one length, in all files."""
    lengths: dict[str, set[int]] = {}
    message = SequenceExample()
    for file in found:
        for group in _groups(_records(file.path)):
            batch = _decoded([record for record in group if _is(message, record)])
            for name, steps in _feature_lists(batch):
                known = lengths.setdefault(name, set())
                known |= set(np.unique(nested.joined(steps)[1])[:2].tolist())
    return sorted(name for name, known in lengths.items() if len(known) > 1)


def _table(records: Sequence[bytes], uneven: Sequence[str]) -> pa.RecordBatch:
    """Return a row per SequenceExample, its steps one after the other."""
    batch = _decoded(records)
    columns = {
        name: column
        for name, column in zip(batch.schema.names, batch.columns, strict=True)
        if name != _STEPS
    }
    for name, steps in _feature_lists(batch):
        if name in columns:
            raise BadInputError(
                f"[data.tfrecord] {name!r} is both in the context and a feature list."
            )
        columns[name], lengths = nested.joined(steps)
        if name in uneven:
            ends = np.cumsum(np.asarray(steps.value_lengths().fill_null(0)))
            offsets = pa.array(np.concatenate([[0], ends]).astype(np.int64))
            per_step = pa.LargeListArray.from_arrays(offsets, pa.array(lengths))
            columns[f"{name}.lengths"] = per_step
    return pa.RecordBatch.from_pydict(columns)


def _decoded(records: Sequence[bytes]) -> pa.RecordBatch:
    return SequenceExamplesToRecordBatchDecoder(_STEPS).DecodeBatch(list(records))


def _feature_lists(batch: pa.RecordBatch) -> Iterator[tuple[str, pa.Array]]:
    if _STEPS in batch.schema.names:
        lists = batch.column(_STEPS)
        for field, column in zip(lists.type, lists.flatten(), strict=True):
            yield field.name, column
