"""Serve the live version of a model, and ask a server."""

import json
import os
import sys
from http.client import HTTPException
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.parse import quote
from urllib.request import Request, urlopen

from components import versions
from pipeline.history import History
from pipeline.workspace import Workspace, open_workspace
from recipes.errors import BadInputError, MissingError

_TIMEOUT_SECONDS = 60.0


def serve(name: str, *, host: str, port: int, rest_api_port: int) -> None:
    """Become the model server; return only by an error.

    Raises:
      BadInputError: nothing of this name has been pushed.
    """
    command = server_command(
        name,
        pushed_to(name, open_workspace()),
        host=host,
        port=port,
        rest_api_port=rest_api_port,
    )
    os.execv(command[0], command)


def server_command(
    name: str, base_path: Path, *, host: str, port: int, rest_api_port: int
) -> list[str]:
    """Return the command that serves a model; its flags are TensorFlow Serving's."""
    return [
        sys.executable,
        "-m",
        "serving",
        f"--host={host}",
        f"--port={port}",
        f"--rest_api_port={rest_api_port}",
        f"--model_name={name}",
        f"--model_base_path={base_path}",
    ]


def pushed_to(name: str, workspace: Workspace) -> Path:
    """Return the directory that holds the versions of a model.

    Raises:
      BadInputError: it holds none.
    """
    base_path = workspace.models(name)
    pushes = History(workspace.history).done_steps(name, "push")
    if pushes:
        base_path = Path(pushes[0].parts["base_path"])
    if not versions.versions(base_path):
        raise BadInputError(
            f"No version of {name!r} in {base_path}. First: ./strata run {name}"
        )
    return base_path


def predict(name: str, source: str, *, signature: str, url: str) -> Any:
    """Ask a server over REST; return its answer as it came.

    Args:
      name: model.
      source: JSON list of instances or a whole request, `@FILE` that holds it, or `-`
        for standard input.
      signature: of the model.
      url: of the server.

    Raises:
      BadInputError: no such file, not JSON, or the server refused the request.
      MissingError: there is no server.
    """
    given = _instances(source)
    is_request = isinstance(given, dict) and "instances" in given
    body = given if is_request else {"signature_name": signature, "instances": given}
    if not url.startswith(("http://", "https://")):
        raise BadInputError(
            f"Expected a URL such as http://HOST:PORT. Received: {url!r}"
        )
    request = Request(
        f"{url}/v1/models/{quote(name)}:predict",
        data=json.dumps(body).encode(),
        headers={"Content-Type": "application/json"},
    )
    try:
        with urlopen(request, timeout=_TIMEOUT_SECONDS) as reply:
            return json.load(reply)
    except HTTPError as error:
        text = f"{url} answered {error.code}: {error.read().decode(errors='replace')}"
        kind = BadInputError if error.code < 500 else MissingError
        raise kind(text) from error
    except (OSError, HTTPException) as error:
        reason = getattr(error, "reason", error)
        raise MissingError(
            f"No server at {url} ({reason}). Start one: ./strata serve {name}"
        ) from error
    except ValueError as error:
        raise MissingError(f"{url} is no model server: {error}") from error


def _instances(source: str) -> Any:
    try:
        if source == "-":
            return json.load(sys.stdin)
        if source.startswith("@"):
            return json.loads(Path(source[1:]).read_text("utf-8"))
        return json.loads(source)
    except OSError as error:
        raise BadInputError(f"Cannot read {source[1:]}: {error.strerror}") from error
    except ValueError as error:
        raise BadInputError(f"The instances are not JSON: {error}") from error
