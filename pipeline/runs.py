"""Which run, which version: found by what a person calls it; what stands in a run."""

import json
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TextIO

from components import versions
from pipeline import provenance
from pipeline.ask import pushed_to
from pipeline.history import History, Override, RunRecord, StepRecord
from pipeline.workspace import Workspace, open_workspace
from recipes.errors import BadInputError


@dataclass(frozen=True)
class Version:
    """A version of a model, on disk or only remembered.

    Attributes:
      name: of the model.
      number: the version.
      path: its directory.
      is_live: whether servers answer from it.
      model: URI of the candidate that it is a copy of.
      run: the run that pushed it; without a record of that, the one that trained it.
      override: how a person pushed it, if the examination refused it.
    """

    name: str
    number: int
    path: Path
    is_live: bool
    model: str
    run: RunRecord
    override: Override | None

    @property
    def is_on_disk(self) -> bool:
        return self.path.is_dir()


def list_runs(name: str | None, stream: TextIO = sys.stdout) -> int:
    """Print the last runs, newest first, one a line."""
    for run in History(open_workspace().history).runs(name):
        stream.write(headline(run) + "\n")
    return 0


def headline(run: RunRecord) -> str:
    """Return in a line what became of a run."""
    took = f"{run.ended - run.started:.0f} s" if run.ended else ""
    text = f"run {run.id}  {run.pipeline}  {moment(run.started)}  {run.status}  {took}"
    if run.override:
        text += f"  {override_in_words(run.override)}"
    return text.rstrip()


def override_in_words(override: Override) -> str:
    """Return who pushed a refused candidate, when and why."""
    count = len(override.refusals)
    text = f"override of {count} refusal{'' if count == 1 else 's'}: {override.reason}"
    text += f" ({override.who}, {moment(override.at)})"
    if override.version is None:
        return f"not pushed, an attempt did not end: {text}"
    return f"version {override.version} pushed by {text}"


def moment(seconds: float) -> str:
    """Return a time since the epoch as a person of this place reads it."""
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(seconds))


def find(history: History, text: str | None, workspace: Workspace) -> RunRecord:
    """Return a run by its number, the name of its recipe (the last one), NAME@VERSION.

    Raises:
      BadInputError: there is none.
    """
    if text and "@" in text:
        return find_version(history, text, workspace).run
    if text and text.isdecimal():
        run = history.run(int(text))
        if run is None:
            raise BadInputError(f"No run {text} in {workspace.root}: ./strata runs")
        return run
    found = history.runs(text, limit=1)
    if not found:
        raise BadInputError(f"No run of {text or 'anything'} in {workspace.root}.")
    return found[0]


def find_version(history: History, text: str, workspace: Workspace) -> Version:
    """Return a version by NAME (the live one) or NAME@VERSION.

    Raises:
      BadInputError: it is not there, or nobody recorded where it comes from.
    """
    name, at, number = text.partition("@")
    base_path = pushed_to(name, workspace)
    there = versions.versions(base_path)
    if at and not number.isdecimal():
        raise BadInputError(f"Expected NAME or NAME@VERSION. Received: {text!r}")
    version = int(number) if at else there[-1]
    path = base_path / str(version)
    push = history.push_of(path)
    model = _model_of(history, name, version, path, push)
    if model is None and version not in there:
        raise BadInputError(
            f"{name!r} has the versions {', '.join(map(str, there))}. "
            f"Received: {text!r}"
        )
    trained = history.maker_of("train", "model", model) if model else None
    if model is None or trained is None:
        raise BadInputError(
            f"{path} came from elsewhere: this history has no run that trained it."
        )
    override = _override_of(history, model, version, is_pushed=push is not None)
    origin = push or override or trained
    run = history.run(origin.run_id)
    if run is None:
        raise BadInputError(f"Run {origin.run_id}, which pushed {path}, is not known.")
    is_live = version == there[-1]
    return Version(name, version, path, is_live, model, run, override)


def _model_of(
    history: History, name: str, version: int, path: Path, push: StepRecord | None
) -> str | None:
    """Return the URI of the candidate, also of a version that was deleted."""
    origin = versions.origin_of(path)
    if origin:
        return origin
    run = history.run(push.run_id) if push else None
    trained = standing(history, run).get("train") if run else None
    if trained:
        return trained.outputs["model"]
    overridden = (
        override.model
        for override in history.overrides()
        if (override.pipeline, override.version) == (name, version)
    )
    return next(overridden, None)


def _override_of(
    history: History, model: str, version: int, *, is_pushed: bool
) -> Override | None:
    """Return how a person pushed a version.

    A version that no run pushed came of an override, also of one that was cut off
    before it was told the version.
    """
    by_version = {one.version: one for one in history.overrides(model=model)}
    cut_off = None if is_pushed else by_version.get(None)
    found = by_version.get(version, cut_off)
    return replace(found, version=version) if found else None


def standing(history: History, run: RunRecord) -> dict[str, StepRecord]:
    """Return the executions whose outputs a run rests on, in the order of the line.

    Those it ran itself, failed ones too, and those of earlier runs that it reused.
    """
    executed = {record.step: record for record in history.steps_of(run.id)}
    recorded = provenance.of_run(history, run.id)
    if recorded is None:
        return _followed(history, run, executed)
    found = {}
    for step, key in recorded.keys.items():
        record = executed.get(step) or _earlier(history, run, step, key)
        if record:
            found[step] = record
    return found


def _followed(
    history: History, run: RunRecord, executed: Mapping[str, StepRecord]
) -> dict[str, StepRecord]:
    """Return what executions read, followed back: all that an old history tells."""
    found: dict[str, StepRecord] = {}
    waiting = list(executed.values())
    while waiting:
        record = waiting.pop()
        found[record.step] = record
        for part, key in record.parts.items():
            step = part.removeprefix("after ")
            if step == part or step in found or step in executed:
                continue
            before = _earlier(history, run, step, key)
            waiting += [before] if before else []
    return dict(sorted(found.items(), key=lambda item: item[1].execution_id or 0))


def _earlier(
    history: History, run: RunRecord, step: str, key: str
) -> StepRecord | None:
    """Return the last execution before a run ended that has a fingerprint."""
    records = history.done_steps(run.pipeline, step, key=key)
    return next((record for record in records if record.run_id <= run.id), None)


def verdict_of(steps: Mapping[str, StepRecord]) -> Mapping[str, Any] | None:
    """Return what the judge wrote, see `components/judge.py`; None: not judged."""
    record = steps.get("judge")
    return None if record is None or record.error else record.figures


def in_short(value: Any, *, width: int = 100) -> str:
    """Return a JSON value in a line of at most `width` characters."""
    if isinstance(value, float):
        return f"{value:.6g}"
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    text = " ".join(text.split())
    return text if len(text) <= width else f"{text[: width - 1]}…"
