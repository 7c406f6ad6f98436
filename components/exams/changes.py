"""Test examples as a request holds them, and what can happen to them.

Pixels and samples are decoded as the recipe says. What is drawn depends on the name of
the change, its strength and the examples: two models are asked the same.
"""

import json
import zlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from components import inputs
from components.columns import transformed_name
from components.corruptions import audio, elsewhere, images, tables, texts
from components.exams import NotApplicableError
from components.exams.case import Arrays, Case, Model, read
from components.input_checks import Kind, kind

CORRUPTIONS = {"image": images, "text": texts, "audio": audio, "table": tables}
FLIPPED, ARRAYS = "flipped.json", "flipped.npz"
TRAIN_ROWS = 2000  # by which a table's columns are known


@dataclass(frozen=True)
class Requests:
    """Some of the test examples.

    Attributes:
      kind: of input.
      places: of each in `Case.test`.
      examples: serialized.
      inputs: what `serve_raw` takes, by name: (examples, ...).
      corruptions: the names of those that can happen to them.
      deviations: column of quantities of a table -> its standard deviation.
      emptied: columns of a table that some rows, of `train` or asked, do not have.
    """

    kind: Kind
    places: np.ndarray
    examples: list[bytes]
    inputs: Arrays
    corruptions: tuple[str, ...]
    deviations: Mapping[str, float]
    emptied: frozenset[str]

    def corrupted(self, name: str, strength: int) -> Arrays:
        """Return all inputs, spoiled: see `components.corruptions`."""
        rng = _rng(name, strength)
        if self.kind != "table":
            ((column, values),) = self.inputs.items()
            changed = CORRUPTIONS[self.kind].corrupt(name, values, strength, rng=rng)
            return {column: np.array(changed, values.dtype)}
        may_change = self.emptied if name == "missing" else self.inputs
        values = {n: cells for n, cells in self.inputs.items() if n in may_change}
        return self.inputs | tables.corrupt(
            name, values, strength, deviations=self.deviations, rng=rng
        )

    def elsewhere(self, name: str) -> Arrays:
        """Return as many inputs that belong to no data set."""
        if self.kind == "table":
            return elsewhere.replace(name, self.inputs, rng=_rng(name, 0))
        ((column, values),) = self.inputs.items()
        replaced = elsewhere.replace(name, values, rng=_rng(name, 0))
        return {column: np.array(replaced, values.dtype)}


