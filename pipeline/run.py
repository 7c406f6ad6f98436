"""Run a recipe: plan, lock, do what must be done, remember it."""

import fcntl
import os
import shutil
import time
from collections.abc import Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any, Protocol

from components import frozen, versions
from components.sources.locate import Located, locate
from pipeline import checks, origins, pages, plan, provenance, runs
from pipeline.display import stderr_to
from pipeline.history import History, StepRecord
from pipeline.steps import DATA_STEPS
from pipeline.workspace import Workspace
from recipes import load
from recipes.errors import BadInputError, RefusedError, StrataError
from recipes.schema import DataRecipe, Recipe

Event = Mapping[str, Any]


class Display(Protocol):
    """Shows a run; see `pipeline/display.py`."""

    def __call__(self, event: Event) -> None: ...
    def line(self, text: str) -> None: ...
    def close(self) -> None: ...


@dataclass(frozen=True)
class Job:
    """What is to be run, and where it keeps things."""

    recipe: DataRecipe
    workspace: Workspace
    history: History
    located: Located
    base_path: Path
    schema: Path  # the schema file, which the first run writes
    path: Path  # of the recipe
    overrides: tuple[str, ...] = ()

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
    with _job(recipe, path, overrides, workspace, display) as job:
        steps = _run(job, display)
        live = plan.live(job.history, recipe.name, job.base_path)
    if live is None:
        raise StrataError(f"No version of {recipe.name} in {job.base_path}.")
    return Outcome(job, steps, live)


def check_data(
    name: str, overrides: Sequence[str], workspace: Workspace, display: Display
) -> Mapping[str, Event]:
    """Bring the data of a recipe in and check them; return what each step came to.

    The recipe may lack all sections but `name` and `data`. A run of the whole recipe
    goes on from here.

    Raises:
      RefusedError: the data were refused.
      BadInputError: the recipe or the data cannot be used.
      StrataError: a step failed.
    """
    path = load.find(name)
    recipe = load.load_data(path, overrides)
    with _job(recipe, path, overrides, workspace, display) as job:
        return _run(job, display, only={step.name for step in DATA_STEPS})


@contextmanager
def _job(
    recipe: DataRecipe,
    path: Path,
    overrides: Sequence[str],
    workspace: Workspace,
    display: Display,
) -> Iterator[Job]:
    """Hold the pipeline of a recipe, its data found."""
    located = locate(
        recipe.data.model_dump(mode="json"), path.parent, tfds_dir=workspace.tfds
    )
    base_path = workspace.models(recipe.name)
    if isinstance(recipe, Recipe) and recipe.push.base_path:
        base_path = (path.parent / recipe.push.base_path).resolve()
    for override in overrides:
        display.line(f" override {override}")
    with lock(workspace, recipe.name):
        history = History(workspace.history)
        schema = frozen.path_of(path, recipe.name)
        yield Job(
            recipe,
            workspace,
            history,
            located,
            base_path,
            schema,
            path,
            tuple(overrides),
        )


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


def _run(
    job: Job, display: Display, only: AbstractSet[str] | None = None
) -> Mapping[str, Event]:
    """Run what must run of the line, or of the steps in `only`."""
    job.history.bury_dead_runs(job.name)
    if not job.workspace.metadata.exists():
        job.history.forget_steps()
    plans = plan.make(
        job.recipe,
        job.history,
        located=job.located,
        base_path=job.base_path,
        frozen_schema=_frozen(job.schema),
        # The data steps do not need them: one that is missing stops a training only.
        origins=None if only else origins.find(job.recipe, job.history, job.workspace),
    )
    plans = [p for p in plans if only is None or p.step.name in only]
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
        _say_frozen(job, plans, recorded, display)
        display.line(f" {len(recorded)} steps up to date")
        _raise_if_refused(job, recorded, display)
        return recorded
    names = {planned.step.name for planned in stale}
    for planned in stale:
        _explain(planned, names, display)
    if "ingest" in names:
        checks.columns(job.recipe, job.located)
    steps = _execute(job, plans, display)
    _raise_if_refused(job, steps, display)
    return steps


def _frozen(path: Path) -> str:
    return path.read_text("utf-8") if path.is_file() else ""


def _say_frozen(
    job: Job,
    plans: Sequence[plan.StepPlan],
    steps: Mapping[str, Event],
    display: Display,
) -> None:
    """Write the schema file where there is none, and say so."""
    if "infer_schema" in steps and not job.schema.exists():
        display.line(f" {_freeze(job, plans, steps)}")


