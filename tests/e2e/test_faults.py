"""A planted fault is refused, the old model stays live, and `why` names the cause."""

import json

import pytest

pytestmark = [pytest.mark.slow, pytest.mark.e2e]


@pytest.mark.parametrize("fault", ["labels", "serving", "undertraining"])
def test_a_planted_fault_is_refused_and_named(shared_strata, fault):
    result = shared_strata("demo", "--break", fault)
    assert result.returncode == 4, result.stdout + result.stderr
    assert "version 1 stays live" in result.stdout
    lines = shared_strata("why", "digits").stdout.splitlines()
    named = [line for line in lines if line.startswith(" cause ")]
    assert named[0].startswith(f" cause       {fault}: ")
    live = shared_strata.workspace / "models" / "digits"
    assert [path.name for path in live.glob("[0-9]*")] == ["1"]


def test_a_retest_says_what_the_change_reached(shared_strata):
    assert shared_strata("demo", "--break", "undertraining").returncode == 4
    result = shared_strata("why", "digits", "--retest")
    assert result.returncode == 0, result.stdout + result.stderr
    assert "re-tested   with train.max_steps=null: passed" in result.stdout
    runs = sorted((shared_strata.workspace / "runs").glob("*/retest.json"))
    assert json.loads(runs[-1].read_text())["passed"]


def test_an_unknown_fault_is_told_what_there_is(strata):
    result = strata("demo", "--break", "nothing")
    assert result.returncode == 2
    assert "labels, shift, leak" in result.stderr
