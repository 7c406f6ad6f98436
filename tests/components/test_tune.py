"""A search: what it tries, when it ends, what survives a kill, and what it hands on."""

import json
import logging
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from tfx.components.tuner import executor

from components import train, tune
from recipes.errors import BadInputError
from tests.components.searches import search, settings
from tests.components.trainings import examples

pytestmark = [
    # Keras Tuner 1.4.8 asks for its thread's name in the way of Python 2.
    pytest.mark.filterwarnings("ignore:currentThread:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:getName:DeprecationWarning"),
]
METHODS = [
    "random",
    "hyperband",
    pytest.param("bayesian", marks=pytest.mark.slow),  # it fits a Gaussian process
]
RATE = "train.learning_rate"
UNITS = "model.arguments.units"


def fake(score, seconds=1.0, calls=None):
    """Return a training that takes no time: `score` of (learning rate, units)."""

    def run(config, place):
        if calls is not None:
            calls.append(config)
        rate, units = config["train"]["learning_rate"], config["model"]["arguments"]
        epochs = [{"val_accuracy": score(rate, units["units"])}]
        return {"epochs": epochs, "exported_epoch": 1, "seconds": seconds}

    return run


def near(rate, units):
    """Best at a learning rate of 0.01 and two layers."""
    return 1.0 - abs(np.log10(rate) + 2) / 4 - 0.1 * (len(units) == 1)


@pytest.mark.parametrize("method", METHODS)
def test_every_method_finds_a_good_value(tmp_path, method):
    found = search(None, tmp_path, fake(near), method=method, trials=12)
    (best,) = found.get_best_hyperparameters()
    assert abs(np.log10(best.values[RATE]) + 2) < 0.3
    assert best.values[UNITS] == [2, 2]
    assert set(best.values) == {RATE, UNITS}


def test_trials_train_with_the_values_and_epochs_that_were_asked_for(tmp_path):
    calls = []
    run = fake(near, calls=calls)
    found = search(None, tmp_path, run, method="random", trials=5, epochs=2)
    assert [c["train"]["epochs"] for c in calls] == [2] * 5
    for call, figures in zip(calls, found.figures, strict=True):
        assert call["train"]["learning_rate"] == figures["values"][RATE]
        assert 0.001 <= call["train"]["learning_rate"] <= 0.1
        assert call["model"]["arguments"]["units"] == figures["values"][UNITS]
        assert "tune" not in call


def test_hyperband_spends_the_epochs_of_so_many_whole_trials(tmp_path):
    calls = []
    run = fake(near, calls=calls)
    search(None, tmp_path, run, method="hyperband", trials=4, epochs=9)
    epochs = [call["train"]["epochs"] for call in calls]
    assert 4 * 9 <= sum(epochs) < 5 * 9
    assert sorted(set(epochs)) == [1, 3, 9]


def test_choices_that_are_used_up_end_the_search(tmp_path):
    space = {UNITS: [[4], [2, 2]]}
    found = search(None, tmp_path, fake(near), space=space, trials=9, method="random")
    assert sorted(f["values"][UNITS] for f in found.figures) == [[2, 2], [4]]


def test_no_trial_begins_after_the_minutes(tmp_path):
    run = fake(near, seconds=25.0)
    found = search(None, tmp_path, run, trials=9, minutes=1.0)
    assert len(found.figures) == 3  # 50 seconds are less than a minute, 75 more


def test_a_trial_that_fails_is_left_out(tmp_path):
    def run(config, place):
        if config["train"]["learning_rate"] > 0.01:
            raise BadInputError("The loss became nan.")
        return fake(near)(config, place)

    found = search(None, tmp_path, run, trials=8, method="random")
    failed = [f for f in found.figures if "score" not in f]
    assert 0 < len(failed) < 8
    assert {f["error"] for f in failed} == {"The loss became nan."}
    assert found.get_best_hyperparameters()[0].values[RATE] <= 0.01


def test_a_search_without_any_trial_that_ends_is_refused_with_the_reason(tmp_path):
    def run(config, place):
        raise BadInputError("The loss became nan.")

    with pytest.raises(BadInputError, match="No trial could be .* The loss became nan"):
        search(None, tmp_path, run, trials=4)


