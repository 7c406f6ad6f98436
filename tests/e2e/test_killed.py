"""kill -9 in the middle of each kind of step: the next run goes on from there."""

import json

import pytest

from pipeline.history import History

pytestmark = pytest.mark.e2e

RECIPE = (
    "digits",
    "train.epochs=6",
    "evaluate.metrics.SparseCategoricalAccuracy.at_least=0.8",
    "evaluate.metrics.SparseCategoricalAccuracy.slices_at_least=0.5",
)


def _started(output):
    events = [json.loads(line) for line in output.splitlines() if line[:1] == "{"]
    return [event["step"] for event in events if event["event"] == "started"]


def _finished(output):
    events = [json.loads(line) for line in output.splitlines() if line[:1] == "{"]
    return {event["step"] for event in events if event["event"] == "done"}


def test_kills_cost_only_the_step_they_hit(strata, tmp_path):
    """One line, killed four times, against one that nobody disturbed."""
    artifacts = strata.workspace / "artifacts" / "digits"
    done = set()
    third_epoch = "checkpoints/*/*/step-*[1-9]??.npz"  # of 44 updates each
    for stage, condition in (
        ("ingest", lambda: any(artifacts.glob("ingest/examples/*"))),
        ("transform", lambda: any(artifacts.glob("transform/transform_graph/*"))),
        ("train", lambda: strata.newest(third_epoch)),
        ("push", lambda: strata.newest("models/digits/.draft-1")),
    ):
        output = strata.kill_when(condition, *RECIPE)
        assert stage in _started(output), f"{stage}: {output}"
        assert not done & set(_started(output)), "a finished step was repeated"
        done |= _finished(output)
        # The rename may have been the last thing that happened: all of it or nothing.
        assert strata.models("digits") in ([], ["1"] if stage == "push" else [])
    result, kinds = strata.events(*RECIPE)
    assert result.returncode == 0, result.stdout + result.stderr
    assert [event["step"] for event in kinds["started"]] == ["push"]
    assert strata.models("digits") == ["1"]
    assert strata.training("digits")["resumed_after_epoch"] >= 2
    assert "died" in strata("runs").stdout

    undisturbed = type(strata)(tmp_path / "undisturbed")
    assert undisturbed("run", *RECIPE).returncode == 0
    ours, theirs = (s.training("digits")["epochs"][-1] for s in (strata, undisturbed))
    assert ours == pytest.approx(theirs, abs=1e-5)
    ours, theirs = (_test_metrics(s) for s in (strata, undisturbed))
    assert ours == pytest.approx(theirs, abs=1e-5)


def _test_metrics(strata):
    (record,) = History(strata.workspace / "history.db").done_steps(
        "digits", "evaluate"
    )
    return record.figures["metrics"]
