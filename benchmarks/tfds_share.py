"""Time our ingest of TFDS `fashion_mnist` beside TFDS's own `download_and_prepare`.

    python benchmarks/tfds_share.py --downloads FOLDER [--rounds 3]

FOLDER is a download folder of TFDS that holds the data set's files; without them it
downloads. Each round is a process of its own, `tfds_round.py`: TFDS prepares 70,000
images, then our step reads, splits and writes them, by shares (a hash of a record) or
by the builder's own splits. Imports are not counted. Writes `results/tfds_share.csv`.
"""

import argparse
import datetime
import json
import os
import statistics
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

import measuring

RESULTS = measuring.RESULTS / "tfds_share.csv"
NAME, NUM_RECORDS = "fashion_mnist", 70_000
SPLITS = {
    "shares": {"train": 8, "eval": 1, "test": 1},
    "builder": {"train": "train[:90%]", "eval": "train[90%:]", "test": "test"},
}
AIM = 0.25  # largest share of ours in the total


@dataclass(frozen=True)
class Measurement:
    """One round; `ours_s` is what our step takes once the data set is prepared."""

    date: str
    commit: str
    hardware: str
    load_average: float  # over the minute before
    splits: str
    round: int
    records: int
    prepare_s: float
    ours_s: float
    share: float  # of ours in the sum of both


def main() -> None:
    """Measure, write, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--downloads", type=Path, required=True)
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    downloads = arguments.downloads.resolve()
    with tempfile.TemporaryDirectory(prefix="tfds_share-") as scratch:
        measurements = [
            _measure(downloads, Path(scratch) / f"{splits}-{number}", splits, number)
            for number in range(1, arguments.rounds + 1)
            for splits in SPLITS
        ]
    measuring.write(measurements, RESULTS)
    _print_table(measurements)


def _measure(downloads: Path, workspace: Path, splits: str, number: int) -> Measurement:
    load = os.getloadavg()[0]
    script = [sys.executable, measuring.HERE / "tfds_round.py", NAME]
    measuring.run([*script, json.dumps(SPLITS[splits]), downloads], workspace)
    found = json.loads((workspace / "seconds.json").read_text())
    if found["records"] != NUM_RECORDS:
        raise RuntimeError(f"{found['records']} records came out of {NUM_RECORDS}")
    measurement = Measurement(
        date=datetime.date.today().isoformat(),
        commit=measuring.commit(),
        hardware=measuring.hardware(),
        load_average=round(load, 2),
        splits=splits,
        round=number,
        records=found["records"],
        prepare_s=round(found["prepare_s"], 2),
        ours_s=round(found["ours_s"], 2),
        share=round(found["ours_s"] / (found["prepare_s"] + found["ours_s"]), 3),
    )
    print(
        f"round {number} {splits:<8} TFDS {measurement.prepare_s:6.2f} s, ours "
        f"{measurement.ours_s:6.2f} s, share {measurement.share:.3f}, load before "
        f"{load:.2f}",
        flush=True,
    )
    return measurement


def _print_table(measurements: list[Measurement]) -> None:
    """Print medians, and whether our share is as small as it is to be."""
    print(f"\n{measurements[0].hardware}; medians")
    print("splits     TFDS s   ours s   records/s   share")
    for splits in SPLITS:
        some = [m for m in measurements if m.splits == splits]
        prepare, ours, share = (
            statistics.median(getattr(m, column) for m in some)
            for column in ("prepare_s", "ours_s", "share")
        )
        verdict = "met" if share < AIM else "missed"
        print(
            f"{splits:<8} {prepare:8.2f} {ours:8.2f} {NUM_RECORDS / ours:11.0f} "
            f"{share:7.3f}   aim below {AIM}: {verdict}"
        )


if __name__ == "__main__":
    main()
