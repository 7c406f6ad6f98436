"""Times of a series: how they are written, and which steps between them are regular."""

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from recipes.errors import BadInputError

_DAYS = ("%Y/%m/%d", "%d.%m.%Y", "%m/%d/%Y", "%d/%m/%Y")
_HOURS = ("", " %H:%M", " %H:%M:%S")
# ISO 8601 without a zone and with one, then patterns of `strptime`.
CLOCKS = ("number", "iso", "zoned", *(day + hour for day in _DAYS for hour in _HOURS))
COMMON = 0.05  # of all steps: weekends make a fifth of the steps of weekdays longer


def find(
    relative: str, series: Sequence[pa.ChunkedArray]
) -> tuple[str, tuple[float, float]]:
    """Return the clock that times are written in, and their `regular_steps`.

    Of several that read all times, it is the one by which they rise most regularly:
    that tells days from months.

    Args:
      relative: name of the file, for messages.
      series: times of each series, text.

    Raises:
      BadInputError: no clock reads them all, or two do it equally well.
    """
    readable: dict[str, tuple[int, tuple[float, float]]] = {}
    for clock in CLOCKS:
        times = [read(texts, clock) for texts in series]
        if any(np.isnan(known).any() for known in times):
            continue
        steps = np.concatenate([np.diff(known) for known in times])
        regular = regular_steps(steps)
        readable[clock] = int(irregular(steps, regular).sum()), regular
        if clock == "number":
            break
    if not readable:
        raise BadInputError(
            f"{relative}: expected times like 2016-07-01 13:00:00, all written alike, "
            f"or numbers. The first one: {series[0][0].as_py()!r}"
        )
    fewest = min(faults for faults, _ in readable.values())
    best = [clock for clock, (faults, _) in readable.items() if faults == fewest]
    if len(best) > 1:
        raise BadInputError(
            f"{relative}: {series[0][0].as_py()!r} may be {best[0]} or {best[1]}. "
            "Expected times like 2016-07-01 13:00:00."
        )
    return best[0], readable[best[0]][1]


def read(texts: pa.Array | pa.ChunkedArray, clock: str) -> np.ndarray:
    """Return (n,) float64: microseconds since 1970, or plain numbers; NaN: unreadable.

    A double holds microseconds exactly until the year 2255.
    """
    if clock == "number":
        return _cast(texts, pa.float64())
    if clock in ("iso", "zoned"):
        return _cast(texts, pa.timestamp("us", "UTC" if clock == "zoned" else None))
    return _numbers(pc.strptime(texts, clock, "us", error_is_null=True))


def write(times: np.ndarray, clock: str) -> list[str]:
    """Return times as ISO 8601 text, in UTC where they had a zone; or as numbers."""
    if clock == "number":
        return [str(int(t)) if t.is_integer() else str(t) for t in times.tolist()]
    stamps = times.astype(np.int64).astype("datetime64[us]")
    unit = "us" if (times % 1_000_000).any() else "s"
    return np.datetime_as_string(stamps, unit=unit).tolist()


def regular_steps(steps: np.ndarray) -> tuple[float, float]:
    """Return the shortest and the longest step that is no gap.

    Months differ in length and weekdays skip weekends, so every step that is common is
    regular, and half as much more or less.
    """
    steps = steps[steps > 0]
    if not len(steps):
        return 0.0, 1e300
    lengths, counts = np.unique(steps, return_counts=True)
    common = lengths[counts >= max(2, COMMON * len(steps))]
    if not len(common):  # the times jitter: hardly two steps are equal
        common = np.median(steps)
    return float(np.min(common) / 1.5), float(np.max(common) * 1.5)


def irregular(steps: np.ndarray, regular: tuple[float, float]) -> np.ndarray:
    """Return which steps are gaps, too short, or backwards."""
    shortest, longest = regular
    return (steps <= 0) | (steps < shortest) | (steps > longest)


def _cast(texts: pa.Array | pa.ChunkedArray, kind: pa.DataType) -> np.ndarray:
    try:
        return _numbers(texts.cast(kind))
    except pa.ArrowInvalid:
        return _one_by_one(texts, kind)


def _one_by_one(texts: pa.Array | pa.ChunkedArray, kind: pa.DataType) -> np.ndarray:
    """Find the readable ones, slowly; none where already the first is not."""
    times = np.full(len(texts), np.nan)
    for i, text in enumerate(texts):
        try:
            times[i] = _numbers(pa.array([text.as_py()]).cast(kind))[0]
        except pa.ArrowInvalid:
            if i == 0:
                break
    return times


def _numbers(times: pa.Array | pa.ChunkedArray) -> np.ndarray:
    if pa.types.is_timestamp(times.type):
        times = times.cast(pa.int64())
    return times.to_numpy(zero_copy_only=False).astype(np.float64)
