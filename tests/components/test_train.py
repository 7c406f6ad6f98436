"""Training: what it learns, when it stops, what it refuses and what it records."""

import json
import logging

import keras
import numpy as np
import pytest

from components import train
from components.checkpoints import Checkpoints
from components.training_data import length
from recipes.errors import BadInputError
from tests.components.trainings import config, examples, fitted, train_section


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return examples(tmp_path_factory.mktemp("examples"))


def test_each_epoch_is_recorded_and_the_model_learns(data, tmp_path):
    _, state, checkpoints = fitted(data, tmp_path, epochs=20)
    assert len(state.epochs) == len(state.epoch_seconds) == 20
    assert set(state.epochs[0]) == {"loss", "accuracy", "val_loss", "val_accuracy"}
    assert state.epochs[-1]["loss"] < state.epochs[0]["loss"] / 2
    assert (state.step, checkpoints.restored_step) == (80, 0)


def test_a_loss_that_is_no_number_stops_at_the_update(data, tmp_path):
    changes = {"learning_rate": 1e38, "optimizer": "sgd"}
    message = r"no number in epoch 1 at step 2 of 4 \(update 2\)\. Its batch holds num"
    for _ in range(2):  # the second time too: nothing diverged was kept
        with pytest.raises(BadInputError, match=message):
            fitted(data, tmp_path / "kept", **changes, checkpoint_steps=1)


@pytest.mark.slow
def test_an_input_that_is_no_number_is_named(tmp_path):
    data = examples(tmp_path / "data", broken=5)
    with pytest.raises(BadInputError, match=r"Its batch holds nan in a, example . of"):
        fitted(data, tmp_path / "kept")


@pytest.mark.slow
def test_weights_broken_by_the_last_update_are_noticed(data, tmp_path):
    changes = {"learning_rate": 3e38, "optimizer": "sgd", "max_steps": 1}
    with pytest.raises(BadInputError, match="loss on `eval` became nan after epoch 1"):
        fitted(data, tmp_path / "kept", **changes)
    assert not list(tmp_path.rglob("*.npz"))


@pytest.mark.slow
def test_early_stopping_exports_the_best_weights(data, tmp_path):
    options = {"metric": "loss", "patience": 2}
    changes = {"learning_rate": 8.0, "optimizer": "momentum", "epochs": 30}
    learner, state, _ = fitted(data, tmp_path, early_stopping=options, **changes)
    losses = [epoch["val_loss"] for epoch in state.epochs]
    best = int(np.argmin(losses))
    assert state.stopped == "early stopping"
    assert len(losses) == best + 3
    assert state.best["epoch"] == best + 1
    assert train._score(data, config())(learner.network) == pytest.approx(
        state.epochs[best]["val_accuracy"]
    )


@pytest.mark.slow
def test_a_time_budget_ends_at_an_update(data, tmp_path):
    seconds = iter(range(1000))
    changes = {"minutes": 0.25, "schedule": "linear", "epochs": 100}
    learner, state, _ = fitted(data, tmp_path, clock=lambda: next(seconds), **changes)
    assert state.stopped == "time budget"
    assert 15 <= state.seconds < 25
    assert 2 <= state.step < 12
    rate = float(learner.optimizer.learning_rate)
    assert rate < 0.25 * 0.05  # it has fallen by the time, not by the updates
    _, again, _ = fitted(data, tmp_path, **changes)
    assert again.step == state.step


@pytest.mark.slow
def test_the_averages_are_what_is_looked_at_and_exported(data, tmp_path):
    changes = {"optimizer": "sgd", "max_steps": 2, "global_batch_size": 16}
    raw = [
        fitted(data, tmp_path / str(n), **changes | {"max_steps": n})[0] for n in (1, 2)
    ]
    averaged, state, _ = fitted(data, tmp_path / "ema", **changes, ema=0.75)
    one, two = (learner.network.get_weights() for learner in raw)
    for first, second, got in zip(
        one, two, averaged.network.get_weights(), strict=True
    ):
        np.testing.assert_allclose(got, 0.75 * first + 0.25 * second, rtol=1e-5)
    assert train._score(data, config())(averaged.network) == pytest.approx(
        state.epochs[-1]["val_accuracy"]
    )


@pytest.mark.slow
def test_half_precision_scales_losses_and_leaves_no_policy_behind(data, tmp_path):
    learner, state, _ = fitted(data, tmp_path, precision="mixed_float16", epochs=2)
    assert isinstance(learner.optimizer, keras.optimizers.LossScaleOptimizer)
    assert keras.config.dtype_policy().name == "float32"
    assert np.isfinite(state.epochs[-1]["val_loss"])


