"""Stored examples as the tensors that `serve_raw` takes: see `components.export`."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
from tensorflow.core.protobuf.saved_model_pb2 import SavedModel

from components import graph_input


def signatures(saved_model: Path) -> Mapping[str, Any]:
    """Return the SignatureDefs of a SavedModel directory, by name, without loading."""
    stored = SavedModel.FromString((saved_model / "saved_model.pb").read_bytes())
    return stored.meta_graphs[0].signature_def


def of(signature: Any, examples: Sequence[bytes]) -> dict[str, np.ndarray]:
    """Return the inputs of `serve_raw` for serialized examples of raw features.

    Args:
      signature: its SignatureDef.
      examples: serialized tf.Example.

    Returns:
      Input name -> (examples, ...) array.
    """
    rows = [tf.train.Example.FromString(example) for example in examples]
    inputs = signature.inputs
    column = graph_input.raw_column if "adjacency" in inputs else _column
    return {name: column(name, info, rows) for name, info in inputs.items()}


def _column(name: str, info: Any, rows: Sequence[tf.train.Example]) -> np.ndarray:
    """Return a raw feature as `serve_raw` takes it: see `components.export`."""
    dtype = tf.as_dtype(info.dtype)
    _, *shape = (dim.size for dim in info.tensor_shape.dim)
    numbers = [row.features.feature[name].float_list.value for row in rows]
    if shape and any(numbers):
        return np.array(numbers, np.float32).reshape(-1, *shape)
    if shape:
        encoded = [_value(row, name, b"") for row in rows]
        if len(shape) == 1:
            return _recordings(encoded)
        return np.stack([_pixels(image, shape) for image in encoded])
    missing = b"" if dtype == tf.string else np.nan
    values = [_value(row, name, missing) for row in rows]
    return np.array(values, dtype.as_numpy_dtype)


def _value(row: tf.train.Example, name: str, missing: Any) -> Any:
    feature = row.features.feature[name]  # absent: an empty one
    kind = feature.WhichOneof("kind")
    values = getattr(feature, kind).value if kind else ()
    return values[0] if values else missing


def _recordings(encoded: Sequence[bytes]) -> np.ndarray:
    """Decode WAVs, silence added to the shorter ones: (rows, samples) float32."""
    samples = [tf.audio.decode_wav(wav, 1).audio.numpy()[:, 0] for wav in encoded]
    longest = max(map(len, samples))
    return np.stack([np.pad(one, (0, longest - len(one))) for one in samples])


def _pixels(encoded: bytes, shape: Sequence[int]) -> np.ndarray:
    height, width, channels = shape
    image = tf.io.decode_image(encoded, channels=channels, expand_animations=False)
    return tf.image.resize(image, (height, width)).numpy()
