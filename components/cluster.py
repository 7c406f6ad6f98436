"""Training on several machines: the cluster that TF_CONFIG describes.

Each machine runs one process, a worker, with the same addresses and its own place among
them. All hold the same weights and compute their part of each batch.
"""

import json
import os
import signal
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

import tensorflow as tf

from components import meeting
from recipes.errors import MissingError

WAIT_SECONDS = 300.0  # for the other workers to start
CONNECT_SECONDS = 120.0  # for TensorFlow to connect workers that have met
EXAMPLE = (
    '{"cluster": {"worker": ["host-a:2222", "host-b:2222"]}, '
    '"task": {"type": "worker", "index": 0}}'
)
# What TensorFlow raises in a collective operation whose other side has gone.
_GONE = (
    tf.errors.UnavailableError,
    tf.errors.AbortedError,
    tf.errors.CancelledError,
    tf.errors.DeadlineExceededError,
    tf.errors.InternalError,
)


@dataclass(frozen=True)
class Cluster:
    """Addresses of all workers, `host:port`, and this one's place among them.

    The first is the chief: it alone exports, and writes what a training leaves.
    """

    addresses: tuple[str, ...]
    index: int


def read(environment: Mapping[str, str] = os.environ) -> Cluster:
    """Return the cluster of TF_CONFIG.

    Raises:
      MissingError: there is none, or it is not as TensorFlow wants it.
    """
    text = environment.get("TF_CONFIG")
    if not text:
        raise _bad("it is not set")
    try:
        config = json.loads(text)
        jobs, task, index = config["cluster"], config["task"]["type"], config["task"]
        index = int(index["index"])
        chiefs, workers = tuple(jobs.get("chief", ())), tuple(jobs.get("worker", ()))
        for address in chiefs + workers:
            meeting.host_and_port(address)
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise _bad(f"{type(error).__name__}: {error}") from error
    if set(jobs) - {"chief", "worker"} or len(chiefs) > 1:
        raise _bad(f"only workers and one chief can train, not {sorted(jobs)}")
    if len(set(chiefs + workers)) < len(chiefs + workers):
        raise _bad("an address is there twice")
    if not 0 <= index < len(jobs.get(task, ())):
        raise _bad(f"there is no {task} {index}")
    place = index + (len(chiefs) if task == "worker" else 0)
    return Cluster(chiefs + workers, place)


def create(wait_seconds: float = WAIT_SECONDS) -> tf.distribute.Strategy:
    """Return the strategy of the cluster, once all its workers are there.

    Raises:
      MissingError: TF_CONFIG, a free port or a worker is missing.
    """
    cluster = read()
    meeting.meet(cluster.addresses, cluster.index, wait_seconds)
    # TensorFlow waits without end, deaf to signals, for a worker lost in between.
    watchdog = threading.Timer(CONNECT_SECONDS, _give_up)
    watchdog.daemon = True
    watchdog.start()
    on_terminate = signal.getsignal(signal.SIGTERM)
    try:
        return tf.distribute.MultiWorkerMirroredStrategy()
    finally:
        watchdog.cancel()
        # It takes SIGTERM for a notice of pre-emption, and goes on.
        signal.signal(signal.SIGTERM, on_terminate)


def is_spread(strategy: tf.distribute.Strategy) -> bool:
    """Say whether other processes train with this one."""
    return isinstance(strategy, tf.distribute.MultiWorkerMirroredStrategy)


def is_chief(strategy: tf.distribute.Strategy) -> bool:
    """Say whether this process writes what a training leaves."""
    return not is_spread(strategy) or read().index == 0


def wait_for_all(strategy: tf.distribute.Strategy) -> None:
    """Return once every worker has come here: one that ends early ends the others."""

    @tf.function
    def together() -> tf.Tensor:
        return strategy.reduce("SUM", strategy.run(lambda: tf.constant(1.0)), axis=None)

    if is_spread(strategy):
        together()


@contextmanager
def watched(strategy: tf.distribute.Strategy) -> Iterator[None]:
    """Say so where what runs inside failed because another worker has gone.

    Raises:
      MissingError: it has.
    """
    try:
        yield
    except _GONE as error:
        if not is_spread(strategy):
            raise
        said = str(error).partition("\n")[0]
        raise MissingError(
            f"Lost one of the workers {', '.join(read().addresses)}. Start all of them "
            "again: they go on from the last checkpoint. TensorFlow says: "
            f"{type(error).__name__}: {said}"
        ) from error


def _bad(why: str) -> MissingError:
    return MissingError(
        f"`strategy: multiworker` needs TF_CONFIG; {why}. Set it for each worker, to "
        f"its own index: TF_CONFIG='{EXAMPLE}'; else use `strategy: default`."
    )


def _give_up() -> None:
    os.write(2, b"Lost a worker while TensorFlow connected them. Start all again.\n")
    os._exit(MissingError.exit_code)
