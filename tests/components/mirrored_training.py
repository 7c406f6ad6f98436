"""Write losses and weights of trainings on one replica and on two, as JSON."""

import json
import os
import sys
from pathlib import Path

import keras
import tensorflow as tf

from components import strategies, train
from components.checkpoints import Checkpoints
from recipes.errors import BadInputError
from tests.components.trainings import config, examples

CASES = {
    "plain": {},
    "accumulate": {"accumulate": 2},
    # Far below the norm, so that clipping before and after the sum differ.
    "clip_norm": {"clip_norm": 0.01},
    "ema": {"ema": 0.9, "schedule": "cosine", "warmup_steps": 2},
    "decay": {"weight_decay": 0.1, "class_weights": "balanced"},
    "float16": {"precision": "mixed_float16", "clip_norm": 0.5},
}


def trained(data, directory, strategy, **changes):
    keras.utils.set_random_seed(0)
    settings = config(optimizer="sgd", epochs=2, **changes)
    with strategy.scope():
        learner = train.build(settings, data)
    state = train.fit(learner, data, settings, Checkpoints(directory))
    return {
        "loss": [epoch["loss"] for epoch in state.epochs],
        "weights": [float(abs(w).sum()) for w in learner.network.get_weights()],
    }


def failed(data, directory, strategy):
    try:
        trained(data, directory, strategy)
    except BadInputError as error:
        return {"loss": [], "weights": [], "message": str(error)}
    return {"message": "none"}


def main(directory):
    two = strategies.create("mirrored", 2)
    one = tf.distribute.get_strategy()
    data = examples(directory / "data")
    result = {}
    for name, changes in CASES.items():
        places = [directory / name / str(n) for n in (1, 2)]
        result[name] = [
            trained(data, place, strategy, **changes)
            for place, strategy in zip(places, (one, two), strict=True)
        ]
    broken = examples(directory / "broken", broken=5)
    pair = [failed(broken, directory / f"b{s}", s) for s in (one, two)]
    result["failed"] = pair
    (directory / "result.json").write_text(json.dumps(result))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
    # TensorFlow may wait long for the replicas' input when a process ends; a step of a
    # run ends so too.
    os._exit(0)
