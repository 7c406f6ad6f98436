"""Read real data of every kind of source; compare what comes out with the files.

    python benchmarks/sources.py --data FOLDER [--only WORD]

FOLDER holds the data sets as `sources_sets.py` names them; taxi and digits come from
installed packages. Each data set is ingested in a process of its own,
`sources_round.py`; how many rows and labels it must have is counted without our code.
Ends with 1 where they differ. Writes `results/sources.csv`, unless `--only` is given.
"""

import argparse
import datetime
import json
import os
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import measuring
import sources_sets
import sources_tfds

RESULTS = measuring.RESULTS / "sources.csv"


@dataclass(frozen=True)
class Measurement:
    """One data set; TFDS has prepared its own before the time begins.

    Attributes:
      rows_in: in the files.
      rows_out: over all shards.
      labels_equal: `yes` where every label is as often in the examples as in the files.
      rows_per_s: over the whole step, from the files to the shards.
      start_mb: what the process holds before: TensorFlow and Beam, mostly.
      peak_mb: the most it held until the end of the step.
    """

    date: str
    commit: str
    hardware: str
    load_average: float  # over the minute before
    source: str
    data_set: str
    rows_in: int
    rows_out: int
    labels_equal: str
    rows_per_s: float
    start_mb: int
    peak_mb: int

    @property
    def is_equal(self) -> bool:
        return self.rows_in == self.rows_out and self.labels_equal == "yes"


def main() -> None:
    """Measure, write, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--only", default="", help="data sets with this in their name")
    arguments = parser.parse_args()
    sets = {**sources_sets.sets(), **sources_tfds.sets()}
    chosen = {name: make for name, make in sets.items() if arguments.only in name}
    measurements = []
    _print_head()
    for name, make in chosen.items():
        with tempfile.TemporaryDirectory(prefix="sources-") as scratch:
            workspace = Path(scratch)
            (workspace / "made").mkdir()
            found = make(arguments.data.resolve(), workspace / "made")
            measurements.append(_measure(name, found, workspace))
        _print_row(measurements[-1])
    if not arguments.only:
        measuring.write(measurements, RESULTS)
    if not all(found.is_equal for found in measurements):
        sys.exit(1)


def _measure(name: str, found: sources_sets.Set, workspace: Path) -> Measurement:
    data = {found.source: found.section, "splits": found.splits}
    task = {"data": data, "feature": found.feature, "each": found.each}
    (workspace / "data.json").write_text(json.dumps(task))
    load = os.getloadavg()[0]
    script = measuring.HERE / "sources_round.py"
    measuring.run([sys.executable, script], workspace)
    out = json.loads((workspace / "found.json").read_text())
    return Measurement(
        date=datetime.date.today().isoformat(),
        commit=measuring.commit(),
        hardware=measuring.hardware(),
        load_average=round(load, 2),
        source=name.split(" ")[0],
        data_set=name.split(" ", 1)[1],
        rows_in=found.rows,
        rows_out=out["rows"],
        labels_equal="yes" if _is_equal(found, out["labels"]) else "no",
        rows_per_s=round(out["rows"] / out["seconds"], 1),
        start_mb=round(out["start_mb"]),
        peak_mb=round(out["peak_mb"]),
    )


def _is_equal(found: sources_sets.Set, labels: list[tuple[Any, int]]) -> bool:
    counts = {value: count for value, count in labels if count}
    return counts == {value: count for value, count in found.labels.items() if count}


def _print_head() -> None:
    print(f"{measuring.hardware()}; {measuring.commit()}")
    print(
        f"{'source':<10} {'data set':<24} {'rows in':>8} {'rows out':>8}  labels"
        f" {'rows/s':>9} {'start MB':>9} {'peak MB':>8}"
    )


def _print_row(found: Measurement) -> None:
    equal = "equal" if found.labels_equal == "yes" else "DIFFER"
    print(
        f"{found.source:<10} {found.data_set:<24} {found.rows_in:8} {found.rows_out:8}"
        f"  {equal:<6} {found.rows_per_s:9.0f} {found.start_mb:9} {found.peak_mb:8}",
        flush=True,
    )


if __name__ == "__main__":
    main()
