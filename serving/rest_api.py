"""TensorFlow Serving's HTTP API as a bare ASGI application.

Every error becomes a reply at one place, `_answer`.
"""

import asyncio
import json
import logging
import re
import time
import zlib
from collections.abc import Awaitable, Callable, Mapping
from concurrent.futures import Executor
from typing import Any
from urllib.parse import unquote

from serving import json_reply, json_tensor, json_text
from serving.errors import ServingError, invalid
from serving.versions import (
    MAX_VERSION,
    ModelVersions,
    ServedVersion,
    no_such_servable,
    no_such_version,
)

logger = logging.getLogger(__name__)

HTTP_STATUS = {
    "OK": 200,
    "CANCELLED": 499,
    "UNKNOWN": 500,
    "INVALID_ARGUMENT": 400,
    "DEADLINE_EXCEEDED": 504,
    "NOT_FOUND": 404,
    "ALREADY_EXISTS": 409,
    "PERMISSION_DENIED": 403,
    "RESOURCE_EXHAUSTED": 429,
    "FAILED_PRECONDITION": 400,
    "ABORTED": 409,
    "OUT_OF_RANGE": 400,
    "UNIMPLEMENTED": 501,
    "INTERNAL": 500,
    "UNAVAILABLE": 503,
    "DATA_LOSS": 500,
    "UNAUTHENTICATED": 401,
}
# A hop to another thread costs more than a short request takes; a long one would keep
# the others waiting.
_INLINE_SECONDS = 0.001
_INLINE_BYTES = 32 * 1024
_MAX_UNZIPPED_BYTES = 256 * 2**20

_JSON = b"application/json"
_HTML = b"text/html"
_MODELS = r"(?i:/v1/models)"
_NAME = r"/(?P<name>[^/:]+)"
_VERSION = r"(?:/versions/(?P<version>\d+)|/labels/(?P<label>[^/:]+))?"
_VERB = r":(?P<verb>classify|regress|predict)"
_METADATA = r"(?P<metadata>/metadata)?"
_POST = re.compile(f"{_MODELS}{_NAME}{_VERSION}{_VERB}", re.ASCII)
_GET = re.compile(f"{_MODELS}(?:{_NAME})?{_VERSION}{_METADATA}", re.ASCII)
_BAD_ESCAPE = re.compile(r"%(?![0-9a-fA-F]{2})")

