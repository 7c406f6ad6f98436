"""Does it behave as it must, whatever the data say? Tests that a recipe writes down.

After Ribeiro et al. 2020, "Beyond Accuracy: Behavioral Testing of NLP Models with
CheckList": a change that must not change the answer (`invariance`), a number that must
move a probability one way (`direction`), and cases that must be answered right
(`minimum`). The first two are tried on the test examples.

Bounds are held against what was counted, not against an interval: these are rules. A
test of which no example could be asked is missed.
"""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from components.exams import Verdict, changes, judged
from components.exams.case import Arrays, Case, all_classes
from components.exams.changes import Requests
from recipes.errors import BadInputError

FILE_NAME = "tests.json"
SHOWN = 5  # examples of each test that failed
ROUNDING = 1e-6  # of a probability, which batches of other sizes may change
Found = dict[str, Any]


def collect(case: Case, section: Mapping[str, Any], folder: Path) -> None:
    """Write of each test how many examples were asked and which failed."""
    requests = changes.requests(case, case.most)
    found = [_invariance(case, requests, test) for test in section["invariance"]]
    found += [_direction(case, requests, test) for test in section["direction"]]
    found += [_minimum(case, test) for test in section["minimum"]]
    (folder / FILE_NAME).write_text(json.dumps(found), "utf-8")


def judge(folder: Path, section: Mapping[str, Any]) -> Verdict:
    """Refuse a candidate that fails a test more often than it allows."""
    found = json.loads((folder / FILE_NAME).read_text("utf-8"))
    refusals, tests = [], []
    for (of, test), one in zip(_tests(section), found, strict=True):
        name = f"{of} {test['name'] or _title(of, test)!r}"
        count, failed = one["count"], len(one["failed"])
        share = failed / count if count else None
        allowed = _allowed(of, test)
        # Both sides are shares of whole numbers: a tie must not depend on rounding.
        met = share is not None and failed <= allowed * count + 1e-9
        if share is None:
            refusals.append(f"{name}: no test example could be asked")
        elif not met:
            refusals.append(
                f"{name}: {failed} of {count} failed ({share:.1%}), expected at most "
                f"{allowed:.1%}"
            )
        tests.append(
            {
                "test": name,
                "passed": met,
                "count": count,
                "failed": failed,
                "allowed": allowed,
                "shown": one["shown"],
            }
        )
    passed = sum(test["passed"] for test in tests)
    return judged(
        f"behaviour: {passed} of {len(tests)} tests passed",
        tuple(refusals),
        tests=tests,
    )


