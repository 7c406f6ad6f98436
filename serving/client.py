"""Ask a model server, this one or TensorFlow Serving, over REST or gRPC.

    client = Client("http://127.0.0.1:8501")  # REST
    client = Client("127.0.0.1:8500")  # gRPC, loads TensorFlow for its messages
    probabilities = client.predict("digits", images)

REST needs nothing but Python; numpy is used when it is there.
"""

import http.client
import json
import time
from base64 import b64decode, b64encode
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol
from urllib.parse import quote, urlsplit

_READY_POLL_SECONDS = 0.05


class ServerError(Exception):
    """The server answered with an error; its text is the message.

    Attributes:
      code: the canonical status, as "NOT_FOUND".
    """

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


class InvalidRequestError(ServerError):
    """The request cannot be right: repeat it only after changing it."""


class ModelNotFoundError(ServerError):
    """The server has no such model or version."""


class UnavailableError(ServerError):
    """No answer: nobody listens, or the server is overloaded; may be repeated."""


class DeadlineError(ServerError):
    """No answer within the time given."""


_ERRORS: dict[str, type[ServerError]] = {
    "INVALID_ARGUMENT": InvalidRequestError,
    "FAILED_PRECONDITION": InvalidRequestError,
    "OUT_OF_RANGE": InvalidRequestError,
    "NOT_FOUND": ModelNotFoundError,
    "UNAVAILABLE": UnavailableError,
    "RESOURCE_EXHAUSTED": UnavailableError,
    "DEADLINE_EXCEEDED": DeadlineError,
}
_CODES = {
    400: "INVALID_ARGUMENT",
    404: "NOT_FOUND",
    429: "RESOURCE_EXHAUSTED",
    501: "UNIMPLEMENTED",
    503: "UNAVAILABLE",
    504: "DEADLINE_EXCEEDED",
}


def server_error(code: str, message: str) -> ServerError:
    """Build the exception for a canonical status code."""
    return _ERRORS.get(code, ServerError)(code, message)


@dataclass(frozen=True)
class VersionStatus:
    """State is START, LOADING, AVAILABLE, UNLOADING or END."""

    version: int
    state: str
    error_code: str
    error_message: str


class _Transport(Protocol):
    def predict(
        self,
        name: str,
        inputs: Any,
        signature: str,
        version: int | None,
        timeout_seconds: float,
    ) -> Any: ...

    def status(self, name: str, timeout_seconds: float) -> list[VersionStatus]: ...

    def close(self) -> None: ...


class Client:
    """A client for one server; for one thread at a time.

    Args:
      address: "http://HOST:PORT" for REST, "HOST:PORT" for gRPC.
    """

    def __init__(self, address: str) -> None:
        self.address = address
        self._transport: _Transport
        if "://" in address:
            self._transport = _Rest(address)
        else:
            from serving.grpc_client import GrpcTransport

            self._transport = GrpcTransport(address)

    def predict(
        self,
        name: str,
        inputs: Any,
        *,
        signature: str = "serving_default",
        version: int | None = None,
        timeout_seconds: float = 30.0,
    ) -> Any:
        """Run a model.

        Args:
          name: the model.
          inputs: an array (or nested lists), or {input name: array}; a model with
            several inputs needs the names. Strings may be str or bytes.
          signature: which function of the model.
          version: None is the newest.
          timeout_seconds: time for the whole answer.

        Returns:
          The output as an array, or {output name: array} where there are several.
          Strings are bytes. REST does not tell dtypes: floats arrive as float64,
          integers as int64.

        Raises:
          ServerError: or one of its kinds.
        """
        return self._transport.predict(
            name, inputs, signature, version, timeout_seconds
        )

    def status(
        self, name: str, *, timeout_seconds: float = 30.0
    ) -> list[VersionStatus]:
        """List the versions the server knows, newest first.

        Raises:
          ServerError: or one of its kinds.
        """
        return self._transport.status(name, timeout_seconds)

    def wait_ready(self, name: str, timeout_seconds: float = 60.0) -> VersionStatus:
        """Wait until a version of the model answers; return the newest such.

        Raises:
          DeadlineError: it does not within `timeout_seconds`; says why not.
        """
        deadline = time.monotonic() + timeout_seconds
        reason = "no answer"
        while (remaining := deadline - time.monotonic()) > 0:
            try:
                statuses = self.status(name, timeout_seconds=remaining)
            except (ModelNotFoundError, UnavailableError, DeadlineError) as error:
                reason = str(error)
            else:
                for status in statuses:
                    if status.state == "AVAILABLE":
                        return status
                reason = str(statuses)
            time.sleep(_READY_POLL_SECONDS)
        text = f"{name} is not ready after {timeout_seconds} s: {reason}"
        raise DeadlineError("DEADLINE_EXCEEDED", text)

    def close(self) -> None:
        self._transport.close()

    def __enter__(self) -> "Client":
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()


