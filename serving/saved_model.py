"""Load a SavedModel and run its signatures; the only file that imports TensorFlow.

The graph runs in a `Session` through one callable for each set of feeds and fetches, on
the thread of the caller. For a small network that is many times faster than calling
`tf.saved_model.load(path).signatures[name]`, and it loads models of TensorFlow 1.
`Session._make_callable_from_options` is private: where it is missing or fails, `load`
takes the public `Session.make_callable`, which is slower.
"""

import logging
import os
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
from google.protobuf import text_format
from tensorflow.core.framework import types_pb2
from tensorflow.core.protobuf import config_pb2

from serving.config_files import BatchingParameters
from serving.errors import CODES, ServingError, invalid, not_found

logger = logging.getLogger(__name__)

# RunOptions.inter_op_thread_pool: run on the thread of the caller. A hop to another
# takes 46 us instead of 17 for an MLP 64-128-10, batch 1, on two cores; the
# single-threaded executor saves 1 us more, but its errors do not name the node and it
# takes no TensorFlow 1 control flow.
_CALLER_THREAD = -1
# Clients choose what is fetched; each choice costs a pruned copy of the graph.
_MAX_CALLABLES = 64
_TRIAL_MILLISECONDS = 5000
# On two cores a CNN runs 3.6 times slower with two threads in an operation than with
# one where that takes 40 us, and as fast where it takes 370: the hand-over costs more
# than it brings (benchmarks/serving_executor.py).
_LONG_RUN_SECONDS = 1e-3
# Text of failures which no request can survive.
_BROKEN = ("Could not find variable", "uninitialized value", "Table not initialized")

Names = tuple[str, ...]  # of tensors
Key = tuple[Names, Names]  # feeds and fetches
Run = Callable[..., list[Any]]


@dataclass(frozen=True)
class SessionOptions:
    """How TensorFlow runs a model.

    Attributes:
      intra_op_parallelism: threads that share one operation; 0: one, or all cores where
        a run takes a millisecond or more and gets faster by it.
      inter_op_parallelism: threads that share a graph, of those that cannot run on the
        thread of the caller; 0: as many as cores.
      tags: of the graph to load.
      config_file: with a ConfigProto as text; the two numbers above go before its own.
    """

    intra_op_parallelism: int = 0
    inter_op_parallelism: int = 0
    tags: tuple[str, ...] = ("serve",)
    config_file: str = ""


DEFAULTS = SessionOptions()


@dataclass(frozen=True)
class TensorSpec:
    """One input or output: its tensor, dtype by TensorFlow's name ("float"), shape."""

    tensor_name: str
    dtype: str
    shape: tuple[int | None, ...] | None  # None: unknown rank; None inside: any size


@dataclass(frozen=True)
class Signature:
    """What a request may ask for; `defaults` are for inputs that it leaves out."""

    inputs: dict[str, TensorSpec]
    outputs: dict[str, TensorSpec]
    method_name: str
    defaults: dict[str, np.ndarray]


