"""What TensorFlow Serving answers over HTTP, case by case (see the README there).

Claimed: predict, status and routing on one unlabelled model per server. Left to wider
servers: classify, regress, metadata, labels and several versions, and other flags.
"""

import base64
import http.client
import json
import math

import pytest

OTHER = (":classify", ":regress", "/metadata", "/labels/", "two_versions")
NOT_YET = {
    "uint64_out_of_range": "RapidJSON prints 2^64 with one digit that is not shortest",
    "mlp_rank_one": "the kernel's words depend on which operations were fused",
    "route_fragment": "uvicorn cuts the fragment off the target",
    "method_foo_status": "httptools refuses unknown methods with 400",
}


def claims(case):
    is_other = any(word in case["path"] for word in OTHER)
    return not case.get("server_flags") and not is_other


def test_rest_case(rest_case, golden_servers, request):
    if rest_case["name"] in NOT_YET:
        reason = NOT_YET[rest_case["name"]]
        request.applymarker(pytest.mark.xfail(reason=reason, strict=True))
    name = rest_case.get("model", "half_plus_two")
    server = golden_servers.get(name, golden_servers["half_plus_two"])
    status, content_type, body = ask(server.rest_port, rest_case)
    assert (status, content_type) == (rest_case["status"], rest_case["content_type"])
    want = recorded(rest_case, "response")
    got, want = readable(body), readable(want)
    assert same(got, want, 1e-6 if name == "mlp" else 0), f"{got}\n{want}"


def ask(port, case):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    body = recorded(case, "body")
    connection.putrequest(case["method"], case["path"], skip_accept_encoding=True)
    for key, value in case.get("headers", {}).items():
        connection.putheader(key, value)
    connection.putheader("Content-Length", str(len(body)))
    connection.putheader("Connection", "close")
    connection.endheaders(body)
    with connection.getresponse() as reply:
        found = reply.status, reply.getheader("content-type"), reply.read()
    connection.close()
    return found


def recorded(case, key):
    if f"{key}_base64" in case:
        return base64.b64decode(case[f"{key}_base64"])
    return case.get(key, "").encode()


def readable(body):
    text = body.decode(errors="surrogateescape")
    try:
        return json.loads(text)
    except ValueError:
        return text


def same(got, want, tolerance):
    if isinstance(want, dict):
        return got.keys() == want.keys() and all(
            same(got[key], want[key], tolerance) for key in want
        )
    if isinstance(want, list):
        return len(got) == len(want) and all(
            same(one, other, tolerance) for one, other in zip(got, want, strict=True)
        )
    if isinstance(want, str):
        # What follows names a node by where the function was inlined.
        return got.split("\n\t [[")[0] == want.split("\n\t [[")[0]
    if isinstance(want, float) and not math.isinf(want):
        return same_float(got, want, tolerance)
    return type(got) is type(want) and got == want


def same_float(got, want, tolerance):
    if math.isnan(want) or want == 0:
        return str(got) == str(want)
    return isinstance(got, float) and abs(got - want) <= tolerance
