"""Checkpoints: what comes back, what a kill costs, and what is never kept."""

import json
import subprocess
import sys

import numpy as np
import pytest

from components import train
from components.averages import values
from components.checkpoints import Checkpoints
from tests.components.trainings import config, examples, fitted


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return examples(tmp_path_factory.mktemp("examples"))


@pytest.mark.slow
def test_everything_comes_back_and_a_draft_is_ignored(data, tmp_path):
    learner, state, _ = fitted(data, tmp_path, dropout=0.5, ema=0.5, max_steps=2)
    assert [path.name for path in tmp_path.iterdir()] == ["step-000000002.npz"]
    (tmp_path / "draft").write_bytes(b"half a file")
    again = train.build(config(dropout=0.5, ema=0.5), data)
    got, _ = Checkpoints(tmp_path).restore(again)
    assert got == state
    assert int(again.optimizer.iterations) == int(again.updates) == 2
    for ours, theirs in zip(
        values(again.optimizer.variables),
        values(learner.optimizer.variables),
        strict=True,
    ):
        np.testing.assert_array_equal(ours, theirs)


def test_a_draft_alone_is_no_checkpoint(data, tmp_path):
    (tmp_path / "draft").write_bytes(b"half a file")
    state, _ = Checkpoints(tmp_path).restore(train.build(config(), data))
    assert state.step == 0


def test_a_worker_that_is_not_the_chief_writes_nothing(data, tmp_path):
    learner = train.build(config(), data)
    checkpoints = Checkpoints(tmp_path, writes=False)
    state, _ = checkpoints.restore(learner)
    checkpoints.save(learner, state)
    assert not list(tmp_path.iterdir())


def test_weights_that_are_no_numbers_are_not_kept(data, tmp_path):
    learner = train.build(config(), data)
    checkpoints = Checkpoints(tmp_path)
    state, _ = checkpoints.restore(learner)
    learner.network.trainable_variables[0].assign(
        np.full(learner.network.trainable_variables[0].shape, np.inf)
    )
    checkpoints.save(learner, state)
    assert not list(tmp_path.iterdir())


KILLED = {
    # Of 3 epochs of 4 updates; a checkpoint every 2. The update at which it dies:
    "dropout, averages and a schedule": (
        {"ema": 0.9, "schedule": "cosine", "warmup_steps": 2, "dropout": 0.5},
        7,
    ),
    "half precision, parts and early stopping": (
        {
            "precision": "mixed_float16",
            "accumulate": 2,
            "early_stopping": {"metric": "loss", "patience": 1},
            "dropout": 0.5,
            "noise": 0.3,
        },
        11,
    ),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", KILLED)
def test_a_killed_training_ends_with_the_same_bits(tmp_path, name):
    changes, step = KILLED[name]
    changes = {**changes, "checkpoint_steps": 2}
    undisturbed = _run(tmp_path / "whole", changes)
    assert _run(tmp_path / "cut", {**changes, "die_at": step}) is None
    resumed = _run(tmp_path / "cut", changes)
    assert resumed["resumed_at_step"] == (step - 1) // 2 * 2
    assert resumed["weights_sha256"] == undisturbed["weights_sha256"]
    assert resumed["epochs"] == undisturbed["epochs"]


@pytest.mark.slow
def test_deterministic_trainings_end_with_the_same_bits(tmp_path):
    changes = {"deterministic": True, "dropout": 0.5}
    one, two = (_run(tmp_path / str(n), changes) for n in (1, 2))
    assert one["weights_sha256"] == two["weights_sha256"]
    other = _run(tmp_path / "3", {**changes, "seed": 1})
    assert other["weights_sha256"] != one["weights_sha256"]


def _run(directory, changes):
    """Train in a process of its own; return the record, or None if it was killed."""
    directory.mkdir(exist_ok=True)
    result = subprocess.run(
        [
            sys.executable,
            "-m",
            "tests.components.killed_training",
            directory,
            json.dumps(changes),
        ],
        timeout=500,
    )
    if result.returncode == 9:
        return None
    assert result.returncode == 0
    return json.loads((directory / "record.json").read_text())