class SavedModel:
    """A loaded SavedModel; `load` makes it.

    Attributes:
      path: the directory it came from.
      signatures: {name: Signature}.
      signature_defs: {name: SignatureDef}, the protobuf messages as bytes.
      batching: how to batch requests of this version; None: each runs alone.
    """

    batching: BatchingParameters | None = None

    def __init__(self, path: Path, config: Any, tags: Sequence[str]) -> None:
        self.path = path
        self._lock = threading.Lock()  # guards _callables
        self._callables: OrderedDict[Key, Run] = OrderedDict()
        self._is_fast = True
        self._session = tf.compat.v1.Session(graph=tf.Graph(), config=config)
        try:
            with self._session.graph.as_default():
                meta_graph = tf.compat.v1.saved_model.load(
                    self._session, list(tags), str(path)
                )
        except BaseException:
            self._session.close()
            raise
        definitions = sorted(meta_graph.signature_def.items())
        self.signature_defs = {
            name: definition.SerializeToString() for name, definition in definitions
        }
        self.signatures = {
            name: _signature(definition) for name, definition in definitions
        }

    def run(
        self,
        feeds: Names,
        fetches: Names,
        values: Sequence[np.ndarray],
    ) -> list[np.ndarray]:
        """Compute tensors; may be called from several threads at once.

        A run cannot be stopped: the timeout of TensorFlow's RunOptions has no effect
        on the thread of the caller.

        Args:
          feeds: names of tensors to replace, each once.
          fetches: names of tensors to compute.
          values: one array for each feed; strings are object arrays of bytes.

        Raises:
          ServingError: the graph refused the values, with TensorFlow's words.
        """
        try:
            fetched = self._callable((feeds, fetches))(*values)
        except tf.errors.OpError as error:
            raise ServingError(CODES[error.error_code], error.message) from error
        return [
            value if type(value) is np.ndarray else _as_array(value)
            for value in fetched
        ]

    def close(self) -> None:
        """Let go of the graph and its variables; a run in progress is cancelled."""
        with self._lock:
            self._callables.clear()
        self._session.close()

    def _callable(self, key: Key) -> Run:
        with self._lock:
            run = self._callables.get(key)
            if run is not None:
                self._callables.move_to_end(key)
                return run
        run = self._fast(*key) if self._is_fast else self._public(*key)
        with self._lock:
            self._callables[key] = run
            if len(self._callables) > _MAX_CALLABLES:
                self._callables.popitem(last=False)
        return run

    def _fast(
        self,
        feeds: Names,
        fetches: Names,
        run_options: config_pb2.RunOptions | None = None,
    ) -> Run:
        options = config_pb2.CallableOptions(feed=feeds, fetch=fetches)
        options.run_options.inter_op_thread_pool = _CALLER_THREAD
        if run_options is not None:
            options.run_options.CopyFrom(run_options)
        run: Run = self._session._make_callable_from_options(options)
        return run

    def _public(self, feeds: Names, fetches: Names) -> Run:
        with self._session.graph.as_default():
            run = self._session.make_callable(list(fetches), list(feeds))

        def checked(*values: np.ndarray) -> list[Any]:
            try:
                return list(run(*values))
            except (TypeError, ValueError) as error:  # its own check of the values
                raise invalid(str(error)) from error

        return checked

    def try_out(self) -> float | None:
        """Run what can be run without a request, and choose how runs are made.

        The first signature that takes made-up values counts, `serving_default` before
        the others; most that parse examples take none. `explain`, which asks the model
        many times, comes last.

        Returns:
          Seconds of a run; None: no signature takes the made-up values.

        Raises:
          ServingError: FAILED_PRECONDITION, a variable or a table is missing.
        """
        names = sorted(
            self.signatures,
            key=lambda name: (name != "serving_default", name == "explain"),
        )
        for name in names:
            signature = self.signatures[name]
            feeds = tuple(spec.tensor_name for spec in signature.inputs.values())
            fetches = tuple(spec.tensor_name for spec in signature.outputs.values())
            values = [_made_up(spec) for spec in signature.inputs.values()]
            try:
                self._try_in_time(feeds, fetches, values)
                return self._seconds(feeds, fetches, values)
            except ServingError as error:
                if any(text in error.message for text in _BROKEN):
                    raise ServingError("FAILED_PRECONDITION", error.message) from error
                logger.debug("%s: %s takes no made-up values", self.path, name)
        return None

    def _try_in_time(
        self,
        feeds: Names,
        fetches: Names,
        values: Sequence[np.ndarray],
    ) -> None:
        """Run once where it can be stopped: made-up values may loop for ever."""
        options = config_pb2.RunOptions(timeout_in_ms=_TRIAL_MILLISECONDS)
        try:
            self._fast(feeds, fetches, options)(*values)
        except tf.errors.OpError as error:
            raise ServingError(CODES[error.error_code], error.message) from error
        except Exception:  # whatever a private method may come to raise
            text = "%s: runs take the slow way, TensorFlow's private one fails"
            logger.warning(text, self.path, exc_info=True)
            self._is_fast = False

    def _seconds(
        self,
        feeds: Names,
        fetches: Names,
        values: Sequence[np.ndarray],
    ) -> float:
        self.run(feeds, fetches, values)  # the first one also sets things up
        times = []
        for _ in range(3):
            start = time.perf_counter()
            self.run(feeds, fetches, values)
            times.append(time.perf_counter() - start)
        return min(times)