def requests(case: Case, most: int) -> Requests:
    """Return at most so many of the test examples, evenly taken.

    Raises:
      NotApplicableError: answers are no classes, or nothing is known to happen to such
        inputs.
    """
    of = kind(case.transform)
    if not case.has_classes:
        raise NotApplicableError("its answers are no classes")
    if of not in CORRUPTIONS:
        raise NotApplicableError(f"nothing is known to happen to a {of}")
    places = np.arange(0, len(case.test), max(1, -(-len(case.test) // most)))
    examples = [case.test[place] for place in places]
    asked = _inputs(case, examples)
    if of != "table":
        names = CORRUPTIONS[of].NAMES
        return Requests(of, places, examples, asked, names, {}, frozenset())
    rows = read(case.examples / "Split-train", TRAIN_ROWS)
    train = case.candidate.raw(rows)
    deviations = {n: _deviation(train[n]) for n in _quantities(case.transform)}
    emptied = _absent([*rows, *examples], train)
    can = {
        "jitter": any(deviations.values()),
        "missing": bool(emptied),
        "swapped": len(asked) > len(deviations),
    }
    names = tuple(name for name in tables.NAMES if can[name])
    return Requests(of, places, examples, asked, names, deviations, emptied)


def keep(
    folder: Path,
    requests: Requests,
    rows: Sequence[int],
    after: Arrays,
    records: Sequence[Mapping[str, Any]],
) -> None:
    """Write a few requests as they were and as they were changed.

    Args:
      folder: where `FLIPPED` is written, a JSON object for each with `example`, its
        place in the test examples, and `before` and `after` where it is no array; of
        pixels, cut to whole numbers, and samples those are in `ARRAYS`.
      requests: all of them.
      rows: places of the few.
      after: their changed inputs, (rows, ...).
      records: what else is to be known of each.
    """
    before = {name: values[list(rows)] for name, values in requests.inputs.items()}
    found = [
        {"example": int(requests.places[row]), **record}
        for row, record in zip(rows, records, strict=True)
    ]
    if requests.kind in ("image", "audio"):
        ((name, values),) = before.items()
        dtype = np.uint8 if requests.kind == "image" else np.float32
        np.savez_compressed(
            folder / ARRAYS,
            before=values.astype(dtype),
            after=np.asarray(after[name]).astype(dtype),
        )
    else:
        for place, one in enumerate(found):
            one |= {"before": plain(before, place), "after": plain(after, place)}
    (folder / FLIPPED).write_text(json.dumps(found), "utf-8")


def plain(values: Arrays, row: int) -> dict[str, Any]:
    """Return texts and numbers of one row as JSON, None where there is none."""
    return {name: _plain(column[row]) for name, column in values.items()}


def comparable(case: Case) -> Model | None:
    """Return the live model, if there is one that takes the same requests."""
    if case.live is None:
        return None
    ours, theirs = (
        {n: (i.dtype, str(i.tensor_shape)) for n, i in _raw_signature(of).items()}
        for of in (case.candidate, case.live)
    )
    return case.live if ours == theirs else None


def classes(transform: Mapping[str, Any]) -> list[str]:
    """Return the names of the classes that answers are places of."""
    return [str(name) for name in transform["label"]["classes"] or ("no", "yes")]


def answered(model: Model, values: Arrays) -> np.ndarray:
    """Return the places of the classes that a model answers: (examples,)."""
    return model.ask(values)["classes"].reshape(-1)


def as_text(values: np.ndarray) -> np.ndarray:
    """Return bytes as text, which NumPy stores unpickled; numbers as they are."""
    if values.dtype != object:
        return values
    texts = [value.decode("utf-8", "replace") for value in values.flat]
    return np.array(texts, str).reshape(values.shape)


def _raw_signature(model: Model) -> Mapping[str, Any]:
    return model.signature_defs["serve_raw"].inputs


def _inputs(case: Case, examples: list[bytes]) -> Arrays:
    """Return what `serve_raw` takes.

    Pixels and samples as `serving_default` has them, which knows the recipe's `resize`;
    a client may have sent others.
    """
    of = kind(case.transform)
    if of not in ("image", "audio"):
        return case.candidate.raw(examples)
    name = case.transform[of]["feature"]
    rows = tf.io.parse_example(examples, {name: tf.io.FixedLenFeature([], tf.string)})
    named = {transformed_name(name): rows[name]}
    return {name: inputs.decoded(named, case.transform).numpy()}


def _quantities(transform: Mapping[str, Any]) -> list[str]:
    return [*transform["numeric"], *transform["scale"], *transform["buckets"]]


def _deviation(cells: np.ndarray) -> float:
    present = cells[~np.isnan(cells)].astype(np.float64)
    return float(present.std()) if len(present) else 0.0


def _absent(examples: Sequence[bytes], names: Iterable[str]) -> frozenset[str]:
    """Return the features that some of the examples do not have."""
    rows = [tf.train.Example.FromString(one).features.feature for one in examples]
    return frozenset(n for n in names if any(_num_values(row[n]) == 0 for row in rows))


def _num_values(feature: tf.train.Feature) -> int:
    of = feature.WhichOneof("kind")
    return len(getattr(feature, of).value) if of else 0


def _plain(value: Any) -> Any:
    if isinstance(value, bytes):
        return value.decode("utf-8", errors="replace")
    number = float(value)
    return None if np.isnan(number) else number


def _rng(name: str, strength: int) -> np.random.Generator:
    return np.random.default_rng([zlib.crc32(name.encode()), strength])
