"""Write the loss per step of each family on one replica and on two, as JSON.

A process of its own: logical devices must exist before TensorFlow is used.
"""

import json
import sys
from pathlib import Path

import keras
import tensorflow as tf

import models
from tests.models.families import (
    example_inputs,
    example_labels,
    loss_of,
    tiny_model,
)

GLOBAL_BATCH_SIZE, STEPS = 8, 10


def losses(name, strategy):
    with strategy.scope():
        model = tiny_model(name)
        model.compile(
            keras.optimizers.SGD(0.1),
            loss_of(name),
            jit_compile=False,
        )
    num_rows = GLOBAL_BATCH_SIZE * STEPS
    arrays = example_inputs(name, num_rows), example_labels(name, num_rows)
    data = tf.data.Dataset.from_tensor_slices(arrays).batch(
        GLOBAL_BATCH_SIZE, drop_remainder=True
    )
    # No shuffling: the data are already in the order both runs must share.
    history = model.fit(
        data.repeat(), steps_per_epoch=1, epochs=STEPS, shuffle=False, verbose=0
    ).history
    return {
        "replicas": strategy.num_replicas_in_sync,
        "loss": history["loss"],
        "weights": float(_sum(model.get_weights())),
    }


def _sum(weights):
    return sum(abs(weight).sum() for weight in weights)


def main(path):
    cpu = tf.config.list_physical_devices("CPU")[0]
    configuration = tf.config.LogicalDeviceConfiguration()
    tf.config.set_logical_device_configuration(cpu, [configuration] * 2)
    devices = [device.name for device in tf.config.list_logical_devices("CPU")]
    # Made once: a second strategy over two CPUs would reuse the first one's collective
    # keys, and TensorFlow 2.21 aborts when the shapes behind a key differ.
    one, two = map(tf.distribute.MirroredStrategy, (devices[:1], devices))
    result = {name: [losses(name, one), losses(name, two)] for name in models.names()}
    Path(path).write_text(json.dumps(result))


if __name__ == "__main__":
    main(sys.argv[1])