def load(path: str | Path, options: SessionOptions = DEFAULTS) -> SavedModel:
    """Load the SavedModel in `path`; keep the result alive as long as it serves.

    Raises:
      ServingError: TensorFlow refuses the files, with its code and words.
      Exception: of other kinds, which its loader raises for damaged files.
    """
    # Else the first session of the process sets the intra-op threads of all.
    os.environ.setdefault("TF_OVERRIDE_GLOBAL_THREADPOOL", "1")
    config = session_config(options)
    cores = os.cpu_count() or 1
    if config.intra_op_parallelism_threads:
        return _open(path, config, options.tags)[0]
    config.intra_op_parallelism_threads = 1
    model, seconds = _open(path, config, options.tags)
    if seconds is None or seconds < _LONG_RUN_SECONDS or cores == 1:
        return model
    model.close()  # before the next: there may not be memory for both
    config.intra_op_parallelism_threads = cores
    model, shared = _open(path, config, options.tags)
    if shared is not None and shared < seconds:
        return model
    model.close()
    config.intra_op_parallelism_threads = 1
    return _open(path, config, options.tags)[0]


def _open(
    path: str | Path, config: config_pb2.ConfigProto, tags: Sequence[str]
) -> tuple[SavedModel, float | None]:
    """Load and try out; return the model and the seconds of a run, if known."""
    try:
        model = SavedModel(Path(path), config, tags)
    except tf.errors.OpError as error:
        raise ServingError(CODES[error.error_code], error.message) from error
    except RuntimeError as error:  # its loader's word for: no such graph
        text = "Could not find meta graph def matching supplied tags"
        raise not_found(f"{text}: {{ {' '.join(tags)} }}. {error}") from error
    except ValueError as error:
        index = Path(path, "variables", "variables.index")
        if index.exists():
            raise
        text = f"Could not find variables: {index} is missing"
        raise ServingError("FAILED_PRECONDITION", text) from error
    try:
        return model, model.try_out()
    except BaseException:
        model.close()
        raise


def session_config(options: SessionOptions) -> config_pb2.ConfigProto:
    config = config_pb2.ConfigProto()
    config.gpu_options.allow_growth = True
    if options.config_file:
        try:
            text_format.Parse(Path(options.config_file).read_text("utf-8"), config)
        except (OSError, UnicodeDecodeError, text_format.ParseError) as error:
            text = f"{options.config_file}: expected a ConfigProto as text: {error}"
            raise invalid(text) from error
    if options.intra_op_parallelism:
        config.intra_op_parallelism_threads = options.intra_op_parallelism
    if options.inter_op_parallelism:
        config.inter_op_parallelism_threads = options.inter_op_parallelism
    return config


def _made_up(spec: TensorSpec) -> np.ndarray:
    shape = [size or 1 for size in spec.shape or ()]
    dtype = tf.as_dtype(spec.dtype)
    if dtype == tf.string:
        return np.full(shape, b"", object)
    # Zeros are within the vocabulary; ones let a loop that doubles come to its end.
    fill = np.ones if dtype.is_floating else np.zeros
    return fill(shape, dtype.as_numpy_dtype)


def _as_array(value: Any) -> np.ndarray:
    if isinstance(value, bytes):  # a scalar string; numpy would cut trailing zeros
        return np.array(value, object)
    return np.asarray(value)


def _signature(definition: Any) -> Signature:
    return Signature(
        inputs={name: _spec(info) for name, info in sorted(definition.inputs.items())},
        outputs={
            name: _spec(info) for name, info in sorted(definition.outputs.items())
        },
        method_name=definition.method_name,
        defaults={
            name: tf.make_ndarray(value) for name, value in definition.defaults.items()
        },
    )


def _spec(info: Any) -> TensorSpec:
    sizes = (dim.size for dim in info.tensor_shape.dim)
    return TensorSpec(
        tensor_name=info.name,
        dtype=types_pb2.DataType.Name(info.dtype).removeprefix("DT_").lower(),
        shape=None
        if info.tensor_shape.unknown_rank
        else tuple(None if size < 0 else size for size in sizes),
    )
