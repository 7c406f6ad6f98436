"""REST requests under the flags of our own: a token, a size limit, very little time."""

import asyncio
import base64
import gzip
import json
import shutil
import threading

import pytest

from serving.errors import ServingError
from serving.http1 import Http1, Limits
from serving.rest.api import RestOptions, answer
from tests.serving.conformance_rest import ask, readable

MODEL = "/v1/models/half_plus_two"
TOKEN = {"Authorization": "Bearer swordfish"}
MAX_BYTES = 2**20


@pytest.fixture(scope="module")
def server(launch, golden_models, tmp_path_factory, until):
    tokens = tmp_path_factory.mktemp("tokens") / "tokens.txt"
    tokens.write_text("swordfish\n")
    started = launch(
        "half_plus_two",
        "--model_name=half_plus_two",
        f"--model_base_path={golden_models / 'half_plus_two'}",
        f"--auth_token_file={tokens}",
        f"--max_request_bytes={MAX_BYTES}",
        "--rest_api_enable_cors_support=true",
    )
    until(lambda: started.process.poll() is None and is_ready(started), seconds=60)
    return started


def is_ready(server):
    try:
        return get(server, TOKEN)[0] == 200
    except ConnectionError:
        return False


def get(server, headers):
    case = {"method": "GET", "path": MODEL, "headers": headers}
    return ask(server.rest_port, case)


def post(server, body, headers=None):
    case = {"method": "POST", "path": f"{MODEL}:predict"}
    case["body_base64"] = base64.b64encode(body).decode()
    return ask(server.rest_port, case | {"headers": TOKEN | (headers or {})})


@pytest.mark.parametrize(
    "headers", [{}, {"Authorization": "Basic x"}, {"Authorization": "Bearer x"}]
)
def test_who_has_no_token_is_told_what_to_send(server, headers):
    status, found, body = get(server, headers)
    assert (status, found["www-authenticate"]) == (401, "Bearer")
    assert readable(body).keys() == {"error"}


def test_a_preflight_needs_no_token_and_allows_one(server):
    headers = {"Origin": "https://example.com"}
    case = {"method": "OPTIONS", "path": MODEL, "headers": headers}
    status, found, _ = ask(server.rest_port, case)
    allowed = found["access-control-allow-headers"]
    assert (status, allowed) == (200, "Content-Type, Authorization")


def test_a_body_that_unzips_beyond_the_limit_is_refused(server):
    body = gzip.compress(b'{"instances": [' + b" " * MAX_BYTES + b"1.0]}")
    status, _, reply = post(server, body, {"Content-Encoding": "gzip"})
    text = f"The body must unzip to less than {MAX_BYTES} bytes."
    assert (status, readable(reply)) == (400, {"error": text})


def test_a_body_beyond_the_limit_is_refused(server):
    assert post(server, b" " * (MAX_BYTES + 1))[0] == 413


@pytest.mark.slow
def test_a_request_whose_time_is_over_is_told_so(launch, golden_models):
    started = launch(
        "half_plus_two",
        "--model_name=half_plus_two",
        f"--model_base_path={golden_models / 'half_plus_two'}",
        "--rest_api_timeout_in_ms=1",
    )
    started.wait_ready()
    # Reading it takes several milliseconds.
    body = json.dumps({"instances": [[1.0]] * 100_000}).encode()
    status, _, reply = post(started, body)
    assert status == 504
    assert readable(reply).keys() == {"error"}
    started.stop()


@pytest.mark.slow
def test_wrong_batching_parameters_of_a_version_fail_it(
    launch, golden_models, tmp_path
):
    for number in "12":
        shutil.copytree(golden_models / "half_plus_two" / "1", tmp_path / number)
    (tmp_path / "2" / "batching_params.pbtxt").write_text("max_batch_size: many")
    started = launch(
        "half_plus_two",
        "--model_name=half_plus_two",
        f"--model_base_path={tmp_path}",
        "--enable_per_model_batching_parameters=true",
    )
    started.wait_ready()
    case = {"method": "GET", "path": f"{MODEL}/versions/2"}
    (status,) = readable(ask(started.rest_port, case)[2])["model_version_status"]
    assert (status["state"], status["status"]["error_code"]) == (
        "END",
        "INVALID_ARGUMENT",
    )
    assert "batching_params.pbtxt" in status["status"]["error_message"]
    started.stop()


@pytest.fixture
def serve():
    """Serve with given options, without any model, until the test ends."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()

    def run(coroutine):
        return asyncio.run_coroutine_threadsafe(coroutine, loop).result(30)

    async def start(options):
        http = Http1(answer(None, options), Limits())
        server = await loop.create_server(http.protocol, "127.0.0.1", 0)
        return http, server, server.sockets[0].getsockname()[1]

    async def stop(http, server):
        server.close()
        http.drain()
        await http.drained()

    started = []

    def serve_with(options):
        http, server, port = run(start(options))
        started.append((http, server))
        return port

    yield serve_with
    for pair in started:
        run(stop(*pair))
    loop.call_soon_threadsafe(loop.stop)
    thread.join()
    loop.close()


@pytest.mark.parametrize(
    ("code", "status", "header"),
    [
        ("INVALID_ARGUMENT", 400, {}),
        ("UNAUTHENTICATED", 401, {"www-authenticate": "Bearer"}),
        ("PERMISSION_DENIED", 403, {}),
        ("NOT_FOUND", 404, {}),
        ("ALREADY_EXISTS", 409, {}),
        ("ABORTED", 409, {}),
        ("RESOURCE_EXHAUSTED", 429, {"retry-after": "1"}),
        ("FAILED_PRECONDITION", 400, {}),
        ("OUT_OF_RANGE", 400, {}),
        ("UNIMPLEMENTED", 501, {}),
        ("INTERNAL", 500, {}),
        ("UNKNOWN", 500, {}),
        ("DATA_LOSS", 500, {}),
        ("UNAVAILABLE", 503, {"retry-after": "1"}),
        ("DEADLINE_EXCEEDED", 504, {}),
        ("CANCELLED", 499, {}),
    ],
)
def test_each_code_has_its_status(serve, code, status, header):
    error = ServingError(code, "no \udcff")
    port = serve(RestOptions(authorize=lambda headers: error))
    got, headers, body = ask(port, {"method": "GET", "path": MODEL})
    assert (got, body) == (status, b'{"error": "no \xff"}')
    extra = {key: headers[key] for key in headers if key in AFTER}
    assert extra == header


AFTER = ("retry-after", "www-authenticate")
