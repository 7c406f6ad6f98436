"""What TensorFlow Serving answers over gRPC, case by case (see the README there)."""

import grpc
import pytest
from google.protobuf import json_format
from tensorflow_serving.apis import (
    get_model_metadata_pb2,
    get_model_status_pb2,
    model_service_pb2_grpc,
    predict_pb2,
    prediction_service_pb2_grpc,
)

REQUESTS = {
    "Predict": predict_pb2.PredictRequest,
    "GetModelMetadata": get_model_metadata_pb2.GetModelMetadataRequest,
    "GetModelStatus": get_model_status_pb2.GetModelStatusRequest,
}


def claims(case):
    spec = case["request"].get("model_spec", {})
    is_other = spec.get("name") == "two_versions" or case["name"].startswith("reload_")
    return case["method"] in REQUESTS and not is_other and not case.get("server_flags")


def test_grpc_case(grpc_case, golden_servers):
    name = grpc_case["request"].get("model_spec", {}).get("name")
    server = golden_servers.get(name, golden_servers["half_plus_two"])
    status, details, response = ask(server.grpc, grpc_case)
    assert status == grpc_case["status"]
    assert kernel_text(details) == kernel_text(grpc_case.get("details", ""))
    want = grpc_case.get("response")
    if name == "mlp" and grpc_case["method"] == "Predict" and want:
        got, want = (item["outputs"]["output_0"] for item in (response, want))
        response, want = (
            got.pop("float_val"),
            pytest.approx(want.pop("float_val"), 1e-5),
        )
    assert response == want


def ask(address, case):
    is_model_service = case["method"] == "GetModelStatus"
    request = json_format.ParseDict(case["request"], REQUESTS[case["method"]]())
    with grpc.insecure_channel(address) as channel:
        stub = (
            model_service_pb2_grpc.ModelServiceStub(channel)
            if is_model_service
            else prediction_service_pb2_grpc.PredictionServiceStub(channel)
        )
        try:
            response = getattr(stub, case["method"])(request, timeout=30)
        except grpc.RpcError as error:
            return error.code().name, error.details(), None
    found = json_format.MessageToDict(response, preserving_proto_field_name=True)
    return "OK", "", found


def kernel_text(details):
    return details.split("\n\t [[")[0]
