"""Stop a run whose data breaks the schema, and say how in words."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tensorflow_metadata.proto.v0 import anomalies_pb2
from tfx.dsl.component.experimental.annotations import InputArtifact
from tfx.dsl.component.experimental.decorators import component
from tfx.types import standard_artifacts

from components.statistics import num_examples
from recipes.errors import BadInputError

# `train` had no value in it; the recipe cannot use it, so it does no harm.
_NEW_COLUMN = anomalies_pb2.AnomalyInfo.SCHEMA_NEW_COLUMN


@component
def AnomalyGate(
    statistics: InputArtifact[standard_artifacts.ExampleStatistics],
    anomalies: InputArtifact[standard_artifacts.ExampleAnomalies],
):
    """Fail where ExampleValidator, which never stops a run, found an anomaly."""
    check_splits(num_examples(statistics.uri))
    found = list_anomalies(anomalies.uri)
    if found:
        more = f"; and {len(found) - 4} more" if len(found) > 4 else ""
        raise BadInputError(
            f"The data is not what the recipe says, in {len(found)} places (a missing "
            f"value is an empty cell): {'; '.join(found[:4])}{more}"
        )


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


def list_anomalies(uri: str) -> list[str]:
    """Return a line for each anomaly: the split, the feature and what is wrong."""
    lines = []
    for split in sorted(Path(uri).glob("Split-*")):
        report = anomalies_pb2.Anomalies.FromString(
            (split / "SchemaDiff.pb").read_bytes()
        )
        name = split.name.removeprefix("Split-")
        for feature, info in sorted(report.anomaly_info.items()):
            if {reason.type for reason in info.reason} != {_NEW_COLUMN}:
                lines.append(f"{feature} ({name}): {info.description}")
        if report.HasField("dataset_anomaly_info"):
            lines.append(f"({name}): {report.dataset_anomaly_info.description}")
    return lines


def figures(outputs: Mapping[str, str]) -> dict[str, Any]:
    """Return what passing the gate means."""
    del outputs  # it has none: it lets the run go on, or not
    return {"summary": "no anomaly in any split"}
