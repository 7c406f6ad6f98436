"""Write weights of attacked and of weighed trainings, on one replica, in parts, on two.

The places of examples in a batch are the same in all of them.
"""

import json
import os
import sys
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

from components import strategies, train
from components.checkpoints import Checkpoints
from components.training_data import Data
from tests.components.records import example, write
from tests.components.sections import section
from tests.components.trainings import config

IMAGE = section(
    label={"feature": "y", "classes": [0, 1, 2]},
    image={"feature": "scan", "shape": [4, 4, 1], "normalize": "signed"},
)
TABLE = section(label={"feature": "y", "above": 0.0}, numeric=["a"], hash={"sex": 2})
LABEL = {"strata_label": tf.io.FixedLenFeature([1], tf.int64)}
SPECS = {
    "image": LABEL | {"scan_xf": tf.io.FixedLenFeature([1], tf.string)},
    "table": LABEL
    | {
        "a_xf": tf.io.FixedLenFeature([1], tf.float32),
        "sex_xf": tf.io.FixedLenFeature([1], tf.int64),
    },
}
CASES = {
    "image": {"adversarial": {"epsilon": 0.2, "steps": 3, "share": 0.5}},
    "table": {"reweigh": ["sex"]},
}


def rows(name):
    rng = np.random.default_rng(0)
    # Of a table enough that every pair of group and label has a weight.
    for _ in range(136 if name == "table" else 40):
        label, sex = (int(n) for n in rng.integers(0, 2, 2))
        if name == "table":
            yield example(a_xf=float(rng.normal()), sex_xf=sex, strata_label=label)
        else:
            pixels = rng.integers(0, 256, (4, 4, 1), np.uint8)
            encoded = tf.io.encode_png(pixels).numpy()
            yield example(scan_xf=encoded, strata_label=label)


def settings(name, **changes):
    transform = IMAGE if name == "image" else TABLE
    changes = {"optimizer": "sgd", "epochs": 2, **CASES[name], **changes}
    made = config(transform=transform, **changes)
    arguments = {"units": [4]} if name == "image" else made["model"]["arguments"]
    family = "mlp" if name == "image" else "wide_deep"
    return made | {"model": {"family": family, "arguments": arguments}}


def trained(name, data, directory, strategy, **changes):
    keras.utils.set_random_seed(0)
    with strategy.scope():
        learner = train.build(settings(name, **changes), data)
    state = train.fit(learner, data, settings(name, **changes), Checkpoints(directory))
    weights = [float(w) for v in learner.network.get_weights() for w in v.flat]
    return {"weights": weights, "loss": [epoch["loss"] for epoch in state.epochs]}


def main(directory):
    two = strategies.create("mirrored", 2)
    one = tf.distribute.get_strategy()
    result = {}
    for name in CASES:
        examples = list(rows(name))
        data = Data(
            train=[write(directory / f"{name}-train.gz", examples[:-8])],
            eval=[write(directory / f"{name}-eval.gz", examples[-8:])],
            spec=SPECS[name],
        )
        result[name] = [
            trained(name, data, directory / f"{name}-1", one),
            trained(name, data, directory / f"{name}-parts", one, accumulate=4),
            trained(name, data, directory / f"{name}-2", two),
            trained(name, data, directory / f"{name}-both", two, accumulate=2),
        ]
    (directory / "result.json").write_text(json.dumps(result))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
    # TensorFlow may wait long for the replicas' input when a process ends; a step of a
    # run ends so too.
    os._exit(0)
