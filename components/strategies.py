"""Distribution strategies by the name a recipe uses."""

import tensorflow as tf

from recipes.errors import MissingError


def create(name: str, replicas: int | None = None) -> tf.distribute.Strategy:
    """Return the strategy called `default`, `mirrored` or `tpu`.

    Call it before any TensorFlow operation: logical CPU devices cannot be made later.

    Args:
      name: which strategy.
      replicas: for `mirrored`: the number of replicas; None for all GPUs.

    Raises:
      MissingError: the device is not there.
    """
    if name == "tpu":
        return _tpu()
    if name == "mirrored":
        return _mirrored(replicas)
    return tf.distribute.get_strategy()


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
    try:
        resolver = tf.distribute.cluster_resolver.TPUClusterResolver()
        tf.config.experimental_connect_to_cluster(resolver)
        tf.tpu.experimental.initialize_tpu_system(resolver)
    except (ValueError, tf.errors.OpError) as error:
        raise MissingError(
            "No TPU for `strategy: tpu`. It needs a Cloud TPU VM with tensorflow-tpu "
            "installed and TPU_NAME set; elsewhere use `strategy: default`. "
            f"TensorFlow says: {str(error).splitlines()[0]}"
        ) from error
    return tf.distribute.TPUStrategy(resolver)
