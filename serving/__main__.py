"""Start the model server: `python -m serving --model_base_path=PATH`."""

import argparse
import logging
import os
import signal
import socket
import sys
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from functools import partial
from pathlib import Path
from types import FrameType

from serving.errors import ServingError
from serving.versions import ModelVersions

logger = logging.getLogger("serving")

FAILED, BAD_INPUT = 1, 2  # exit codes
BACKLOG = 2048  # connections waiting to be taken
GRACE_SECONDS = 30  # how long requests in flight may take after SIGTERM


def main(arguments: Sequence[str] | None = None) -> int:
    """Serve one model until SIGTERM or SIGINT; return the exit code."""
    flags = _flags(arguments)
    logging.basicConfig(
        level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s"
    )
    stop = _stop_on_signals()
    base_path = Path(flags.model_base_path)
    if not base_path.is_dir():
        return _refuse(f"model_base_path is not a directory: {base_path}", BAD_INPUT)
    try:
        rest_socket = _reserve(flags.host, flags.rest_api_port)
        _reserve(flags.host, flags.port).close()  # gRPC binds it again below
    except OSError as error:
        return _refuse(str(error), FAILED)
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    logging.getLogger("tensorflow").setLevel(logging.ERROR)
    from serving.saved_model import load  # seconds: after the checks that are quick

    versions = ModelVersions(flags.model_name, base_path, load)
    try:
        _wait_for_first_version(versions, flags.file_system_poll_wait_seconds, stop)
    except ServingError as error:
        return _refuse(str(error), FAILED)
    return 0 if stop.is_set() else _serve(flags, versions, rest_socket, stop)


def _flags(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        "python -m serving",
        description="Serve a SavedModel with TensorFlow Serving's gRPC and REST API.",
        allow_abbrev=False,
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    add = parser.add_argument
    add("--port", type=_port, default=8500, help="gRPC port; 0: off")
    add("--rest_api_port", type=_port, default=0, help="HTTP port; 0: off")
    add("--host", default="127.0.0.1", help="address to listen on; 0.0.0.0: all")
    add("--model_name", default="default", help="the name in requests")
    add("--model_base_path", required=True, help="directory of VERSION directories")
    add(
        "--file_system_poll_wait_seconds",
        type=float,
        default=1.0,
        help="time between two looks for a new version; 0: look only once",
    )
    flags = parser.parse_args(arguments)
    if flags.port == flags.rest_api_port:
        parser.error("--port and --rest_api_port must differ, one may be 0")
    if flags.file_system_poll_wait_seconds < 0:
        parser.error("--file_system_poll_wait_seconds must not be negative")
    return flags


def _port(text: str) -> int:
    port = int(text)
    if not 0 <= port < 2**16:
        raise argparse.ArgumentTypeError(f"expected 0 to 65535, received {port}")
    return port


def _stop_on_signals() -> threading.Event:
    stop = threading.Event()

    def request_stop(number: int, frame: FrameType | None) -> None:
        stop.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, request_stop)
    return stop


def _refuse(text: str, code: int) -> int:
    logger.error("Failed to start server. Error: %s", text)
    return code


def _reserve(host: str, port: int) -> socket.socket:
    """Bind a port without listening yet, so that a taken one is known at once."""
    reserved = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
    reserved.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        reserved.bind((host, port))
    except OSError as error:
        reserved.close()
        raise OSError(f"cannot listen on {host}:{port}: {error.strerror}") from error
    return reserved


def _wait_for_first_version(
    versions: ModelVersions, poll_wait_seconds: float, stop: threading.Event
) -> None:
    """Return when a version answers; until then no port is open.

    Raises:
      ServingError: there are versions, but none of them loads.
    """
    versions.poll(wait_until_stable=False)
    if not versions.available():
        for status in versions.failures():
            raise ServingError(status.error_code, status.error_message)
        logger.info("waiting for a first version in %s", versions.base_path)
    while not versions.available() and not stop.wait(poll_wait_seconds or 1.0):
        versions.poll()


def _serve(
    flags: argparse.Namespace,
    versions: ModelVersions,
    rest_socket: socket.socket,
    stop: threading.Event,
) -> int:
    models = {flags.model_name: versions}
    try:
        if flags.rest_api_port:
            rest_socket.listen(BACKLOG)  # another server may have been quicker
    except OSError as error:
        return _refuse(f"cannot listen on {flags.rest_api_port}: {error}", FAILED)
    # More threads than cores: some wait for the network. Further calls queue.
    executor = ThreadPoolExecutor(4 * (os.cpu_count() or 1), "request")
    stops: list[Callable[[], None]] = []
    if flags.port:
        address = f"{flags.host}:{flags.port}"
        stops.append(_start_grpc(models, executor, address))
    if flags.rest_api_port:
        stops.append(_start_rest(models, executor, rest_socket))
    logger.info(
        "serving %s version %d on %s, gRPC port %d, REST port %d",
        flags.model_name,
        versions.available()[0],
        flags.host,
        flags.port,
        flags.rest_api_port,
    )
    if seconds := flags.file_system_poll_wait_seconds:
        follow = partial(versions.follow, stop, poll_wait_seconds=seconds)
        threading.Thread(target=follow, name="poll", daemon=True).start()
    stop.wait()
    logger.info("stopping: no new requests, up to %d s for the rest", GRACE_SECONDS)
    threads = [threading.Thread(target=stop_one) for stop_one in stops]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    logger.info("stopped")
    return 0


def _start_grpc(
    models: dict[str, ModelVersions], executor: Executor, address: str
) -> Callable[[], None]:
    from serving import grpc_api

    server = grpc_api.server(models, executor)
    server.add_insecure_port(address)
    server.start()
    return lambda: server.stop(GRACE_SECONDS).wait()


def _start_rest(
    models: dict[str, ModelVersions], executor: Executor, rest_socket: socket.socket
) -> Callable[[], None]:
    import uvicorn

    from serving import rest_api

    config = uvicorn.Config(
        rest_api.application(models, executor),
        loop="uvloop",
        http="httptools",
        lifespan="off",
        access_log=False,
        timeout_keep_alive=60,
        log_level="warning",
        server_header=False,
        timeout_graceful_shutdown=GRACE_SECONDS,
    )
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, args=([rest_socket],), name="rest")
    thread.start()

    def stop() -> None:
        server.should_exit = True
        thread.join()

    return stop


if __name__ == "__main__":
    sys.exit(main())
