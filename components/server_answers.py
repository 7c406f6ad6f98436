"""Ask a server that is examined: examples over REST, tensors over gRPC, and how fast.

With libraries of others, as clients of TensorFlow Serving would.
"""

import base64
import json
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from http.client import HTTPConnection, HTTPException
from itertools import cycle, islice
from typing import Any

import grpc
import numpy as np
import tensorflow as tf
from tensorflow_serving.apis.predict_pb2 import PredictRequest
from tensorflow_serving.apis.prediction_service_pb2_grpc import PredictionServiceStub

from components.model_process import HOST, ModelProcess

NUM_UNTIMED = 20  # a server's first answers take longer
_MOST_SECONDS = 10.0  # for the timed ones, of a model that is slow
_TIMEOUT_SECONDS = 60.0
Arrays = dict[str, np.ndarray]
Post = Callable[[str], bytes]


class AnswerError(Exception):
    """The server answered something else than a prediction."""


def over_rest(server: ModelProcess, examples: Sequence[bytes], like: Arrays) -> Arrays:
    """Return the answers to serialized examples, of the types of `like`."""
    encoded = [{"b64": base64.b64encode(e).decode()} for e in examples]
    with _posting(server) as post:
        answer = post(json.dumps({"inputs": {"examples": encoded}}))
    outputs = json.loads(answer)["outputs"]
    if len(like) == 1:  # then the server leaves its name out
        outputs = dict.fromkeys(like, outputs)
    return {
        name: np.array(outputs[name], str if one.dtype == object else one.dtype)
        for name, one in like.items()
    }


def over_grpc(server: ModelProcess, raw: Arrays) -> Arrays:
    """Return the answers of `serve_raw`."""
    request = PredictRequest()
    request.model_spec.name = server.name
    request.model_spec.signature_name = "serve_raw"
    for name, value in raw.items():
        request.inputs[name].CopyFrom(tf.make_tensor_proto(value))
    unlimited = [("grpc.max_receive_message_length", -1)]
    with grpc.insecure_channel(f"{HOST}:{server.port}", unlimited) as channel:
        try:
            stub = PredictionServiceStub(channel)
            answer = stub.Predict(request, timeout=_TIMEOUT_SECONDS)
        except grpc.RpcError as error:
            raise AnswerError(f"gRPC {error.code()}: {error.details()}") from error
    return {name: tf.make_ndarray(value) for name, value in answer.outputs.items()}


def timed(
    server: ModelProcess, examples: Sequence[bytes], num_requests: int
) -> dict[str, Any]:
    """Ask single examples; return how long each took and what the server used."""
    encoded = [{"b64": base64.b64encode(e).decode()} for e in examples]
    bodies = cycle([json.dumps({"instances": [one]}) for one in encoded])
    with _posting(server) as post:
        for body in islice(bodies, NUM_UNTIMED):
            post(body)
        before, _ = server.cost()
        latencies = list(_latencies(post, islice(bodies, num_requests)))
        after, memory = server.cost()
    return {
        "start_seconds": server.start_seconds,
        "latencies_ms": latencies,
        "cpu_seconds": after - before,
        "memory_bytes": memory,
    }


def _latencies(post: Post, bodies: Iterator[str]) -> Iterator[float]:
    """Yield milliseconds from the request to the whole answer."""
    deadline = time.perf_counter() + _MOST_SECONDS
    for body in bodies:
        begin = time.perf_counter()
        post(body)
        end = time.perf_counter()
        yield 1000 * (end - begin)
        if end > deadline:
            return


@contextmanager
def _posting(server: ModelProcess) -> Iterator[Post]:
    """Give a function that sends a body on one connection and returns the answer."""
    connection = HTTPConnection(HOST, server.rest_port, timeout=_TIMEOUT_SECONDS)
    path = f"/v1/models/{server.name}:predict"

    def post(body: str) -> bytes:
        try:
            connection.request("POST", path, body.encode())
            reply = connection.getresponse()
            answer = reply.read()
        except (OSError, HTTPException) as error:
            raise AnswerError(f"REST: {type(error).__name__}: {error}") from error
        if reply.status != 200:
            text = answer.decode("utf-8", "replace")
            raise AnswerError(f"REST {reply.status}: {text}")
        return answer

    try:
        yield post
    finally:
        connection.close()
