"""Run a small training that may die at an update, and write its record as JSON."""

import json
import os
import sys
from pathlib import Path

import keras
import tensorflow as tf

from components import train
from components.checkpoints import Checkpoints
from components.train_step import Learner
from components.training_progress import fingerprint, outcome
from tests.components.sections import section
from tests.components.trainings import config, examples


def main(directory, die_at=None, noise=0.0, dropout=0.0, **changes):
    transform = section(
        label={"feature": "y", "above": 0.0},
        numeric=["a", "b"],
        augment={"noise": noise},
    )
    settings = config(dropout=dropout, transform=transform, **changes)
    if settings["train"]["deterministic"]:
        tf.config.experimental.enable_op_determinism()
    keras.utils.set_random_seed(settings["train"]["seed"])
    data = examples(directory / "data")
    learner = train.build(settings, data)
    if die_at:
        dying(learner, die_at)
    checkpoints = Checkpoints(directory / "kept")
    state = train.fit(learner, data, settings, checkpoints)
    record = {
        **outcome(state, settings["train"]),
        "resumed_at_step": checkpoints.restored_step,
        "weights_sha256": fingerprint(learner.network),
    }
    (directory / "record.json").write_text(json.dumps(record))


def dying(learner: Learner, step: int) -> None:
    """Let the process end, as by a kill, once an update was made."""
    run = learner.make_train_function

    def make(force=False):
        run(force)
        function = learner.train_function

        def dying_function(iterator):
            logs = function(iterator)
            if int(learner.updates) >= step:
                os._exit(9)
            return logs

        learner.train_function = dying_function

    learner.make_train_function = make


if __name__ == "__main__":
    main(Path(sys.argv[1]), **json.loads(sys.argv[2]))
