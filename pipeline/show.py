"""Tell all that is recorded about a run."""

import sys
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, TextIO

from components import strict_json
from pipeline import provenance, runs
from pipeline.history import History, Override, RunRecord, StepRecord
from pipeline.workspace import Workspace, open_workspace

# What else holds the figures of a step, or is told elsewhere.
_TOLD = ("summary", "blessed", "refusals", "verdicts")


def main(
    text: str | None, *, as_json: bool = False, stream: TextIO = sys.stdout
) -> int:
    """Print what is recorded about a run: by number, recipe, version; else the last.

    Raises:
      BadInputError: there is no such run.
    """
    workspace = open_workspace()
    history = History(workspace.history)
    facts = of_run(history, runs.find(history, text, workspace), workspace)
    shown = strict_json.dumps(facts, indent=2) if as_json else "\n".join(_lines(facts))
    stream.write(shown + "\n")
    return 0


def of_run(history: History, run: RunRecord, workspace: Workspace) -> dict[str, Any]:
    """Return everything recorded about a run, as JSON values."""
    steps = runs.standing(history, run)
    origin = provenance.of_run(history, run.id)
    return {
        "run": run.id,
        "pipeline": run.pipeline,
        "started": run.started,
        "ended": run.ended,
        "status": run.status,
        "headline": runs.headline(run),
        "recipe": run.recipe,
        "origin": asdict(origin) if origin else None,
        "steps": {
            name: _step(record, run, workspace) for name, record in steps.items()
        },
        "verdict": runs.verdict_of(steps),
        "pushed": _pushed(history, run, steps),
        "files": _files(workspace.run(run.id)),
    }


def _step(record: StepRecord, run: RunRecord, workspace: Workspace) -> dict[str, Any]:
    logs = workspace.run(record.run_id) / "logs"
    return {
        "run": record.run_id,
        "reused": record.run_id != run.id,
        "seconds": record.seconds,
        "error": record.error,
        "figures": record.figures,
        "outputs": record.outputs,
        "log": str(logs / f"{record.step}.log"),
        "key": record.key,
    }


def _pushed(
    history: History, run: RunRecord, steps: Mapping[str, StepRecord]
) -> dict[str, Any] | None:
    """Return the version that holds a run's candidate, and how it was pushed."""
    trained = steps.get("train")
    model = trained.outputs.get("model") if trained else None
    found = history.overrides(model=model) if model else [run.override]
    overrides = {one.version: one for one in found if one and one.version}
    push = steps.get("push")
    if push and not push.error:
        version, path = push.figures.get("version"), push.figures.get("path")
    elif overrides:
        version, path = list(overrides)[-1], None
    else:
        return None
    override = overrides.get(version) if version else None
    return {
        "version": version,
        "path": path,
        "override": _override(override) if override else None,
    }


def _override(override: Override) -> dict[str, Any]:
    return {**asdict(override), "text": runs.override_in_words(override)}


def _files(folder: Path) -> dict[str, str]:
    """Return what lies in the folder of a run, by name: recipe, pages, logs."""
    if not folder.is_dir():
        return {}
    return {path.name: str(path) for path in sorted(folder.iterdir())}


def _lines(facts: Mapping[str, Any]) -> Iterator[str]:
    yield facts["headline"]
    yield from _origin_lines(facts["origin"])
    for name, step in facts["steps"].items():
        yield from _step_lines(name, step)
    yield from verdict_lines(facts["verdict"])
    yield from _push_lines(facts["pushed"])
    for name, path in facts["files"].items():
        yield f" {name:<15}{path}"


def _origin_lines(origin: Mapping[str, Any] | None) -> Iterator[str]:
    if origin is None:
        return
    overrides = " ".join(origin["recipe_overrides"])
    yield f" {'recipe':<15}{origin['recipe_path']} {overrides}".rstrip()
    yield f" {'code':<15}{provenance.code_in_words(origin['code'])}"


def _step_lines(name: str, step: Mapping[str, Any]) -> Iterator[str]:
    mark = "✘" if step["error"] else "=" if step["reused"] else "✔"
    figures = step["figures"]
    text = step["error"] or figures.get("summary", "")
    if step["reused"]:
        text = f"of run {step['run']}: {text}"
    yield f" {name:<14} {mark} {step['seconds']:6.1f} s  {text}"
    for key, value in figures.items():
        if key not in _TOLD and value not in (None, [], {}):
            yield f"     {key} {runs.in_short(value, width=88)}"
    for key, uri in step["outputs"].items():
        yield f"     {key} -> {uri}"
    if step["error"]:
        yield f"     log -> {step['log']}"


def verdict_lines(verdict: Mapping[str, Any] | None) -> Iterator[str]:
    """Yield a line for each exam, and one for each bound that was missed."""
    if verdict is None:
        yield f" {'verdict':<15}not judged"
        return
    word = "passed" if verdict["blessed"] else "refused"
    yield f" {'verdict':<15}{word}: {verdict['summary']}"
    for exam, one in verdict.get("verdicts", {}).items():
        yield f"     {exam:<18} {one['status']:<15} {one.get('summary', '')}".rstrip()
        for refusal in one.get("refusals", ()):
            yield f"       refused: {refusal}"


def _push_lines(pushed: Mapping[str, Any] | None) -> Iterator[str]:
    if pushed is None:
        yield f" {'pushed':<15}no"
        return
    if pushed["path"]:
        yield f" {'pushed':<15}version {pushed['version']} in {pushed['path']}"
    if pushed["override"]:
        yield f" {'override':<15}{pushed['override']['text']}"
