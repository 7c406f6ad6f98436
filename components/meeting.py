"""Make sure that all workers of a cluster are there before TensorFlow connects them.

TensorFlow waits without end for a worker that does not come, deaf to signals, and says
little of a port that is taken.
"""

import json
import socket
import time
from collections.abc import Sequence

from recipes.errors import MissingError

COMMAND = "python -m components.multiworker"  # and the path of worker.json
_RETRY_SECONDS = 0.1
_GREETING_SECONDS = 5.0
_GO = "go\n"


def meet(addresses: Sequence[str], index: int, wait_seconds: float) -> None:
    """Return once all workers are there, each with its port free.

    The first worker listens at its own address, for as long as this takes, and the
    others call it with the addresses that they know.

    Args:
      addresses: `host:port` of each worker.
      index: which of them this is.
      wait_seconds: for how long to wait for the others.

    Raises:
      MissingError: the port is taken, or a worker did not come.
    """
    deadline = time.monotonic() + wait_seconds
    with _listening(addresses[index]) as server:
        if index:
            absent = [] if _called(addresses, index, deadline) else [addresses[0]]
        else:
            absent = _gathered(server, addresses, deadline)
    if absent:
        raise MissingError(
            f"Expected the {len(addresses)} workers of TF_CONFIG. Not there after "
            f"{wait_seconds:.0f} s, or with other addresses: {', '.join(absent)}. "
            f"Start each so: TF_CONFIG=... {COMMAND} PATH, with the path of the "
            "worker.json that the first one writes beside its checkpoints and logs."
        )


def host_and_port(address: str) -> tuple[str, int]:
    """Split `host:port`.

    Raises:
      ValueError: it is not of that form.
    """
    host, _, port = address.rpartition(":")
    if not host or not 0 < int(port) < 2**16:
        raise ValueError(f"Expected `host:port`. Received: {address!r}")
    return host.strip("[]"), int(port)


def _gathered(
    server: socket.socket, addresses: Sequence[str], deadline: float
) -> list[str]:
    """Start the others once each has called; return the addresses that did not."""
    callers: dict[int, socket.socket] = {}
    try:
        while len(callers) < len(addresses) - 1:
            caller = _accepted(server, deadline)
            if caller is None:
                others = enumerate(addresses[1:], start=1)
                return [address for index, address in others if index not in callers]
            index = _greeting(caller, addresses)
            old = callers.pop(index, None) if index else caller
            if old:
                old.close()
            if index:
                callers[index] = caller
        for caller in callers.values():
            caller.sendall(_GO.encode())
    finally:
        for caller in callers.values():
            caller.close()
    return []


def _accepted(server: socket.socket, deadline: float) -> socket.socket | None:
    """Return who calls next; None once time is up."""
    server.settimeout(max(0.001, deadline - time.monotonic()))
    try:
        caller, _ = server.accept()
    except TimeoutError:
        return None
    caller.settimeout(_GREETING_SECONDS)
    return caller


def _greeting(caller: socket.socket, addresses: Sequence[str]) -> int | None:
    """Return which worker calls; None if it is none of this cluster."""
    try:
        message = json.loads(caller.makefile().readline())
        index, theirs = message["index"], message["addresses"]
    except (OSError, ValueError, TypeError, KeyError):
        return None
    is_ours = theirs == list(addresses) and index in range(1, len(addresses))
    return index if is_ours else None


def _called(addresses: Sequence[str], index: int, deadline: float) -> bool:
    """Tell the first worker that this one is there; return whether it said to start."""
    message = json.dumps({"index": index, "addresses": list(addresses)}) + "\n"
    first = host_and_port(addresses[0])
    while (left := deadline - time.monotonic()) > 0:
        try:
            with socket.create_connection(first, timeout=left) as call:
                call.sendall(message.encode())
                if call.makefile().readline() == _GO:
                    return True
        except OSError:
            pass  # it has not started yet, or has given up
        time.sleep(_RETRY_SECONDS)
    return False


def _listening(address: str) -> socket.socket:
    _, port = host_and_port(address)
    try:
        return socket.create_server(("", port))
    except OSError as error:
        raise MissingError(
            f"Port {port} of this worker, {address} in TF_CONFIG, cannot be used: "
            f"{error.strerror}. End what uses it, or name another in every TF_CONFIG."
        ) from error