def test_an_error_of_the_program_is_not_taken_for_a_bad_trial(tmp_path):
    def run(config, place):
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        search(None, tmp_path, run)


@pytest.mark.parametrize("method", METHODS)
def test_finished_trials_are_not_run_again(tmp_path, method):
    calls = []
    run = fake(near, calls=calls)
    first = search(None, tmp_path, run, method=method, trials=5)
    count = len(calls)
    again = search(None, tmp_path, run, method=method, trials=5)
    assert len(calls) == count
    assert again.figures == first.figures


def test_a_trial_of_another_recipe_is_run_again(tmp_path):
    calls = []
    run = fake(near, calls=calls)
    search(None, tmp_path, run, trials=2)
    search(None, tmp_path, run, trials=2, train={"global_batch_size": 16})
    assert len(calls) == 4


@pytest.mark.parametrize(
    ("space", "message"),
    [
        ({"train.lr": [0.1]}, r"The recipe has no 'train\.lr'"),
        ({"data.path": ["a"]}, r"Expected keys below `train` or `model\.arguments`"),
        ({"model.family": ["cnn"]}, r"Expected keys below"),
        ({"train": [1]}, r"Expected keys below"),
        ({"model.arguments.depth": [1]}, r"'wide_deep' has the arguments .*units"),
        ({RATE: [0.1, -1.0]}, r"greater than 0\. Received: -1\.0"),
        ({"train.optimizer": ["lion"]}, r"Received: 'lion'"),
        (
            {"train.global_batch_size": {"low": 8.5, "high": 16.0, "log": False}},
            "expected whole numbers",
        ),
        ({"train.ema": {"low": 0.5, "high": 2.0, "log": False}}, "less than 1"),
        ({"train.epochs": [1, 2]}, r"train\.epochs cannot be .* `tune\.epochs`"),
        ({"train.strategy": ["default"]}, "cannot be searched"),
        ({"train.replicas": [2]}, "cannot be searched"),
        ({"train.deterministic": [True]}, "cannot be searched"),
        ({"train.seed": [0, 1]}, "cannot be searched"),
        ({"train.start_from.freeze": [["a"]]}, "cannot be searched"),
        ({"train.distill.teacher": ["a"]}, "cannot be searched"),
    ],
)
def test_a_space_that_does_not_fit_the_recipe_is_refused(tmp_path, space, message):
    with pytest.raises(BadInputError, match=message):
        tune.space(settings(tmp_path, space=space))


def test_a_range_over_a_whole_number_gives_whole_numbers(tmp_path):
    bounds = {"low": 2.0, "high": 9.0, "log": True}
    keys = ["train.warmup_steps", "train.max_steps", "model.arguments.embedding_dim"]
    space = tune.space(settings(tmp_path, space=dict.fromkeys(keys, bounds)))
    for seed in range(20):
        values = [one.random_sample(seed) for one in space.space]
        assert all(isinstance(v, int) and 2 <= v <= 9 for v in values)


@pytest.mark.parametrize(("unset", "whole"), [("max_steps", True), ("minutes", False)])
def test_the_type_of_a_key_without_a_value_decides(tmp_path, unset, whole):
    bounds = {f"train.{unset}": {"low": 2.0, "high": 9.0, "log": False}}
    (one,) = tune.space(settings(tmp_path, space=bounds)).space
    assert isinstance(one.random_sample(0), int) == whole


def test_values_that_do_not_fit_each_other_are_a_failed_trial(tmp_path):
    space = {"train.global_batch_size": [8, 9], "train.accumulate": [1, 4]}
    run = fake(lambda rate, units: 0.5)
    found = search(None, tmp_path, run, space=space, trials=9, method="random")
    failed = [f for f in found.figures if "score" not in f]
    assert len(found.figures) == 4
    (one,) = failed
    assert one["values"] == {"train.global_batch_size": 9, "train.accumulate": 4}
    assert "must be a multiple of" in one["error"]


