"""Served: what counts as the same answer, the bounds, and a real server."""

import json
import signal
import socket
import subprocess
import sys

import keras
import numpy as np
import psutil
import pytest
from scipy import stats

import models
from components import export, inputs, model_process
from components.exams import served
from components.exams.case import Case, Model
from recipes.errors import StrataError
from recipes.examine import Served
from tests.components.records import example, write

RECORD = {
    "error": None,
    "size_bytes": 2_000_000,
    "start_seconds": 3.0,
    "latencies_ms": list(range(1, 201)),
    "cpu_seconds": 0.4,
    "memory_bytes": 700_000_000,
}


def judged(folder, record=RECORD, *, answered=0.25, **section):
    (folder / served.RECORD).write_text(json.dumps(record))
    one, other = ({"p": np.array([[value]])} for value in (0.25, answered))
    served._write(
        folder / served.ANSWERS, {"offline": {"s": one}, "served": {"s": other}}
    )
    return served.judge(folder, Served(**section).model_dump(mode="json"))


def test_a_gap_is_absolute_up_to_1_and_relative_to_the_largest_above():
    assert served.largest_gap(np.array([0.5, 0.1]), np.array([0.25, 0.1])) == 0.25
    assert served.largest_gap(np.array([200.0]), np.array([201.0])) == 0.005
    assert (
        served.largest_gap(np.array([200.0, 0.25]), np.array([200.0, 0.5])) == 0.00125
    )
    assert served.largest_gap(np.array([3, 7]), np.array([3, 7])) == 0


def test_texts_and_numbers_that_are_none_must_be_the_same():
    nothing = np.array([np.nan, np.inf])
    assert served.largest_gap(nothing, nothing) == 0
    assert served.largest_gap(np.array([np.nan]), np.array([1.0])) == np.inf
    assert served.largest_gap(np.array([1.0]), np.array([-np.inf])) == np.inf
    assert served.largest_gap(np.array(["a", "b"]), np.array(["a", "c"])) == 1
    assert served.largest_gap(np.array(["a"]), np.array(["a"])) == 0
    assert served.largest_gap(np.zeros(2), np.zeros(3)) == np.inf


@pytest.mark.parametrize("count", [20, 60, 200, 1000])
def test_the_interval_of_a_percentile_holds_it_19_times_of_20(count):
    low, high = served.percentile_interval(range(count), 0.95)
    # It holds the percentile if at least `low` + 1 and at most `high` values are below;
    # the last value has none above it that could be.
    below = stats.binom(count, 0.95)
    upper = 1.0 if high == count - 1 else below.cdf(high)
    assert upper - below.cdf(low) >= 0.95 - 1e-9


def test_of_one_value_none_is_surely_below_the_percentile():
    assert served.percentile_interval([7.0], 0.95) == (0.0, 7.0)
    # The smaller of two is above it once in 400 times.
    assert served.percentile_interval([7.0, 9.0], 0.95) == (7.0, 9.0)


def test_figures_by_hand(tmp_path):
    verdict = judged(tmp_path, price_per_core_hour=0.09)
    figures = verdict.figures
    assert verdict.status == "passed"
    assert figures["p50_ms"] == 100.5
    assert figures["p95_ms"] == pytest.approx(190.05)
    assert figures["memory_mb"] == 700
    assert figures["size_mb"] == 2
    assert figures["cpu_seconds_per_1000"] == pytest.approx(2)
    assert figures["cost_per_1000"] == pytest.approx(2 * 0.09 / 3600)


def test_every_bound_refuses(tmp_path):
    verdict = judged(
        tmp_path,
        answered=0.26,
        p95_ms_at_most=150,
        memory_mb_at_most=600,
        size_mb_at_most=1,
    )
    assert verdict.refusals == (
        "s/p differs by up to 0.01 when served, expected at most 1e-05",
        "p95 latency is at least 184 ms, expected at most 150",
        "memory is 700 MB, expected at most 600",
        "size is 2 MB, expected at most 1",
    )


def test_a_latency_that_chance_explains_is_not_refused(tmp_path):
    # The percentile, 190, is above; it may be as low as 184.
    assert judged(tmp_path, p95_ms_at_most=186).status == "passed"


def test_what_is_not_served_is_refused(tmp_path):
    verdict = judged(tmp_path, {"error": "first\nNOT_FOUND: no such file"})
    assert verdict.refusals == (
        "the server does not serve it: NOT_FOUND: no such file",
    )


