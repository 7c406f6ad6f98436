"""Have the candidate sit every exam that the recipe asks for."""

import json
import shutil
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
import tensorflow_transform as tft
from tfx.dsl.component.experimental.annotations import (
    InputArtifact,
    OutputArtifact,
    Parameter,
)
from tfx.dsl.component.experimental.decorators import component
from tfx.types import standard_artifacts
from tfx.types.artifact import Artifact
from tfx.utils import path_utils

from components import exams
from components.baselines import BaselineScores
from components.exams.case import Case, Model
from components.strict_json import dumps

VERDICT = "verdict.json"
ORDER = "exams.json"
_ANSWERS = "answers"  # stands for all exams of a candidate that none can judge
_NO_NUMBERS = "some answers on the test split are no finite numbers"


class Examination(Artifact):
    """A folder for each exam: its evidence and its verdict."""

    TYPE_NAME = "Examination"


@component
def Examine(
    examples: InputArtifact[standard_artifacts.Examples],
    transformed_examples: InputArtifact[standard_artifacts.Examples],
    transform_graph: InputArtifact[standard_artifacts.TransformGraph],
    model: InputArtifact[standard_artifacts.Model],
    model_run: InputArtifact[standard_artifacts.ModelRun],
    baselines: InputArtifact[BaselineScores],
    examination: OutputArtifact[Examination],
    live: Parameter[str],
    windows: Parameter[float],
    kept: Parameter[str],
    transform: Parameter[str],
    examine: Parameter[str],
):
    """Examine a model beside the live one.

    `live` is its directory, "" if there is none; `kept` one that outlives the run;
    `windows` says how many examples in a row share what is predicted.
    """
    for gpu in tf.config.list_physical_devices("GPU"):
        # The server that the exam `served` starts needs room beside this process.
        tf.config.experimental.set_memory_growth(gpu, True)
    output = tft.TFTransformOutput(transform_graph.uri)
    section = json.loads(examine)
    case = Case(
        transform=json.loads(transform),
        candidate=Model(Path(path_utils.serving_model_path(model.uri))),
        live=Model(Path(live)) if live else None,
        examples=Path(examples.uri),
        transformed=Path(transformed_examples.uri),
        spec=output.transformed_feature_spec(),
        baselines=Path(baselines.uri),
        model_run=Path(model_run.uri),
        kept=Path(kept),
        most=section["examples"],
        windows=windows,
    )
    folder = Path(examination.uri)
    if are_numbers(case.answers):
        names = exams.names(section)
        for name in names:
            sit(name, case, section[name], folder / name)
    else:
        names = [_ANSWERS]
        _write(folder / _ANSWERS, exams.judged(_NO_NUMBERS, (_NO_NUMBERS,)))
    (folder / ORDER).write_text(json.dumps(names), "utf-8")


def sit(name: str, case: Case, section: Mapping[str, Any], folder: Path) -> None:
    """Have a candidate sit one exam; keep evidence and verdict in a new folder."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    exam = exams.load(name)
    try:
        exam.collect(case, section, folder)
    except exams.NotApplicableError as error:
        verdict = exams.Verdict("not applicable", str(error))
    else:
        verdict = exam.judge(folder, section)
    _write(folder, verdict)


def are_numbers(answers: Mapping[str, np.ndarray]) -> bool:
    """Return whether all numbers are finite: no bound holds for others."""
    return all(np.isfinite(a).all() for a in answers.values() if a.dtype.kind == "f")


def verdicts(directory: Path) -> dict[str, dict[str, Any]]:
    """Return the verdict of each exam of an examination, in the order they were sat."""
    names = json.loads((directory / ORDER).read_text("utf-8"))
    return {n: json.loads((directory / n / VERDICT).read_text("utf-8")) for n in names}


def figures(outputs: Mapping[str, str]) -> dict[str, Any]:
    """Return the verdicts, and a line on them."""
    found = verdicts(Path(outputs["examination"]))
    sat = {n: v for n, v in found.items() if v["status"] != "not applicable"}
    passed = [name for name, v in sat.items() if v["status"] == "passed"]
    summary = f"{len(passed)} of {len(sat)} passed: {_listed(passed)}"
    if "simple_model" in sat:
        summary += f" · {sat['simple_model']['summary']}"
    return {"summary": summary, "verdicts": found}


def _write(folder: Path, verdict: exams.Verdict) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / VERDICT).write_text(dumps(asdict(verdict)), "utf-8")


def _listed(names: list[str]) -> str:
    return ", ".join(name.replace("_", " ") for name in names) or "none"
