"""The SQLite file: what is written is read back, newest first."""

import os
from dataclasses import replace

import pytest

from pipeline.history import History, StepRecord

RECORD = StepRecord(
    run_id=1,
    step="train",
    key="k1",
    parts={"recipe train.epochs": "3", "python": "3.11"},
    execution_id=7,
    outputs={"model": "/somewhere/model/7"},
    figures={"summary": "loss 0.1", "epochs": [{"loss": 0.1}]},
    seconds=1.5,
)


@pytest.fixture
def history(tmp_path):
    return History(tmp_path / "history.db")


def test_a_step_is_read_back_as_it_was_written(history):
    history.add_step("digits", RECORD)
    assert history.done_steps("digits", "train") == [RECORD]
    assert history.steps_of(1) == [RECORD]


def test_done_steps_come_newest_first_and_of_one_pipeline_and_step_only(history):
    history.add_step("digits", RECORD)
    history.add_step("digits", replace(RECORD, key="k2", run_id=2))
    history.add_step("taxi", replace(RECORD, key="other pipeline"))
    history.add_step("digits", replace(RECORD, key="other step", step="push"))
    assert [r.key for r in history.done_steps("digits", "train")] == ["k2", "k1"]


def test_a_failed_step_is_listed_with_its_run_but_never_done(history):
    failed = replace(RECORD, error="out of memory", execution_id=None)
    history.add_step("digits", failed)
    assert history.done_steps("digits", "train") == []
    assert history.steps_of(1) == [failed]


def test_runs_are_numbered_and_listed_newest_first(history):
    first = history.begin_run("digits", '{"name": "digits"}', now=10.0)
    second = history.begin_run("taxi", "{}", now=20.0)
    history.end_run(first, "done", now=15.0)
    assert (first, second) == (1, 2)
    assert [r.id for r in history.runs()] == [2, 1]
    assert [r.id for r in history.runs(limit=1)] == [2]
    (run,) = history.runs("digits")
    assert (run.recipe, run.started, run.ended) == ({"name": "digits"}, 10.0, 15.0)
    assert run.status == "done"


def test_only_this_pipelines_unfinished_runs_are_buried(history):
    ended = history.begin_run("digits", "{}", now=1.0)
    history.end_run(ended, "refused", now=2.0)
    history.begin_run("digits", "{}", now=3.0)
    history.begin_run("taxi", "{}", now=4.0)
    history.bury_dead_runs("digits")
    assert [r.status for r in history.runs()] == ["running", "died", "refused"]


def test_forgotten_steps_leave_the_runs(history):
    run_id = history.begin_run("digits", "{}", now=1.0)
    history.add_step("digits", RECORD)
    history.forget_steps()
    assert history.done_steps("digits", "train") == []
    assert [r.id for r in history.runs()] == [run_id]


def test_a_digest_holds_for_one_size_and_time_only(history, tmp_path):
    path = tmp_path / "data.csv"
    history.remember_digest(path, 10, 1000, "aaa")
    assert history.digest(path, 10, 1000) == "aaa"
    assert history.digest(path, 11, 1000) is None
    assert history.digest(path, 10, 1001) is None
    history.remember_digest(path, 11, 2000, "bbb")
    assert history.digest(path, 10, 1000) is None
    assert history.digest(path, 11, 2000) == "bbb"


def test_another_process_reads_what_was_written(history, tmp_path):
    history.add_step("digits", RECORD)
    child = os.fork()
    if child == 0:
        history.add_step("digits", replace(RECORD, key="from the child"))
        os._exit(0)
    os.waitpid(child, 0)
    again = History(tmp_path / "history.db")
    assert [r.key for r in again.done_steps("digits", "train")] == [
        "from the child",
        "k1",
    ]
