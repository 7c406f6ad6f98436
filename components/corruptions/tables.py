"""Rows of a table as forms, sensors and joins spoil them.

Columns are those of `serve_raw`: numbers where NaN says missing, float64 for whole
numbers and float32 for others, and texts as bytes where b"" says missing. What is
missing stays missing.
"""

from collections.abc import Mapping

import numpy as np

from components.corruptions import check

NAMES = ("jitter", "missing", "swapped")
JITTER_SHARE = (0.05, 0.10, 0.20, 0.50, 1.00)  # of a column's standard deviation
CELL_SHARE = (0.05, 0.10, 0.20, 0.30, 0.50)  # that goes missing, or is swapped

Columns = dict[str, np.ndarray]


def corrupt(
    name: str,
    values: Mapping[str, np.ndarray],
    strength: int,
    *,
    deviations: Mapping[str, float],
    rng: np.random.Generator,
) -> Columns:
    """Spoil rows.

    Args:
      name: `jitter`: Gaussian noise on quantities, whole numbers stay whole;
        `missing`: cells are emptied, so hand in only columns that may be empty;
        `swapped`: cells of categories get another of the column's values in this
        batch, any of them as likely; a column with one value keeps it.
      values: column -> (rows,) floats, or bytes of dtype object.
      strength: 1 to 5.
      deviations: column of quantities -> its standard deviation, measured on `train`.
        All other columns are categories, be they text or codes.
      rng: where draws come from.

    Returns:
      The same columns, dtypes and order of rows.

    Raises:
      ValueError: `name` or `strength` is none of these.
    """
    check(name, NAMES, strength)
    level = strength - 1
    changed = dict(values)
    for column, cells in values.items():
        if name == "missing":
            changed[column] = _missing(cells, CELL_SHARE[level], rng)
        elif name == "jitter" and column in deviations:
            spread = JITTER_SHARE[level] * deviations[column]
            changed[column] = _jitter(cells, spread, rng)
        elif name == "swapped" and column not in deviations:
            changed[column] = _swapped(cells, CELL_SHARE[level], rng)
    return changed


def is_missing(cells: np.ndarray) -> np.ndarray:
    """Return which cells of a column hold no value, (rows,) bool."""
    return np.isnan(cells) if cells.dtype.kind == "f" else cells == b""


def _jitter(cells: np.ndarray, spread: float, rng: np.random.Generator) -> np.ndarray:
    noisy = cells + spread * rng.standard_normal(cells.shape)
    if cells.dtype == np.float64:
        noisy = np.round(noisy)
    return noisy.astype(cells.dtype)


def _missing(cells: np.ndarray, share: float, rng: np.random.Generator) -> np.ndarray:
    emptied = cells.copy()
    nothing = np.nan if cells.dtype.kind == "f" else b""
    emptied[rng.random(cells.shape) < share] = nothing
    return emptied


def _swapped(cells: np.ndarray, share: float, rng: np.random.Generator) -> np.ndarray:
    chosen = (rng.random(cells.shape) < share) & ~is_missing(cells)
    categories, own = np.unique(cells[~is_missing(cells)], return_inverse=True)
    if len(categories) < 2:
        return cells
    codes = np.zeros(cells.shape, np.int64)
    codes[~is_missing(cells)] = own
    # 1 to all but one further on, round the end: never the same one.
    steps = rng.integers(1, len(categories), size=cells.shape)
    swapped = cells.copy()
    swapped[chosen] = categories[(codes + steps) % len(categories)][chosen]
    return swapped
