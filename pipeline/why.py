"""Say what became of a run, and why, from the history alone."""

import sys
import time
from typing import TextIO

from pipeline.history import History, RunRecord
from pipeline.steps import BY_NAME
from pipeline.workspace import open_workspace
from recipes.errors import BadInputError


def main(name: str | None, stream: TextIO = sys.stdout) -> int:
    """Print the verdict on the last run of a recipe, and what it rests on.

    Raises:
      BadInputError: nothing of this name ran.
    """
    workspace = open_workspace()
    history = History(workspace.history)
    found = history.runs(name, limit=1)
    if not found:
        raise BadInputError(f"No run of {name or 'anything'} in {workspace.root}.")
    run = found[0]
    lines = [_headline(run)]
    records = history.steps_of(run.id)
    failed = {record.step for record in records if record.error}
    for record in records:
        step = BY_NAME[record.step]
        if record.error:
            lines += [f" {record.step} failed: {record.error}"]
            lines += [f"  log: {workspace.run(run.id) / 'logs' / record.step}.log"]
        elif step.module:
            lines += [f" {record.step:<15}{record.figures.get('summary', '')}"]
    if run.status == "refused" and "validate" not in failed:
        (verdict,) = history.done_steps(run.pipeline, "evaluate", limit=1)
        lines += [f"  refused: {text}" for text in verdict.figures["refusals"]]
    stream.write("\n".join(lines) + "\n")
    return 0


def list_runs(name: str | None, stream: TextIO = sys.stdout) -> int:
    """Print the last runs, newest first, one a line."""
    for run in History(open_workspace().history).runs(name):
        stream.write(_headline(run) + "\n")
    return 0


def _headline(run: RunRecord) -> str:
    started = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(run.started))
    took = f"{run.ended - run.started:.0f} s" if run.ended else ""
    return f"run {run.id}  {run.pipeline}  {started}  {run.status}  {took}".rstrip()
