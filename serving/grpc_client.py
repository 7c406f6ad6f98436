"""The gRPC half of `serving.client`; imported only when it is asked for."""

from collections.abc import Mapping
from typing import Any

from serving import tensor_proto
from serving.client import InvalidRequestError, VersionStatus, server_error

_OPTIONS = [
    ("grpc.max_receive_message_length", -1),
    ("grpc.max_send_message_length", -1),
]


class GrpcTransport:
    """Ask over gRPC; see `serving.client.Client`.

    The inputs of a signature are asked for once, to give them their names and dtypes.
    """

    def __init__(self, address: str) -> None:
        import grpc
        from tensorflow_serving.apis import (
            model_service_pb2_grpc,
            prediction_service_pb2_grpc,
        )

        self._channel = grpc.insecure_channel(address, options=_OPTIONS)
        self._predictions = prediction_service_pb2_grpc.PredictionServiceStub(
            self._channel
        )
        self._models = model_service_pb2_grpc.ModelServiceStub(self._channel)
        self._inputs: dict[tuple[str, str, int | None], dict[str, int]] = {}

    def predict(
        self,
        name: str,
        inputs: Any,
        signature: str,
        version: int | None,
        timeout_seconds: float,
    ) -> Any:
        from tensorflow_serving.apis import predict_pb2

        dtypes = self._dtypes(name, signature, version, timeout_seconds)
        request = predict_pb2.PredictRequest()
        _fill_spec(request.model_spec, name, version)
        request.model_spec.signature_name = signature
        for key, values in _named(inputs, dtypes).items():
            _fill_tensor(request.inputs[key], values, dtypes.get(key))
        try:
            response = _call(self._predictions.Predict, request, timeout_seconds)
        except InvalidRequestError:
            self._inputs.clear()  # another version may have other inputs
            raise
        outputs = {
            key: tensor_proto.to_array(proto) for key, proto in response.outputs.items()
        }
        return next(iter(outputs.values())) if len(outputs) == 1 else outputs

    def status(self, name: str, timeout_seconds: float) -> list[VersionStatus]:
        from tensorflow_serving.apis import get_model_status_pb2

        request = get_model_status_pb2.GetModelStatusRequest()
        request.model_spec.name = name
        response = _call(self._models.GetModelStatus, request, timeout_seconds)
        states = get_model_status_pb2.ModelVersionStatus.State
        return [
            VersionStatus(
                version=item.version,
                state=states.Name(item.state),
                error_code=_code_name(item.status),
                error_message=item.status.error_message,
            )
            for item in response.model_version_status
        ]

    def _dtypes(
        self, name: str, signature: str, version: int | None, timeout_seconds: float
    ) -> dict[str, int]:
        key = (name, signature, version)
        if key not in self._inputs:
            definitions = self._signatures(name, version, timeout_seconds)
            if signature not in definitions:
                text = f'Serving signature key "{signature}" not found.'
                raise InvalidRequestError("FAILED_PRECONDITION", text)
            self._inputs[key] = {
                alias: info.dtype
                for alias, info in definitions[signature].inputs.items()
            }
        return self._inputs[key]

    def _signatures(
        self, name: str, version: int | None, timeout_seconds: float
    ) -> Mapping[str, Any]:
        from tensorflow_serving.apis import get_model_metadata_pb2

        request = get_model_metadata_pb2.GetModelMetadataRequest()
        _fill_spec(request.model_spec, name, version)
        request.metadata_field.append("signature_def")
        call = self._predictions.GetModelMetadata
        response = _call(call, request, timeout_seconds)
        signatures = get_model_metadata_pb2.SignatureDefMap()
        response.metadata["signature_def"].Unpack(signatures)
        return signatures.signature_def

    def close(self) -> None:
        self._channel.close()


def _fill_spec(spec: Any, name: str, version: int | None) -> None:
    spec.name = name
    if version is not None:
        spec.version.value = version


def _fill_tensor(proto: Any, values: Any, dtype: int | None) -> None:
    try:
        tensor_proto.fill(proto, tensor_proto.cast(values, dtype))
    except (TypeError, ValueError) as error:
        raise InvalidRequestError("INVALID_ARGUMENT", str(error)) from error


def _code_name(status: Any) -> str:
    enum = status.DESCRIPTOR.fields_by_name["error_code"].enum_type
    return enum.values_by_number[status.error_code].name


def _named(inputs: Any, dtypes: Mapping[str, int]) -> Mapping[str, Any]:
    if isinstance(inputs, Mapping):
        return inputs
    if len(dtypes) > 1:
        text = f"Expected {{name: array}} with the inputs {sorted(dtypes)}."
        raise InvalidRequestError("INVALID_ARGUMENT", text)
    return dict.fromkeys(dtypes, inputs)


def _call(method: Any, request: Any, timeout_seconds: float) -> Any:
    import grpc

    try:
        return method(request, timeout=timeout_seconds)
    except grpc.RpcError as error:
        raise server_error(error.code().name, error.details()) from error
