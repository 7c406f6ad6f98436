"""Time `./strata run taxi` against TFX's LocalDagRunner, whole processes, in turns.

    python benchmarks/pipeline_overhead.py [--rounds 2]

Each variant runs cold in a workspace of its own, then once more in it, unchanged. What
the variants are: see `stock_taxi.py`. Writes `results/pipeline_overhead.csv`.
"""

import argparse
import datetime
import os
import statistics
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

import measuring

RESULTS = measuring.RESULTS / "pipeline_overhead.csv"
OURS, STOCK = "ours", ("stock", "stock-tuned", "same-graph")
AIMS = {"cold": 0.6, "unchanged": 0.05}  # largest wall time of ours over `stock`


@dataclass(frozen=True)
class Measurement:
    """One process, a row of the CSV; `cpu_s` is user and system, children included."""

    date: str
    commit: str
    hardware: str
    load_average: float  # over the minute before
    variant: str
    case: str
    round: int
    wall_s: float
    cpu_s: float


def main() -> None:
    """Measure, write, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=2)
    rounds = parser.parse_args().rounds
    with tempfile.TemporaryDirectory(prefix="pipeline_overhead-") as scratch:
        measurements = measure(Path(scratch), rounds)
        measuring.write(measurements, RESULTS)
        _print_table(measurements)
        _print_auc(Path(scratch))


def measure(scratch: Path, rounds: int) -> list[Measurement]:
    """Run every variant in turn, `rounds` times, in workspaces under `scratch`."""
    # The first import reads 1 GB from disk and writes bytecode; nobody is to pay.
    warm_up = [sys.executable, "-c", "import pipeline.local, tfx.v1"]
    measuring.run(warm_up, scratch / "warm-up")
    measurements = []
    for number in range(1, rounds + 1):
        for variant in (OURS, *STOCK):
            workspace = scratch / f"{variant}-{number}"
            for case in AIMS:
                found = _measure(variant, case, number, workspace)
                measurements.append(found)
                print(
                    f"round {number} {variant:<11} {case:<9} {found.wall_s:7.2f} s, "
                    f"{found.cpu_s:7.2f} cpu-s, load before {found.load_average}",
                    flush=True,
                )
    return measurements


def _measure(variant: str, case: str, number: int, workspace: Path) -> Measurement:
    command = [sys.executable, "-m", "pipeline.cli", "run", "taxi"]
    if variant != OURS:
        command = [sys.executable, measuring.HERE / "stock_taxi.py", variant, workspace]
    load = os.getloadavg()[0]
    wall, cpu = measuring.run(command, workspace)
    return Measurement(
        date=datetime.date.today().isoformat(),
        commit=measuring.commit(),
        hardware=measuring.hardware(),
        load_average=round(load, 2),
        variant=variant,
        case=case,
        round=number,
        wall_s=round(wall, 2),
        cpu_s=round(cpu, 2),
    )


def _print_table(measurements: list[Measurement]) -> None:
    """Print medians, and ours as a fraction of each variant."""
    print(f"\n{measurements[0].hardware}; medians")
    print("case       variant       wall s    cpu s   ours/it: wall    cpu")
    for case, aim in AIMS.items():
        wall, cpu = (_medians(measurements, case, unit) for unit in ("wall_s", "cpu_s"))
        for variant in (OURS, *STOCK):
            print(
                f"{case:<10} {variant:<11} {wall[variant]:8.2f} {cpu[variant]:8.2f} "
                f"{wall[OURS] / wall[variant]:15.3f} {cpu[OURS] / cpu[variant]:6.3f}"
            )
        ratio = wall[OURS] / wall["stock"]
        verdict = "met" if ratio <= aim else "missed"
        print(f"{case}: {ratio:.3f} of stock, aim at most {aim}: {verdict}")


def _medians(measurements: list[Measurement], case: str, unit: str) -> dict[str, float]:
    found: dict[str, list[float]] = {}
    for measurement in measurements:
        if measurement.case == case:
            found.setdefault(measurement.variant, []).append(getattr(measurement, unit))
    return {variant: statistics.median(values) for variant, values in found.items()}


def _print_auc(scratch: Path) -> None:
    """Print each trained model's AUC on the test split, read from TFMA's results."""
    sys.path.insert(0, str(measuring.HERE.parent))
    # TFX first: it gives TFMA the names that `evaluate` reads. Here: ten seconds.
    import tfx.components  # noqa: F401

    from components import evaluate

    print()
    for uri in sorted(scratch.glob("*/artifacts/**/evaluate/evaluation/*")):
        workspace = uri.relative_to(scratch).parts[0]
        auc = evaluate.figures({"evaluation": str(uri)})["metrics"]["auc"]
        print(f"test AUC {workspace}: {auc:.4f}")


if __name__ == "__main__":
    main()
