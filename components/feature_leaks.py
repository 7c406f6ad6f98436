"""Find features that tell the label by themselves, and features that are ids.

A label copy: guesses from one feature alone, learned on half of a sample of `train`,
are right on the other half for the share that `validation.leakage.label_copy` allows,
and remove MIN_ERROR_REMOVED of the error of always guessing the most frequent label
(99.5 % is no feat where 99 % of the labels are equal). Texts and whole numbers are
looked up by value; numbers are also cut by a small tree, so that any step function of
the feature counts, also one that goes up and down.

An id: nearly every record has a value of its own, so a model can learn it by heart and
nothing from it. Whole numbers that are used as numbers are ids only where they count
through their range: prices and populations also differ in every record.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from sklearn.tree import DecisionTreeClassifier

from components import fingerprints, shards
from recipes.transform import Label, Transform

MIN_ERROR_REMOVED = 0.95
MIN_RECORDS = 50  # of fewer, neither can be told
_SAMPLE_ROWS = 100_000  # of `train`, to learn what one feature tells of the label
_MAX_LEAVES = 64
_MAX_KEPT = 200_000  # fingerprints of values, of each feature
_MAX_SHOWN = 60  # bytes of a text, as an example
_DENSE = 2.0  # an id that counts fills at least half of its range


@dataclass(frozen=True)
class Copy:
    """A feature that tells the label.

    Attributes:
      feature: its name.
      share: of the labels that it tells, 0 to 1.
      usual: share of the most frequent label.
      row: the number of a record of `train`, as an example.
      value: of the feature, in that record.
      label: of that record: the value of the label's feature.
    """

    feature: str
    share: float
    usual: float
    row: int
    value: Any
    label: Any


@dataclass
class Values:
    """How many different values a feature has, in bounded memory.

    All records of a value are kept or none, by its fingerprint, so that the share of
    different ones among those kept is that of all.
    """

    present: int = 0
    is_whole: bool = False
    is_discrete: bool = False  # whole numbers or texts
    example: Any = None
    low: int = 0
    high: int = 0
    _limit: int = 2**64 - 1
    _kept: list[np.ndarray] = field(default_factory=list)

    def add(self, values: pa.Array, cells: np.ndarray) -> None:
        """Take in a batch: a column of a table and its fingerprints."""
        flat = values.flatten()
        if not len(flat):
            return
        self.is_whole = pa.types.is_integer(flat.type)
        self.is_discrete = not pa.types.is_floating(flat.type)
        if self.is_whole:
            ends = pc.min_max(flat).as_py()
            self.low = min(ends["min"], self.low) if self.present else ends["min"]
            self.high = max(ends["max"], self.high) if self.present else ends["max"]
        if self.example is None:
            self.example = _text(flat[0].as_py())
        cells = cells[cells != 0]
        self.present += len(cells)
        self._kept.append(cells[cells <= self._limit])
        while sum(map(len, self._kept)) > _MAX_KEPT:
            self._limit //= 2
            self._kept = [kept[kept <= self._limit] for kept in self._kept]

    def share(self) -> float:
        """Return how many of the values present are different, 0 to 1."""
        kept = np.concatenate(self._kept) if self._kept else np.zeros(0)
        return len(np.unique(kept)) / len(kept) if len(kept) else 0.0

    def tells_apart(self, limit: float, *, floats: bool = False) -> bool:
        """Tell whether more than this share of texts, whole numbers (floats) differ."""
        counted = self.is_discrete or floats
        return counted and self.present >= MIN_RECORDS and self.share() > limit

    def counts_through(self) -> bool:
        """Tell whether the values are whole numbers that leave few out."""
        different = self.share() * self.present
        return self.is_whole and self.high - self.low < _DENSE * different


@dataclass
class Column:
    """A feature of sampled records.

    Attributes:
      cells: (records,) uint64 fingerprints, 0 where there is no value.
      numbers: (records,) float64, NaN: no value; None for texts and lists.
    """

    cells: np.ndarray
    numbers: np.ndarray | None

    def where(self, kept: np.ndarray) -> "Column":
        """Return it for some of the records, by a mask."""
        numbers = None if self.numbers is None else self.numbers[kept]
        return Column(self.cells[kept], numbers)


def copies(uri: str, transform: Transform, num_train: int, limit: float) -> list[Copy]:
    """Return the used features that tell at least `limit` of the labels."""
    label = transform.label
    features = transform.used_features()
    rows = shards.spread(num_train, _SAMPLE_ROWS)
    needed = [*features, label.feature, *filter(None, [label.divide_by])]
    columns, first = _sample(uri, rows, needed)
    labels = classes(columns, label)
    kept = labels >= 0
    if kept.sum() < MIN_RECORDS:
        return []
    usual = majority(labels[kept])
    result = []
    for name in features:
        share = told(columns[name].where(kept), labels[kept])
        if is_copy(share, usual, limit):
            example = {"value": first.get(name), "label": first.get(label.feature)}
            result.append(Copy(name, share, usual, row=int(rows[0]), **example))
    return result


def counters(transform: Transform | None) -> dict[str, "Values"]:
    """Return a counter for each used feature that must not be an id."""
    if transform is None:
        return {}
    times = set(transform.calendar)  # only parts of these are used
    return {name: Values() for name in transform.used_features() if name not in times}


def ids(
    values: Mapping[str, "Values"], transform: Transform, limit: float
) -> dict[str, "Values"]:
    """Return the features that look like ids, of those that were counted."""
    amounts = {*transform.numeric, *transform.scale, *transform.buckets}
    return {
        name: found
        for name, found in values.items()
        if found.tells_apart(limit) and (name not in amounts or found.counts_through())
    }


def column(values: pa.Array) -> Column:
    """Return a column of a table from `components.shards`."""
    cells = fingerprints.cells(pa.RecordBatch.from_arrays([values], ["one"]))
    fingerprint = cells.get("one", np.zeros(len(values), np.uint64))
    return Column(fingerprint, _numbers(values))


def joined(parts: list[Column]) -> Column:
    """Return the columns of several batches as one."""
    numbers = [part.numbers for part in parts]
    known = [n for n in numbers if n is not None]
    return Column(
        np.concatenate([part.cells for part in parts]),
        np.concatenate(known) if len(known) == len(numbers) else None,
    )


def classes(columns: Mapping[str, Column], label: Label) -> np.ndarray:
    """Return (records,) int numbers of the labels' classes; -1: no label."""
    found = columns[label.feature]
    if label.above is None:
        values = np.unique(found.cells[found.cells != 0])
        at = np.searchsorted(values, found.cells)
        return np.where(found.cells == 0, -1, at)
    value = found.numbers
    if value is None:
        return np.full(len(found.cells), -1)
    if label.divide_by:
        divisor = columns[label.divide_by].numbers
        with np.errstate(divide="ignore", invalid="ignore"):
            value = np.where(divisor == 0, 0, value / divisor)
    return np.where(np.isnan(value), -1, value > label.above)


