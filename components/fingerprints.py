"""Fingerprints of records and of their cells: 64 bits, equal where the values are.

A cell is what one record holds of one feature: a value, several, or none (0). The
fingerprint of a record is a sum over its cells, so it depends neither on the order of
the features nor on which of them the other records of a batch have.
"""

import hashlib
from collections.abc import Collection, Mapping

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

SIGNIFICANT_DIGITS = 4
# Where the steps of rounding end: no number of few decimals lies near such an end, so
# noise in the last digits moves none across.
_STEP_OFFSET = 0.137


def cells(table: pa.RecordBatch, *, rounded: bool = False) -> dict[str, np.ndarray]:
    """Return for each feature (records,) uint64 fingerprints; 0 where there is none.

    With `rounded`, floats count as equal that agree to about SIGNIFICANT_DIGITS.
    """
    return {
        name: _cells(column, rounded)
        for name, column in zip(table.schema.names, table.columns, strict=True)
        if not pa.types.is_null(column.type)
    }


def rounded_cells(
    table: pa.RecordBatch, exact: Mapping[str, np.ndarray]
) -> dict[str, np.ndarray]:
    """Return `cells(table, rounded=True)`, given what it is without."""
    floats = [
        name
        for name, column in zip(table.schema.names, table.columns, strict=True)
        if name in exact and pa.types.is_floating(column.type.value_type)
    ]
    return {**exact, **cells(table.select(floats), rounded=True)}


def of_records(
    by_feature: Mapping[str, np.ndarray], num_records: int, *, without: Collection = ()
) -> np.ndarray:
    """Return (records,) uint64: one fingerprint for all cells of a record."""
    total = np.zeros(num_records, np.uint64)
    for name, values in by_feature.items():
        if name not in without:
            total += np.where(values != 0, _mix(values ^ _of_text(name)), np.uint64(0))
    return total


def of_values(values: pa.Array, *, rounded: bool = False) -> np.ndarray:
    """Return (values,) uint64 fingerprints of int64, float32 or bytes."""
    if pa.types.is_integer(values.type):
        return _mix(values.to_numpy(zero_copy_only=False).view(np.uint64))
    if pa.types.is_floating(values.type):
        numbers = values.to_numpy(zero_copy_only=False).astype(np.float64)
        numbers = _rounded(numbers) if rounded else numbers + 0.0  # no negative zero
        return _mix(numbers.view(np.uint64))
    encoded = values.dictionary_encode()
    different = encoded.dictionary.to_numpy(zero_copy_only=False).astype(object)
    hashed = pd.util.hash_array(different, categorize=False)
    return hashed[encoded.indices.to_numpy(zero_copy_only=False)]


def _cells(column: pa.Array, rounded: bool) -> np.ndarray:
    lengths = pc.fill_null(pc.list_value_length(column), 0).to_numpy(
        zero_copy_only=False
    )
    values = of_values(column.flatten(), rounded=rounded)
    result = np.zeros(len(column), np.uint64)
    if len(values) == 0:
        return result
    ends = np.cumsum(lengths)
    starts = ends - lengths
    if lengths.max() > 1:  # [1, 2] is not [2, 1]
        place = np.arange(len(values)) - np.repeat(starts, lengths)
        spread = _mix(values + _mix(place.astype(np.uint64)))
        values = np.where(place > 0, spread, values)
    filled = lengths > 0
    result[filled] = np.add.reduceat(values, starts[filled])
    # 0 says that there is no value.
    return np.where(filled & (result == 0), np.uint64(1), result)


def _rounded(numbers: np.ndarray) -> np.ndarray:
    with np.errstate(divide="ignore", invalid="ignore"):
        size = np.floor(np.log10(np.abs(numbers)))
    scale = 10.0 ** (SIGNIFICANT_DIGITS - 1 - np.where(np.isfinite(size), size, 0))
    return np.round(numbers * scale + _STEP_OFFSET) / scale + 0.0


def _of_text(text: str) -> np.uint64:
    digest = hashlib.blake2b(text.encode(), digest_size=8).digest()
    return np.uint64(int.from_bytes(digest, "little"))


def _mix(values: np.ndarray) -> np.ndarray:
    """Spread the bits of uint64; the finaliser of SplitMix64 (Steele et al. 2014)."""
    values = values + np.uint64(0x9E3779B97F4A7C15)
    values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return values ^ (values >> np.uint64(31))
