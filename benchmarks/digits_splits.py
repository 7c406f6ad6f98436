"""Run `./strata run digits` cold on several random splits, and `./strata demo` once.

    python benchmarks/digits_splits.py [--seeds 5]

The bounds of the recipe are lowered, so that a low score is recorded and not refused;
the demo keeps them, and the recipe's own split. Writes `results/digits_splits.csv`.
"""

import argparse
import datetime
import json
import os
import statistics
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import measuring

RESULTS = measuring.RESULTS / "digits_splits.csv"
STRATA = (sys.executable, "-m", "pipeline.cli")
BOUND = "evaluate.metrics.SparseCategoricalAccuracy"
LOWERED = (f"{BOUND}.at_least=0.0", f"{BOUND}.slices_at_least=0.0")


@dataclass(frozen=True)
class Measurement:
    """One process, a row of the CSV; accuracies are those of the test split.

    A demo has neither seed nor accuracies: it tells them to people only.
    """

    date: str
    commit: str
    hardware: str
    load_average: float  # over the minute before
    command: str
    seed: int | None
    accuracy: float | None
    logistic_regression_accuracy: float | None
    wall_s: float
    cpu_s: float


def main() -> None:
    """Measure, write, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=5, help="0, 1, ... so many")
    num_seeds = parser.parse_args().seeds
    with tempfile.TemporaryDirectory(prefix="digits_splits-") as scratch:
        measurements = measure(Path(scratch), num_seeds)
    measuring.write(measurements, RESULTS)
    _print_table(measurements)


def measure(scratch: Path, num_seeds: int) -> list[Measurement]:
    """Run digits on each split, then the demo, in workspaces under `scratch`."""
    # The first import reads 1 GB from disk and writes bytecode; nobody is to pay.
    warm_up = "import pipeline.local, pipeline.demo, serving.saved_model"
    measuring.run([sys.executable, "-c", warm_up], scratch / "warm-up")
    measurements = []
    for seed in (*range(num_seeds), None):
        name = "demo" if seed is None else f"split {seed}"
        found = _measure(seed, scratch / name.replace(" ", "-"))
        measurements.append(found)
        print(
            f"{name}: {found.wall_s:.2f} s, "
            f"{found.cpu_s:.2f} cpu-s, load before {found.load_average}",
            flush=True,
        )
    return measurements


def _measure(seed: int | None, workspace: Path) -> Measurement:
    """Measure a run on the split of a seed; without a seed, the demo."""
    command = [*STRATA, "demo"]
    if seed is not None:
        command = [*STRATA, "run", "digits", f"data.seed={seed}", *LOWERED, "--json"]
    load = os.getloadavg()[0]
    wall, cpu = measuring.run(command, workspace)
    accuracy, simple = (None, None) if seed is None else _accuracies(workspace)
    return Measurement(
        date=datetime.date.today().isoformat(),
        commit=measuring.commit(),
        hardware=measuring.hardware(),
        load_average=round(load, 2),
        command="demo" if seed is None else "run",
        seed=seed,
        accuracy=accuracy,
        logistic_regression_accuracy=simple,
        wall_s=round(wall, 2),
        cpu_s=round(cpu, 2),
    )


def _accuracies(workspace: Path) -> tuple[float, float]:
    """Return the model's accuracy and the logistic regression's, from the events."""
    figures: dict[str, Any] = {}
    for line in (workspace / measuring.LOG_NAME).read_text("utf-8").splitlines():
        event = json.loads(line) if line.startswith("{") else {}
        if event.get("event") == "done":
            figures[event["step"]] = event["figures"]
    accuracy = figures["evaluate"]["metrics"]["sparse_categorical_accuracy"]
    simple = figures["baselines"]["scores"]["logistic_regression"]["accuracy"]
    return round(accuracy, 4), round(simple, 4)


def _print_table(measurements: list[Measurement]) -> None:
    """Print each split, then the mean, lowest and highest of every column."""
    print(f"\n{measurements[0].hardware}; {measurements[0].commit}")
    print("split      accuracy   logistic regression   wall s    cpu s")
    rows = [_row(found) for found in measurements if found.command == "run"]
    for seed, row in enumerate(rows):
        _print_row(str(seed), row)
    summaries: dict[str, Callable[[list[float]], float]] = {
        "mean": statistics.mean,
        "lowest": min,
        "highest": max,
    }
    columns = [list(column) for column in zip(*rows, strict=True)]
    for name, summary in summaries.items():
        _print_row(name, [summary(column) for column in columns])
    demo = measurements[-1]
    print(f"demo, whole command: {demo.wall_s:.2f} s, {demo.cpu_s:.2f} cpu-s")


def _row(found: Measurement) -> list[Any]:
    scores = [found.accuracy, found.logistic_regression_accuracy]
    return [*scores, found.wall_s, found.cpu_s]


def _print_row(name: str, row: list[float]) -> None:
    accuracy, simple, wall, cpu = row
    print(f"{name:<10} {accuracy:8.4f} {simple:21.4f} {wall:8.2f} {cpu:8.2f}")


if __name__ == "__main__":
    main()