def _tests(section: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    for of in ("invariance", "direction", "minimum"):
        yield from ((of, test) for test in section[of])


def _allowed(of: str, test: Mapping[str, Any]) -> float:
    if of == "invariance":
        return test["changes_at_most"]
    return 1 - test["holds_at_least" if of == "direction" else "accuracy_at_least"]


def _title(of: str, test: Mapping[str, Any]) -> str:
    if of == "minimum":
        return f"{len(test['cases'])} cases"
    if of == "direction":
        return f"{test['column']} {test['by']:+g}, {test['label']}"
    if test["column"]:
        return f"{test['column']}: {', '.join(map(str, test['values']))}"
    if test["replace"]:
        return ", ".join(f"{old} -> {new}" for old, new in test["replace"])
    if test["flip"]:
        return f"flip {test['flip']}"
    return f"{test['corruption']} {test['strength']}"


def _invariance(case: Case, requests: Requests, test: Mapping[str, Any]) -> Found:
    versions = _versions(requests, test)
    rows = np.flatnonzero(_differ(versions[0], versions[1]))
    if test["column"]:
        rows = np.arange(len(requests.places))
    if not len(rows):
        return _found(requests, rows, rows, [])
    said = np.stack([_answers(case, of, rows)["classes"] for of in versions])
    said = said.reshape(len(versions), len(rows))
    others = (said != said[0]).argmax(axis=0)  # the first version answered otherwise
    failed = np.flatnonzero(others)
    names = changes.classes(case.transform)
    shown = [
        {
            "before": _shown(requests, versions[0], rows[at]),
            "after": _shown(requests, versions[others[at]], rows[at]),
            "said": [names[said[0, at]], names[said[others[at], at]]],
        }
        for at in failed[:SHOWN]
    ]
    return _found(requests, rows, rows[failed], shown)


def _versions(requests: Requests, test: Mapping[str, Any]) -> list[Arrays]:
    """Return all inputs in each form that must be answered alike, two or more."""
    values = requests.inputs
    if test["column"]:
        return [_with(values, test["column"], value) for value in test["values"]]
    if test["corruption"]:
        is_known = test["corruption"] in requests.corruptions
        asked = (test["corruption"], test["strength"])
        return [values, requests.corrupted(*asked) if is_known else values]
    ((name, column),) = values.items()
    if test["flip"]:
        axis = {"vertical": 1, "horizontal": 2}[test["flip"]]
        return [values, {name: np.flip(column, axis)}]
    replaced = [_replaced(text, test["replace"]) for text in column]
    return [values, {name: np.array(replaced, object)}]


def _direction(case: Case, requests: Requests, test: Mapping[str, Any]) -> Found:
    """Ask with the number and with the changed one.

    Raises:
      BadInputError: the change would be rounded away.
    """
    values = requests.inputs
    column = values[test["column"]]
    if column.dtype == np.float64 and test["by"] % 1:  # whole numbers
        raise BadInputError(
            f"[examine.behaviour] direction of {test['column']}: expected `by` to be a "
            f"whole number, as those of the column are. Received: {test['by']}"
        )
    raised = values | {test["column"]: (column + test["by"]).astype(column.dtype)}
    rows = np.flatnonzero(~np.isnan(column))
    if not len(rows):
        return _found(requests, rows, rows, [])
    label = changes.classes(case.transform).index(str(test["label"]))
    before, after = (
        all_classes(_answers(case, of, rows)["probabilities"])[:, label]
        for of in (values, raised)
    )
    failed = np.flatnonzero(after < before - ROUNDING)
    shown = [
        {
            "before": _shown(requests, values, rows[at]),
            "after": _shown(requests, raised, rows[at]),
            "probability": [float(before[at]), float(after[at])],
        }
        for at in failed[:SHOWN]
    ]
    return _found(requests, rows, rows[failed], shown)


def _minimum(case: Case, test: Mapping[str, Any]) -> Found:
    cases = test["cases"]
    infos = case.candidate.signature_defs["serve_raw"].inputs
    dtypes = {n: tf.as_dtype(i.dtype).as_numpy_dtype for n, i in infos.items()}
    values = {
        name: np.array(
            [_cell(name, one["inputs"].get(name), np.dtype(dtype)) for one in cases],
            dtype,
        )
        for name, dtype in dtypes.items()
    }
    said = case.candidate.ask(values)["classes"].reshape(-1)
    names = changes.classes(case.transform)
    failed = [
        (at, {**one, "said": names[place]})
        for at, (one, place) in enumerate(zip(cases, said, strict=True))
        if names[place] != str(one["label"])
    ]
    shown = [one for _, one in failed[:SHOWN]]
    return {"count": len(cases), "failed": [at for at, _ in failed], "shown": shown}


def _answers(case: Case, values: Arrays, rows: np.ndarray) -> Arrays:
    return case.candidate.ask({name: column[rows] for name, column in values.items()})


def _differ(one: Arrays, other: Arrays) -> np.ndarray:
    """Return in which examples some input is not the same: (examples,) bool."""
    of_each = []
    for name, column in one.items():
        equal = column == other[name]
        if column.dtype.kind == "f":
            equal |= np.isnan(column) & np.isnan(other[name])
        of_each.append(~equal.reshape(len(column), -1).all(axis=1))
    return np.any(of_each, axis=0)


def _with(values: Arrays, name: str, value: Any) -> Arrays:
    """Return inputs with one value in all of a column."""
    column = values[name].copy()
    column[:] = _cell(name, value, column.dtype)
    return values | {name: column}


def _cell(name: str, value: Any, dtype: np.dtype) -> Any:
    """Return a value of the recipe as a request has it; None is missing.

    Raises:
      BadInputError: a text in a column of numbers, or the reverse.
    """
    is_text = dtype.kind == "O"
    if value is None:
        return b"" if is_text else np.nan
    if is_text != isinstance(value, str):
        raise BadInputError(
            f"[examine.behaviour] {name}: expected a {'text' if is_text else 'number'}."
            f" Received: {value!r}"
        )
    return value.encode() if is_text else value


def _replaced(text: bytes, pairs: Sequence[Sequence[str]]) -> bytes:
    changed = text.decode("utf-8", "surrogateescape")
    for pattern, replacement in pairs:
        changed = re.sub(pattern, replacement, changed)
    return changed.encode("utf-8", "surrogateescape")


def _shown(requests: Requests, values: Arrays, row: int) -> dict[str, Any]:
    """Return a row as JSON; of pixels and samples nothing."""
    is_array = requests.kind in ("image", "audio")
    return {} if is_array else changes.plain(values, int(row))


def _found(
    requests: Requests, rows: np.ndarray, failed: np.ndarray, shown: list[Found]
) -> Found:
    """Return a test's evidence; `shown` are the first that failed."""
    places = requests.places[failed].tolist()
    for place, one in zip(places, shown, strict=False):
        one["example"] = place
    return {"count": len(rows), "failed": places, "shown": shown}
