"""Try, aside, the cheapest change that could mend a refused candidate.

The change follows from the cause that was found: what was trained on is that of the run
that made the live model, or so is how long, or which model. The changed recipe runs in
a workspace of its own, in the run's folder, beside a link to the live version, so that
the same exams compare the same; what passes there is not live anywhere.
"""

import json
import shutil
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TextIO

from components import frozen
from pipeline import diagnose, faults, plan, provenance, runs
from pipeline import run as runner
from pipeline.display import Lines
from pipeline.history import History, RunRecord
from pipeline.workspace import Workspace
from recipes.errors import BadInputError, RefusedError, StrataError

# Cause -> the section of the recipe that is put back; "": nothing is, it runs again.
_SECTIONS = {"undertraining": "train", "capacity": "model", "serving": ""}


def main(
    history: History,
    run: RunRecord,
    workspace: Workspace,
    stream: TextIO = sys.stdout,
) -> dict[str, Any]:
    """Re-test a refused run with the change for its first cause; keep what came of it.

    Raises:
      BadInputError: nothing to change is known.
    """
    change, recipe, folder = _prepared(history, run, workspace)
    shown = Lines(stream)
    shown.line(f" re-testing with {change}")
    scratch = Workspace(folder)
    try:
        runner.run(str(recipe), (), scratch, shown)
        word = "passed"
    except StrataError as error:
        if error.exit_code != RefusedError.exit_code:
            raise
        word = "refused too"
    (tried,) = History(scratch.history).runs(limit=1)
    steps = runs.standing(History(scratch.history), tried)
    reached = steps["evaluate"].figures["summary"] if "evaluate" in steps else ""
    seconds = (tried.ended or tried.started) - tried.started
    came_to = ", ".join(part for part in (word, reached) if part)
    text = f"with {change}: {came_to} ({seconds:.0f} s)"
    result = {"change": change, "passed": word == "passed", "text": text}
    (workspace.run(run.id) / "retest.json").write_text(json.dumps(result), "utf-8")
    shown.line(f" re-tested   {text}")
    return result


def _prepared(
    history: History, run: RunRecord, workspace: Workspace
) -> tuple[str, Path, Path]:
    """Return the change in words, the changed recipe's file, and the folder."""
    reference = diagnose.reference_of(history, run)
    if run.status != "refused" or reference is None:
        raise BadInputError(
            f"Run {run.id} was not refused against a live model: nothing to re-test."
        )
    findings = diagnose.of_run(history, run, workspace)["findings"]
    if not findings:
        raise BadInputError(f"No cause was found for run {run.id}: nothing to change.")
    folder = workspace.run(run.id) / "retest"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    sections = dict(run.recipe)
    section = _section(findings[0]["cause"], run, reference)
    of = reference if section == "data" else run
    change = f"the data of run {reference.id}"
    if section == "":
        change = "nothing changed, from the raw examples on"
    elif section != "data":
        sections[section] = reference.recipe[section]
        change = _difference(section, run.recipe[section], sections[section])
    examples = runs.standing(history, of)["ingest"].outputs["examples"]
    sections["data"] = faults.stored_again(
        examples, folder / "data", "", sections["transform"]
    )
    sections["push"] = {}
    recipe = folder / f"{run.pipeline}.yaml"
    recipe.write_text(json.dumps(sections, indent=1), "utf-8")
    _furnish(history, run, workspace, recipe)
    return change, recipe, folder


def _section(cause: str, run: RunRecord, reference: RunRecord) -> str:
    """Return what is put back: the data too where the section has not changed."""
    section = _SECTIONS.get(cause, "data")
    is_same = section and run.recipe.get(section) == reference.recipe.get(section)
    return "data" if is_same else section


def _furnish(
    history: History, run: RunRecord, workspace: Workspace, recipe: Path
) -> None:
    """Give the changed recipe what the run had: schema, kept examples, live version."""
    scratch, name = Workspace(recipe.parent), run.pipeline
    origin = provenance.of_run(history, run.id)
    schema = frozen.path_of(Path(origin.recipe_path), name) if origin else None
    if schema and schema.is_file():
        copied = frozen.path_of(recipe, name)
        copied.parent.mkdir()
        shutil.copyfile(schema, copied)
    kept = workspace.exam_sets(name)
    if kept.is_dir():
        shutil.copytree(kept, scratch.exam_sets(name))
    live = plan.live(history, name, provenance.base_path(history, run, workspace))
    if live:
        link = scratch.models(name) / str(live.version)
        link.parent.mkdir(parents=True)
        link.symlink_to(live.path)


def _difference(section: str, old: Mapping[str, Any], new: Mapping[str, Any]) -> str:
    """Return what is put back, as the command line would be told it."""
    names = [name for name in new if new[name] != old.get(name)]
    parts = [f"{section}.{name}={json.dumps(new[name])}" for name in names]
    return " ".join(parts)