@pytest.fixture
def case(images, tmp_path):
    section = images.section
    shape, classes = inputs.input_shape(section), inputs.num_outputs(section)
    keras.utils.set_random_seed(0)
    model = models.build("mlp", shape, classes, units=[4])
    directory = tmp_path / "model/Format-Serving"
    export.write(model, images.output, section, str(directory))
    for split in ("eval", "test"):
        shards = tmp_path / f"examples/Split-{split}"
        shards.mkdir(parents=True)
        write(shards / "part.gz", [example(**row) for row in images.rows])
    places = dict.fromkeys(set(Case.__dataclass_fields__) - {"live", "most"}, tmp_path)
    return Case(
        **places
        | {"transform": section, "candidate": Model(directory), "spec": {}}
        | {"examples": tmp_path / "examples", "live": None, "most": 10}
    )


def sat(case, folder, **section):
    keys = Served(requests=10, **section).model_dump(mode="json")
    folder.mkdir()
    served.collect(case, keys, folder)
    return served.judge(folder, keys)


@pytest.mark.slow
def test_a_server_answers_as_the_model_does_here(case, tmp_path):
    verdict = sat(case, tmp_path / "exam")
    assert verdict.status == "passed"
    assert set(verdict.figures["gaps"]) == {
        f"{signature}/{output}"
        for signature in ("serving_default", "serve_raw")
        for output in ("probabilities", "classes")
    }
    assert verdict.figures["num_requests"] == 10
    assert "warmed up candidate version 1" in (tmp_path / "exam/server.log").read_text()
    kept = {path.name for path in (tmp_path / "exam").iterdir()}
    assert kept == {served.RECORD, served.ANSWERS, served.LOG}  # and no second model
    assert not psutil.Process().children()


@pytest.mark.slow
def test_what_no_fresh_process_can_load_is_refused(case, tmp_path):
    assert len(case.answers["classes"]) == 4  # it is loaded here
    (weights,) = case.candidate.directory.glob("variables/*.data-*")
    weights.write_bytes(b"")
    verdict = sat(case, tmp_path / "exam")
    assert verdict.status == "refused"
    assert verdict.refusals[0].startswith("the server does not serve it: ")
    assert not psutil.Process().children()


@pytest.mark.slow
def test_ports_that_were_taken_meanwhile_are_chosen_anew(case, tmp_path, monkeypatch):
    base_path = served._published(case, tmp_path)
    fresh = model_process.free_ports(2)
    with socket.create_server((model_process.HOST, 0)) as other:
        chosen = iter([[other.getsockname()[1], fresh[1]], fresh])
        monkeypatch.setattr(model_process, "free_ports", lambda count: next(chosen))
        with model_process.started("m", base_path, tmp_path / "log") as server:
            assert (server.rest_port, server.port) == tuple(fresh)
    assert not psutil.Process().children()


@pytest.mark.slow
def test_a_server_without_a_port_twice_is_no_verdict(case, tmp_path, monkeypatch):
    with socket.create_server((model_process.HOST, 0)) as other:
        ports = [other.getsockname()[1], *model_process.free_ports(1)]
        monkeypatch.setattr(model_process, "free_ports", lambda count: ports)
        with pytest.raises(StrataError, match="Address already in use"):
            sat(case, tmp_path / "exam")


def test_a_server_that_takes_too_long_is_no_verdict(tmp_path, monkeypatch):
    monkeypatch.setattr(model_process, "_READY_SECONDS", 0.0)
    log = tmp_path / "log"
    with (
        pytest.raises(StrataError, match="Not ready after 0 seconds") as error,
        model_process.started("m", tmp_path, log),
    ):
        pass
    assert not isinstance(error.value, model_process.NotServedError)
    assert not psutil.Process().children()


STARTED = """
import sys, time
from pathlib import Path
from components import model_process
with model_process.started("m", Path(sys.argv[1]), Path(sys.argv[2])) as server:
    print(server.process.pid, flush=True)
    time.sleep(600)
"""


@pytest.mark.slow
def test_a_server_ends_with_a_process_that_is_killed(case, tmp_path):
    base_path = served._published(case, tmp_path)
    command = [sys.executable, "-c", STARTED, base_path, tmp_path / "log"]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as parent:
        server = psutil.Process(int(parent.stdout.readline()))
        parent.send_signal(signal.SIGKILL)
    psutil.wait_procs([server], timeout=60)
    assert not server.is_running() or server.status() == psutil.STATUS_ZOMBIE