@pytest.mark.parametrize(
    ("changes", "want"),
    [
        ({}, (12, 3)),  # 100 // 8 steps, the last 4 examples are left out
        ({"max_steps": 5}, (5, 1)),
        ({"max_steps": 12}, (12, 1)),
        ({"max_steps": 24}, (12, 2)),
        ({"max_steps": 1000}, (12, 3)),
        ({"steps_per_execution": 5}, (10, 3)),
    ],
)
def test_the_length_of_a_training(changes, want):
    assert length(100, train_section(**changes)) == want


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"global_batch_size": 33}, "has 32 examples, less than one batch"),
        ({"steps_per_execution": 5}, "at most the 4 updates of an epoch"),
        ({"warmup_steps": 12}, "fewer train.warmup_steps than the 12 updates"),
    ],
)
def test_a_training_that_cannot_be_is_refused(data, changes, message):
    with pytest.raises(BadInputError, match=message):
        train.build(config(**changes), data)


def test_a_batch_that_cannot_be_cut_evenly_is_refused(data):
    bad = config()
    bad["train"]["accumulate"] = 3  # as replicas, whose number a recipe need not know
    with pytest.raises(BadInputError, match="multiple of 1 replicas times .*=3"):
        train.build(bad, data)


@pytest.mark.parametrize("arguments", [{"dropout": 2.0}, {"seed": [1]}])
def test_a_family_that_cannot_be_built_is_an_error_of_the_recipe(data, arguments):
    bad = config()
    bad["model"] = {"family": "wide_deep", "arguments": arguments}
    with pytest.raises(BadInputError, match=r"^\[model\] "):
        train.build(bad, data)


def test_values_that_a_search_found_come_before_the_recipes():
    before = config()
    values = {
        "train.learning_rate": 0.5,
        "model.arguments.units": 7,
        "tuner/epochs": 3,
    }
    got = train.tuned(before, {"space": [], "values": values})
    assert got["train"]["learning_rate"] == 0.5
    assert got["model"]["arguments"]["units"] == 7
    assert before == config()
    assert train.tuned(before, None) is before


@pytest.mark.slow
def test_progress_is_reported_as_json_lines(data, tmp_path, caplog):
    with caplog.at_level(logging.INFO, logger="strata.progress"):
        fitted(data, tmp_path)
    lines = [r.message for r in caplog.records if r.name == "strata.progress"]
    events = [json.loads(line) for line in lines]
    ends = [event for event in events if "val_loss" in event]
    assert [event["epoch"] for event in ends] == [1, 2, 3]
    assert {event["epochs"] for event in ends} == {3}


@pytest.mark.slow
def test_several_updates_in_one_call_make_the_same_weights(data, tmp_path):
    one, state, _ = fitted(data, tmp_path / "one")
    four, other, _ = fitted(data, tmp_path / "four", steps_per_execution=4)
    assert other.epochs == state.epochs
    for want, got in zip(one.get_weights(), four.get_weights(), strict=True):
        np.testing.assert_allclose(got, want, rtol=1e-6)


RUN = {
    "parameters": 61706,
    "replicas": 1,
    "resumed_at_step": 0,
    "stopped": None,
    "updates": 1200,
    "exported_epoch": 1,
    "epochs": [{"loss": 0.12345, "val_loss": 0.5}, {"loss": 0.1, "val_loss": 0.6}],
}


@pytest.mark.parametrize(
    ("changes", "summary"),
    [
        ({}, "61,706 weights · loss 0.1235 · eval loss 0.5000"),
        (
            {"epochs": [{"loss": 0.12345, "val_accuracy": 0.989}], "replicas": 2},
            "61,706 weights · loss 0.1235 · eval accuracy 98.90% · 2 replicas",
        ),
        (
            {"stopped": "time budget", "resumed_at_step": 400},
            "61,706 weights · loss 0.1235 · eval loss 0.5000 · time budget after 1,200 "
            "updates · resumed after 400 updates",
        ),
    ],
)
def test_figures_tell_how_a_training_went(tmp_path, changes, summary):
    (tmp_path / "training.json").write_text(json.dumps({**RUN, **changes}))
    assert train.figures({"model_run": str(tmp_path)})["summary"] == summary


def test_without_checkpoints_it_starts_at_the_beginning(data, tmp_path):
    learner = train.build(config(), data)
    state, metrics = Checkpoints(tmp_path / "none").restore(learner)
    assert (state.step, metrics) == (0, [])