def test_a_search_without_trials_says_so(tmp_path):
    config = settings(tmp_path, trials=1)
    found = tune.Search(config, tune.space(config), fake(near), tmp_path / "notes")
    config["tune"]["trials"] = 0
    with pytest.raises(BadInputError, match="None was begun"):
        found.search()


def test_each_trial_is_reported_before_and_after(tmp_path, caplog):
    with caplog.at_level(logging.INFO, logger="strata.progress"):
        search(None, tmp_path, fake(near), trials=2)
    lines = [r.message for r in caplog.records if r.name == "strata.progress"]
    events = [json.loads(line) for line in lines]
    assert [(e["trial"], e["trials"], "score" in e) for e in events] == [
        (1, 2, False),
        (1, 2, True),
        (2, 2, False),
        (2, 2, True),
    ]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("examples")
    examples(folder)
    return folder


@pytest.fixture
def handed(folder, tmp_path):
    """What TFX makes of a search by the Tuner's own executor."""
    config = settings(tmp_path / "kept", trials=3, method="random")
    fn_args = SimpleNamespace(
        custom_config=config,
        working_dir=str(tmp_path / "working"),
        transform_output=str(tmp_path),
        train_files=[str(folder / "train.gz")],
        eval_files=[str(folder / "eval.gz")],
    )
    return config, fn_args


@pytest.mark.slow
def test_tfx_hands_the_best_values_to_the_trainer(handed, tmp_path, monkeypatch):
    """Through the executor's own functions, with the real small training."""
    from tests.components.trainings import SPEC

    config, fn_args = handed
    graph = SimpleNamespace(transformed_feature_spec=lambda: SPEC)
    monkeypatch.setattr(tune.tft, "TFTransformOutput", lambda path: graph)
    result = tune.tuner_fn(fn_args)
    result.tuner.search(**result.fit_kwargs)
    places = {
        name: tmp_path / name for name in ("best_hyperparameters", "tuner_results")
    }
    artifacts = {}
    for name, place in places.items():
        place.mkdir()
        artifacts[name] = [SimpleNamespace(uri=str(place))]
    executor.write_best_hyperparameters(result.tuner, artifacts)
    text = (places["best_hyperparameters"] / "best_hyperparameters.txt").read_text()
    best = max(result.tuner.figures, key=lambda figures: figures["score"])
    changed = train.tuned(config, json.loads(text))
    assert changed["train"]["learning_rate"] == best["values"][RATE]
    assert changed["model"]["arguments"]["units"] == best["values"][UNITS]
    figures = tune.figures({"tuner_results": str(places["tuner_results"])})
    assert figures["summary"].startswith(f"3 trials · best {best['score']:.4f} with ")
    assert figures["trials"][0]["values"] == best["values"]
    assert sorted(trial["trial"] for trial in figures["trials"]) == [1, 2, 3]


def searched(folder, kept, dies_at=0):
    """Return (exit status, what it printed) of a search in a process of its own."""
    root = Path(__file__).parents[2]
    done = subprocess.run(
        [sys.executable, "-m", "tests.components.search_once"]
        + [str(folder), str(kept), str(dies_at)],
        cwd=root,
        env={**os.environ, "PYTHONPATH": str(root)},
        capture_output=True,
        text=True,
        check=False,
    )
    return done.returncode, done.stdout.splitlines()[-1:], done.stderr


@pytest.mark.slow
def test_a_killed_search_goes_on_where_it_was(folder, tmp_path):
    # Three trials of 3 epochs: it dies in the second one, at the end of its second.
    status, _, errors = searched(folder, tmp_path / "killed", dies_at=5)
    assert status == 9, errors
    assert len(list((tmp_path / "killed" / "tune").glob("*.json"))) == 1
    _, (resumed,), _ = searched(folder, tmp_path / "killed")
    _, (whole,), _ = searched(folder, tmp_path / "whole")
    resumed, whole = json.loads(resumed), json.loads(whole)
    assert whole["epochs"] == 9
    assert resumed["epochs"] == 9 - 3 - 1  # the first trial, an epoch of the second
    for got, want in zip(resumed["figures"], whole["figures"], strict=True):
        assert (got["values"], got["score"]) == (want["values"], want["score"])
