"""Run a recipe: plan, lock, do what must be done, remember it."""

import fcntl
import os
import shutil
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any, Protocol

from pipeline import checks, plan
from pipeline.display import stderr_to
from pipeline.history import History, StepRecord
from pipeline.workspace import Workspace
from recipes import load
from recipes.errors import BadInputError, RefusedError, StrataError
from recipes.schema import Recipe

Event = Mapping[str, Any]


class Display(Protocol):
    """Shows a run; see `pipeline/display.py`."""

    def __call__(self, event: Event) -> None: ...
    def line(self, text: str) -> None: ...
    def close(self) -> None: ...


@dataclass(frozen=True)
class Job:
    """What is to be run, and where it keeps things."""

    recipe: Recipe
    workspace: Workspace
    history: History
    csv: Path | None
    base_path: Path

    @property
    def name(self) -> str:
        return self.recipe.name


@dataclass(frozen=True)
class Outcome:
    """What a run came to.

    Attributes:
      job: what was run.
      steps: figures and outputs of each step.
      live: the version servers answer from now.
    """

    job: Job
    steps: Mapping[str, Event]
    live: plan.Live


def run(
    name: str, overrides: Sequence[str], workspace: Workspace, display: Display
) -> Outcome:
    """Run a recipe, given by name or path, to a pushed model.

    Raises:
      RefusedError: the examination refused the candidate; the live model stays.
      BadInputError: the recipe or the data cannot be used, or another run is under way.
      StrataError: a step failed.
    """
    path = load.find(name)
    recipe = load.load(path, overrides)
    checks.model(recipe)
    csv = checks.csv(recipe, path.parent)
    base_path = workspace.models(recipe.name)
    if recipe.push.base_path:
        base_path = (path.parent / recipe.push.base_path).resolve()
    for override in overrides:
        display.line(f" override {override}")
    with lock(workspace, recipe.name):
        history = History(workspace.history)
        job = Job(recipe, workspace, history, csv, base_path)
        steps = _run(job, display)
        live = plan.live(history, recipe.name, base_path)
    if live is None:
        raise StrataError(f"No version of {recipe.name} in {base_path}.")
    return Outcome(job, steps, live)


@contextmanager
def lock(workspace: Workspace, pipeline: str) -> Iterator[None]:
    """Hold a pipeline for this process; the system lets go of it if we die.

    Raises:
      BadInputError: another run holds it.
    """
    path = workspace.lock(pipeline)
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a+") as file:
        # The children of a run that was killed hold the lock until they are gone too.
        deadline = time.monotonic() + 3
        while not _try_lock(file.fileno()):
            if time.monotonic() > deadline:
                file.seek(0)
                raise BadInputError(
                    f"Another run of {pipeline!r} is under way: {file.read().strip()}. "
                    "Wait for it or end it; other pipelines may run meanwhile."
                )
            time.sleep(0.1)  # a lock gives no sign when it is free
        file.truncate(0)
        file.write(f"process {os.getpid()}, started {time.strftime('%H:%M:%S')}")
        file.flush()
        yield


def _try_lock(handle: int) -> bool:
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _run(job: Job, display: Display) -> Mapping[str, Event]:
    job.history.bury_dead_runs(job.name)
    if not job.workspace.metadata.exists():
        job.history.forget_steps()
    plans = plan.make(
        job.recipe, job.history, data_path=job.csv, base_path=job.base_path
    )
    recorded = {
        p.step.name: {"figures": p.earlier.figures, "outputs": p.earlier.outputs}
        for p in plans
        if p.earlier
    }
    stale = [p for p in plans if not p.earlier]
    if _verdict(recorded) is False:
        stale = [p for p in stale if p.step.name != "push"]
    if not stale:
        for planned in plans:
            if planned.earlier:
                display(planned.earlier.as_reused())
        display.line(f" {len(recorded)} steps up to date")
        _raise_if_refused(job.name, recorded)
        return recorded
    names = {planned.step.name for planned in stale}
    for planned in stale:
        _explain(planned, names, display)
    steps = _execute(job, plans, display)
    _raise_if_refused(job.name, steps)
    return steps


