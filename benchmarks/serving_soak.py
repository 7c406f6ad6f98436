"""Watch the server's memory while versions are loaded and unloaded under load.

    python benchmarks/serving_soak.py [--requests 200000] [--swaps 12]

A small MLP is asked over both protocols; every ten seconds a new version replaces the
one before. Ends when both numbers are reached. Growth is counted from the third swap
on: TensorFlow's pools fill in the first ones. Exit code 1: it is above the limit, or a
request failed. Writes `results/serving_soak.csv`.
"""

import argparse
import datetime
import json
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from urllib.request import urlopen

import measuring

RESULTS = measuring.RESULTS / "serving_soak.csv"
ROOT = measuring.HERE.parent
MAKE_MODELS = ROOT / "tests/serving/golden/make_models.py"
SWAP_SECONDS = 10.0
FIRST_SWAP = 3  # growth is counted from here
MAX_GROWTH = 0.05
NUM_CLIENTS = 2  # of each protocol
_MAX_SECONDS = 1800.0


@dataclass(frozen=True)
class Measurement:
    """The server after one swap, a row of the CSV."""

    date: str
    commit: str
    hardware: str
    swap: int
    seconds: float
    requests: int
    rss_mb: float


def main() -> int:
    """Measure, write, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--requests", type=int, default=200_000)
    parser.add_argument("--swaps", type=int, default=12)
    options = parser.parse_args()
    if options.swaps <= FIRST_SWAP:
        parser.error(f"--swaps must be above {FIRST_SWAP}")
    # The package `serving`, not the script of that name beside this one.
    sys.path.insert(0, str(ROOT))
    with tempfile.TemporaryDirectory(prefix="serving_soak-") as scratch:
        folder = Path(scratch)
        command = [sys.executable, MAKE_MODELS, folder / "models"]
        subprocess.run(command, check=True, capture_output=True)
        found, num_failed = soak(folder, options.requests, options.swaps)
    measuring.write(found, RESULTS)
    before, after = found[FIRST_SWAP - 1].rss_mb, found[-1].rss_mb
    growth = after / before - 1
    print(
        f"{found[-1].requests:,} requests, {num_failed} failed, {len(found)} swaps\n"
        f"RSS {before:.1f} MB to {after:.1f} MB, {growth:+.1%} (below {MAX_GROWTH:.0%})"
    )
    return 0 if growth < MAX_GROWTH and not num_failed else 1


def soak(
    folder: Path, num_requests: int, num_swaps: int
) -> tuple[list[Measurement], int]:
    """Return what each swap found, and how many requests failed."""
    from components import model_process
    from pipeline.broken_versions import publish
    from pipeline.sample_request import sample_request
    from serving import load

    source, base_path = folder / "models" / "mlp" / "1", folder / "served"
    base_path.mkdir()
    publish(source, base_path, 1)
    found: list[Measurement] = []
    with model_process.started("mlp", base_path, folder / "log") as server:
        sample = sample_request("mlp", f"{model_process.HOST}:{server.port}")
        path = "/v1/models/mlp:predict"
        rest = load.Target("rest", server.rest_port, path, sample.document, NUM_CLIENTS)
        grpc = load.Target(
            "grpc", server.port, load.PREDICT, sample.message, NUM_CLIENTS
        )
        running = load.start([rest, grpc], load.Bounds(seconds=_MAX_SECONDS))
        begin = time.monotonic()
        while len(found) < num_swaps or running.num_sent() < num_requests:
            if not running.is_alive():
                break
            swap = len(found) + 1
            publish(source, base_path, swap + 1)
            time.sleep(SWAP_SECONDS)
            _check_swapped(server.rest_port, swap + 1)
            shutil.rmtree(base_path / str(swap))
            _, resident = server.cost()
            found.append(
                Measurement(
                    date=datetime.date.today().isoformat(),
                    commit=measuring.commit(),
                    hardware=measuring.hardware(),
                    swap=swap,
                    seconds=round(time.monotonic() - begin, 1),
                    requests=running.num_sent(),
                    rss_mb=round(resident / 1e6, 1),
                )
            )
            print(f"{swap:>4} {found[-1].requests:>10,} {found[-1].rss_mb:8.1f} MB")
        running.stop()
        outcomes = running.outcomes()
    return found, sum(outcome.num_failed for outcome in outcomes)


def _check_swapped(rest_port: int, number: int) -> None:
    """Raise RuntimeError unless this version is served, and no other."""
    url = f"http://127.0.0.1:{rest_port}/v1/models/mlp"
    with urlopen(url, timeout=60) as reply:
        statuses = json.load(reply)["model_version_status"]
    served = [int(s["version"]) for s in statuses if s["state"] == "AVAILABLE"]
    if served != [number]:
        raise RuntimeError(f"Expected version {number}. Received: {statuses}")


if __name__ == "__main__":
    sys.exit(main())
