"""The first five minutes: run digits, serve it, ask it over both protocols."""

import socket
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pipeline import ask, display, faults, run
from pipeline.history import History
from pipeline.pictures import draw
from pipeline.plan import live
from pipeline.workspace import Workspace, open_workspace
from recipes.errors import RefusedError, StrataError
from serving.client import Client, ServerError

_NAME = "digits"
_WANTED = 7
_TOLERANCE = 1e-6
_DEADLINE_SECONDS = 180.0  # a busy machine takes a minute to import TensorFlow


def main(overrides: Sequence[str]) -> int:
    """Run the demo; return 0.

    Raises:
      StrataError: a step failed, or the two protocols disagree.
    """
    workspace = open_workspace()
    lines = display.Lines()
    lines.line(" digits · 1,797 scans of handwritten digits · LeNet-5")
    outcome = run.run(_NAME, overrides, workspace, lines)
    with _server(outcome, workspace) as (rest, grpc):
        with display.stderr_to(workspace.root / "serve.log"):
            image = _test_image(Path(outcome.steps["ingest"]["outputs"]["examples"]))
        answers = {
            "REST": _probabilities(Client(rest), outcome.job.name, image),
            "gRPC": _probabilities(Client(grpc), outcome.job.name, image),
        }
    lines.line("\n".join(f"   {row}" for row in draw(image[..., 0].tolist())))
    for protocol, probabilities in answers.items():
        digit = max(range(10), key=lambda i: probabilities[i])
        lines.line(f" {protocol}: this is a {digit} ({probabilities[digit]:.2%})")
    worst = max(abs(a - b) for a, b in zip(*answers.values(), strict=True))
    if worst > _TOLERANCE:
        raise StrataError(
            f"REST and gRPC differ by {worst:g}, expected {_TOLERANCE:g}."
        )
    lines.line(f" ask        ✔  REST and gRPC agree within {_TOLERANCE:g}")
    lines.line(f" served version {outcome.live.version} from {outcome.live.path}")
    return 0


def break_it(fault: str, overrides: Sequence[str]) -> int:
    """Plant a fault in digits, run it, and say why it was refused; return 4.

    Raises:
      BadInputError: there is no such fault.
      StrataError: the candidate was not refused.
    """
    faults.check(fault)
    workspace = open_workspace()
    lines = display.Lines()
    base_path = workspace.models(_NAME)
    if live(History(workspace.history), _NAME, base_path) is None:
        run.run(_NAME, overrides, workspace, lines)
    lines.line(f" fault      {fault}: {faults.FAULTS[fault]}")
    planted = faults.plant(fault, _NAME, overrides, workspace, lines)
    if not planted.refused:
        raise StrataError(
            f"{fault}: the candidate went live, version {planted.version}"
        )
    lines.line(f" refused    ✔  version {planted.version} stays live")
    lines.line(f" {planted.refused}")
    for finding in planted.findings[:1]:
        lines.line(f" cause      {finding['cause']}: {finding['text']}")
    if not planted.findings:
        lines.line(" cause      no cause found")
    lines.line(f" more       ./strata why {planted.run.id}")
    return RefusedError.exit_code


@contextmanager
def _server(outcome: run.Outcome, workspace: Workspace) -> Iterator[tuple[str, str]]:
    """Serve the model on two free ports; yield the REST URL and the gRPC address."""
    rest_port, port = _free_ports(2)
    command = ask.server_command(
        outcome.job.name,
        outcome.job.base_path,
        host="127.0.0.1",
        port=port,
        rest_api_port=rest_port,
    )
    log = workspace.root / "serve.log"
    with log.open("wb") as file:
        server = subprocess.Popen(command, stdout=file, stderr=file)
    url = f"http://127.0.0.1:{rest_port}"
    try:
        try:
            Client(url).wait_ready(outcome.job.name, timeout_seconds=_DEADLINE_SECONDS)
        except ServerError as error:
            raise StrataError(f"The server did not start; see {log}") from error
        yield url, f"127.0.0.1:{port}"
    finally:
        server.terminate()
        server.wait()


def _probabilities(client: Client, name: str, image: Any) -> list[float]:
    answer = client.predict(name, {"image": image[None]}, signature="serve_raw")
    return [float(value) for value in answer["probabilities"][0]]


def _test_image(examples: Path) -> Any:
    """Return a seven that the model has not seen: (8, 8, 1) float32, 0 to 255."""
    import tensorflow as tf

    files = sorted(str(path) for path in (examples / "Split-test").glob("*.gz"))
    for record in tf.data.TFRecordDataset(files, "GZIP").as_numpy_iterator():
        feature = tf.train.Example.FromString(record).features.feature
        if feature["label"].int64_list.value[0] == _WANTED:
            encoded = feature["image"].bytes_list.value[0]
            return tf.cast(tf.io.decode_png(encoded), tf.float32).numpy()
    raise StrataError(f"No {_WANTED} among the test examples in {examples}.")


def _free_ports(count: int) -> list[int]:
    sockets = [socket.socket() for _ in range(count)]
    try:
        for found in sockets:
            found.bind(("127.0.0.1", 0))
        return [found.getsockname()[1] for found in sockets]
    finally:
        for found in sockets:
            found.close()
