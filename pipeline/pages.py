"""The pages of a run: its data, its report, the model's card, what refused it.

They are written from what is recorded, also of a run that failed; what goes wrong here
is told and changes nothing.
"""

import time
from collections.abc import Callable, Sequence
from importlib import import_module
from pathlib import Path

from pipeline import diagnose, show
from pipeline.history import History
from pipeline.plan import StepPlan
from pipeline.workspace import Workspace

Tell = Callable[[str], None]


def write_data_page(
    history: History,
    plans: Sequence[StepPlan],
    run_id: int,
    workspace: Workspace,
    tell: Tell,
) -> None:
    """Write what the steps on the data left, if they came that far."""
    name, path = _pipeline(history, run_id), workspace.run(run_id) / "data.html"
    outputs = {}
    for planned in plans:
        found = history.done_steps(name, planned.step.name, key=planned.key)
        if found:
            outputs[planned.step.name] = found[0].outputs
    if "statistics" not in outputs:
        return
    _told(
        "data page",
        path,
        lambda: import_module("components.data_page").write(path, name, outputs),
        tell,
    )


def write_report(
    history: History, run_id: int, workspace: Workspace, tell: Tell
) -> None:
    """Write the report of a run and the card of its model."""
    folder = workspace.run(run_id)

    def write() -> None:
        run = history.run(run_id)
        if run is None:
            raise ValueError(f"no run {run_id} in the history")
        facts = show.of_run(history, run, workspace)
        found = import_module("components.report.environment").describe()
        card = import_module("components.model_card")
        card.write(folder, facts, found, now=time.time())  # first: the report links it
        import_module("components.report").write(folder / "report.html", facts, found)

    _told("report", folder / "report.html", write, tell)


def write_diagnosis(
    history: History, run_id: int, workspace: Workspace, tell: Tell
) -> None:
    """Look for the cause of a refusal, so that `why` has it at once."""
    run = history.run(run_id)
    if run is None or run.status != "refused" or "transform" not in run.recipe:
        return
    _told(
        "diagnosis",
        workspace.run(run_id) / diagnose.FILE_NAME,
        lambda: diagnose.of_run(history, run, workspace),
        tell,
    )


def _pipeline(history: History, run_id: int) -> str:
    run = history.run(run_id)
    return run.pipeline if run else ""


def _told(what: str, path: Path, write: Callable[[], object], tell: Tell) -> None:
    try:
        write()
    except Exception as error:  # noqa: BLE001 (the outcome of the run stands)
        tell(f" no {what}: {type(error).__name__}: {error}")
    else:
        tell(f" {what} {path}")
