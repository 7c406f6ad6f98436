"""`show` and `runs` tell what is recorded about a run, and name its override."""

import io
import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from pipeline import runs, show
from pipeline.history import History, Override
from recipes.errors import BadInputError
from tests.pipeline.archive import MISSED, Archive

ROOT = Path(__file__).parents[2]


@pytest.fixture
def archive(tmp_path, monkeypatch):
    monkeypatch.setenv("STRATA_HOME", str(tmp_path))
    return Archive(tmp_path)


def shown(text=None, **options):
    stream = io.StringIO()
    assert show.main(text, stream=stream, **options) == 0
    return stream.getvalue()


def test_a_run_is_told_with_recipe_steps_verdicts_and_version(archive):
    run_id = archive.run()
    folder = archive.workspace.run(run_id)
    folder.mkdir(parents=True)
    (folder / "data.html").touch()
    lines = shown("1").splitlines()
    assert lines[0].startswith("run 1  digits  ")
    assert f" recipe         {archive.data.parent}/digits.yaml train.epochs=3" in lines
    assert " train          ✔    1.5 s  train went well" in lines
    assert "     metrics            passed          accuracy 0.5" in lines
    assert f" pushed         version 1 in {archive.base_path / '1'}" in lines
    assert f" data.html      {folder / 'data.html'}" in lines


def test_json_holds_every_figure_output_and_the_verdict(archive):
    archive.run(MISSED)
    facts = json.loads(shown("digits", as_json=True))
    assert facts["verdict"]["refusals"] == [MISSED]
    assert facts["steps"]["evaluate"]["figures"]["metrics"] == {"accuracy": 0.9}
    model = facts["steps"]["train"]["outputs"]["model"]
    assert model.endswith("artifacts/digits/train/model/1")
    assert facts["origin"]["code"].keys() & {"commit", "version"}
    assert facts["pushed"] is None


def test_json_has_null_for_what_is_no_number(archive):
    archive.run(accuracy=float("nan"))
    text = shown(as_json=True)
    assert "NaN" not in text
    metrics = json.loads(text)["steps"]["evaluate"]["figures"]["metrics"]
    assert metrics == {"accuracy": None}


def test_an_override_of_another_version_is_not_told(archive):
    run_id = archive.run()
    (trained,) = archive.history.done_steps("digits", "train")
    override = Override(
        run_id, "digits", trained.outputs["model"], "anna", 200.0, "needed", (MISSED,)
    )
    archive.history.add_override(replace(override, version=7))
    run = archive.history.run(run_id)
    pushed = show.of_run(archive.history, run, archive.workspace)["pushed"]
    assert (pushed["version"], pushed["override"]) == (1, None)
    archive.history.add_override(replace(override, version=1))
    pushed = show.of_run(archive.history, run, archive.workspace)["pushed"]
    assert pushed["override"]["version"] == 1


def test_a_step_that_stood_is_told_with_the_run_that_ran_it(archive):
    archive.run()
    archive.run(reuse=("ingest", "schema", "train"))
    steps = json.loads(shown("2", as_json=True))["steps"]
    assert {name: step["run"] for name, step in steps.items()} == {
        "ingest": 1,
        "schema": 1,
        "train": 1,
        "evaluate": 2,
        "judge": 2,
        "push": 2,
    }
    line = " train          =    1.5 s  of run 1: train went well"
    assert line in shown("2").splitlines()


def test_a_failed_step_is_told_with_its_cause_and_log(archive):
    run_id = archive.run(status="failed")
    (record,) = archive.history.done_steps("digits", "train")
    failed = replace(record, error="out of memory", outputs={})
    archive.history.add_step("digits", failed)
    log = archive.workspace.run(run_id) / "logs" / "train.log"
    lines = shown().splitlines()
    assert " train          ✘    1.5 s  out of memory" in lines
    assert f"     log -> {log}" in lines


def test_what_an_old_history_lacks_is_followed_through_the_fingerprints(archive):
    archive.run()
    later = archive.history.begin_run("digits", "{}", now=200.0)
    (evaluate,) = archive.history.done_steps("digits", "evaluate")
    parts = {"after train": "train 1"}
    archive.history.add_step("digits", replace(evaluate, run_id=later, parts=parts))
    run = archive.history.run(later)
    found = runs.standing(archive.history, run)
    assert {name: record.run_id for name, record in found.items()} == {
        "train": 1,
        "evaluate": later,
    }


def test_a_later_execution_of_the_same_fingerprint_is_not_of_an_earlier_run(archive):
    archive.run()
    archive.run(reuse=("train",))
    (first,) = archive.history.done_steps("digits", "train")
    archive.history.add_step("digits", replace(first, run_id=3, seconds=9.0))
    steps = json.loads(shown("2", as_json=True))["steps"]
    assert steps["train"]["seconds"] == first.seconds


@pytest.mark.parametrize(
    ("text", "message"),
    [("7", "No run 7 in .*: ./strata runs"), ("taxi", "No run of taxi in ")],
)
def test_a_run_that_is_not_there_is_refused(archive, text, message):
    archive.run()
    with pytest.raises(BadInputError, match=message):
        runs.find(archive.history, text, archive.workspace)


def test_nothing_at_all_is_refused(tmp_path, monkeypatch):
    monkeypatch.setenv("STRATA_HOME", str(tmp_path))
    with pytest.raises(BadInputError, match="No run of anything in "):
        show.main(None)
    assert History(tmp_path / "history.db").runs() == []


@pytest.mark.parametrize(
    "arguments",
    [["runs"], ["show"], ["lineage", "digits"], ["diff", "1", "digits@1"]],
)
def test_what_reads_the_history_loads_neither_tensorflow_nor_a_schema(
    archive, arguments
):
    archive.run()
    code = f"""
import sys
from pipeline.cli import main
assert main({arguments}) == 0
heavy = {{"tensorflow", "tfx", "numpy", "pydantic", "yaml"}} & set(sys.modules)
assert not heavy, heavy
"""
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, b"")
