"""Serve the live version of a model, and ask a server."""

import json
import os
import sys
from pathlib import Path
from typing import Any

from components import versions
from pipeline import engines, provenance
from pipeline.history import History
from pipeline.workspace import Workspace, open_workspace
from recipes.errors import BadInputError, MissingError
from serving.client import Client, DeadlineError, ServerError, UnavailableError

_TIMEOUT_SECONDS = 60.0


def serve(
    name: str, *, host: str, port: int, rest_api_port: int, engine: str = "auto"
) -> None:
    """Become the model server; return only by an error.

    Raises:
      BadInputError: nothing of this name has been pushed, or the engine cannot listen
        on this host alone.
      MissingError: the engine is not there.
    """
    command = server_command(
        name,
        pushed_to(name, open_workspace()),
        host=host,
        port=port,
        rest_api_port=rest_api_port,
        engine=engine,
    )
    os.execv(command[0], command)


def server_command(
    name: str,
    base_path: Path,
    *,
    host: str,
    port: int,
    rest_api_port: int,
    engine: str = "builtin",
) -> list[str]:
    """Return the command that serves a model."""
    service = engines.Service(name, base_path, host, port, rest_api_port)
    return engines.command(engine, service)


def pushed_to(name: str, workspace: Workspace) -> Path:
    """Return the directory that holds the versions of a model.

    Raises:
      BadInputError: it holds none.
    """
    base_path = workspace.models(name)
    history = History(workspace.history)
    pushes = history.done_steps(name, "push")
    by_a_person = [one.run_id for one in history.overrides() if one.pipeline == name]
    run = history.run(by_a_person[-1]) if by_a_person else None
    if pushes:
        base_path = Path(pushes[0].parts["base_path"])
    elif run:
        base_path = provenance.base_path(history, run, workspace)
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
    try:
        with Client(url) as client:
            return client.predict_json(name, body, timeout_seconds=_TIMEOUT_SECONDS)
    except ValueError as error:  # the URL, or numbers that are not JSON
        raise BadInputError(str(error)) from error
    except ServerError as error:
        raise _refusal(error, name, url) from error


def _refusal(error: ServerError, name: str, url: str) -> BadInputError | MissingError:
    if error.http_status is not None:
        kind = BadInputError if error.http_status < 500 else MissingError
        return kind(f"{url} answered {error.http_status}: {error}")
    if isinstance(error, (UnavailableError, DeadlineError)):
        return MissingError(
            f"No server at {url} ({error}). Start one: ./strata serve {name}"
        )
    return MissingError(f"{url} is no model server: {error}")


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
