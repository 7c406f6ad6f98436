"""`why` tells of a refused run which bounds it missed, what flipped, and the cause."""

import io
import json
import shutil

import pytest

from pipeline import why
from pipeline.diagnose import FILE_NAME, reference_of
from pipeline.history import History, StepRecord
from pipeline.workspace import Workspace
from recipes.errors import BadInputError
from tests.pipeline.archive import Archive

RECIPE = {"name": "digits", "transform": {}, "train": {}, "push": {"base_path": None}}
MISSED = "wrong answers: +0.0686 against the live model (+0.0323 to +0.0686 at 95%)"
VERDICT = {
    "summary": "1 of 2 exams passed",
    "blessed": False,
    "refusals": [MISSED],
    "verdicts": {
        "calibration": {"status": "passed", "summary": "fine", "refusals": []},
        "against_live": {"status": "refused", "summary": "bad", "refusals": [MISSED]},
    },
}
FLIP = {"label": "0", "candidate": "1", "probability": 0.84}
CAUSE = {"cause": "dropped_column", "strength": 1.0, "text": "it is empty"}


@pytest.fixture
def workspace(tmp_path, monkeypatch):
    monkeypatch.setenv("STRATA_HOME", str(tmp_path))
    return Workspace(tmp_path)


def record(workspace, status="refused", figures=VERDICT, step="judge", **parts):
    """Record a run of one step; return its number."""
    history = History(workspace.history)
    run_id = history.begin_run("digits", json.dumps(RECIPE), now=100.0)
    made = StepRecord(
        run_id=run_id,
        step=step,
        key=f"{step} {run_id}",
        parts=parts,
        execution_id=1,
        outputs={},
        figures=figures,
        seconds=1.5,
    )
    history.add_step("digits", made)
    history.end_run(run_id, status, now=130.0)
    return run_id


def keep(workspace, run_id, findings=(), examples=(), reference=1):
    folder = workspace.run(run_id)
    folder.mkdir(parents=True, exist_ok=True)
    flips = {"count": len(examples), "asked": 175, "examples": list(examples)}
    found = {"findings": list(findings), "flips": flips, "reference": reference}
    (folder / FILE_NAME).write_text(json.dumps(found))


def told(text=None):
    stream = io.StringIO()
    assert why.main(text, stream=stream) == 0
    return stream.getvalue().splitlines()


def test_a_refusal_is_told_by_exam_with_its_bound(workspace):
    keep(workspace, record(workspace))
    lines = told("digits")
    at = lines.index(" refused by against live")
    assert lines[at + 1] == f"   {MISSED}"
    assert not any("calibration" in line for line in lines)


def test_the_strongest_cause_comes_first_and_others_after_it(workspace):
    labels = {"cause": "labels", "strength": 0.3, "text": "one class is disputed"}
    keep(workspace, record(workspace), [CAUSE, labels])
    assert told("1")[-2:] == [
        " cause       dropped column: it is empty",
        " also        labels: one class is disputed",
    ]


def test_nothing_is_guessed_where_no_check_found_anything(workspace):
    keep(workspace, record(workspace))
    assert told()[-1] == " cause       no cause found"


def test_it_says_that_there_was_nothing_to_compare_with(workspace):
    keep(workspace, record(workspace), reference=None)
    assert "no model was live" in told()[-1]


def test_flipped_images_are_drawn_side_by_side(workspace):
    dark, bright = ({**FLIP, "image": [[v, 0], [0, v]]} for v in (0, 255))
    keep(workspace, record(workspace), examples=[dark, bright])
    lines = told()
    at = next(i for i, line in enumerate(lines) if line.startswith(" flipped"))
    assert lines[at].startswith(" flipped     2 of 175 test examples")
    assert lines[at + 1 : at + 4] == [
        "   0, not 1 (84%)  0, not 1 (84%)",
        "                   @@",
        "                     @@",
    ]


def test_flipped_texts_and_rows_are_told_in_a_line(workspace):
    text, row = {**FLIP, "text": "free!"}, {**FLIP, "row": {"age": 3, "sex": None}}
    keep(workspace, record(workspace), examples=[text, row])
    assert "   'free!': 0, not 1 (84%)" in told()
    assert "   0, not 1 (84%): age 3, sex None" in told()


def test_what_a_retest_reached_is_told_again(workspace):
    run_id = record(workspace)
    keep(workspace, run_id, [CAUSE])
    text = "with the data of run 1: passed"
    (workspace.run(run_id) / "retest.json").write_text(json.dumps({"text": text}))
    assert told()[-1] == f" re-tested   {text}"


def test_it_does_not_look_where_nothing_is_left(workspace):
    record(workspace)
    assert told()[-1] == " cause       not looked for: what the run left is gone"


def test_a_diagnosis_that_fails_is_told_with_its_log(workspace):
    run_id = record(workspace)
    keep(workspace, run_id)
    (workspace.run(run_id) / FILE_NAME).write_text("{")
    last = told()[-1]
    assert last.startswith(" cause       not found, the diagnosis failed: JSONDecode")
    assert last.endswith(f"; log: {workspace.run(run_id)}/logs/diagnose.log")


def test_a_run_that_passed_has_no_cause(workspace):
    record(workspace, "done", {"summary": "2 of 2 exams passed"})
    assert told() == [
        told()[0],
        " judge          2 of 2 exams passed",
    ]


def test_an_unknown_run_is_the_users_mistake(workspace):
    with pytest.raises(BadInputError, match="No run 7"):
        told("7")


def test_the_reference_trained_the_model_that_was_compared_with(workspace):
    record(workspace, "done", {}, "train")
    record(workspace, "done", {}, "train")
    refused = record(workspace, "refused", {}, "examine", live="train 1")
    history = History(workspace.history)
    assert reference_of(history, history.run(refused)).id == 1


def test_the_first_candidate_has_no_reference(workspace):
    refused = record(workspace, "refused", {}, "examine", live="none")
    history = History(workspace.history)
    assert reference_of(history, history.run(refused)) is None


def test_refused_data_are_compared_with_those_of_the_newest_version(tmp_path):
    archive = Archive(tmp_path)
    archive.run()
    second = archive.run()
    history = archive.history
    refused = history.begin_run("digits", json.dumps(RECIPE), now=200.0)
    history.end_run(refused, "refused", now=230.0)
    assert reference_of(history, history.run(refused)).id == second
    shutil.rmtree(archive.base_path / "2")
    assert reference_of(history, history.run(refused)).id == 1
