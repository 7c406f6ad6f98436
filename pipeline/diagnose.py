"""Diagnose a refused run once, and keep what was found in the run's folder.

The checks, `components/diagnosis/`, need TensorFlow, so they run in a process of their
own; what they found is a file that is read in milliseconds.
"""

import json
import os
from collections.abc import Callable, Mapping
from concurrent.futures import ProcessPoolExecutor
from importlib import import_module
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from pipeline import runs
from pipeline.display import stderr_to
from pipeline.history import History, RunRecord, StepRecord
from pipeline.workspace import Workspace

FILE_NAME = "diagnosis.json"
Diagnosis = dict[str, Any]


def of_run(history: History, run: RunRecord, workspace: Workspace) -> Diagnosis:
    """Return what explains a refusal: the file, or a new diagnosis that becomes it.

    Returns:
      `findings`, see `components.diagnosis.Finding`, the strongest first; `flips`, see
      `components/diagnosis/flips.py`; `reference`, the run that made the live model.
    """
    path = workspace.run(run.id) / FILE_NAME
    if not path.is_file():
        evidence = gather(history, run)
        live = reference_of(history, run)
        other = gather(history, live) if live else None
        found = aside(_look, evidence, other, log=log_of(run, workspace))
        found["reference"] = live.id if live else None
        draft = path.with_suffix(f".{os.getpid()}")
        draft.write_text(json.dumps(found), "utf-8")
        os.replace(draft, path)
    read: Diagnosis = json.loads(path.read_text("utf-8"))
    return read


def log_of(run: RunRecord, workspace: Workspace) -> Path:
    """Return where a diagnosis writes what goes wrong."""
    return workspace.run(run.id) / "logs" / "diagnose.log"


def gather(history: History, run: RunRecord) -> dict[str, Any]:
    """Return the fields of a `components.diagnosis.Evidence`: what is still there."""
    steps = runs.standing(history, run)

    def path(step: str, output: str) -> Path | None:
        record = steps.get(step)
        uri = record.outputs.get(output) if record else None
        return Path(uri) if uri and Path(uri).exists() else None

    model = path("train", "model")
    saved = model / "Format-Serving" if model else None
    return {
        "run": run.id,
        "transform": run.recipe["transform"],
        "examples": path("ingest", "examples"),
        "transformed": path("transform", "transformed_examples"),
        "transform_graph": path("transform", "transform_graph"),
        "model": saved if saved and saved.is_dir() else None,
        "training": _figures(steps, "train"),
        "simple": _simple(_figures(steps, "baselines")),
    }


def reference_of(history: History, run: RunRecord) -> RunRecord | None:
    """Return the run that trained the model a candidate was compared with.

    Of data that were refused before there was a candidate, it is that of the newest
    version that is still there.
    """
    examined = runs.standing(history, run).get("examine")
    trained = None
    if examined and examined.parts.get("live") not in (None, "none"):
        key = examined.parts["live"]
        trained = next(iter(history.done_steps(run.pipeline, "train", key=key)), None)
    elif not examined:
        pushes = history.done_steps(run.pipeline, "push")
        earlier = (p for p in pushes if p.run_id < run.id)
        pushed = next((p for p in earlier if Path(p.figures["path"]).is_dir()), None)
        by = history.run(pushed.run_id) if pushed else None
        trained = runs.standing(history, by).get("train") if by else None
    return history.run(trained.run_id) if trained else None


def aside(function: Callable[..., Any], *arguments: Any, log: Path) -> Any:
    """Call a function in a fresh process; what it prints goes to a log."""
    with stderr_to(log), ProcessPoolExecutor(1, get_context("spawn")) as process:
        return process.submit(function, *arguments).result()


def _look(run: dict[str, Any], reference: dict[str, Any] | None) -> Diagnosis:
    """Call it in a process of its own: it imports TensorFlow."""
    found: Diagnosis = import_module("components.diagnosis").report(run, reference)
    return found


def _figures(steps: Mapping[str, StepRecord], step: str) -> Mapping[str, Any] | None:
    record = steps.get(step)
    return None if record is None or record.error else record.figures


def _simple(figures: Mapping[str, Any] | None) -> dict[str, float]:
    scores = (figures or {}).get("scores", {})
    return {name: one["accuracy"] for name, one in scores.items() if "accuracy" in one}
