"""TensorFlow Serving's gRPC API: Predict, GetModelMetadata and GetModelStatus.

The other calls end with UNIMPLEMENTED, which is what a servicer answers by itself.
"""

import logging
from collections.abc import Callable, Mapping
from concurrent.futures import Executor
from functools import wraps
from typing import Any, TypeVar

import grpc
import numpy as np
from tensorflow_serving.apis import (
    get_model_metadata_pb2,
    get_model_status_pb2,
    model_service_pb2_grpc,
    predict_pb2,
    prediction_service_pb2_grpc,
)

from serving import tensor_proto
from serving.errors import CODES, ServingError, invalid
from serving.saved_model import Signature
from serving.versions import ModelVersions, no_such_servable, no_such_version

logger = logging.getLogger(__name__)

_MAX_DETAILS_BYTES = 1024
_OPTIONS = [
    ("grpc.max_receive_message_length", -1),
    ("grpc.max_send_message_length", -1),
    ("grpc.so_reuseport", 0),  # a second server on the port is an error
]

Models = Mapping[str, ModelVersions]
_R = TypeVar("_R")
_Call = Callable[[Any, Any, Any], _R]


def server(models: Models, executor: Executor) -> grpc.Server:
    """Build the server; the caller adds a port and starts it."""
    built = grpc.server(executor, options=_OPTIONS)
    prediction_service_pb2_grpc.add_PredictionServiceServicer_to_server(
        PredictionService(models), built
    )
    model_service_pb2_grpc.add_ModelServiceServicer_to_server(
        ModelService(models), built
    )
    return built


def _answered(call: _Call[_R]) -> _Call[_R]:
    """End a call with the status of the error it raises."""

    @wraps(call)
    def method(self: Any, request: Any, context: Any) -> _R:
        try:
            return call(self, request, context)
        except ServingError as error:
            code, details = error.code, error.message
        except Exception:
            logger.exception("%s failed", call.__name__)
            code, details = "INTERNAL", "Internal error; the server's log has it."
        context.abort(_STATUS_CODES[code], _cut(details))
        raise AssertionError("abort raises")

    return method


_STATUS_CODES = {code: grpc.StatusCode[code] for code in CODES}


def _cut(details: str) -> str:
    data = details.encode(errors="surrogateescape")
    if len(data) > _MAX_DETAILS_BYTES:
        data = data[:_MAX_DETAILS_BYTES] + b"...TRUNCATED"
    return data.decode(errors="replace")


class PredictionService(prediction_service_pb2_grpc.PredictionServiceServicer):
    def __init__(self, models: Models) -> None:
        self._models = models

    @_answered
    def Predict(self, request: Any, context: Any) -> Any:  # noqa: N802 - the name of the call
        versions, version = _find(self._models, request)
        name = request.model_spec.signature_name or "serving_default"
        with versions.use(version) as served:
            if name not in served.model.signatures:
                text = f'Serving signature key "{name}" not found.'
                raise ServingError("FAILED_PRECONDITION", text)
            signature = served.model.signatures[name]
            wanted = _wanted(request, signature)
            outputs = served.model.run(name, _inputs(request, signature), wanted)
            return _reply(request, served.number, name, outputs)

    @_answered
    def GetModelMetadata(self, request: Any, context: Any) -> Any:  # noqa: N802 - the name of the call
        if not request.metadata_field:
            raise invalid(
                "GetModelMetadataRequest must specify at least one metadata_field"
            )
        for field in request.metadata_field:
            if field != "signature_def":
                raise invalid(f"Metadata field {field} is not supported")
        versions, version = _find(self._models, request)
        with versions.use(version) as served:
            signatures = get_model_metadata_pb2.SignatureDefMap()
            for name, definition in served.model.signature_defs.items():
                signatures.signature_def[name].CopyFrom(definition)
            response = get_model_metadata_pb2.GetModelMetadataResponse()
            response.metadata["signature_def"].Pack(signatures)
            response.model_spec.name = request.model_spec.name
            response.model_spec.version.value = served.number
            return response


class ModelService(model_service_pb2_grpc.ModelServiceServicer):
    def __init__(self, models: Models) -> None:
        self._models = models

    @_answered
    def GetModelStatus(self, request: Any, context: Any) -> Any:  # noqa: N802 - the name of the call
        if not request.HasField("model_spec"):
            raise invalid("Missing ModelSpec")
        name, version = request.model_spec.name, _version(request.model_spec)
        if name not in self._models:
            raise no_such_version(name, version)
        response = get_model_status_pb2.GetModelStatusResponse()
        for status in self._models[name].statuses(version):
            response.model_version_status.add(
                version=status.version,
                state=status.state,
                status={
                    "error_code": status.error_code,
                    "error_message": status.error_message,
                },
            )
        return response


def _version(spec: Any) -> int | None:
    return spec.version.value if spec.HasField("version") else None


def _find(models: Models, request: Any) -> tuple[ModelVersions, int | None]:
    if not request.HasField("model_spec"):
        raise invalid("Missing ModelSpec")
    spec = request.model_spec
    if not spec.name:
        raise invalid("ModelSpec has no name specified.")
    if spec.HasField("version_label"):
        text = f"Unrecognized servable version label: {spec.version_label}"
        raise invalid(text)
    if spec.name not in models:
        raise no_such_servable(spec.name, _version(spec))
    return models[spec.name], _version(spec)


def _inputs(request: Any, signature: Signature) -> dict[str, np.ndarray]:
    sent, expected = set(request.inputs), set(signature.inputs)
    if len(sent) != len(expected):
        raise invalid(
            f"input size does not match signature: {len(sent)}!={len(expected)} "
            f"len({_braces(sent)}) != len({_braces(expected)}). "
            f"Sent extra: {_braces(sent - expected)}. "
            f"Missing but required: {_braces(expected - sent)}."
        )
    for name, spec in signature.inputs.items():
        if name not in sent:
            raise invalid(
                f"Signature input alias: {name}(feed name: {spec.tensor_name}) not "
                "found in request and no default value provided. Inputs expected to be "
                f"in the request {_braces(sent)}, or default input alias set: "
            )
    arrays = {name: _array(name, request.inputs[name]) for name in signature.inputs}
    for index, (name, spec) in enumerate(signature.inputs.items()):
        provided = tensor_proto.dtype_name(request.inputs[name])
        if provided != spec.dtype:
            text = f"to be {spec.dtype} but {provided} is provided"
            raise invalid(f"Expects arg[{index}] {text}")
    return arrays


def _array(name: str, proto: Any) -> np.ndarray:
    try:
        return tensor_proto.to_array(proto)
    except ValueError as error:
        raise invalid(f"tensor parsing error: {name}") from error


def _wanted(request: Any, signature: Signature) -> list[str]:
    wanted: list[str] = []
    for name in request.output_filter:
        if name not in signature.outputs:
            raise invalid(
                f"output tensor alias not found in signature: {name} Outputs expected "
                f"to be in the set {_braces(signature.outputs)}."
            )
        if name in wanted:
            raise invalid(f"duplicate output tensor alias: {name}")
        wanted.append(name)
    return wanted


def _braces(names: Any) -> str:
    return "{" + ",".join(sorted(names)) + "}"


def _reply(
    request: Any, version: int, signature: str, outputs: dict[str, np.ndarray]
) -> Any:
    response = predict_pb2.PredictResponse()
    response.model_spec.name = request.model_spec.name
    response.model_spec.version.value = version
    response.model_spec.signature_name = signature
    for name, array in outputs.items():
        tensor_proto.fill(response.outputs[name], array)
    return response