Models = Mapping[str, ModelVersions]
Receive = Callable[[], Awaitable[dict[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]
Application = Callable[[dict[str, Any], Receive, Send], Awaitable[None]]
Reply = tuple[int, bytes, bytes]  # status, content type, body


def application(models: Models, executor: Executor) -> Application:
    """Build the ASGI application.

    Args:
      models: {name: ModelVersions}; looked up anew for each request.
      executor: threads for the requests that are too long for the event loop.
    """

    async def app(scope: dict[str, Any], receive: Receive, send: Send) -> None:
        body = await _read(receive)
        if body is None:
            return
        status, content_type, text = await _answer(models, executor, scope, body)
        headers = [(b"content-type", content_type)]
        headers.append((b"content-length", b"%d" % len(text)))
        await send(
            {"type": "http.response.start", "status": status, "headers": headers}
        )
        await send({"type": "http.response.body", "body": text})

    return app


async def _read(receive: Receive) -> bytes | None:
    """Read the whole body; None when the client is gone."""
    chunks = []
    while True:
        message = await receive()
        if message["type"] != "http.request":
            return None
        chunks.append(message.get("body", b""))
        if not message.get("more_body"):
            return b"".join(chunks)


async def _answer(
    models: Models, executor: Executor, scope: dict[str, Any], body: bytes
) -> Reply:
    target = scope["raw_path"].decode("latin-1")
    if scope["query_string"]:
        target += "?" + scope["query_string"].decode("latin-1")
    if _BAD_ESCAPE.search(target):
        return _page(400, "Bad Request")
    if scope["method"] == "OPTIONS":
        return 400, b"text/html; charset=ISO-8859-1", b""
    if not target.lower().startswith("/v1/"):
        return _page(404, "Not Found")
    try:
        text = await _route(models, executor, scope, target, body)
    except ServingError as error:
        return HTTP_STATUS[error.code], _JSON, _error_body(error.message)
    except Exception:
        logger.exception("%s %s failed", scope["method"], target)
        return 500, _JSON, _error_body("Internal error; the server's log has it.")
    return 200, _JSON, text


def _error_body(message: str) -> bytes:
    if not message:
        return b""
    text = json.dumps({"error": message}, ensure_ascii=False)
    return text.encode(errors="surrogateescape")


def _page(status: int, title: str) -> Reply:
    text = (
        f"<HTML><HEAD>\n<TITLE>{status} {title}</TITLE>\n</HEAD><BODY>\n"
        f"<H1>{title}</H1>\n</BODY></HTML>\n"
    )
    return status, _HTML, text.encode()


async def _route(
    models: Models, executor: Executor, scope: dict[str, Any], target: str, body: bytes
) -> bytes:
    pattern = {"GET": _GET, "POST": _POST}.get(scope["method"])
    match = pattern.fullmatch(target) if pattern else None
    if match is None:
        raise invalid(f"Malformed request: {scope['method']} {target}")
    if match["name"] is None:
        raise invalid("Missing model name in request.")
    name, version = unquote(match["name"]), _version(match["version"])
    if scope["method"] == "GET":
        if match["metadata"]:
            raise _not_offered("metadata")
        return _status(models, name, version)
    if match["verb"] != "predict":
        raise _not_offered(match["verb"])
    document = json_text.parse(_unzipped(scope, body))
    signature = json_tensor.signature_name(document)
    if match["label"] is not None:
        label = unquote(match["label"])
        raise invalid(f"Unrecognized servable version label: {label}")
    if name not in models:
        raise no_such_servable(name, version)
    with models[name].use(version) as served:
        if len(body) < _INLINE_BYTES and served.run_seconds < _INLINE_SECONDS:
            return _predict(served, document, signature)
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(
            executor, _predict, served, document, signature
        )


def _version(digits: str | None) -> int | None:
    if digits is None:
        return None
    version = int(digits) if len(digits) < 20 else MAX_VERSION + 1
    if version > MAX_VERSION:
        raise invalid("")  # the real server answers with an empty body
    return version


def _not_offered(what: str) -> ServingError:
    return ServingError("UNIMPLEMENTED", f"This server does not offer {what}.")


def _unzipped(scope: dict[str, Any], body: bytes) -> bytes:
    """Undo `Content-Encoding: gzip`; a body that is not gzip counts as empty."""
    encodings = [value for key, value in scope["headers"] if key == b"content-encoding"]
    if b"gzip" not in encodings:
        return body
    unzip = zlib.decompressobj(wbits=16 + zlib.MAX_WBITS)
    try:
        data = unzip.decompress(body, _MAX_UNZIPPED_BYTES)
    except zlib.error:
        return b""
    return data if unzip.eof else b""


def _predict(served: ServedVersion, document: dict[str, Any], signature: str) -> bytes:
    start = time.perf_counter()
    if signature not in served.model.signatures:
        text = f'Serving signature name: "{signature}" not found in signature def'
        raise invalid(text)
    specs = served.model.signatures[signature].inputs
    inputs, as_rows = json_tensor.decode(document, specs)
    reply = json_reply.encode(served.model.run(signature, inputs), as_rows=as_rows)
    seconds = time.perf_counter() - start
    served.run_seconds += 0.2 * (seconds - served.run_seconds)
    return reply


def _status(models: Models, name: str, version: int | None) -> bytes:
    if name not in models:
        raise no_such_version(name, version)
    statuses = [
        {
            "version": str(status.version),
            "state": status.state,
            "status": {
                "error_code": status.error_code,
                "error_message": status.error_message,
            },
        }
        for status in models[name].statuses(version)
    ]
    return json.dumps({"model_version_status": statuses}, indent=1).encode()
