"""Encode tables as tf.Examples: int64, float32 and bytes features, in C++."""

from dataclasses import replace

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from tensorflow.core.example import example_pb2
from tfx_bsl.coders.example_coder import RecordBatchToExamplesEncoder

from components.sources import BadRow, Batch, feature_name
from recipes.errors import BadInputError

_LIST = (pa.types.is_list, pa.types.is_large_list, pa.types.is_fixed_size_list)


def encode(table: pa.RecordBatch) -> list[bytes]:
    """Return one serialized tf.Example per row; the order of its features varies.

    Whole numbers and booleans become int64, other numbers float32, times ISO 8601 text,
    texts and binary bytes. A row without a value (null, NaN, "") lacks the feature.

    Raises:
      ValueError: a column has a type that no feature can hold.
    """
    columns = [_ragged(name, table.column(name)) for name in table.schema.names]
    ragged = pa.RecordBatch.from_arrays(columns, table.schema.names)
    return RecordBatchToExamplesEncoder().encode(ragged)


def is_list(kind: pa.DataType) -> bool:
    """Whether a column of this type holds a list per row."""
    return any(is_one(kind) for is_one in _LIST)


def _ragged(name: str, column: pa.Array) -> pa.LargeListArray:
    """Return a column of lists of int64, float32 or bytes; no value: null."""
    if is_list(column.type):
        return _ragged_lists(name, column)
    values = _plain(name, column)
    present = _present(values)
    offsets = np.zeros(len(values) + 1, np.int64)
    np.cumsum(present, out=offsets[1:])
    mask = pa.array(~present)
    return pa.LargeListArray.from_arrays(
        pa.array(offsets), values.filter(pa.array(present)), mask=mask
    )


def _ragged_lists(name: str, column: pa.Array) -> pa.LargeListArray:
    lengths = pc.fill_null(pc.list_value_length(column), 0).to_numpy(
        zero_copy_only=False
    )
    offsets = np.zeros(len(column) + 1, np.int64)
    np.cumsum(lengths, out=offsets[1:])
    values = _plain(name, pc.list_flatten(column))
    if values.null_count:
        raise ValueError(f"column {name!r}: a list holds null; leave it out or fill it")
    return pa.LargeListArray.from_arrays(
        pa.array(offsets), values, mask=pa.array(lengths == 0)
    )


def _plain(name: str, values: pa.Array) -> pa.Array:
    kind = values.type
    if pa.types.is_dictionary(kind):
        return _plain(name, values.dictionary_decode())
    if pa.types.is_null(kind):
        return values.cast(pa.large_binary())
    if pa.types.is_boolean(kind) or pa.types.is_integer(kind):
        return values.cast(pa.int64())
    if pa.types.is_floating(kind) or pa.types.is_decimal(kind):
        return values.cast(pa.float32(), safe=False)
    if pa.types.is_date(kind):
        return pc.strftime(values, "%Y-%m-%d").cast(pa.large_binary())
    if pa.types.is_timestamp(kind):
        # With a zone it is a moment: the same in UTC.
        whole = values.cast(pa.timestamp("s", "UTC" if kind.tz else None), safe=False)
        form = "%Y-%m-%dT%H:%M:%SZ" if kind.tz else "%Y-%m-%dT%H:%M:%S"
        return pc.strftime(whole, form).cast(pa.large_binary())
    if pa.types.is_fixed_size_binary(kind):
        values = values.cast(pa.binary())
    try:
        return values.cast(pa.large_binary())
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        raise ValueError(
            f"column {name!r}: expected numbers, texts or bytes, or lists of them. "
            f"Received: {kind}"
        ) from error


def _present(values: pa.Array) -> np.ndarray:
    present = values.is_valid()
    if pa.types.is_floating(values.type):
        present = pc.and_(present, pc.invert(pc.fill_null(pc.is_nan(values), False)))
    elif pa.types.is_large_binary(values.type):
        present = pc.and_(
            present, pc.fill_null(pc.greater(pc.binary_length(values), 0), False)
        )
    return present.to_numpy(zero_copy_only=False)


def with_feature_names(batch: Batch) -> Batch:
    """Return a batch whose columns are called as the features will be.

    Raises:
      BadInputError: two columns would be called the same.
    """
    if batch.table is None:
        return replace(batch, records=_renamed(batch.records or []))
    columns = batch.table.schema.names
    names = [feature_name(column) for column in columns]
    if names == columns:
        return batch
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice:
        same = [c for c in columns if feature_name(c) == twice]
        raise BadInputError(
            f"Columns {', '.join(map(repr, same))} would all be the feature {twice!r}. "
            "Rename all but one in the data."
        )
    return replace(batch, table=batch.table.rename_columns(names))


def _renamed(records: list[bytes]) -> list[bytes]:
    """Return tf.Examples with the names of features that a recipe can say.

    The first tells for all whether there is something to do: it costs 10 us a record.
    """
    if not records:
        return records
    first = example_pb2.Example.FromString(records[0]).features.feature
    if all(feature_name(name) == name for name in first):
        return records
    renamed = []
    for record in records:
        example = example_pb2.Example.FromString(record)
        made = example_pb2.Example()
        for name, feature in example.features.feature.items():
            made.features.feature[feature_name(name)].CopyFrom(feature)
        renamed.append(made.SerializeToString(deterministic=True))
    return renamed


def without_infinite(batch: Batch) -> Batch:
    """Return a batch whose rows with an infinite number are bad rows.

    So is a number that float32, as features hold it, has no room for.
    """
    if batch.table is None or not batch.table.num_rows:
        return batch
    why: dict[int, str] = {}
    for name in reversed(batch.table.schema.names):
        rows = _infinite_rows(batch.table.column(name))
        why |= dict.fromkeys(rows.tolist(), name)
    if not why:
        return batch
    bad = tuple(
        BadRow(batch.names[row], f"{name} is infinite, or above 3.4e38")
        for row, name in sorted(why.items())
    )
    keep = np.setdiff1d(np.arange(batch.table.num_rows), list(why))
    return replace(
        batch,
        names=[batch.names[row] for row in keep],
        table=batch.table.take(pa.array(keep)),
        bad=(*batch.bad, *bad),
    )


def _infinite_rows(column: pa.Array) -> np.ndarray:
    """Return the numbers of the rows that hold an infinite number."""
    parents = None
    if is_list(column.type):
        parents = pc.list_parent_indices(column).to_numpy(zero_copy_only=False)
        column = pc.list_flatten(column)
    if not pa.types.is_floating(column.type):
        return np.zeros(0, np.int64)
    narrow = column.cast(pa.float32(), safe=False)
    (found,) = np.nonzero(np.isinf(narrow.to_numpy(zero_copy_only=False)))
    return found if parents is None else parents[found]
