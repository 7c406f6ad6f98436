"""Strategies by name: what is missing is said with what to do about it."""

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import tensorflow as tf

from components import strategies
from recipes.errors import BadInputError, MissingError

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


def test_a_batch_that_does_not_divide_is_refused():
    strategy = strategies.create("default")
    strategies.check_batch(strategy, {"global_batch_size": 6, "accumulate": 3})
    with pytest.raises(BadInputError, match=r"1 replicas times .*=4\. Received: 6"):
        strategies.check_batch(strategy, {"global_batch_size": 6, "accumulate": 4})


# What TensorFlow says to each: it knows no TPU, it finds none here, nobody answers.
@pytest.mark.parametrize("name", [None, "", "local", "grpc://127.0.0.1:9"])
def test_without_a_tpu_it_says_what_one_needs(name, monkeypatch):
    monkeypatch.delenv("TPU_NAME", raising=False)
    if name is not None:
        monkeypatch.setenv("TPU_NAME", name)
    with pytest.raises(MissingError, match="No TPU for `strategy: tpu`.*TPU_NAME"):
        strategies.create("tpu")


def test_a_tpu_is_called_at_its_address(monkeypatch):
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        monkeypatch.setenv("TPU_NAME", f"grpc://127.0.0.1:{port}")
        resolver = tf.distribute.cluster_resolver.TPUClusterResolver()
        addresses = resolver.cluster_spec().as_dict()["worker"]
        assert addresses == [f"127.0.0.1:{port}"]
        strategies._reach(addresses)
        server.settimeout(10)
        server.accept()[0].close()


def test_without_tf_config_it_says_how_to_set_it(monkeypatch):
    monkeypatch.delenv("TF_CONFIG", raising=False)
    with pytest.raises(
        MissingError, match="needs TF_CONFIG; it is not set.*TF_CONFIG="
    ):
        strategies.create("multiworker")


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
