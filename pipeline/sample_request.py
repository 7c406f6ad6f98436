"""A request that a model can answer, made from what its signature says it takes."""

import json
from dataclasses import dataclass
from typing import Any

from recipes.errors import StrataError

_METADATA = "/tensorflow.serving.PredictionService/GetModelMetadata"
_PREFERRED = "serve_raw"  # what our export calls the signature that takes plain tensors
_TIMEOUT_SECONDS = 60.0


@dataclass(frozen=True)
class SampleRequest:
    """One request, encoded for either protocol."""

    signature: str
    document: bytes  # JSON, for REST
    message: bytes  # PredictRequest, for gRPC


def sample_request(name: str, address: str) -> SampleRequest:
    """Ask a server what a model takes; return a request with one row of zeros.

    Args:
      name: the model.
      address: HOST:PORT, gRPC.

    Raises:
      StrataError: the model has no signature that takes plain tensors.
    """
    found = signatures(name, address)
    chosen = _PREFERRED if _PREFERRED in found else "serving_default"
    if chosen not in found:
        raise StrataError(
            f"{name} has neither the signature {_PREFERRED!r} nor 'serving_default'. "
            f"Received: {sorted(found)}"
        )
    inputs = zeros(found[chosen])
    document = {
        "signature_name": chosen,
        "inputs": {alias: _plain(values) for alias, values in inputs.items()},
    }
    return SampleRequest(
        chosen, json.dumps(document).encode(), _message(name, chosen, inputs)
    )


def signatures(name: str, address: str) -> dict[str, Any]:
    """Ask a server for the signatures of a model: name -> SignatureDef."""
    import grpc

    from serving import protos

    request = protos.GetModelMetadataRequest(metadata_field=["signature_def"])
    request.model_spec.name = name
    with grpc.insecure_channel(address) as channel:
        call = channel.unary_unary(_METADATA)
        reply = call(request.SerializeToString(), timeout=_TIMEOUT_SECONDS)
    packed = protos.GetModelMetadataResponse.FromString(reply)
    found = protos.SignatureDefMap.FromString(packed.metadata["signature_def"].value)
    return dict(found.signature_def)


def zeros(signature: Any) -> dict[str, Any]:
    """Return inputs of one row: zeros, empty strings, and what has a default."""
    from serving import tensor_proto

    return {
        alias: tensor_proto.to_array(signature.defaults[alias])
        if alias in signature.defaults
        else _zeros(info)
        for alias, info in sorted(signature.inputs.items())
    }


def _zeros(info: Any) -> Any:
    """Return zeros (strings: empty) for a TensorInfo; what may vary has the size 1."""
    from serving import protos, tensor_proto

    proto = protos.TensorProto(dtype=info.dtype)  # without values: all zeros
    for dim in info.tensor_shape.dim:
        proto.tensor_shape.dim.add().size = max(1, dim.size)
    return tensor_proto.to_array(proto)


def _plain(values: Any) -> Any:
    return (values.astype(str) if values.dtype == object else values).tolist()


def _message(name: str, signature: str, inputs: dict[str, Any]) -> bytes:
    from serving import protos, tensor_proto

    request = protos.PredictRequest()
    request.model_spec.name = name
    request.model_spec.signature_name = signature
    for alias, values in inputs.items():
        tensor_proto.fill(request.inputs[alias], values)
    message: bytes = request.SerializeToString()
    return message
