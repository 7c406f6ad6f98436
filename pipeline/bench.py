"""Measure how fast the built-in server answers for a live model, on this machine."""

import tempfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from components import model_process, versions
from components.model_process import HOST, ModelProcess
from pipeline import ask
from pipeline.broken_versions import publish
from pipeline.sample_request import sample_request
from pipeline.workspace import Workspace
from serving import load
from serving.load import Bounds, Target

CLIENTS = (1, 8, 32)
_WARM_UP_REQUESTS = 500
_COLUMNS = "{:<9}{:>8}{:>12}{:>10}{:>10}{:>14}{:>8}{:>9}"

Say = Callable[[str], None]


@dataclass(frozen=True)
class Cell:
    """One measurement: a protocol and a number of clients."""

    protocol: str
    num_clients: int
    num_per_second: float
    p50_seconds: float
    p99_seconds: float
    cpu_seconds: float  # of the server, for one request
    num_failed: int
    resident_bytes: int


def serve(name: str, workspace: Workspace, seconds: float, say: Say) -> int:
    """Measure the newest version of a recipe's model; return 1 if a request failed.

    Args:
      name: of the recipe.
      workspace: where it was pushed.
      seconds: of each measurement; there are six.
      say: is told each line of the table.

    Raises:
      BadInputError: nothing of this name has been pushed.
      StrataError: the server does not start.
    """
    live = ask.pushed_to(name, workspace)
    newest = live / str(max(versions.versions(live)))
    with tempfile.TemporaryDirectory(prefix="strata-bench-") as folder:
        base_path = Path(folder)
        publish(newest, base_path, int(newest.name))
        log = workspace.root / "bench.log"
        with model_process.started(name, base_path, log) as server:
            say(
                f" {name} version {newest.name}: one row of zeros a request; ready in "
                f"{server.start_seconds:.1f} s; the load runs on the same machine"
            )
            cells = _measure(server, seconds, say)
    return 1 if any(cell.num_failed for cell in cells) else 0


def _measure(server: ModelProcess, seconds: float, say: Say) -> list[Cell]:
    titles = ("", "clients", "requests/s", "p50 ms", "p99 ms", "CPU us each")
    say(" " + _COLUMNS.format(*titles, "failed", "RSS MB"))
    cells = []
    for target in _targets(server):
        load.run([target], Bounds(num_requests=_WARM_UP_REQUESTS))
        for num_clients in CLIENTS:
            cells.append(_cell(server, target, num_clients, seconds))
            say(" " + _row(cells[-1]))
    return cells


def _targets(server: ModelProcess) -> list[Target]:
    sample = sample_request(server.name, f"{HOST}:{server.port}")
    path = f"/v1/models/{server.name}:predict"
    return [
        Target("rest", server.rest_port, path, sample.document),
        Target("grpc", server.port, load.PREDICT, sample.message),
    ]


def _cell(
    server: ModelProcess, target: Target, num_clients: int, seconds: float
) -> Cell:
    target = replace(target, num_clients=num_clients)
    cpu_before, _ = server.cost()
    (outcome,) = load.run([target], Bounds(seconds=seconds))
    cpu, resident = server.cost()
    return Cell(
        protocol=target.protocol,
        num_clients=num_clients,
        num_per_second=outcome.num_ok / seconds,
        p50_seconds=load.quantile(outcome.latencies, 0.5),
        p99_seconds=load.quantile(outcome.latencies, 0.99),
        cpu_seconds=(cpu - cpu_before) / max(1, outcome.num_sent),
        num_failed=outcome.num_failed,
        resident_bytes=resident,
    )


def _row(cell: Cell) -> str:
    return _COLUMNS.format(
        cell.protocol,
        cell.num_clients,
        f"{cell.num_per_second:,.0f}",
        f"{cell.p50_seconds * 1e3:.2f}",
        f"{cell.p99_seconds * 1e3:.2f}",
        f"{cell.cpu_seconds * 1e6:.0f}",
        cell.num_failed,
        f"{cell.resident_bytes / 1e6:.0f}",
    )
