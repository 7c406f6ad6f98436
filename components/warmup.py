"""Requests for a server to run on a version before it publishes it.

TensorFlow Serving and our server read them from `assets.extra`, as a TFRecord file of
PredictionLog. The first run of a graph takes many times longer than the next.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
from tensorflow.core.protobuf.saved_model_pb2 import SavedModel
from tensorflow_serving.apis.predict_pb2 import PredictRequest
from tensorflow_serving.apis.prediction_log_pb2 import PredictionLog

from components import graph_input

REQUESTS = "assets.extra/tf_serving_warmup_requests"
NUM_EXAMPLES = 8  # of the largest request; the smallest has one


def read_examples(examples_uri: str) -> list[bytes]:
    """Return the first serialized examples of the eval split of an artifact."""
    files = sorted(str(path) for path in Path(examples_uri).glob("Split-eval/*.gz"))
    records = tf.data.TFRecordDataset(files, compression_type="GZIP")
    return list(records.take(NUM_EXAMPLES).as_numpy_iterator())


def write(path: Path, saved_model: Path, examples: Sequence[bytes]) -> None:
    """Write requests of one and of several rows for each signature that predicts.

    Args:
      path: file to write.
      saved_model: directory, as `components.export` writes it.
      examples: serialized, of raw features.
    """
    with tf.io.TFRecordWriter(str(path)) as file:
        for log in _logs(saved_model, examples):
            file.write(log.SerializeToString())


def _logs(saved_model: Path, examples: Sequence[bytes]) -> Iterator[Any]:
    stored = SavedModel.FromString((saved_model / "saved_model.pb").read_bytes())
    signatures = stored.meta_graphs[0].signature_def
    rows = [tf.train.Example.FromString(example) for example in examples]
    for count in sorted({1, len(rows)} if rows else ()):
        serialized = {"examples": np.array(examples[:count], object)}
        yield _log("serving_default", serialized)
        inputs = signatures["serve_raw"].inputs
        column = graph_input.raw_column if "adjacency" in inputs else _column
        raw = {name: column(name, i, rows[:count]) for name, i in inputs.items()}
        yield _log("serve_raw", raw)
    if "generate" in signatures:  # its other inputs have defaults
        one = {"prompt": np.array([b""], object), "max_tokens": np.int32(1)}
        yield _log("generate", one)


def _log(signature: str, inputs: dict[str, np.ndarray]) -> Any:
    request = PredictRequest()
    request.model_spec.signature_name = signature
    for name, value in inputs.items():
        request.inputs[name].CopyFrom(tf.make_tensor_proto(value))
    log = PredictionLog()
    log.predict_log.request.CopyFrom(request)
    return log


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
