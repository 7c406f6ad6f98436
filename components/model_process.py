"""A model server of our own on free ports of this machine, in a process of its own."""

import errno
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path
from urllib.request import urlopen

import psutil

from recipes.errors import StrataError

HOST = "127.0.0.1"
_READY_SECONDS = 180.0  # a busy machine takes a minute to import TensorFlow
_ANSWER_SECONDS = 2.0  # whoever has taken the port may never answer
_STOP_SECONDS = 60.0
_POLL_SECONDS = 0.02
# A step that is killed cannot end what it started; the system can (1 is
# PR_SET_PDEATHSIG, 9 is SIGKILL). In a program of its own: between fork and exec of a
# process that has threads, Python may hang.
_DIE_WITH_PARENT = """
import ctypes, os, sys
ctypes.CDLL(None).prctl(1, 9)
if os.getppid() != int(sys.argv[1]):
    sys.exit("whoever started the server is gone")
os.execv(sys.executable, [sys.executable, "-m", "serving", *sys.argv[2:]])
"""


class NotServedError(StrataError):
    """The server ended, or gave the model up; the message ends as its log does."""


class _PortTakenError(StrataError):
    """Another took a port between its choice and the server's start."""


@dataclass(frozen=True)
class ModelProcess:
    """A server that answers.

    Attributes:
      start_seconds: from the start of the process to the first good answer.
    """

    process: subprocess.Popen[bytes]
    name: str
    port: int
    rest_port: int
    log: Path
    start_seconds: float

    def cost(self) -> tuple[float, int]:
        """Return the CPU seconds so far and the resident bytes, children included."""
        return cost(self.process.pid)

    def terminate(self) -> tuple[int, float]:
        """Send SIGTERM; return the exit code and how many seconds it took."""
        begin = time.monotonic()
        self.process.terminate()
        code = self.process.wait(_STOP_SECONDS)
        return code, time.monotonic() - begin


@contextmanager
def started(
    name: str, base_path: Path, log: Path, flags: Sequence[str] = ()
) -> Iterator[ModelProcess]:
    """Serve a model; the server is gone when the context ends, or this process.

    Raises:
      NotServedError: the server ended, or gave the model up.
      StrataError: it does not answer in time, or its ports were taken twice.
    """
    try:
        server = _ready(name, base_path, log, flags)
    except _PortTakenError:
        server = _ready(name, base_path, log, flags)
    try:
        yield server
    finally:
        _end(server.process)


def _ready(name: str, base_path: Path, log: Path, flags: Sequence[str]) -> ModelProcess:
    rest_port, port = free_ports(2)
    command = [sys.executable, "-c", _DIE_WITH_PARENT, str(os.getpid())]
    command += [f"--port={port}", f"--rest_api_port={rest_port}"]
    command += [f"--model_name={name}", f"--model_base_path={base_path}", *flags]
    begin = time.monotonic()
    with log.open("wb") as output:
        process = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT)
    try:
        _wait_ready(process, f"http://{HOST}:{rest_port}/v1/models/{name}", log)
    except BaseException:
        _end(process)
        raise
    seconds = time.monotonic() - begin
    return ModelProcess(process, name, port, rest_port, log, seconds)


def _end(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is None:
        process.kill()
    process.wait()


def cost(pid: int) -> tuple[float, int]:
    """Return CPU seconds and resident bytes of a process and all below it."""
    root = psutil.Process(pid)
    seconds, resident = 0.0, 0
    for process in (root, *root.children(recursive=True)):
        try:
            times = process.cpu_times()
            resident += process.memory_info().rss
        except psutil.NoSuchProcess:
            continue
        seconds += times.user + times.system
    return seconds, resident


def free_ports(count: int) -> list[int]:
    sockets = [socket.socket() for _ in range(count)]
    try:
        for found in sockets:
            found.bind((HOST, 0))
        return [found.getsockname()[1] for found in sockets]
    finally:
        for found in sockets:
            found.close()


def _wait_ready(process: subprocess.Popen[bytes], url: str, log: Path) -> None:
    deadline = time.monotonic() + _READY_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        try:
            with urlopen(url, timeout=_ANSWER_SECONDS) as reply:
                answer = reply.read()
        except (OSError, HTTPException):
            time.sleep(_POLL_SECONDS)  # the port is not open yet
            continue
        if b'"AVAILABLE"' in answer:
            return
        if b'"END"' in answer:  # it could not be loaded, or not run
            raise NotServedError(_did_not_start(log))
        time.sleep(_POLL_SECONDS)
    text = _did_not_start(log)
    if process.poll() is None:
        raise StrataError(f"Not ready after {_READY_SECONDS:.0f} seconds. {text}")
    if os.strerror(errno.EADDRINUSE) in text:
        raise _PortTakenError(text)
    raise NotServedError(text)


def _did_not_start(log: Path) -> str:
    tail = os.linesep.join(log.read_text("utf-8", errors="replace").splitlines()[-8:])
    return f"The server did not start: {tail}"
