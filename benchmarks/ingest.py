"""Time our first stages on a large CSV beside those of stock TFX, and their memory.

    python benchmarks/ingest.py [--rows 100000 1000000] [--who ours stock]

The CSV is the taxi set of the installed TFX, repeated. Every stage is a process of its
own, see `ingest_stage.py`. Writes `results/ingest.csv`.
"""

import argparse
import datetime
import importlib.util
import itertools
import json
import os
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import measuring

RESULTS = measuring.RESULTS / "ingest.csv"
TAXI = "examples/chicago_taxi_pipeline/data/simple/data.csv"  # of the package tfx
STAGES = ("ingest", "statistics", "schema", "transform")  # in the order of running
MEASURED = ("ingest", "statistics", "transform")
ROWS_PER_SECOND_AT_LEAST = 50_000
TIMES_STOCK_AT_LEAST = 5
STATISTICS_SECONDS_AT_MOST = 20  # of the million rows


@dataclass(frozen=True)
class Measurement:
    """One stage: `seconds` without imports; wall and CPU of its whole process."""

    date: str
    commit: str
    hardware: str
    load_average: float  # over the minute before
    rows: int
    who: str
    stage: str
    seconds: float
    rows_per_s: int
    peak_rss_mb: int
    wall_s: float
    cpu_s: float


def main() -> None:
    """Measure, write, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, nargs="+", default=[100_000, 1_000_000])
    parser.add_argument("--who", nargs="+", default=["ours", "stock"])
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="ingest-") as scratch:
        measurements = measure(Path(scratch), arguments.rows, arguments.who)
    measuring.write(measurements, RESULTS)
    _print_table(measurements)
    _print_aims(measurements)


def measure(
    scratch: Path, row_counts: Sequence[int], whose: Sequence[str]
) -> list[Measurement]:
    """Run every stage, in workspaces under `scratch`."""
    # The first import reads 1 GB from disk and writes bytecode; nobody is to pay.
    warm_up = [sys.executable, "-c", "import pipeline.graph, tfx.v1"]
    measuring.run(warm_up, scratch / "warm-up")
    measurements = []
    for num_rows in row_counts:
        csv = scratch / f"rows-{num_rows}" / "data.csv"
        write_rows(csv, num_rows)
        for who in whose:
            for stage in STAGES:
                workspace = scratch / f"{who}-{num_rows}"
                found = _measure(who, stage, num_rows, csv, workspace)
                if stage in MEASURED:
                    measurements.append(found)
                    print(
                        f"{num_rows:>9,} rows {who:<5} {stage:<10} "
                        f"{found.seconds:7.1f} s {found.rows_per_s:>9,} rows/s "
                        f"{found.peak_rss_mb:>6,} MB",
                        flush=True,
                    )
    return measurements


def write_rows(path: Path, num_rows: int) -> None:
    """Write the taxi set, repeated or cut to a number of rows."""
    package = importlib.util.find_spec("tfx")
    if package is None or package.origin is None:
        raise ModuleNotFoundError("No package tfx, which holds the taxi set.")
    source = Path(package.origin).parent / TAXI
    header, *rows = source.read_bytes().splitlines(keepends=True)
    path.parent.mkdir(parents=True)
    with path.open("wb") as file:
        file.write(header)
        file.writelines(itertools.islice(itertools.cycle(rows), num_rows))


def _measure(
    who: str, stage: str, num_rows: int, csv: Path, workspace: Path
) -> Measurement:
    script = measuring.HERE / "ingest_stage.py"
    load = os.getloadavg()[0]
    wall, cpu = measuring.run(
        [sys.executable, script, who, stage, csv, workspace], workspace
    )
    found = json.loads((workspace / f"{stage}.json").read_text())
    return Measurement(
        date=datetime.date.today().isoformat(),
        commit=measuring.commit(),
        hardware=measuring.hardware(),
        load_average=round(load, 2),
        rows=num_rows,
        who=who,
        stage=stage,
        seconds=round(found["seconds"], 2),
        rows_per_s=round(num_rows / found["seconds"]),
        peak_rss_mb=round(found["peak_rss_mb"]),
        wall_s=round(wall, 2),
        cpu_s=round(cpu, 2),
    )


def _print_table(measurements: Sequence[Measurement]) -> None:
    print(f"\n{measurements[0].hardware}")
    print("     rows who   stage         seconds    rows/s  peak MB   stock/ours")
    for found in measurements:
        ratio = _times_stock(measurements, found)
        print(
            f"{found.rows:>9,} {found.who:<5} {found.stage:<10} {found.seconds:>10.1f} "
            f"{found.rows_per_s:>9,} {found.peak_rss_mb:>8,}"
            + (f" {ratio:>11.1f}x" if ratio else "")
        )


def _print_aims(measurements: Sequence[Measurement]) -> None:
    """Say for the largest table whether the aims are met, and how memory grew."""
    most = max(found.rows for found in measurements)
    ours = {
        (found.rows, found.stage): found
        for found in measurements
        if found.who == "ours"
    }
    if not ours:
        return
    ingest, statistics = ours[most, "ingest"], ours[most, "statistics"]
    print(f"\naims at {most:,} rows")
    _print_aim(
        f"ingest {ingest.rows_per_s:,} rows/s, at least {ROWS_PER_SECOND_AT_LEAST:,}",
        ingest.rows_per_s >= ROWS_PER_SECOND_AT_LEAST,
    )
    if ratio := _times_stock(measurements, ingest):
        _print_aim(
            f"ingest {ratio:.1f} times stock, at least {TIMES_STOCK_AT_LEAST}",
            ratio >= TIMES_STOCK_AT_LEAST,
        )
    _print_aim(
        f"statistics {statistics.seconds} s, at most {STATISTICS_SECONDS_AT_MOST}",
        statistics.seconds <= STATISTICS_SECONDS_AT_MOST,
    )
    least = min(found.rows for found in measurements)
    for stage in MEASURED:
        grown = ours[most, stage].peak_rss_mb / ours[least, stage].peak_rss_mb
        print(f"{stage}: peak memory {grown:.2f} times that of {least:,} rows")


def _print_aim(text: str, is_met: bool) -> None:
    print(f"{text}: {'met' if is_met else 'missed'}")


def _times_stock(
    measurements: Sequence[Measurement], found: Measurement
) -> float | None:
    """Return how many times longer stock took than ours; None where unknown."""
    if found.who != "ours":
        return None
    for other in measurements:
        if (other.who, other.rows, other.stage) == ("stock", found.rows, found.stage):
            return other.seconds / found.seconds
    return None


if __name__ == "__main__":
    main()
