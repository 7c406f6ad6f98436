"""Columns that decide about splits: equal values from tables and from tf.Examples."""

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from components.sources import Batch
from recipes.errors import BadInputError

_LIST = (pa.types.is_list, pa.types.is_large_list, pa.types.is_fixed_size_list)

_BINARY = (
    pa.types.is_binary,
    pa.types.is_large_binary,
    pa.types.is_fixed_size_binary,
)


def columns(batch: Batch, names: Sequence[str]) -> list[pa.Array]:
    """Return columns with one value per record, null where there is none.

    Raises:
      BadInputError: no record has such a value, or some have several.
    """
    table = batch.table
    if table is None:
        # tfx_bsl takes a second to import, and most sources are tables.
        from tfx_bsl.coders.example_coder import ExamplesToRecordBatchDecoder

        table = ExamplesToRecordBatchDecoder().DecodeBatch(batch.records)
    return [_one_each(batch, table, name) for name in names]


def texts(values: pa.Array) -> pa.Array:
    """Return values as binary, equal where a file holds the same in another type.

    The whole number 5, the float 5.0 and the text "5" are equal; "", null, NaN and the
    text "nan" are null. Floats count as float32, which is what a feature holds.
    """
    kind = values.type
    if pa.types.is_null(kind):
        return pa.nulls(len(values), pa.binary())
    if pa.types.is_dictionary(kind):
        return texts(values.dictionary_decode())
    if pa.types.is_boolean(kind):
        values = values.cast(pa.int64())
    elif pa.types.is_floating(kind) or pa.types.is_decimal(kind):
        values = values.cast(pa.float32(), safe=False)
        values = pc.add(values, pa.scalar(0, pa.float32()))  # -0 becomes 0
    if not any(is_binary(kind) for is_binary in _BINARY):
        values = values.cast(pa.string())
    values = values.cast(pa.binary())
    missing = pc.or_(pc.equal(values, b""), pc.equal(values, b"nan"))
    # `if_else` of pyarrow 18 reads beside a slice of texts.
    rows = pa.array(np.arange(len(values)), mask=_true_or_null(missing))
    return values.take(rows)


def _true_or_null(values: pa.Array) -> np.ndarray:
    return pc.fill_null(values, True).to_numpy(zero_copy_only=False)


def _one_each(batch: Batch, table: pa.RecordBatch, name: str) -> pa.Array:
    if name not in table.schema.names:
        raise BadInputError(
            f"[data.split_by] no column {name!r} in {batch.names[0]} and what follows. "
            f"Columns: {', '.join(table.schema.names)}"
        )
    column = table.column(name)
    if not any(is_list(column.type) for is_list in _LIST):
        return column
    lengths = pc.fill_null(pc.list_value_length(column), 0).to_numpy()
    if lengths.max(initial=0) > 1:
        row = int(lengths.argmax())
        raise BadInputError(
            f"[data.split_by] {name!r}: expected one value per record. "
            f"{batch.names[row]} has {lengths[row]}."
        )
    index = pa.array(np.cumsum(lengths) - 1, mask=lengths == 0)
    return pc.list_flatten(column).take(index)


def groups(values: pa.Array) -> tuple[np.ndarray, list[bytes]]:
    """Return the number of each record's value, and the values; null becomes b""."""
    found = pc.dictionary_encode(pc.fill_null(values, b""))
    return found.indices.to_numpy(), found.dictionary.to_pylist()


def joined(parts: Sequence[pa.Array]) -> pa.Array:
    """Join the values of each record, with their lengths; null if one is missing."""
    pieces = []
    for part in parts:
        values = texts(part)
        length = pc.binary_length(values).cast(pa.string()).cast(pa.binary())
        pieces += [length, pa.scalar(b":", pa.binary()), values]
    return pc.binary_join_element_wise(*pieces, pa.scalar(b"", pa.binary()))
