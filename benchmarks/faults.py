"""Plant every fault: is it refused, and does `why` name the cause? And without a fault?

    nice -n 19 python benchmarks/faults.py [--recipes digits adult_mlp] [--seeds 5]

Each recipe runs once; then with as many other seeds and no fault, which must be
accepted; then with each fault of `pipeline/faults.py`, which must be refused: behind
one that is accepted nothing is measured, since a broken model is live. Adult needs
STRATA_DATA. Writes `results/faults.csv`. On two cores digits takes 15 minutes, Adult
30.
"""

import argparse
import datetime
import os
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import measuring

sys.path.insert(0, str(measuring.HERE.parent))

from pipeline import faults, run
from pipeline.display import Lines
from pipeline.workspace import Workspace
from recipes.errors import RefusedError

RESULTS = measuring.RESULTS / "faults.csv"


@dataclass(frozen=True)
class Measurement:
    """One run, a row of the CSV; `fault` and `cause` are "" where there is none."""

    date: str
    commit: str
    hardware: str
    load_average: float  # over the minute before
    recipe: str
    seed: int
    fault: str
    refused: bool
    cause: str
    strength: float
    seconds: float


def main() -> None:
    """Measure, write, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--recipes", nargs="+", default=["digits", "adult_mlp"])
    parser.add_argument("--faults", nargs="*", default=list(faults.FAULTS))
    parser.add_argument("--seeds", type=int, default=5, help="without a fault")
    arguments = parser.parse_args()
    found = []
    for recipe in arguments.recipes:
        with tempfile.TemporaryDirectory(prefix="faults-") as folder:
            workspace = Workspace(Path(folder))
            with (Path(folder) / "output.log").open("w") as log:
                shown = Lines(log)
                run.run(recipe, (), workspace, shown)
                measured = [
                    *clean(recipe, arguments.seeds, workspace, shown),
                    *broken(recipe, arguments.faults, workspace, shown),
                ]
        found += measured
        _print(recipe, measured)
    measuring.write(found, RESULTS)


def clean(
    recipe: str, seeds: int, workspace: Workspace, shown: Lines
) -> Iterator[Measurement]:
    """Train without a fault, with other seeds; what passes goes live."""
    for seed in range(1, seeds + 1):
        begin = time.perf_counter()
        refused = False
        try:
            run.run(recipe, [f"train.seed={seed}"], workspace, shown)
        except RefusedError:
            refused = True
        yield _row(recipe, seed, "", refused, [], begin)


def broken(
    recipe: str, names: list[str], workspace: Workspace, shown: Lines
) -> Iterator[Measurement]:
    """Plant each fault; stop behind one that was accepted."""
    for fault in names:
        begin = time.perf_counter()
        got = faults.plant(fault, recipe, (), workspace, shown)
        yield _row(recipe, 0, fault, bool(got.refused), list(got.findings), begin)
        if not got.refused:
            return


def _row(
    recipe: str, seed: int, fault: str, refused: bool, findings: list, begin: float
) -> Measurement:
    first = findings[0] if findings else {"cause": "", "strength": 0.0}
    row = Measurement(
        date=datetime.datetime.now(datetime.UTC).date().isoformat(),
        commit=measuring.commit(),
        hardware=measuring.hardware(),
        load_average=round(os.getloadavg()[0], 2),
        recipe=recipe,
        seed=seed,
        fault=fault,
        refused=refused,
        cause=first["cause"],
        strength=round(first["strength"], 3),
        seconds=round(time.perf_counter() - begin, 1),
    )
    word = "refused" if refused else "accepted"
    what = fault or f"no fault, seed {seed}"
    print(f"{recipe}: {what}: {word} {row.cause} {row.seconds:.0f} s", flush=True)
    return row


def _print(recipe: str, measured: list[Measurement]) -> None:
    good = [row for row in measured if not row.fault]
    bad = [row for row in measured if row.fault]
    accepted = sum(not row.refused for row in good)
    refused = sum(row.refused for row in bad)
    named = sum(row.refused and row.cause == row.fault for row in bad)
    print(
        f"{recipe}: without a fault {accepted} of {len(good)} accepted; of {len(bad)} "
        f"faults {refused} refused, {named} named",
        flush=True,
    )


if __name__ == "__main__":
    main()
