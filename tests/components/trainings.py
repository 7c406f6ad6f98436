"""A small training for tests: is a + b above 0?"""

import json

import keras
import numpy as np
import tensorflow as tf

from components import train
from components.checkpoints import Checkpoints
from components.training_data import Data
from recipes.train import Export, Train
from tests.components.records import example, write
from tests.components.sections import section

TRANSFORM = section(label={"feature": "y", "above": 0.0}, numeric=["a", "b"])
SPEC = {
    "a_xf": tf.io.FixedLenFeature([1], tf.float32),
    "b_xf": tf.io.FixedLenFeature([1], tf.float32),
    "strata_label": tf.io.FixedLenFeature([1], tf.int64),
}
DEFAULTS = {"epochs": 3, "global_batch_size": 8, "learning_rate": 0.05}


def train_section(**changes):
    """Return the section `train` as the trainer gets it, every default present."""
    keys = json.dumps({**DEFAULTS, **changes})
    return Train.model_validate_json(keys).model_dump(mode="json")


def config(dropout=0.0, transform=TRANSFORM, **changes):
    arguments = {"units": [4], "dropout": dropout}
    return {
        "transform": transform,
        "model": {"family": "wide_deep", "arguments": arguments},
        "train": train_section(**changes),
        "export": Export().model_dump(mode="json"),
    }


def examples(directory, num_train=32, broken=None):
    """Write examples to learn from and 8 to watch; `broken`: one whose `a` is NaN."""
    values = np.random.default_rng(0).normal(size=(num_train + 8, 2))
    labels = [int(a + b > 0) for a, b in values]
    if broken is not None:
        values[broken, 0] = np.nan
    rows = [
        example(a_xf=float(a), b_xf=float(b), strata_label=label)
        for (a, b), label in zip(values, labels, strict=True)
    ]
    directory.mkdir(parents=True, exist_ok=True)
    return Data(
        train=[write(directory / "train.gz", rows[:num_train])],
        eval=[write(directory / "eval.gz", rows[num_train:])],
        spec=SPEC,
    )


def fitted(data, directory, *, clock=None, **changes):
    """Return a fresh learner after `fit`, how it went, and its checkpoints."""
    keras.utils.set_random_seed(0)
    settings = config(**changes)
    learner = train.build(settings, data)
    checkpoints = Checkpoints(directory)
    clocks = {"clock": clock} if clock else {}
    state = train.fit(learner, data, settings, checkpoints, **clocks)
    return learner, state, checkpoints
