"""Look for what a model could know of `eval` and `test` before it is judged on them.

Four ways: records that `train` holds too, records that are almost the same, features
that tell the label by themselves, and features that are ids. Nothing is stopped here:
the report lists what the gate is to refuse, and what people should know.

Which records count as the same is said in `duplicates.py` (rows of a table), in
`near_images.py` and in `near_texts.py`; what a label copy and an id are, in
`feature_leaks.py`. Sounds are compared exactly only. The split `serving` is of no
concern: nothing is judged on it.
"""

import json
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from tfx.dsl.component.experimental.annotations import (
    InputArtifact,
    OutputArtifact,
    Parameter,
)
from tfx.dsl.component.experimental.decorators import component
from tfx.types import standard_artifacts
from tfx.types.artifact import Artifact

from components import (
    duplicates,
    feature_leaks,
    fingerprints,
    leakage_report,
    near_duplicates,
    shards,
)
from components.leakage_report import Findings
from recipes.transform import Transform
from recipes.validation import Leakage as Limits

FILE_NAME = "leakage.json"
JUDGED = ("eval", "test")
ROW_NUMBER_SHARE = 0.95  # of different values in a column that only numbers the rows


class LeakageReport(Artifact):
    """What leaks between splits or into features, in one JSON file."""

    TYPE_NAME = "LeakageReport"


@component
def Leakage(
    examples: InputArtifact[standard_artifacts.Examples],
    report: OutputArtifact[LeakageReport],
    transform: Parameter[str],
    leakage: Parameter[str],
):
    """Report records and features that tell what is to be predicted."""
    section = json.loads(transform)
    found = examine(
        examples.uri,
        Transform.model_validate_json(transform) if _is_known(section) else None,
        Limits.model_validate_json(leakage),
    )
    text = json.dumps(found, ensure_ascii=False)
    (Path(report.uri) / FILE_NAME).write_text(text, "utf-8")


def examine(uri: str, transform: Transform | None, limits: Limits) -> dict[str, Any]:
    """Return the report on the examples of an artifact, as plain JSON values."""
    head = next(shards.tables(uri, "train"), None)
    if head is None:  # the gate refuses an empty split
        return leakage_report.report(Findings("table", {}, {}, {}), uri, limits)
    kind, feature = near_duplicates.kind_of(head, transform)
    if kind == "table":
        found = _examine_table(uri, head, transform, limits)
    else:
        found = _examine_wholes(uri, kind, feature)
    return leakage_report.report(found, uri, limits)


def _is_known(section: dict[str, Any] | None) -> bool:
    """Whether features can be compared with a label.

    Of a graph and of what has no label, records alone are compared.
    """
    return bool(section and section["label"] and not section["graph"])


def figures(outputs: Mapping[str, str]) -> dict[str, Any]:
    """Return the report, and a line on it."""
    written = json.loads((Path(outputs["report"]) / FILE_NAME).read_text("utf-8"))
    return {"summary": leakage_report.summary(written), **written}


def _examine_wholes(uri: str, kind: str, feature: str) -> Findings:
    """Examine records that are one image, text or sound each."""
    train = _fingerprints(uri, "train", feature)
    judged = {split: _fingerprints(uri, split, feature) for split in JUDGED}
    num_records = {s: len(values) for s, values in {"train": train, **judged}.items()}
    exact = {s: duplicates.find(train, values) for s, values in judged.items()}
    near = {}
    if kind != "audio":
        near = near_duplicates.find(uri, kind, feature, num_records)
    near = {split: found.less(exact[split]) for split, found in near.items()}
    return Findings(kind, num_records, exact, near)


def _examine_table(
    uri: str, head: pa.RecordBatch, transform: Transform | None, limits: Limits
) -> Findings:
    values = feature_leaks.counters(transform)
    without = _row_numbers(head, transform)
    train = _Rows(uri, "train", without, values)
    judged = {split: _Rows(uri, split, without, {}) for split in JUDGED}
    num_records = {s: len(rows.exact) for s, rows in {"train": train, **judged}.items()}
    exact = {s: duplicates.find(train.exact, r.exact) for s, r in judged.items()}
    near = {
        split: duplicates.find(train.rounded, rows.rounded).less(exact[split])
        for split, rows in judged.items()
    }
    exact = duplicates.unexplained(exact, uri, num_records, rounded=False)
    near = duplicates.unexplained(near, uri, num_records, rounded=True, without=without)
    if transform is None:
        return Findings("table", num_records, exact, near)
    copies = feature_leaks.copies(
        uri, transform, num_records["train"], limits.label_copy
    )
    ids = feature_leaks.ids(values, transform, limits.id_like)
    return Findings("table", num_records, exact, near, copies, ids)


class _Rows:
    """Fingerprints of the rows of a split, (rows,) uint64: as they are, and rounded.

    `without`: features that are left out where rows are compared rounded. `values`:
    counters that take in the features they are for.
    """

    def __init__(
        self,
        uri: str,
        split: str,
        without: Collection[str],
        values: Mapping[str, feature_leaks.Values],
    ):
        exact, rounded = [np.zeros(0, np.uint64)], [np.zeros(0, np.uint64)]
        for table in shards.tables(uri, split):
            cells = fingerprints.cells(table)
            for name in values.keys() & cells.keys():
                values[name].add(table.column(name), cells[name])
            exact.append(fingerprints.of_records(cells, table.num_rows))
            coarse = fingerprints.rounded_cells(table, cells)
            rounded.append(
                fingerprints.of_records(coarse, table.num_rows, without=without)
            )
        self.exact, self.rounded = np.concatenate(exact), np.concatenate(rounded)


def _fingerprints(uri: str, split: str, feature: str) -> np.ndarray:
    """Return (records,) uint64, equal where a feature is; 0 where there is none.

    What else a record holds is not read: a copy of a sound may have another number.
    """
    parts = [np.zeros(0, np.uint64)]
    for table in shards.tables(uri, split):
        column = shards.column(table, feature)
        alone = pa.RecordBatch.from_arrays([column], [feature])
        nothing = np.zeros(table.num_rows, np.uint64)
        parts.append(fingerprints.cells(alone).get(feature, nothing))
    return np.concatenate(parts)


def _row_numbers(head: pa.RecordBatch, transform: Transform | None) -> set[str]:
    """Return unused columns that tell rows apart: a number, a file name, a time.

    A copy of a row may well have another. Floats that differ in nearly every row may
    be a time; they are left out only where it is known that nothing is learned from
    them. Other unused columns count: people who agree in all that is used need not be
    the same (7 % of the test rows of Adult do, without its weights). The first
    records tell.
    """
    used = _learned_from(transform) if transform else set()
    found = set()
    for name, cells in fingerprints.cells(head).items():
        values = feature_leaks.Values()
        if name not in used:
            values.add(head.column(name), cells)
        if values.tells_apart(ROW_NUMBER_SHARE, floats=transform is not None):
            found.add(name)
    return found


def _learned_from(transform: Transform) -> set[str]:
    label = transform.label
    return {*transform.used_features(), label.feature, label.divide_by or label.feature}
