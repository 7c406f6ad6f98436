"""Encode tables as tf.Examples: int64, float32 and bytes features, in C++."""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from tfx_bsl.coders.example_coder import RecordBatchToExamplesEncoder

_LIST = (pa.types.is_list, pa.types.is_large_list, pa.types.is_fixed_size_list)


def encode(table: pa.RecordBatch) -> list[bytes]:
    """Return one serialized tf.Example per row, features in the order of the columns.

    Whole numbers and booleans become int64, other numbers float32, times ISO 8601 text,
    texts and binary bytes. A row without a value (null, NaN, "") lacks the feature.

    Raises:
      ValueError: a column has a type that no feature can hold.
    """
    columns = [_ragged(name, table.column(name)) for name in table.schema.names]
    ragged = pa.RecordBatch.from_arrays(columns, table.schema.names)
    return RecordBatchToExamplesEncoder().encode(ragged)


def _ragged(name: str, column: pa.Array) -> pa.LargeListArray:
    """Return a column of lists of int64, float32 or bytes; no value: null."""
    if any(is_list(column.type) for is_list in _LIST):
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
        whole = values.cast(pa.timestamp("s", kind.tz), safe=False)
        return pc.strftime(whole, "%Y-%m-%dT%H:%M:%S").cast(pa.large_binary())
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
