"""Strategies by name: what is missing is said with what to do about it."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import tensorflow as tf

from components import strategies
from recipes.errors import MissingError

ROOT = Path(__file__).parents[2]
GPUS = tf.config.list_physical_devices("GPU")
without_gpu = pytest.mark.skipif(bool(GPUS), reason="this machine has a GPU")
MIRRORED = """
import tensorflow as tf
from components import strategies
strategy = strategies.create("mirrored", 2)
assert strategy.num_replicas_in_sync == 2, strategy.num_replicas_in_sync
with strategy.scope():
    weight = tf.Variable(3.0)

@tf.function
def step():
    replica = tf.distribute.get_replica_context().replica_id_in_sync_group
    return weight * tf.cast(replica + 1, tf.float32)

total = strategy.reduce("SUM", strategy.run(step), axis=None)
print(float(total))
"""


def test_default_is_one_replica():
    assert strategies.create("default").num_replicas_in_sync == 1


def test_without_a_tpu_it_says_what_one_needs():
    with pytest.raises(MissingError, match="No TPU for `strategy: tpu`.*TPU_NAME"):
        strategies.create("tpu")


@without_gpu
def test_without_a_gpu_it_says_how_to_mirror_on_cpus():
    with pytest.raises(MissingError, match=r"No GPU .* train\.replicas=2"):
        strategies.create("mirrored")


@without_gpu
@pytest.mark.slow
def test_two_logical_cpus_are_two_replicas_in_sync():
    done = subprocess.run(
        [sys.executable, "-c", MIRRORED],
        cwd=ROOT,
        env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "2"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert float(done.stdout.split()[-1]) == 9.0  # 3 * 1 + 3 * 2


@pytest.mark.gpu
@pytest.mark.skipif(not GPUS, reason="this machine has no GPU")
def test_every_gpu_is_a_replica():
    assert strategies.create("mirrored").num_replicas_in_sync == len(GPUS)
    with pytest.raises(MissingError, match=f"Found: {len(GPUS)}"):
        strategies.create("mirrored", len(GPUS) + 1)
