"""Plant a fault in a pipeline whose model is live, run it, and see it refused."""

import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

from components import frozen
from pipeline import plan, run, runs
from pipeline.diagnose import aside, of_run
from pipeline.history import History, RunRecord
from pipeline.workspace import Workspace
from recipes import load
from recipes.errors import BadInputError, RefusedError, StrataError
from recipes.schema import Recipe

# Named as the cause that is to be found: see `components.diagnosis.CAUSES`.
FAULTS = {
    "labels": "60 % of one class got the label of another",
    "shift": "what is trained on has other values than what is judged on",
    "leak": "what is trained on holds the label, what is judged on does not",
    "dropped_column": "a part of each example was lost on its way to the training",
    "serving": "the exported model scales its inputs otherwise than in training",
    "undertraining": "the training ended after 20 updates",
    "capacity": "the model has a single hidden unit",
    "duplicates": "copies of a few examples of one class crowd out the others",
}
_OVERRIDES = {
    "undertraining": ["train.max_steps=20"],
    "capacity": ["model={family: mlp, arguments: {units: [1]}}"],
}


@dataclass(frozen=True)
class Planted:
    """What became of a planted fault.

    Attributes:
      run: the run that had it.
      refused: what it was refused for; "": it was not.
      version: the live version after it; it is the one before it too.
      findings: what the diagnosis found, the strongest first.
    """

    run: RunRecord
    refused: str
    version: int
    findings: Sequence[Mapping[str, Any]]


def plant(
    fault: str,
    name: str,
    overrides: Sequence[str],
    workspace: Workspace,
    display: run.Display,
) -> Planted:
    """Run a recipe with a fault; its model must be live already.

    Raises:
      BadInputError: there is no such fault, or no live model.
      StrataError: the candidate was refused, and yet another version is live.
    """
    check(fault)
    history = History(workspace.history)
    base_path = workspace.models(name)
    before = plan.live(history, name, base_path)
    if before is None:
        raise BadInputError(f"No version of {name} is live: ./strata run {name}")
    recipe, changes = str(load.find(name)), [*overrides, *_OVERRIDES.get(fault, ())]
    if fault not in _OVERRIDES:
        recipe, changes = str(_recipe(fault, name, overrides, workspace)), []
    shown = _Saboteur(display, workspace, name) if fault == "serving" else display
    refused = _refused(recipe, changes, workspace, shown)
    after = plan.live(history, name, base_path)
    if refused and (after is None or after.version != before.version):
        raise StrataError(f"{name}: refused, but version {before.version} is gone.")
    record = _run_of(history, load.load(Path(recipe), changes))
    found = of_run(history, record, workspace)["findings"] if refused else ()
    return Planted(record, refused, after.version if after else 0, found)


def check(fault: str) -> None:
    """Check that a fault is known.

    Raises:
      BadInputError: it is not.
    """
    if fault not in FAULTS:
        raise BadInputError(
            f"Expected a fault out of {', '.join(FAULTS)}. Received: {fault!r}"
        )


def _run_of(history: History, recipe: Recipe) -> RunRecord:
    """Return the last run of a recipe: where nothing was stale, an earlier one."""
    wanted = recipe.model_dump(mode="json")
    found = history.runs(recipe.name, limit=-1)
    return next(record for record in found if record.recipe == wanted)


def _refused(
    recipe: str, overrides: Sequence[str], workspace: Workspace, display: run.Display
) -> str:
    """Run a recipe; return what it was refused for, "" if it was not."""
    try:
        run.run(recipe, overrides, workspace, display)
    except StrataError as error:
        # The gate before the training says it by its exit code alone.
        if error.exit_code != RefusedError.exit_code:
            raise
        return str(error)
    return ""


def _recipe(
    fault: str, name: str, overrides: Sequence[str], workspace: Workspace
) -> Path:
    """Write a recipe of the same name that reads damaged data; return its file."""
    history, path = History(workspace.history), load.find(name)
    sections = load.load(path, overrides).model_dump(mode="json")
    folder = workspace.root / "faults" / name / fault
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    live = runs.find_version(history, name, workspace)
    examples = runs.standing(history, live.run)["ingest"].outputs["examples"]
    sections["data"] = stored_again(examples, folder, fault, sections["transform"])
    target = folder / f"{name}.yaml"
    target.write_text(json.dumps(sections, indent=1), "utf-8")
    schema, copied = (frozen.path_of(one, name) for one in (path, target))
    if schema.is_file():
        copied.parent.mkdir()
        shutil.copyfile(schema, copied)
    return target


def stored_again(
    examples: str, folder: Path, fault: str, transform: Mapping[str, Any]
) -> dict[str, Any]:
    """Write the examples of a run to files, with a fault or, if "", without.

    Returns:
      The section `data` of a recipe that reads them, split as they were.
    """
    log = folder / "write.log"
    files = aside(_write, examples, str(folder), fault, transform, log=log)
    splits = {split: split for split in files}
    return {"tfrecord": {"path": files}, "splits": splits}


def _write(*arguments: Any) -> dict[str, str]:
    """Call it in a process of its own: it imports TensorFlow."""
    files: dict[str, str] = import_module("components.faults").write(*arguments)
    return files


def _skew(*arguments: Any) -> None:
    """Likewise."""
    import_module("components.faults").skew(*arguments)


class _Saboteur:
    """A display that damages the transform graph between its step and the training."""

    def __init__(self, display: run.Display, workspace: Workspace, name: str):
        self._display = display
        self._folder = workspace.root / "faults" / name / "serving"

    def __call__(self, event: run.Event) -> None:
        if event["event"] == "done" and event["step"] == "transform":
            recipe = next(self._folder.glob("*.yaml"))
            transform = json.loads(recipe.read_text("utf-8"))["transform"]
            graph = event["outputs"]["transform_graph"]
            aside(_skew, graph, transform, log=self._folder / "skew.log")
        self._display(event)

    def line(self, text: str) -> None:
        self._display.line(text)

    def close(self) -> None:
        self._display.close()
