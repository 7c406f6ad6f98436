"""The first five minutes: run digits, serve it, ask it over both protocols."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from components import model_process
from pipeline import display, faults, run
from pipeline.history import History
from pipeline.pictures import draw
from pipeline.plan import live
from pipeline.workspace import open_workspace
from recipes.errors import RefusedError, StrataError
from serving.client import Client

_NAME = "digits"
_WANTED = 7
_TOLERANCE = 1e-6


def main(overrides: Sequence[str]) -> int:
    """Run the demo; return 0.

    Raises:
      StrataError: a step failed, or the two protocols disagree.
    """
    workspace = open_workspace()
    lines = display.Lines()
    lines.line(" digits · 1,797 scans of handwritten digits · LeNet-5")
    outcome = run.run(_NAME, overrides, workspace, lines)
    name, base_path = outcome.job.name, outcome.job.base_path
    with model_process.started(name, base_path, workspace.root / "serve.log") as server:
        with display.stderr_to(workspace.root / "serve.log"):
            image = _test_image(Path(outcome.steps["ingest"]["outputs"]["examples"]))
        answers = {
            protocol: _probabilities(Client(address), name, image)
            for protocol, address in (
                ("REST", f"http://{model_process.HOST}:{server.rest_port}"),
                ("gRPC", f"{model_process.HOST}:{server.port}"),
            )
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
