"""Several processes train as one does, and go on after one of them was killed."""

import contextlib
import json
import logging
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from components import multiworker
from recipes.errors import MissingError
from recipes.train import Export, Train
from tests.components.artifacts import examples
from tests.components.conftest import TABLE
from tests.components.records import example

ROOT = Path(__file__).parents[2]
PATIENCE_SECONDS = 200  # on a busy machine; nothing waits so long when all is well
MODEL = {"family": "wide_deep", "arguments": {"units": [8], "dropout": 0.0}}
TRAIN = {"epochs": 2, "global_batch_size": 8, "seed": 3, "checkpoint_steps": 3}


@pytest.fixture
def arguments(table, tmp_path):
    """Return a function that makes the arguments of a training, as the step gets."""
    random = np.random.default_rng(0)
    rows = [
        example(
            miles_xf=float(miles),
            speed_xf=float(speed),
            age_xf=int(random.integers(3)),
            town_xf=int(random.integers(4)),
            day_xf=int(random.integers(9)),
            strata_label=int(miles > speed),
        )
        for miles, speed in random.normal(size=(75, 2))
    ]
    # 11 in `eval`: of the last batch one worker gets more examples than the other.
    found = Path(examples(tmp_path / "examples", train=rows[:64], eval=rows[64:]))

    def make(name, **train):
        config = {
            "transform": TABLE,
            "model": MODEL,
            "train": Train(**TRAIN | train).model_dump(mode="json"),
            "export": Export().model_dump(mode="json"),
            "checkpoint_dir": str(tmp_path / name / "kept"),
        }
        return {
            "train_files": [str(found / "Split-train" / "*.gz")],
            "eval_files": [str(found / "Split-eval" / "*.gz")],
            "transform_output": str(Path(table.output.transform_savedmodel_dir).parent),
            "serving_model_dir": str(tmp_path / name / "model"),
            "model_run_dir": str(tmp_path / name / "run"),
            "custom_config": config,
        }

    return make


def start(arguments, folder, workers=()):
    """Start one process, or one for each port."""
    folder.mkdir(exist_ok=True)
    path = folder / "arguments.json"
    path.write_text(json.dumps(arguments))
    addresses = [f"127.0.0.1:{port}" for port in workers]
    configs = [
        {"cluster": {"worker": addresses}, "task": {"type": "worker", "index": index}}
        for index in range(len(workers))
    ]
    return [_start(path, config, folder) for config in configs or [None]]


def _start(path, config, folder):
    environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "2"}
    environment |= {"CUDA_VISIBLE_DEVICES": "-1", "PYTHONPATH": str(ROOT)}
    environment |= {"TF_CONFIG": json.dumps(config)} if config else {}
    index = config["task"]["index"] if config else 0
    with (folder / f"worker-{index}.log").open("ab") as log:
        return subprocess.Popen(
            [sys.executable, "-m", "components.multiworker", path],
            cwd=ROOT,
            env=environment,
            stdout=log,
            stderr=log,
        )


def end(processes, folder):
    """Return the exit code and the output of each process once all have ended."""
    try:
        codes = [process.wait(PATIENCE_SECONDS) for process in processes]
    finally:
        for process in processes:
            process.kill()
    logs = [folder / f"worker-{index}.log" for index in range(len(processes))]
    return list(zip(codes, (log.read_text() for log in logs), strict=True))


def free_ports(number):
    sockets = [socket.create_server(("", 0)) for _ in range(number)]
    ports = [one.getsockname()[1] for one in sockets]
    for one in sockets:
        one.close()
    return ports


def record(arguments):
    path = Path(arguments["model_run_dir"]) / "training.json"
    return json.loads(path.read_text())


def test_only_the_chief_says_what_the_others_run(arguments, monkeypatch, caplog):
    from tfx.components.trainer.fn_args_utils import FnArgs

    given = FnArgs(**arguments("shared"))
    shared = Path(given.custom_config["checkpoint_dir"]) / multiworker.ARGUMENTS
    jobs = {"worker": ["localhost:1", "localhost:2"]}
    for index in (1, 0):
        task = {"cluster": jobs, "task": {"type": "worker", "index": index}}
        monkeypatch.setenv("TF_CONFIG", json.dumps(task))
        assert not shared.exists()
        with caplog.at_level(logging.INFO):
            multiworker.share(given)
    assert f"TF_CONFIG=... python -m components.multiworker {shared}" in caplog.text
    assert [path.name for path in shared.parent.iterdir()] == [multiworker.ARGUMENTS]
    assert FnArgs(**json.loads(shared.read_text())) == given
    monkeypatch.delenv("TF_CONFIG")
    with pytest.raises(MissingError, match="TF_CONFIG; it is not set"):
        multiworker.share(given)


@pytest.mark.parametrize("text", [None, '{"train_files"', '{"other": 1}', "[]"])
def test_a_worker_without_its_arguments_says_who_writes_them(tmp_path, capsys, text):
    path = tmp_path / multiworker.ARGUMENTS
    if text:
        path.write_text(text)
    assert multiworker.main(str(path)) == MissingError.exit_code
    assert f"in {path} (" in capsys.readouterr().err


@pytest.mark.slow
def test_two_processes_learn_what_one_learns(arguments, tmp_path):
    alone = arguments("alone")
    together = arguments("together", strategy="multiworker")
    for given, workers in ((alone, ()), (together, free_ports(2))):
        folder = Path(given["model_run_dir"]).parent
        for code, output in end(start(given, folder, workers), folder):
            assert code == 0, output
    one, two = record(alone), record(together)
    assert (one["replicas"], two["replicas"]) == (1, 2)
    assert two["epochs"][1]["loss"] < two["epochs"][0]["loss"]
    for got, want in zip(two["epochs"], one["epochs"], strict=True):
        assert got == pytest.approx(want, abs=1e-5)
    kept = Path(together["custom_config"]["checkpoint_dir"])
    assert {path.name for path in kept.iterdir()} == {
        multiworker.ARGUMENTS,
        "step-000000016.npz",
    }


@pytest.mark.slow
@pytest.mark.parametrize("victim", [0, 1])
def test_a_killed_worker_ends_the_others_and_all_can_go_on(arguments, tmp_path, victim):
    undisturbed = arguments("undisturbed", strategy="multiworker", epochs=20)
    given = arguments("killed", strategy="multiworker", epochs=20)
    kept = Path(given["custom_config"]["checkpoint_dir"])
    folder, workers = kept.parent, free_ports(2)

    processes = start(given, folder, workers)
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not any(kept.glob("step-*")) and time.monotonic() < deadline:
        with contextlib.suppress(subprocess.TimeoutExpired):
            processes[victim].wait(0.05)
    processes[victim].send_signal(signal.SIGKILL)
    results = end(processes, folder)
    assert results[victim][0] == -signal.SIGKILL
    code, output = results[1 - victim]
    assert code == MissingError.exit_code, output
    assert "Lost one of the workers" in output

    for code, output in end(start(given, folder, workers), folder):
        assert code == 0, output
    assert record(given)["resumed_at_step"] > 0
    folder = Path(undisturbed["model_run_dir"]).parent
    for code, output in end(start(undisturbed, folder, free_ports(2)), folder):
        assert code == 0, output
    assert record(given)["weights_sha256"] == record(undisturbed)["weights_sha256"]
