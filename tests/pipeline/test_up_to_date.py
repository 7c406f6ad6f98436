"""A run in which nothing changed says so from the history alone."""

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from tests.pipeline.line import Line

ROOT = Path(__file__).parents[2]
RUN = """
import sys
from pipeline.cli import main
code = main(sys.argv[1:])
heavy = {"tensorflow", "keras", "tfx", "apache_beam", "numpy"} & set(sys.modules)
assert not heavy, heavy
sys.exit(code)
"""


def strata(line, *arguments):
    """Run a command in a fresh process; return code, standard output and error."""
    done = subprocess.run(
        [sys.executable, "-c", RUN, *arguments],
        cwd=ROOT,
        env={**os.environ, "STRATA_HOME": str(line.root)},
        capture_output=True,
        text=True,
        check=False,
    )
    return done.returncode, done.stdout.splitlines(), done.stderr.splitlines()


@pytest.fixture
def line(tmp_path):
    """Digits in a workspace that has ML Metadata."""
    (tmp_path / "metadata.db").touch()
    return Line(tmp_path, "digits")


def refuse(line, refusals):
    """Let the newest verdict be a refusal, as if the bounds had been missed."""
    (record,) = line.history.done_steps("digits", "judge")
    figures = {"summary": "", "blessed": False, "refusals": refusals}
    line.history.add_step("digits", replace(record, figures=figures))


def test_an_unchanged_recipe_runs_nothing_and_loads_nothing_heavy(line):
    line.run()
    code, out, _ = strata(line, "run", "digits")
    assert code == 0
    assert " train          =          recipe, data, code, packages as in run 1" in out
    assert out[-2:] == [" 15 steps up to date", " live: digits version 1"]


def test_a_refused_candidate_is_refused_again_without_a_run(line):
    line.run(until="push")
    refuse(line, ["accuracy is 0.5", "b", "c", "d", "e"])
    code, out, told = strata(line, "run", "digits")
    assert (code, out[-1]) == (4, " 14 steps up to date")
    assert told == [
        "strata: digits: candidate refused, nothing was pushed",
        "  accuracy is 0.5",
        "  b",
        "  c",
        "  and 2 more bounds: ./strata why digits",
    ]


def test_a_bad_recipe_ends_with_2_and_one_line(line):
    code, out, told = strata(line, "run", "digits", "train.lr=1")
    assert (code, out) == (2, [])
    assert told == [
        "strata: override 'train.lr=1': [train] has no key 'lr'. "
        "Did you mean 'learning_rate'?"
    ]


def test_why_tells_of_the_last_run(line):
    run_id = line.history.begin_run("digits", "{}", now=100.0)
    line.run(until="train")
    line.history.end_run(run_id, "failed", now=130.0)
    code, out, _ = strata(line, "why", "digits")
    assert code == 0
    assert out[0].startswith("run 1  digits  ")
    assert out[0].endswith("failed  30 s")
    assert out[-2:] == [
        " train failed: it broke",
        f"  log: {line.root / 'runs' / '1' / 'logs' / 'train'}.log",
    ]


def test_runs_lists_the_newest_first(line):
    for name in ("digits", "taxi"):
        line.history.begin_run(name, "{}", now=100.0)
    _, out, _ = strata(line, "runs")
    assert [row.split()[:3] for row in out] == [
        ["run", "2", "taxi"],
        ["run", "1", "digits"],
    ]


def test_why_of_nothing_is_refused(line):
    code, _, told = strata(line, "why", "digits")
    assert code == 2
    assert told == [f"strata: No run of digits in {line.root}."]
