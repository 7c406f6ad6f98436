"""Stop a run whose data breaks the schema, and say how in words."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tensorflow_metadata.proto.v0 import anomalies_pb2
from tfx.dsl.component.experimental.annotations import InputArtifact
from tfx.dsl.component.experimental.decorators import component
from tfx.types import standard_artifacts

from recipes.errors import BadInputError


@component
def AnomalyGate(anomalies: InputArtifact[standard_artifacts.ExampleAnomalies]):
    """Fail where ExampleValidator, which never stops a run, found an anomaly."""
    found = list_anomalies(anomalies.uri)
    if found:
        raise BadInputError(
            f"The data breaks the schema in {len(found)} places: " + "; ".join(found)
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
            lines.append(f"{feature} ({name}): {info.description}")
        if report.HasField("dataset_anomaly_info"):
            lines.append(f"({name}): {report.dataset_anomaly_info.description}")
    return lines


def figures(outputs: Mapping[str, str]) -> dict[str, Any]:
    """Return the anomalies that ExampleValidator wrote."""
    found = list_anomalies(outputs["anomalies"]) if "anomalies" in outputs else []
    return {"summary": f"{len(found)} anomalies", "anomalies": found}
