"""Distribution strategies by the name a recipe uses."""

import socket
from collections.abc import Iterable, Mapping
from typing import Any

import tensorflow as tf

from components import cluster, meeting
from components.replicas import mend
from recipes.errors import BadInputError, MissingError

TPU_SECONDS = 10.0  # for a TPU to accept a connection


def create(name: str, replicas: int | None = None) -> tf.distribute.Strategy:
    """Return the strategy called `default`, `mirrored`, `multiworker` or `tpu`.

    Call it before any TensorFlow operation: logical CPU devices cannot be made later.

    Args:
      name: which strategy.
      replicas: for `mirrored`: the number of replicas; None for all GPUs.

    Raises:
      MissingError: the device, TF_CONFIG or another worker is not there.
    """
    if name == "default":
        return tf.distribute.get_strategy()
    mend()
    if name == "tpu":
        return _tpu()
    if name == "multiworker":
        return cluster.create()
    return _mirrored(replicas)


def check_batch(strategy: tf.distribute.Strategy, train: Mapping[str, Any]) -> None:
    """Refuse a batch that the replicas cannot share evenly: each counts alike.

    Args:
      strategy: what trains; how many replicas it has may depend on the machines.
      train: the recipe's section of that name.

    Raises:
      BadInputError: `global_batch_size` is no multiple of the parts it is cut into.
    """
    size, replicas = train["global_batch_size"], strategy.num_replicas_in_sync
    if size % (replicas * train["accumulate"]):
        raise BadInputError(
            f"Expected train.global_batch_size to be a multiple of {replicas} replicas "
            f"times train.accumulate={train['accumulate']}. Received: {size}"
        )


def _mirrored(replicas: int | None) -> tf.distribute.Strategy:
    # Listing logical devices would start the runtime, which fixes the CPU devices.
    if tf.config.list_physical_devices("GPU"):
        gpus = [device.name for device in tf.config.list_logical_devices("GPU")]
        if replicas and replicas > len(gpus):
            raise MissingError(
                f"Expected {replicas} GPUs for train.replicas={replicas}. "
                f"Found: {len(gpus)}. Lower it, or leave it out to use them all."
            )
        return tf.distribute.MirroredStrategy(gpus[:replicas])
    if not replicas:
        raise MissingError(
            "No GPU for `strategy: mirrored`. Install tensorflow[and-cuda], a driver, "
            "use `strategy: default`, or set train.replicas=2 to mirror over logical "
            "CPU devices (a check, not a speed-up)."
        )
    cpu = tf.config.list_physical_devices("CPU")[0]
    tf.config.set_logical_device_configuration(
        cpu, [tf.config.LogicalDeviceConfiguration()] * replicas
    )
    cpus = [device.name for device in tf.config.list_logical_devices("CPU")]
    return tf.distribute.MirroredStrategy(cpus)


def _tpu() -> tf.distribute.Strategy:
    """Return the strategy of the TPU that TPU_NAME names.

    Never run on a TPU: it is tested up to where one would answer.
    """
    try:
        resolver = tf.distribute.cluster_resolver.TPUClusterResolver()
        _reach(resolver.cluster_spec().as_dict().get("worker", ()))
        tf.config.experimental_connect_to_cluster(resolver)
        tf.tpu.experimental.initialize_tpu_system(resolver)
    except (ValueError, RuntimeError, OSError, tf.errors.OpError) as error:
        said = str(error).partition("\n")[0]
        raise MissingError(
            "No TPU for `strategy: tpu`. It needs a Cloud TPU VM with tensorflow-tpu "
            "installed and TPU_NAME set; elsewhere use `strategy: default`. "
            f"TensorFlow says: {said}"
        ) from error
    return tf.distribute.TPUStrategy(resolver)


def _reach(addresses: Iterable[str]) -> None:
    """Raise OSError where nobody listens: TensorFlow would wait without end."""
    for address in addresses:
        place = meeting.host_and_port(address)
        socket.create_connection(place, timeout=TPU_SECONDS).close()
