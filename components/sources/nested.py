"""Nested columns made flat: structs by dotted names, lists of lists as one list."""

from collections.abc import Iterator

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

_LISTS = (
    pa.types.is_list,
    pa.types.is_large_list,
    pa.types.is_fixed_size_list,
)
_PLAIN = {
    "nothing": (pa.types.is_null,),
    "int": (pa.types.is_boolean, pa.types.is_integer),
    "float": (pa.types.is_floating, pa.types.is_decimal),
    "text": (
        pa.types.is_string,
        pa.types.is_large_string,
        pa.types.is_date,
        pa.types.is_time,
        pa.types.is_timestamp,
    ),
    "bytes": (
        pa.types.is_binary,
        pa.types.is_large_binary,
        pa.types.is_fixed_size_binary,
    ),
}

UNUSABLE = "unusable: "


def columns(schema: pa.Schema) -> Iterator[tuple[str, str]]:
    """Yield the name of each column that `flat` makes, and what it holds.

    That is `int`, `float`, `text`, `bytes`, `nothing`, or `list of ...`; for what no
    feature can hold, UNUSABLE and its type.
    """
    for field in schema:
        if pa.types.is_struct(field.type):
            inner = [field.type.field(i) for i in range(field.type.num_fields)]
            for name, held in columns(pa.schema(inner)):
                yield f"{field.name}.{name}", held
        else:
            yield field.name, _held(field.type)


def is_list(kind: pa.DataType) -> bool:
    """Return whether a type is of lists, of any kind."""
    return any(found(kind) for found in _LISTS)


def flat(table: pa.Table) -> pa.RecordBatch:
    """Return columns of single values or of lists of them; row-major, where nested.

    Times of day become text; a list of lists that is null becomes an empty list.
    """
    while any(pa.types.is_struct(field.type) for field in table.schema):
        table = table.flatten()
    made = [_flat(column.combine_chunks()) for column in table.columns]
    return pa.RecordBatch.from_arrays(made, table.schema.names)


def null_inside(column: pa.Array) -> np.ndarray:
    """Return a mask of the rows whose list holds a null."""
    inside = pc.list_flatten(column)
    if not inside.null_count:
        return np.zeros(len(column), bool)
    rows = pc.list_parent_indices(column).to_numpy(zero_copy_only=False)
    nulls = inside.is_null().to_numpy(zero_copy_only=False)
    return np.isin(np.arange(len(column)), rows[nulls])


def joined(column: pa.Array) -> tuple[pa.Array, np.ndarray]:
    """Return lists of lists as one list each, and the lengths of the inner ones.

    Returns:
      The column, and (all inner lists,) int64.
    """
    inner = pc.list_flatten(column)
    lengths = _lengths(inner)
    ends = np.concatenate([[0], np.cumsum(lengths)])
    offsets = ends[np.concatenate([[0], np.cumsum(_lengths(column))])]
    values = pc.list_flatten(inner)
    return pa.LargeListArray.from_arrays(pa.array(offsets), values), lengths


def _lengths(column: pa.Array) -> np.ndarray:
    lengths = pc.fill_null(pc.list_value_length(column), 0)
    return lengths.to_numpy(zero_copy_only=False).astype(np.int64)


def _flat(column: pa.Array) -> pa.Array:
    while is_list(column.type) and is_list(column.type.value_type):
        column, _ = joined(column)
    if pa.types.is_time(column.type):
        whole = column.cast(pa.time32("s"), safe=False)  # as for times with a date
        return whole.cast(pa.string())
    if is_list(column.type) and pa.types.is_time(column.type.value_type):
        whole = column.cast(pa.large_list(pa.time32("s")), safe=False)
        return whole.cast(pa.large_list(pa.string()))
    return column


def _held(kind: pa.DataType) -> str:
    if is_list(kind):
        inner = _held(kind.value_type)
        return inner if inner.startswith("list of ") else f"list of {inner}"
    if pa.types.is_dictionary(kind):
        return _held(kind.value_type)
    for held, found in _PLAIN.items():
        if any(is_kind(kind) for is_kind in found):
            return held
    return f"{UNUSABLE}{kind}"
