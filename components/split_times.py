"""Times in the forms that files have them, as seconds or as the numbers they are.

How a column is written is found from all of it: a form counts when every value fits.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from recipes.errors import BadInputError

_CLOCKS = ("", " %H:%M:%S", " %H:%M", " %I:%M:%S %p", " %I:%M %p")
_DATES = {
    "year/month/day": "%Y/%m/%d",
    "day.month.year": "%d.%m.%Y",
    "month/day/year": "%m/%d/%Y",
    "day/month/year": "%d/%m/%Y",
}
NUMBER, ISO = "number", "ISO 8601"
_FORMS = (NUMBER, ISO, *_DATES)
_ZONE = r"\d[Tt ]\d.*(?:[Zz]|[+-]\d\d(?::?\d\d)?)$"
_HEAD = 100  # values that show whether a form is worth trying
_NUM_SAMPLES = 5


@dataclass(frozen=True)
class Times:
    """The times of some records, if they are written in one form.

    Attributes:
      values: ascending, each once; empty where a record does not fit.
      counts: records of each value.
      num_unfit: records that do not fit.
      unfit: some of them, such as `a.csv row 3 ('n/a')`.
    """

    values: np.ndarray
    counts: np.ndarray
    num_unfit: int
    unfit: tuple[str, ...]


def times(column: pa.Array, form: str) -> np.ndarray:
    """Return the times in a column as (n,) float64, NaN where it is not of that form.

    Dates are seconds since 1970, UTC where they name no zone.
    """
    kind = column.type
    if pa.types.is_date(kind) or pa.types.is_timestamp(kind):
        return _seconds(column) if form == ISO else np.full(len(column), np.nan)
    if pa.types.is_integer(kind) or pa.types.is_floating(kind):
        values = column.cast(pa.float64()).to_numpy(zero_copy_only=False)
        return _finite(values) if form == NUMBER else np.full(len(column), np.nan)
    return _parse(_series(column), form)


def found(column: pa.Array, names: Sequence[str]) -> dict[str, Times]:
    """Return the times in a column by every form they could be written in."""
    return {form: _found(column, names, form) for form in _FORMS}


def merge(found: Sequence[Mapping[str, Times]]) -> dict[str, Times]:
    """Return the times of several sets of records together; at least one set."""
    return {form: _merge([times[form] for times in found]) for form in _FORMS}


def form_of(name: str, by_form: Mapping[str, Times]) -> str:
    """Return the form that all times of a column are written in.

    Raises:
      BadInputError: there is none, or day and month could be either.
    """
    fit = [form for form in _FORMS if not by_form[form].num_unfit]
    if {"month/day/year", "day/month/year"} <= {*fit}:
        raise BadInputError(
            f"[data.split_by] time: {name!r} could be month/day or day/month. Write it "
            "as YYYY-MM-DD."
        )
    if fit:
        return fit[0]
    closest = min(_FORMS, key=lambda form: by_form[form].num_unfit)
    samples = ", ".join(by_form[closest].unfit)
    raise BadInputError(
        f"[data.split_by] time: {name!r} holds {by_form[closest].num_unfit:,} values "
        f"that are no {closest}: {samples}. Expected numbers, or dates all written "
        "alike, best as YYYY-MM-DD HH:MM:SS."
    )


def _found(column: pa.Array, names: Sequence[str], form: str) -> Times:
    parsed = times(column, form)
    (unfit,) = np.nonzero(np.isnan(parsed))
    if not len(unfit):
        return Times(*np.unique(parsed, return_counts=True), 0, ())
    samples = [
        f"{names[row]} ({_shown(column[int(row)])})" for row in unfit[:_NUM_SAMPLES]
    ]
    return _unfit(len(unfit), samples)


def _merge(found: Sequence[Times]) -> Times:
    num_unfit = sum(times.num_unfit for times in found)
    if num_unfit:
        samples = [sample for times in found for sample in times.unfit]
        return _unfit(num_unfit, samples[:_NUM_SAMPLES])
    values, places = np.unique(
        np.concatenate([times.values for times in found]), return_inverse=True
    )
    counts = np.concatenate([times.counts for times in found])
    return Times(values, np.bincount(places, counts).astype(np.int64), 0, ())


def _unfit(num_unfit: int, samples: Sequence[str]) -> Times:
    return Times(np.empty(0), np.empty(0, np.int64), num_unfit, tuple(samples))


def _parse(series: pd.Series, form: str) -> np.ndarray:
    parse = _PARSERS[form]
    if np.isnan(parse(series[:_HEAD])).all():
        return np.full(len(series), np.nan)
    return parse(series)


def _number(series: pd.Series) -> np.ndarray:
    return _finite(pd.to_numeric(series, errors="coerce").to_numpy(np.float64))


def _iso(series: pd.Series) -> np.ndarray:
    # In one go pandas 2.3 gives times without a zone that of the one before them.
    zoned = series.str.contains(_ZONE).to_numpy(bool)
    result = np.empty(len(series))
    for rows in (zoned, ~zoned):
        moments = pd.to_datetime(
            series[rows], format="ISO8601", utc=True, errors="coerce"
        )
        result[rows] = _since_1970(moments)
    return result


def _date(order: str) -> Callable[[pd.Series], np.ndarray]:
    def parse(series: pd.Series) -> np.ndarray:
        result = np.full(len(series), np.nan)
        for clock in _CLOCKS:
            (left,) = np.nonzero(np.isnan(result))
            if not len(left):
                break
            result[left] = _since_1970(
                pd.to_datetime(
                    series.iloc[left], format=order + clock, utc=True, errors="coerce"
                )
            )
        return result

    return parse


_PARSERS = {
    NUMBER: _number,
    ISO: _iso,
    **{name: _date(order) for name, order in _DATES.items()},
}


def _since_1970(series: pd.Series) -> np.ndarray:
    moments = series.to_numpy("datetime64[ns]")
    seconds = moments.astype(np.int64) / 1e9
    return np.where(np.isnat(moments), np.nan, seconds)


def _seconds(column: pa.Array) -> np.ndarray:
    micros = column.cast(pa.timestamp("us"), safe=False).cast(pa.int64())
    return pc.divide(micros.cast(pa.float64()), 1e6).to_numpy(zero_copy_only=False)


def _finite(values: np.ndarray) -> np.ndarray:
    return np.where(np.isfinite(values), values, np.nan)


def _series(column: pa.Array) -> pd.Series:
    if pa.types.is_dictionary(column.type):
        column = column.dictionary_decode()
    utf8 = [_decoded(value) for value in column.to_pylist()]
    return pd.Series(utf8, dtype=object)


def _decoded(value: bytes | str | None) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else value or ""


def _shown(value: pa.Scalar) -> str:
    return repr(value.as_py()) if value.is_valid else "no value"
