"""Push a refused candidate all the same: a person's decision, kept with the reason."""

import getpass
import os
import sys
import tempfile
import time
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import TextIO

from components import versions
from pipeline import pages, plan, provenance, runs
from pipeline.display import Lines, stderr_to
from pipeline.history import History, Override, RunRecord, StepRecord
from pipeline.run import lock
from pipeline.workspace import Workspace, open_workspace
from recipes.errors import BadInputError


def main(
    text: str, *, force: bool, reason: str | None, stream: TextIO = sys.stdout
) -> int:
    """Push the candidate that a run refused, and record who did it, when and why.

    Only a candidate that was judged, against what is live now: one that was compared
    with an older version, or with none, is to be judged again first.

    Raises:
      BadInputError: there is no such candidate, or one of the two words is missing.
    """
    said = " ".join((reason or "").split())
    if not (force and said):
        raise BadInputError(
            "Expected --force and --reason TEXT, which is recorded with your name: "
            f'./strata bless {text} --force --reason "..."'
        )
    workspace = open_workspace()
    history = History(workspace.history)
    run = runs.find(history, text, workspace)
    shown = Lines(stream)
    with lock(workspace, run.pipeline):
        override = _bless(run, said, history, workspace)
        shown.line(f" {runs.override_in_words(override)}")
        pages.write_report(history, run.id, workspace, shown.line)
    return 0


def _bless(
    run: RunRecord, reason: str, history: History, workspace: Workspace
) -> Override:
    steps = runs.standing(history, run)
    refusals = _refusals(run, steps)
    model, examples = _artifacts(run, steps)
    base_path = provenance.base_path(history, run, workspace)
    live = plan.live(history, run.pipeline, base_path)
    cut_off = _cut_off(history, model, live)
    if live and cut_off:
        history.end_override(cut_off.run_id, live.version)
        return replace(cut_off, version=live.version)
    _check_live(run, steps, model, live)
    override = Override(
        run_id=run.id,
        pipeline=run.pipeline,
        model=model,
        who=_who(),
        at=time.time(),
        reason=reason,
        refusals=refusals,
    )
    # Before the push: what goes live is never without its record.
    history.add_override(override)
    version = _push(model, examples, base_path, workspace.run(run.id) / "logs")
    history.end_override(run.id, version)
    return history.overrides(model=model)[-1]


def _cut_off(history: History, model: str, live: plan.Live | None) -> Override | None:
    """Return the override that made a candidate live and was cut off behind it."""
    overrides = history.overrides(model=model)
    is_live = live is not None and versions.origin_of(live.path) == model
    if is_live and overrides and overrides[-1].version is None:
        return overrides[-1]
    return None


def _refusals(run: RunRecord, steps: dict[str, StepRecord]) -> tuple[str, ...]:
    """Return why the candidate was refused.

    Raises:
      BadInputError: it was not, or there is none.
    """
    verdict = runs.verdict_of(steps)
    if run.status == "done":
        raise BadInputError(f"Run {run.id} was not refused: its model was pushed.")
    if run.status != "refused":
        raise BadInputError(
            f"Run {run.id} is {run.status}: nothing was judged, so there is nothing to "
            "override."
        )
    if verdict is None or verdict["blessed"]:
        raise BadInputError(
            f"Run {run.id} was refused for its data, before a model was judged: "
            f"./strata why {run.pipeline}"
        )
    return tuple(verdict["refusals"])


def _artifacts(run: RunRecord, steps: dict[str, StepRecord]) -> tuple[str, str]:
    """Return the URIs of the candidate and of the examples.

    Raises:
      BadInputError: they are gone.
    """
    model = steps["train"].outputs["model"]
    examples = steps["ingest"].outputs["examples"]
    for path in (Path(model) / "Format-Serving", Path(examples)):
        if not path.is_dir():
            raise BadInputError(
                f"The candidate of run {run.id} is gone: {path} is not there. Run "
                f"{run.pipeline} again."
            )
    return model, examples


def _check_live(
    run: RunRecord,
    steps: dict[str, StepRecord],
    model: str,
    live: plan.Live | None,
) -> None:
    """Refuse to replace a version that the candidate was not compared with.

    Raises:
      BadInputError: another version went live, or the candidate is live already.
    """
    if live and live.train_key == steps["train"].key:
        raise BadInputError(
            f"The candidate of run {run.id} is live already, as version {live.version}."
        )
    compared_with = steps["evaluate"].parts["live"]
    now = live.train_key if live else "none"
    if compared_with != now:
        name = f"version {live.version}" if live else "no version"
        raise BadInputError(
            f"Run {run.id} was not judged against what is live now, {name}. Run "
            f"{run.pipeline} again as it was, and bless that run if it is refused."
        )


def _push(model: str, examples: str, base_path: Path, logs: Path) -> int:
    with stderr_to(logs / "bless.log"), tempfile.TemporaryDirectory() as scratch:
        publish = import_module("components.publish").publish  # TensorFlow: seconds
        return int(publish(model, examples, base_path, scratch=Path(scratch)))


def _who() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container's user without a name
        return f"user {os.getuid()}"
