"""The main job, in order, in one workspace: each test goes on from the last."""

import json
import re
import sqlite3
import subprocess
from dataclasses import asdict

import pytest

from components import examine, exams
from components.strict_json import dumps

pytestmark = pytest.mark.e2e


def test_demo_pushes_a_version_and_both_protocols_agree(shared_strata):
    result = shared_strata("demo")
    assert result.returncode == 0, result.stdout + result.stderr
    accuracy = float(re.search(r"test accuracy (0\.\d+)", result.stdout).group(1))
    assert accuracy >= 0.97
    assert "REST: this is a 7" in result.stdout
    assert "gRPC: this is a 7" in result.stdout
    assert "REST and gRPC agree" in result.stdout
    assert shared_strata.models("digits") == ["1"]


def test_every_verdict_follows_from_its_evidence(shared_strata):
    folder = shared_strata.newest("artifacts/digits/examine/examination/*/exams.json")
    recipe = json.loads(shared_strata.newest("runs/*/recipe.json").read_text())
    stored = examine.verdicts(folder.parent)
    sat = {n: v for n, v in stored.items() if v["status"] != "not applicable"}
    assert {"simple_model", "calibration", "served", "robustness"} <= sat.keys()
    for name, verdict in sat.items():
        again = exams.load(name).judge(folder.parent / name, recipe["examine"][name])
        assert json.loads(dumps(asdict(again))) == verdict, name


def test_unchanged_run_runs_nothing(shared_strata):
    result, kinds = shared_strata.events("digits")
    assert result.returncode == 0
    assert "started" not in kinds
    assert "15 steps up to date" in kinds["message"][0]["text"]


def test_more_epochs_run_training_and_what_follows_only(shared_strata):
    result, kinds = shared_strata.events("digits", "train.epochs=31")
    assert result.returncode in (0, 4), result.stderr
    assert [e["step"] for e in kinds["started"]][:2] == ["train", "evaluate"]
    assert {e["step"] for e in kinds["started"]} <= {
        *("train", "evaluate", "examine", "judge", "push")
    }
    texts = [event["text"] for event in kinds["message"]]
    assert " override train.epochs=31" in texts
    assert {event["step"] for event in kinds["progress"]} == {"train"}
    assert any("train.epochs 30 -> 31" in text for text in texts)
    saved = json.loads(shared_strata.newest("runs/*/recipe.json").read_text())
    assert saved["train"]["epochs"] == 31


def test_worse_candidate_is_refused_and_the_live_model_stays(shared_strata):
    before = shared_strata.models("digits")
    result = shared_strata("run", "digits", "train.max_steps=1")
    assert result.returncode == 4
    assert "against the live model" in result.stderr
    assert shared_strata.models("digits") == before
    why = shared_strata("why", "digits")
    assert "refused by metrics\n   sparse_categorical_accuracy" in why.stdout


def test_refused_again_without_running_anything(shared_strata):
    result, kinds = shared_strata.events("digits", "train.max_steps=1")
    assert result.returncode == 4
    assert "started" not in kinds


def test_no_execution_is_left_running(shared_strata):
    with sqlite3.connect(shared_strata.workspace / "metadata.db") as db:
        states = db.execute(
            "SELECT DISTINCT last_known_state FROM Execution"
        ).fetchall()
    assert {state for (state,) in states} <= {3, 4, 5}  # complete, failed, cached


def test_two_pipelines_may_start_on_one_data_set_at_once(strata):
    low = "evaluate.metrics.SparseCategoricalAccuracy.at_least=0.0"
    arguments = ("train.max_steps=1", low, "--json")
    runs = [
        subprocess.Popen(
            strata.command("run", name, *arguments, *more),
            env=strata.environment(),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for name, more in (
            ("digits", (low.replace("at_least", "slices_at_least"),)),
            ("digits_mlp", ()),
        )
    ]
    lock = strata.workspace / "locks" / "digits.lock"
    holder = f"process {runs[0].pid},"
    strata.wait_until(lambda: lock.exists() and holder in lock.read_text(), runs[0])
    second = strata("run", "digits")
    outputs = [run.communicate(timeout=600)[0] for run in runs]
    assert [run.returncode for run in runs] == [0, 0], outputs
    assert second.returncode == 2
    assert holder in second.stderr


def test_mirrored_training_runs_on_two_replicas(shared_strata):
    result = shared_strata(
        "run",
        "digits_mlp",
        "train.strategy=mirrored",
        "train.replicas=2",
        "train.epochs=8",
        "evaluate.metrics.SparseCategoricalAccuracy.at_least=0.85",
    )
    assert result.returncode == 0, result.stdout + result.stderr
    assert shared_strata.training("digits_mlp")["replicas"] == 2


def test_missing_tpu_is_exit_3_with_the_way_out(shared_strata):
    result = shared_strata("run", "digits_mlp", "train.strategy=tpu")
    assert result.returncode == 3
    assert "tensorflow-tpu" in result.stderr
    assert "log: " in result.stderr


def test_nothing_of_a_refused_or_failed_run_is_called_done(shared_strata):
    listed = shared_strata("runs").stdout
    assert re.search(r"digits_mlp .* failed", listed)
    assert re.search(r"digits .* refused", listed)
