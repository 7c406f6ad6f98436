"""Stop a run whose data cannot be trusted, and say why in words.

What stops it: an empty split, what breaks the schema, drift, skew, leakage. What never
does: few examples of a class, and whatever else the leakage report only warns of.
"""

import json
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tensorflow_metadata.proto.v0 import schema_pb2, statistics_pb2
from tfx.dsl.component.experimental.annotations import InputArtifact, OutputArtifact
from tfx.dsl.component.experimental.decorators import component
from tfx.types import standard_artifacts
from tfx.types.artifact import Artifact

from components import anomalies as anomaly_reports
from components import leakage as leakage_reports
from components import statistics as stats
from components.anomaly_words import percent
from components.leakage import LeakageReport
from components.schema import LABEL_TAG
from recipes.errors import BadInputError, RefusedError

FILE_NAME = "verdict.json"
SHOWN = 8  # findings told on refusal; all stand in the figures of their steps

# Source: Goodfellow, Bengio and Courville, Deep Learning, 2016, section 1.2.
ENOUGH_EXAMPLES = 5000  # of a class, "as a rough rule of thumb"
IMBALANCED = 10  # times as many examples of the largest class as of the smallest

logger = logging.getLogger(__name__)


class DataVerdict(Artifact):
    """What passing the gate rests on, in one JSON file."""

    TYPE_NAME = "DataVerdict"


@component
def AnomalyGate(
    statistics: InputArtifact[standard_artifacts.ExampleStatistics],
    anomalies: InputArtifact[standard_artifacts.ExampleAnomalies],
    leakage: InputArtifact[LeakageReport],
    verdict: OutputArtifact[DataVerdict],
):
    """Refuse data with an anomaly, drift, skew or leakage."""
    report = Path(leakage.uri) / leakage_reports.FILE_NAME
    leaks = json.loads(report.read_text("utf-8"))
    result = judge(statistics.uri, anomalies.uri, leaks)
    (Path(verdict.uri) / FILE_NAME).write_text(json.dumps(result), "utf-8")


def judge(statistics: str, anomalies: str, leaks: Mapping[str, Any]) -> dict[str, Any]:
    """Return what to know of data that pass: distances, classes of `train`, hints.

    Args:
      statistics: URI of the artifact.
      anomalies: likewise.
      leaks: `refusals` and `warnings` of the leakage report.

    Raises:
      BadInputError: a split is empty.
      RefusedError: something is wrong with the data.
    """
    check_splits(stats.num_examples(statistics))
    found = anomaly_reports.load(anomalies)
    counts = {
        split: class_counts(report.baseline, stats.load(statistics, split))
        for split, report in found.items()
        if split != "serving"
    }
    anomalous = anomaly_reports.list_anomalies(found)
    check(anomalous, leaks["refusals"], empty_classes(counts))
    hints = [*class_hints(counts), *leaks["warnings"]]
    for hint in hints:
        logger.info("hint: %s", hint)
    classes = counts.get("train", {})
    return {**anomaly_reports.distances(found), "classes": classes, "hints": hints}


def check_splits(counts: Mapping[str, int]) -> None:
    """Refuse data of which a split got nothing.

    Raises:
      BadInputError: there is nothing to learn from, or to judge on.
    """
    empty = [split for split, count in counts.items() if not count]
    if empty:
        raise BadInputError(
            f"Expected examples in every split. Received none in {', '.join(empty)} "
            f"of {sum(counts.values())} in all. Bring more data, or change data.splits."
        )


def check(
    anomalies: Sequence[str], leaks: Sequence[str], classes: Sequence[str] = ()
) -> None:
    """Refuse data of which anything is wrong.

    Raises:
      RefusedError: what is wrong, a line each, and what to do about it.
    """
    found = [*anomalies, *leaks, *classes]
    if not found:
        return
    count = f"{len(found)} findings" if len(found) > 1 else "1 finding"
    lines = [f"the data were refused, {count}:", *found[:SHOWN]]
    if len(found) > SHOWN:
        lines.append(f"and {len(found) - SHOWN} more")
    if anomalies or leaks:
        lines.append("Mend the data; or, if they are right:")
    moved = [line for line in anomalies if "Jensen-Shannon" in line]
    if len(moved) < len(anomalies):
        lines.append("`./strata schema diff` and `accept`")
    if moved:
        lines.append("validation.drift_of or skew_of, by feature: what may move so far")
    if leaks:
        lines.append("a bound or `allow` in [validation.leakage]")
    raise RefusedError("\n  ".join(lines))


def class_counts(
    schema: schema_pb2.Schema,
    statistics: statistics_pb2.DatasetFeatureStatisticsList,
) -> dict[str, int]:
    """Return the number of examples of each class; {} where there are no classes."""
    label = next((f for f in schema.feature if LABEL_TAG in f.annotation.tag), None)
    kind = label.WhichOneof("domain_info") if label else None
    if kind == "string_domain":
        classes = list(label.string_domain.value)
    elif kind == "int_domain":
        classes = list(range(label.int_domain.min, label.int_domain.max + 1))
    else:
        return {}
    found = {
        name: stats.value_counts(feature)
        for feature in statistics.datasets[0].features
        if (name := ".".join(feature.path.step)) == label.name
    }
    counts = found.get(label.name, {})
    return {str(value): counts.get(value, 0) for value in classes}


def empty_classes(counts: Mapping[str, Mapping[str, int]]) -> list[str]:
    """Return a line for each class that cannot be learned.

    Args:
      counts: examples by split and class.
    """
    return [
        f"class {name!r}: no example in `train`; bring some, or take it out of "
        "transform.label.classes"
        for name, count in counts.get("train", {}).items()
        if not count and any(counts["train"].values())
    ]


def class_hints(counts: Mapping[str, Mapping[str, int]]) -> list[str]:
    """Return what to know of the classes.

    Args:
      counts: examples by split and class.
    """
    hints = []
    for split, by_class in counts.items():
        absent = [repr(name) for name, count in by_class.items() if not count]
        if absent:
            hints.append(f"`{split}` has no example of the class {', '.join(absent)}")
    train = counts.get("train", {})
    if not any(train.values()):
        return hints
    name, fewest = min(train.items(), key=lambda item: item[1])
    most, total = max(train.values()), sum(train.values())
    if fewest and most >= IMBALANCED * fewest:
        hints.append(
            f"class {name!r} has {fewest:,} of {total:,} examples "
            f"({percent(fewest / total)}), {most / fewest:.0f} times fewer than the "
            "largest: look at its metrics by themselves"
        )
    few = [name for name, count in train.items() if count < ENOUGH_EXAMPLES]
    if few:
        hints.append(
            f"{len(few)} of {len(train)} classes have fewer than {ENOUGH_EXAMPLES:,} "
            "examples, a rule of thumb for deep learning: compare with the baselines"
        )
    return hints


def figures(outputs: Mapping[str, str]) -> dict[str, Any]:
    """Return what passing the gate means, and what to know all the same."""
    path = Path(outputs["verdict"]) / FILE_NAME
    verdict = json.loads(path.read_text("utf-8"))
    moved = {kind: verdict[kind] for kind in ("drift", "skew")}
    parts = ["no anomaly", *anomaly_reports.summarize(moved)]
    classes = verdict["classes"]
    if classes:
        total, fewest = sum(classes.values()), min(classes.values())
        parts.append(f"smallest class {fewest:,} of {total:,}")
    return {"summary": " · ".join(parts), **verdict}