def _explain(planned: plan.StepPlan, stale: set[str], display: Display) -> None:
    """Say why a step runs again, where the steps before it are not reason enough."""
    # A new candidate is compared with the live model, which the last was not.
    known = {*planned.step.after, *(["live"] if "train" in stale else [])}
    own = [r for r in planned.reasons if r.removesuffix(" changed") not in known]
    if own and own != ["never ran"]:
        display.line(f" {planned.step.name} runs again: {', '.join(own)}")


def _verdict(steps: Mapping[str, Event]) -> bool | None:
    """Return whether the candidate was blessed; None if it has not been judged."""
    if "evaluate" not in steps:
        return None
    return bool(steps["evaluate"]["figures"]["blessed"])


def _raise_if_refused(name: str, steps: Mapping[str, Event]) -> None:
    if _verdict(steps) is False:
        refusals = steps["evaluate"]["figures"]["refusals"]
        lines = [f"{name}: candidate refused, nothing was pushed", *refusals[:3]]
        if len(refusals) > 3:
            lines.append(f"and {len(refusals) - 3} more bounds: ./strata why {name}")
        raise RefusedError("\n  ".join(lines))


def _execute(
    job: Job, plans: list[plan.StepPlan], display: Display
) -> Mapping[str, Event]:
    """Run the stale steps in a new run, and keep how it ended."""
    run_id = job.history.begin_run(
        job.name,
        job.recipe.model_dump_json(),
        now=time.time(),
        after=job.workspace.last_run(),
    )
    folder = job.workspace.run(run_id)
    status = "failed"
    try:
        folder.mkdir(parents=True)
        (folder / "recipe.json").write_text(job.recipe.model_dump_json(indent=2))
        display.line(
            f" run {run_id} · loading TensorFlow and TFX · logs in {folder / 'logs'}"
        )
        steps = _launch(job, plans, run_id, display)
        status = "done" if _verdict(steps) else "refused"
    finally:
        job.history.end_run(run_id, status, now=time.time())
        display.close()
    return steps


def _launch(
    job: Job, plans: list[plan.StepPlan], run_id: int, display: Display
) -> Mapping[str, Event]:
    logs = job.workspace.run(run_id) / "logs"
    with stderr_to(logs / "imports.log"):
        local = import_module("pipeline.local")  # TensorFlow and TFX: seconds
    train_key = next(p.key for p in plans if p.step.name == "train")
    checkpoints = job.workspace.checkpoints(job.name, train_key)
    places = local.Places(
        root=job.workspace.artifacts(job.name),
        metadata=job.workspace.metadata,
        tfds=job.workspace.tfds,
        base_path=job.base_path,
        checkpoints=checkpoints,
        csv=job.csv,
        baseline=_baseline(job),
    )
    runner = local.LocalRun(
        job.recipe,
        places,
        run_name=f"run-{run_id}",
        logs=logs,
    )
    runner.bury_dead_executions()
    steps: Mapping[str, Event] = runner.run(
        plans,
        report=_Recorder(job, run_id, plans, display),
        max_children=max(2, os.cpu_count() or 1),
    )
    # The training is done; what another recipe's left unfinished is dropped with it.
    shutil.rmtree(checkpoints.parent, ignore_errors=True)
    return steps


def _baseline(job: Job) -> Path | None:
    """Return the live version in the layout of a TFX Model artifact, by a link."""
    live = plan.live(job.history, job.name, job.base_path)
    if live is None:
        return None
    path = job.workspace.baseline(job.name, live.version)
    path.mkdir(parents=True, exist_ok=True)
    link = path / "Format-Serving"
    link.unlink(missing_ok=True)
    link.symlink_to(live.path)
    return path


class _Recorder:
    """Shows each event, and keeps what a finished or failed step came to."""

    def __init__(
        self, job: Job, run_id: int, plans: list[plan.StepPlan], display: Display
    ):
        self._job, self._run_id, self._display = job, run_id, display
        self._plans = {planned.step.name: planned for planned in plans}

    def __call__(self, event: Event) -> None:
        if event["event"] in ("done", "failed"):
            planned = self._plans[event["step"]]
            record = StepRecord(
                run_id=self._run_id,
                step=event["step"],
                key=planned.key,
                parts=planned.parts,
                execution_id=event.get("execution_id"),
                outputs=event.get("outputs", {}),
                figures=event.get("figures", {}),
                seconds=event["seconds"],
                error=event.get("cause"),
            )
            self._job.history.add_step(self._job.name, record)
        self._display(event)
