"""One verdict of all: TFMA's on the metrics, and that of each exam."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tfx.dsl.component.experimental.annotations import InputArtifact, OutputArtifact
from tfx.dsl.component.experimental.decorators import component
from tfx.types import standard_artifacts

from components import evaluate, examine

FILE_NAME = "verdict.json"


@component
def Judge(
    evaluation: InputArtifact[standard_artifacts.ModelEvaluation],
    examination: InputArtifact[examine.Examination],
    blessing: OutputArtifact[standard_artifacts.ModelBlessing],
):
    """Bless a candidate that met every bound."""
    found = {
        "metrics": evaluate.verdict(evaluation.uri),
        **examine.verdicts(Path(examination.uri)),
    }
    record = combined(found)
    blessing.set_int_custom_property("blessed", int(record["blessed"]))
    Path(blessing.uri).mkdir(parents=True, exist_ok=True)
    (Path(blessing.uri) / FILE_NAME).write_text(json.dumps(record), "utf-8")


def combined(verdicts: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """Return whether a candidate is blessed, and each bound that it missed.

    Args:
      verdicts: exam -> `status`, `summary`, `refusals`, `figures`.
    """
    sat = {n: v for n, v in verdicts.items() if v["status"] != "not applicable"}
    refused = {n: v for n, v in sat.items() if v["status"] == "refused"}
    summary = f"{len(sat) - len(refused)} of {len(sat)} exams passed"
    if refused:
        summary += (
            f" · refused: {', '.join(name.replace('_', ' ') for name in refused)}"
        )
    return {
        "summary": summary,
        "blessed": not refused,
        "refusals": [line for v in refused.values() for line in v["refusals"]],
        "verdicts": dict(verdicts),
    }


def figures(outputs: Mapping[str, str]) -> dict[str, Any]:
    """Return the verdict as it was written."""
    text = (Path(outputs["blessing"]) / FILE_NAME).read_text("utf-8")
    record: dict[str, Any] = json.loads(text)
    return record
