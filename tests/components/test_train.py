"""Training: what it resumes from, when it stops, and what it refuses."""

import json
import logging

import keras
import numpy as np
import pytest
import tensorflow as tf

from components import train
from recipes.errors import BadInputError
from tests.components.records import example, write
from tests.components.sections import section

TRANSFORM = section(label={"feature": "y", "above": 0.0}, numeric=["a", "b"])
TRAIN = {
    "epochs": 3,
    "global_batch_size": 8,
    "max_steps": None,
    "optimizer": "adam",
    "learning_rate": 0.05,
    "seed": 0,
}
SPEC = {
    "a_xf": tf.io.FixedLenFeature([1], tf.float32),
    "b_xf": tf.io.FixedLenFeature([1], tf.float32),
    "strata_label": tf.io.FixedLenFeature([1], tf.int64),
}


def config(dropout=0.0, **changes):
    arguments = {"units": [4], "dropout": dropout}
    model = {"family": "wide_deep", "arguments": arguments}
    return {"transform": TRANSFORM, "model": model, "train": {**TRAIN, **changes}}


@pytest.fixture
def files(tmp_path):
    """32 examples to learn from and 8 to watch: is a + b above 0?"""
    values = np.random.default_rng(0).normal(size=(40, 2))
    rows = [
        example(a_xf=float(a), b_xf=float(b), strata_label=int(a + b > 0))
        for a, b in values
    ]
    return {
        "train": [write(tmp_path / "train.gz", rows[:32])],
        "eval": [write(tmp_path / "eval.gz", rows[32:])],
    }


def fitted(files, directory, **changes):
    """Return a fresh model after `fit`, its checkpoints and the epochs run."""
    keras.utils.set_random_seed(0)
    model = train.build(config(**changes))
    checkpoints = train.EpochCheckpoints(directory)
    epochs = train.fit(model, files, SPEC, config(**changes), checkpoints)
    return model, checkpoints, epochs


def assert_same_state(one, two):
    pairs = zip(one.weights, two.weights, strict=True)
    slots = zip(one.optimizer.variables, two.optimizer.variables, strict=True)
    for got, want in (*pairs, *slots):
        np.testing.assert_allclose(got.numpy(), want.numpy(), rtol=1e-6, atol=1e-7)


def test_each_epoch_is_recorded_and_the_model_learns(files, tmp_path):
    _, checkpoints, epochs = fitted(files, tmp_path / "kept", epochs=20)
    assert len(epochs) == 20
    assert set(epochs[0]) == {"loss", "accuracy", "val_loss", "val_accuracy"}
    assert epochs[-1]["loss"] < epochs[0]["loss"] / 2
    assert checkpoints.restored_epoch == 0


def test_the_newest_weights_come_back_with_the_optimizers(files, tmp_path):
    model, _, _ = fitted(files, tmp_path / "kept")
    again = train.build(config())
    assert train.EpochCheckpoints(tmp_path / "kept").restore(again) == 3
    assert_same_state(again, model)
    assert int(again.optimizer.iterations) == 12  # 3 epochs of 32 / 8 steps


def test_only_the_last_epoch_is_kept(files, tmp_path):
    fitted(files, tmp_path / "kept")
    names = [path.name for path in (tmp_path / "kept").iterdir()]
    assert names == ["epoch-000003.weights.h5"]


@pytest.mark.parametrize("dropout", [0.0, 0.5])
def test_a_resumed_training_ends_like_an_undisturbed_one(files, tmp_path, dropout):
    whole, _, _ = fitted(files, tmp_path / "whole", epochs=4, dropout=dropout)
    fitted(files, tmp_path / "cut", epochs=2, dropout=dropout)
    cut = tmp_path / "cut"
    resumed, checkpoints, epochs = fitted(files, cut, epochs=4, dropout=dropout)
    assert checkpoints.restored_epoch == 2
    assert len(epochs) == 2
    assert_same_state(resumed, whole)


def test_a_draft_left_by_a_kill_is_ignored(files, tmp_path):
    model, _, _ = fitted(files, tmp_path / "kept")
    (tmp_path / "kept" / "draft.weights.h5").write_bytes(b"half a file")
    again = train.build(config())
    assert train.EpochCheckpoints(tmp_path / "kept").restore(again) == 3
    assert_same_state(again, model)


def test_a_draft_alone_is_no_checkpoint(tmp_path):
    (tmp_path / "draft.weights.h5").write_bytes(b"half a file")
    assert train.EpochCheckpoints(tmp_path).restore(train.build(config())) == 0


def test_without_checkpoints_it_starts_at_the_beginning(tmp_path):
    checkpoints = train.EpochCheckpoints(tmp_path / "none")
    assert checkpoints.restore(train.build(config())) == 0


@pytest.mark.parametrize("epochs", [1, 3])
def test_a_loss_that_is_no_number_stops_the_training(files, tmp_path, epochs):
    with pytest.raises(BadInputError, match=r"became nan in epoch 1\. Lower train\.le"):
        fitted(
            files,
            tmp_path / "kept",
            epochs=epochs,
            learning_rate=1e38,
            optimizer="sgd",
        )


def test_a_split_smaller_than_a_batch_is_refused(files, tmp_path):
    with pytest.raises(BadInputError, match="has 32 examples, less than one batch"):
        fitted(files, tmp_path / "kept", global_batch_size=33)


@pytest.mark.parametrize(
    ("changes", "want"),
    [
        ({}, (12, 3)),  # 100 // 8 steps, the last 4 examples are left out
        ({"max_steps": 5}, (5, 1)),
        ({"max_steps": 12}, (12, 1)),
        ({"max_steps": 24}, (12, 2)),
        ({"max_steps": 1000}, (12, 3)),
    ],
)
def test_the_length_of_a_training(changes, want):
    assert train._length(100, {**TRAIN, **changes}) == want


def test_a_family_that_cannot_be_built_is_an_error_of_the_recipe():
    bad = config()
    bad["model"] = {"family": "wide_deep", "arguments": {"embedding_dim": 0}}
    with pytest.raises(BadInputError, match=r"^\[model\] "):
        train.build(bad)


def test_progress_is_reported_as_json_lines(files, tmp_path, caplog):
    with caplog.at_level(logging.INFO, logger="strata.progress"):
        fitted(files, tmp_path / "kept")
    lines = [r.message for r in caplog.records if r.name == "strata.progress"]
    events = [json.loads(line) for line in lines]
    ends = [event for event in events if "val_loss" in event]
    assert [event["epoch"] for event in ends] == [1, 2, 3]
    assert {event["epochs"] for event in ends} == {3}


def test_figures_tell_of_replicas_and_resumption(tmp_path):
    run = {
        "parameters": 61706,
        "replicas": 2,
        "resumed_after_epoch": 4,
        "seconds": 1.0,
        "epochs": [{"loss": 0.12345, "val_accuracy": 0.989}],
    }
    (tmp_path / "training.json").write_text(json.dumps(run))
    got = train.figures({"model_run": str(tmp_path)})
    assert got["summary"] == (
        "61,706 weights · loss 0.1235 · eval accuracy 98.90% · 2 replicas · "
        "resumed after epoch 4"
    )


@pytest.mark.parametrize("epochs", [1])
def test_a_diverged_training_is_refused_again(files, tmp_path, epochs):
    for _ in range(2):
        with pytest.raises(BadInputError, match="became nan"):
            fitted(
                files,
                tmp_path / "kept",
                epochs=epochs,
                learning_rate=1e38,
                optimizer="sgd",
            )