def told(feature: Column, labels: np.ndarray) -> float:
    """Return the share of labels that one feature tells, 0 to 1.

    Args:
      feature: of some records.
      labels: (records,) int, none negative.
    """
    order = np.random.default_rng(0).permutation(len(labels))
    learn, judge = order[::2], order[1::2]
    guesses = [_by_value(feature.cells, labels, learn, judge)]
    if feature.numbers is not None:
        guesses.append(_by_size(feature.numbers, labels, learn, judge))
    return max(float(np.mean(guess == labels[judge])) for guess in guesses)


def majority(labels: np.ndarray) -> float:
    """Return the share of the most frequent label."""
    return float(np.bincount(labels).max() / len(labels))


def is_copy(share: float, usual: float, limit: float) -> bool:
    """Tell whether a feature that tells this share of labels is a copy of the label."""
    return share >= limit and 1 - share <= (1 - MIN_ERROR_REMOVED) * (1 - usual)


def _sample(
    uri: str, rows: np.ndarray, names: Iterable[str]
) -> tuple[dict[str, Column], dict[str, Any]]:
    """Return columns of these records of `train`, and the values of the first."""
    parts: dict[str, list[Column]] = {name: [] for name in names}
    first: dict[str, Any] = {}
    for table in shards.select(uri, "train", rows):
        for name, columns in parts.items():
            values = shards.column(table, name)
            columns.append(column(values))
            if len(columns) == 1:
                first[name] = shown(values)
    return {name: joined(columns) for name, columns in parts.items()}, first


def shown(values: pa.Array) -> Any:
    """Return what the first record has in a column, as a plain JSON value."""
    one = values[0].as_py()
    if not one:
        return None
    return _text(one[0]) if len(one) == 1 else [_text(value) for value in one[:10]]


def _text(value: Any) -> Any:
    if isinstance(value, bytes):
        return value[:_MAX_SHOWN].decode("utf-8", "replace")
    return float(f"{value:.7g}") if isinstance(value, float) else value


def _by_value(
    cells: np.ndarray, labels: np.ndarray, learn: np.ndarray, judge: np.ndarray
) -> np.ndarray:
    seen = pd.DataFrame({"cell": cells[learn], "label": labels[learn]})
    counts = seen.value_counts(sort=True).reset_index()
    best = counts.drop_duplicates("cell").set_index("cell")["label"]
    usual = np.bincount(labels[learn]).argmax()
    return best.reindex(cells[judge]).fillna(usual).to_numpy(np.int64)


def _by_size(
    numbers: np.ndarray, labels: np.ndarray, learn: np.ndarray, judge: np.ndarray
) -> np.ndarray:
    leaves = max(_MAX_LEAVES, 4 * (labels.max() + 1))
    tree = DecisionTreeClassifier(max_leaf_nodes=leaves, random_state=0)
    # Trees compute in float32, whose range a float64 may exceed.
    bound = np.finfo(np.float32).max
    inputs = np.clip(numbers, -bound, bound)[:, None]
    return tree.fit(inputs[learn], labels[learn]).predict(inputs[judge])


def _numbers(values: pa.Array) -> np.ndarray | None:
    if pa.types.is_null(values.type):
        return np.full(len(values), np.nan)
    kind = values.type.value_type
    if not (pa.types.is_integer(kind) or pa.types.is_floating(kind)):
        return None
    lengths = pc.fill_null(pc.list_value_length(values), 0).to_numpy(
        zero_copy_only=False
    )
    if len(lengths) and lengths.max() > 1:
        return None
    numbers = np.full(len(values), np.nan)
    numbers[lengths == 1] = values.flatten().to_numpy(zero_copy_only=False)
    return numbers
