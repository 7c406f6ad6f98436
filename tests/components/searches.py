"""Searches for better values of the small training in `trainings`."""

import json
import tempfile
from pathlib import Path

import keras

from components import train, tune
from components.checkpoints import Checkpoints
from components.training_data import Data
from components.training_progress import outcome
from recipes.train import Tune
from tests.components.trainings import SPEC, config

SPACE = {
    "train.learning_rate": {"low": 0.001, "high": 0.1, "log": True},
    "model.arguments.units": [[4], [2, 2]],
}


def tune_section(**changes):
    keys = json.dumps({"space": {"train.learning_rate": [0.1]}, **changes})
    return Tune.model_validate_json(keys).model_dump(mode="json")


def settings(directory, space=None, train=None, **changes):
    """Return what the Tuner hands on; `train` and `changes`: of these sections."""
    section = tune_section(**changes) | {"space": space or SPACE}
    return {
        **config(**(train or {})),
        "tune": section,
        "checkpoint_dir": str(directory),
    }


def data_in(folder):
    """Return the examples that `trainings.examples` wrote there."""
    return Data([str(folder / "train.gz")], [str(folder / "eval.gz")], SPEC)


def search(data, directory, run=None, **changes):
    """Search, with `run` in place of a training; return the search when done."""
    config = settings(directory, **changes)

    def training(changed, place):
        keras.utils.set_random_seed(0)
        learner = train.build(changed, data)
        state = train.fit(learner, data, changed, Checkpoints(place))
        return outcome(state, changed["train"])

    hyperparameters = tune.space(config)
    notes = Path(tempfile.mkdtemp())
    found = tune.Search(config, hyperparameters, run or training, notes)
    found.search()
    return found
