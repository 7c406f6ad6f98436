"""Load a SavedModel and run its signatures; the only file that imports TensorFlow.

The graph runs in a `Session` through one callable per signature, on the thread of
the caller. For a small network that is many times faster than calling
`tf.saved_model.load(path).signatures[name]`, and it loads models of TensorFlow 1.
`Session._make_callable_from_options` is private; tests/serving run it on Keras,
lookup-table, string and TensorFlow 1 models to notice when it changes.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
from tensorflow.core.framework import types_pb2
from tensorflow.core.protobuf import config_pb2

from serving.errors import CODES, ServingError

TAGS = ("serve",)
# RunOptions.inter_op_thread_pool: run on the thread of the caller. A hop to another
# takes 46 us instead of 17 for an MLP 64-128-10, batch 1, on two cores; the
# single-threaded executor saves 2 us more, but its errors do not name the node and it
# takes no TensorFlow 1 control flow.
_CALLER_THREAD = -1


@dataclass(frozen=True)
class TensorSpec:
    """One input or output: its tensor, dtype by TensorFlow's name ("float"), shape."""

    tensor_name: str
    dtype: str
    shape: tuple[int | None, ...] | None  # None: unknown rank; None inside: any size


@dataclass(frozen=True)
class Signature:
    inputs: dict[str, TensorSpec]
    outputs: dict[str, TensorSpec]
    method_name: str


class SavedModel:
    """A loaded SavedModel.

    Attributes:
      path: the directory it came from.
      signatures: {name: Signature}.
      signature_defs: {name: SignatureDef}, the protobuf messages as stored.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        config = tf.compat.v1.ConfigProto()
        config.gpu_options.allow_growth = True
        self._session = tf.compat.v1.Session(graph=tf.Graph(), config=config)
        self._callables: dict[tuple[str, tuple[str, ...]], Callable[..., Any]] = {}
        try:
            meta_graph = self._restore()
        except BaseException:
            self._session.close()
            raise
        self.signature_defs = dict(meta_graph.signature_def)
        self.signatures = {
            name: _signature(definition)
            for name, definition in self.signature_defs.items()
        }

    def _restore(self) -> Any:
        with self._session.graph.as_default():
            return tf.compat.v1.saved_model.load(
                self._session, list(TAGS), str(self.path)
            )

    def run(
        self,
        signature: str,
        inputs: Mapping[str, np.ndarray],
        outputs: Sequence[str] = (),
    ) -> dict[str, np.ndarray]:
        """Run one signature.

        Args:
          signature: a key of `signatures`.
          inputs: one array for each input; strings are object arrays of bytes.
          outputs: names of the outputs to compute; empty means all.

        Raises:
          ServingError: the graph refused the inputs, with TensorFlow's words.
        """
        spec = self.signatures[signature]
        wanted = tuple(outputs) or tuple(spec.outputs)
        try:
            values = self._callable(signature, wanted)(
                *(inputs[name] for name in spec.inputs)
            )
        except tf.errors.OpError as error:
            raise ServingError(CODES[error.error_code], error.message) from error
        return dict(zip(wanted, map(_as_array, values), strict=True))

    def _callable(self, signature: str, outputs: tuple[str, ...]) -> Callable[..., Any]:
        key = (signature, outputs)
        if key not in self._callables:
            spec = self.signatures[signature]
            options = config_pb2.CallableOptions()
            options.feed.extend(item.tensor_name for item in spec.inputs.values())
            options.fetch.extend(spec.outputs[name].tensor_name for name in outputs)
            options.run_options.inter_op_thread_pool = _CALLER_THREAD
            self._callables[key] = self._session._make_callable_from_options(options)
        return self._callables[key]

    def prepare(self, signature: str) -> None:
        """Optimize the graph of a signature before its first request, if it is there.

        Raises:
          tf.errors.OpError: the signature cannot be run.
        """
        if signature in self.signatures:
            self._callable(signature, tuple(self.signatures[signature].outputs))

    def close(self) -> None:
        """Free the graph and its variables; no run may be in progress."""
        self._callables.clear()
        self._session.close()


def load(path: str | Path) -> SavedModel:
    """Load the SavedModel in `path`; keep the result alive as long as it serves.

    Raises:
      ServingError: TensorFlow refuses the files, with its code and words.
      Exception: of other kinds, which its loader raises for damaged files.
    """
    try:
        model = SavedModel(Path(path))
        model.prepare("serving_default")
    except tf.errors.OpError as error:
        raise ServingError(CODES[error.error_code], error.message) from error
    return model


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