class _Rest:
    def __init__(self, address: str) -> None:
        url = urlsplit(address)
        if url.scheme not in ("http", "https") or not url.hostname:
            text = f"Expected 'http://HOST:PORT' or 'HOST:PORT'. Received: {address!r}"
            raise ValueError(text)
        is_secure = url.scheme == "https"
        kind = http.client.HTTPSConnection if is_secure else http.client.HTTPConnection
        self._connection = kind(url.hostname, url.port)
        self._prefix = url.path.rstrip("/") + "/v1/models/"

    def predict(
        self,
        name: str,
        inputs: Any,
        signature: str,
        version: int | None,
        timeout_seconds: float,
    ) -> Any:
        path = quote(name, safe="")
        if version is not None:
            path += f"/versions/{version}"
        body = {"signature_name": signature, "inputs": _plain(inputs)}
        reply = self._request("POST", path + ":predict", body, timeout_seconds)
        return _arrays(reply["outputs"])

    def status(self, name: str, timeout_seconds: float) -> list[VersionStatus]:
        reply = self._request("GET", quote(name, safe=""), None, timeout_seconds)
        return [
            VersionStatus(int(item["version"]), item["state"], **item["status"])
            for item in reply["model_version_status"]
        ]

    def _request(
        self, method: str, path: str, body: Any, timeout_seconds: float
    ) -> Any:
        data = None if body is None else json.dumps(body).encode()
        try:
            status, text = self._exchange(method, path, data, timeout_seconds)
        except TimeoutError as error:
            text = f"no answer within {timeout_seconds} s"
            raise DeadlineError("DEADLINE_EXCEEDED", text) from error
        except (OSError, http.client.HTTPException) as error:
            raise UnavailableError("UNAVAILABLE", f"no answer: {error!r}") from error
        return _checked(status, text)

    def _exchange(
        self, method: str, path: str, data: bytes | None, timeout_seconds: float
    ) -> tuple[int, str]:
        connection = self._connection
        connection.timeout = timeout_seconds
        if connection.sock is not None:
            connection.sock.settimeout(timeout_seconds)
            try:
                return self._send(method, path, data)
            except (http.client.RemoteDisconnected, ConnectionError):
                pass  # the server closed the idle connection: open another
        return self._send(method, path, data)

    def _send(self, method: str, path: str, data: bytes | None) -> tuple[int, str]:
        try:
            self._connection.request(method, self._prefix + path, data)
            response = self._connection.getresponse()
            return response.status, response.read().decode(errors="surrogateescape")
        except BaseException:
            self._connection.close()
            raise

    def close(self) -> None:
        self._connection.close()


def _checked(status: int, text: str) -> Any:
    try:
        reply = json.loads(text)
    except ValueError:
        reply = {"error": text.strip() or f"HTTP status {status}"}
    if status == 200 and "error" not in reply:
        return reply
    raise server_error(_CODES.get(status, "UNKNOWN"), reply.get("error", text))


def _plain(value: Any) -> Any:
    """Turn arrays into lists and bytes into {"b64": ...}."""
    if isinstance(value, bytes):
        return {"b64": b64encode(value).decode()}
    if isinstance(value, Mapping):
        return {name: _plain(item) for name, item in value.items()}
    if hasattr(value, "tolist"):
        is_plain = value.dtype.kind in "fiub"
        return value.tolist() if is_plain else _plain(value.tolist())
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    return value


def _arrays(outputs: Any) -> Any:
    if isinstance(outputs, dict) and outputs.keys() != {"b64"}:
        return {name: _array(_unpacked(value)) for name, value in outputs.items()}
    return _array(_unpacked(outputs))


def _unpacked(value: Any) -> Any:
    """Turn the strings in a reply into bytes."""
    if isinstance(value, dict):
        return b64decode(value["b64"])
    if isinstance(value, str):
        return value.encode(errors="surrogateescape")
    if isinstance(value, list) and value and not isinstance(value[0], (int, float)):
        return [_unpacked(item) for item in value]
    return value


def _array(value: Any) -> Any:
    try:
        import numpy as np
    except ModuleNotFoundError:
        return value
    first = value
    while isinstance(first, list) and first:
        first = first[0]
    return np.array(value, object if isinstance(first, bytes) else None)
