"""Say what became of a run, and why."""

import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, TextIO

from pipeline import diagnose, pictures, runs
from pipeline.history import History, RunRecord, StepRecord
from pipeline.steps import BY_NAME
from pipeline.workspace import Workspace, open_workspace

_WIDTH = 100  # characters of a row of pictures


def main(text: str | None, *, retest: bool = False, stream: TextIO = sys.stdout) -> int:
    """Print the verdict on a run, and what it rests on.

    A refused run is diagnosed when it is first asked about, which takes seconds.

    Args:
      text: number, recipe (its last run), NAME@VERSION; None: the last run.
      retest: first try the cheapest change that could help.
      stream: where to print.

    Raises:
      BadInputError: there is no such run; or no change to try.
    """
    workspace = open_workspace()
    history = History(workspace.history)
    run = runs.find(history, text, workspace)
    for line in _lines(history, run, workspace):
        stream.write(line + "\n")
    if retest:
        from pipeline import retest as changed

        changed.main(history, run, workspace, stream)
    return 0


def _lines(history: History, run: RunRecord, workspace: Workspace) -> Iterator[str]:
    yield runs.headline(run)
    records = history.steps_of(run.id)
    for record in records:
        yield from _step(record, run, workspace)
    if run.status != "refused":
        return
    steps = runs.standing(history, run)
    yield from _refusals(runs.verdict_of(steps))
    if "transform" not in run.recipe:
        return  # data without a model
    if not (workspace.run(run.id) / diagnose.FILE_NAME).is_file():
        if diagnose.gather(history, run)["examples"] is None:
            yield " cause       not looked for: what the run left is gone"
            return
        yield " looking for the cause; what is found is kept"
    try:
        found = diagnose.of_run(history, run, workspace)
    except Exception as error:  # noqa: BLE001 (the verdict stands without a cause)
        said = " ".join(f"{type(error).__name__}: {error}".split())
        log = diagnose.log_of(run, workspace)
        yield f" cause       not found, the diagnosis failed: {said}; log: {log}"
        return
    yield from _flips(found["flips"])
    yield from _causes(found)
    tried = workspace.run(run.id) / "retest.json"
    if tried.is_file():
        yield f" re-tested   {json.loads(tried.read_text('utf-8'))['text']}"


def _step(record: StepRecord, run: RunRecord, workspace: Workspace) -> Iterator[str]:
    if record.error:
        yield f" {record.step} failed: {record.error}"
        yield f"  log: {workspace.run(run.id) / 'logs' / record.step}.log"
    elif BY_NAME[record.step].module:
        yield f" {record.step:<15}{record.figures.get('summary', '')}".rstrip()


def _refusals(verdict: Mapping[str, Any] | None) -> Iterator[str]:
    """Yield a line for each exam that refused, and one for each bound it found missed.

    The line of a bound names the figure, the limit, and the slice and the interval
    where there are any.
    """
    for exam, one in (verdict or {}).get("verdicts", {}).items():
        if one["status"] == "refused":
            yield f" refused by {exam.replace('_', ' ')}"
            yield from (f"   {line}" for line in one["refusals"])


def _flips(flips: Mapping[str, Any]) -> Iterator[str]:
    if not flips["asked"]:
        return
    yield (
        f" flipped     {flips['count']} of {flips['asked']} test examples: the live "
        "model has them right, the candidate wrong"
    )
    drawn = [one for one in flips["examples"] if "image" in one]
    yield from _pictures(drawn)
    for one in flips["examples"]:
        if "text" in one:
            yield f"   {one['text']!r}: {_said(one)}"
        elif "row" in one:
            cells = ", ".join(f"{name} {value}" for name, value in one["row"].items())
            yield f"   {_said(one)}: {cells}"


def _pictures(drawn: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    if not drawn:
        return
    cards = [[_said(one), *pictures.draw(one["image"])] for one in drawn]
    width = max(len(line) for card in cards for line in card)
    each = max(1, _WIDTH // (width + 2))
    for start in range(0, len(cards), each):
        for line in pictures.beside(cards[start : start + each]):
            yield f"   {line}".rstrip()


def _said(flip: Mapping[str, Any]) -> str:
    return f"{flip['label']}, not {flip['candidate']} ({flip['probability']:.0%})"


def _causes(found: Mapping[str, Any]) -> Iterator[str]:
    if not found["findings"]:
        yield " cause       no cause found"
    for place, one in enumerate(found["findings"]):
        name = one["cause"].replace("_", " ")
        yield f" {'also' if place else 'cause':<12}{name}: {one['text']}"
    if found["reference"] is None:
        yield "             no model was live: there was no earlier run to compare with"
