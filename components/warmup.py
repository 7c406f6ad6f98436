"""Requests for a server to run on a version before it publishes it.

TensorFlow Serving and our server read them from `assets.extra`, as a TFRecord file of
PredictionLog. The first run of a graph takes many times longer than the next.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
from tensorflow_serving.apis.predict_pb2 import PredictRequest
from tensorflow_serving.apis.prediction_log_pb2 import PredictionLog

from components import raw_inputs

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
    signatures = raw_inputs.signatures(saved_model)
    for count in sorted({1, len(examples)} if examples else ()):
        serialized = {"examples": np.array(examples[:count], object)}
        yield _log("serving_default", serialized)
        raw = raw_inputs.of(signatures["serve_raw"], examples[:count])
        for name in ("serve_raw", "explain"):
            if name in signatures:
                yield _log(name, raw)
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