def _freeze(
    job: Job, plans: Sequence[plan.StepPlan], steps: Mapping[str, Event]
) -> str:
    """Write the schema file; return what to tell the user."""
    (key,) = (p.key for p in plans if p.step.name == "infer_schema")
    inferred = Path(steps["infer_schema"]["outputs"]["schema"]) / "schema.pbtxt"
    text = frozen.freeze(inferred.read_text("utf-8"), key)
    try:
        job.schema.parent.mkdir(exist_ok=True)
        draft = job.schema.with_suffix(f".{os.getpid()}")
        draft.write_text(text, "utf-8")
        os.replace(draft, job.schema)
    except OSError as error:
        return f"the schema could not be frozen in {job.schema}: {error.strerror}"
    return f"schema frozen in {job.schema}: keep it with the recipe"


def _explain(planned: plan.StepPlan, stale: set[str], display: Display) -> None:
    """Say why a step runs again, where the steps before it are not reason enough."""
    # A new candidate is compared with the live model, which the last was not.
    known = {*planned.step.after, *(["live"] if "train" in stale else [])}
    known |= {"previous"} if "statistics" in stale else set()
    own = [r for r in planned.reasons if r.removesuffix(" changed") not in known]
    code = [reason for reason in own if reason.startswith("code ")]
    if len(code) > 2:
        first = code[0].removesuffix(" changed")
        own = [r for r in own if r not in code]
        own.append(f"{first} and {len(code) - 1} other files changed")
    if len(own) > 4:
        own = [*own[:4], f"and {len(own) - 4} more changes"]
    if own and own != ["never ran"]:
        display.line(f" {planned.step.name} runs again: {', '.join(own)}")


def _verdict(steps: Mapping[str, Event]) -> bool | None:
    """Return whether the candidate was blessed; None if it has not been judged."""
    if "judge" not in steps:
        return None
    return bool(steps["judge"]["figures"]["blessed"])


def _raise_if_refused(job: Job, steps: Mapping[str, Event], display: Display) -> None:
    """Raise if the candidate was refused, unless it is live by an override."""
    if _verdict(steps) is not False:
        return
    model = steps["train"]["outputs"]["model"]
    pushed = [o for o in job.history.overrides(model=model) if o.version]
    live = plan.live(job.history, job.name, job.base_path)
    if pushed and live and versions.origin_of(live.path) == model:
        display.line(f" refused, but live: {runs.override_in_words(pushed[-1])}")
        return
    refusals = steps["judge"]["figures"]["refusals"]
    lines = [f"{job.name}: candidate refused, nothing was pushed", *refusals[:3]]
    if len(refusals) > 3:
        lines.append(f"and {len(refusals) - 3} more bounds: ./strata why {job.name}")
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
        provenance.record(
            job.history,
            run_id,
            plans=plans,
            located=job.located,
            recipe_path=job.path,
            recipe_overrides=job.overrides,
        )
        folder.mkdir(parents=True)
        (folder / "recipe.json").write_text(job.recipe.model_dump_json(indent=2))
        display.line(
            f" run {run_id} · loading TensorFlow and TFX · logs in {folder / 'logs'}"
        )
        steps = _launch(job, plans, run_id, display)
        status = "refused" if _verdict(steps) is False else "done"
    except StrataError as error:
        status = "refused" if error.exit_code == RefusedError.exit_code else "failed"
        raise
    finally:
        job.history.end_run(run_id, status, now=time.time())
        display.close()
        pages.write_data_page(job.history, plans, run_id, job.workspace, display.line)
        pages.write_diagnosis(job.history, run_id, job.workspace, display.line)
        pages.write_report(job.history, run_id, job.workspace, display.line)
    return steps


def _launch(
    job: Job, plans: list[plan.StepPlan], run_id: int, display: Display
) -> Mapping[str, Event]:
    logs = job.workspace.run(run_id) / "logs"
    with stderr_to(logs / "imports.log"):
        local = import_module("pipeline.local")  # TensorFlow and TFX: seconds
    train_key = next((p.key for p in plans if p.step.name == "train"), "data")
    checkpoints = job.workspace.checkpoints(job.name, train_key)
    places = local.Places(
        root=job.workspace.artifacts(job.name),
        metadata=job.workspace.metadata,
        located=job.located,
        base_path=job.base_path,
        checkpoints=checkpoints,
        kept=job.workspace.exam_sets(job.name),
        frozen_schema=_frozen(job.schema),
        previous=plan.previous_statistics(plans, job.name, job.history),
        baseline=_baseline(job),
        # As planned: what is live may have changed since.
        origins=plan.origins(plans),
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
    _say_frozen(job, plans, steps, display)
    # The training is done; what another recipe's left unfinished is dropped with it.
    if "train" in steps:
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
                figures={**event.get("figures", {}), "cost": event["cost"]},
                seconds=event["seconds"],
                error=event.get("cause"),
            )
            self._job.history.add_step(self._job.name, record)
        self._display(event)
