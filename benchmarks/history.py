"""Time the commands that read the history when it is long, as fresh processes.

    python benchmarks/history.py [--runs 500] [--rounds 5]

Fills a workspace with runs of fifteen steps, with fingerprints and figures of the
sizes that real runs leave; a run has a version, or was refused and diagnosed. Writes
`results/history.csv`.
"""

import argparse
import datetime
import json
import os
import random
import statistics
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

import measuring

RESULTS = measuring.RESULTS / "history.csv"
AIM_SECONDS = 0.5
NAME = "digits"
# Bytes of a step's parts and figures, rounded up from runs of the zoo; the judge keeps
# a line and some figures for each of about ten exams.
SIZES = {
    "ingest": (4500, 1200),
    "statistics": (600, 130),
    "infer_schema": (300, 2),
    "schema": (2200, 370),
    "find_anomalies": (1400, 240),
    "leakage": (5300, 3200),
    "validate": (4500, 850),
    "transform": (3800, 210),
    "baselines": (4600, 400),
    "label_audit": (4900, 10500),
    "train": (7700, 6000),
    "evaluate": (3300, 4000),
    "examine": (6000, 20000),
    "judge": (3000, 20000),
    "push": (1400, 100),
}


_REFUSED = 5  # of every ten runs


@dataclass(frozen=True)
class Measurement:
    """One process, a row of the CSV."""

    date: str
    commit: str
    hardware: str
    load_average: float  # over the minute before
    runs: int
    history_mb: float
    command: str
    round: int
    wall_s: float
    cpu_s: float  # user and system


def main() -> None:
    """Fill, measure, write, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=500, help="at least 5")
    parser.add_argument("--rounds", type=int, default=5)
    parsed = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="history-") as scratch:
        root = Path(scratch)
        fill(root, parsed.runs)
        measurements = measure(root, parsed.runs, parsed.rounds)
    measuring.write(measurements, RESULTS)
    _print_table(measurements)


def fill(root: Path, num_runs: int) -> None:
    """Record runs in a workspace; every tenth is refused, for a known cause."""
    sys.path.insert(0, str(measuring.HERE.parent))
    from pipeline.history import History

    history = History(root / "history.db")
    rng = random.Random(0)
    sections = {"transform": {}, "train": {"notes": "x" * 3000}, "push": {}}
    recipe = json.dumps({"name": NAME, **sections})
    for number in range(1, num_runs + 1):
        run_id = history.begin_run(NAME, recipe, now=1e9 + 600 * number)
        is_refused = number % 10 == _REFUSED
        _record(history, root, run_id, is_refused=is_refused, rng=rng)
        if is_refused:
            _diagnosis(root / "runs" / str(run_id), rng)
        history.end_run(
            run_id, "refused" if is_refused else "done", now=1e9 + 600 * number + 60
        )


def _record(history, root, run_id, *, is_refused, rng) -> None:
    """Record the steps of a run; in the history's file only the newest has all."""
    from pipeline.history import StepRecord

    keys = {step: f"{rng.getrandbits(256):064x}" for step in SIZES}
    with history.connection() as db:
        code = json.dumps({"commit": "0" * 40, "changed": []})
        values = (run_id, code, str(root / f"{NAME}.yaml"), "[]", json.dumps(keys))
        db.execute("INSERT INTO provenance VALUES (?, ?, ?, ?, ?)", values)
    model = root / "artifacts" / NAME / "train" / "model" / str(run_id)
    before = None
    for step, (parts_bytes, figures_bytes) in SIZES.items():
        if step == "push" and is_refused:
            break
        parts = _parts(parts_bytes, rng)
        if before:
            parts[f"after {before}"] = keys[before]
        figures = _figures(figures_bytes, rng)
        if step in ("examine", "judge"):
            figures = _verdict(figures, is_refused)
        if step == "push":
            path = root / "models" / NAME / str(run_id)
            _version(path, str(model))
            parts["base_path"] = str(path.parent)
            figures = {"summary": "", "version": run_id, "path": str(path)}
        record = StepRecord(
            run_id=run_id,
            step=step,
            key=keys[step],
            parts=parts,
            execution_id=run_id,
            outputs={"model": str(model)} if step == "train" else {},
            figures=figures,
            seconds=1.0,
        )
        history.add_step(NAME, record)
        before = step


def _parts(size_bytes: int, rng: random.Random) -> dict[str, str]:
    """Return digests of code files, about as many bytes as asked for."""
    return {
        f"code components/module_{i}.py": f"{rng.getrandbits(256):064x}"
        for i in range(size_bytes // 100)
    }


def _figures(size_bytes: int, rng: random.Random) -> dict[str, object]:
    values = [{"loss": rng.random(), "n": i} for i in range(size_bytes // 40)]
    return {"summary": "some words", "values": values}


def _verdict(figures: dict[str, object], is_refused: bool) -> dict[str, object]:
    refusals = ["accuracy is 0.5000, expected at least 0.9"] if is_refused else []
    status = "refused" if is_refused else "passed"
    exam = {"status": status, "summary": "", "refusals": refusals, "figures": figures}
    return {
        "summary": "9 of 9 exams passed",
        "blessed": not is_refused,
        "refusals": refusals,
        "verdicts": {"metrics": exam},
    }


def _diagnosis(folder: Path, rng: random.Random) -> None:
    """Keep a cause and five flipped digits, as the end of a run leaves them."""
    flip = {"label": "0", "candidate": "1", "probability": 0.9}
    images = ([[rng.randrange(256) for _ in range(8)] for _ in range(8)],) * 5
    cause = {"cause": "labels", "strength": 0.5, "text": "x" * 150, "figures": {}}
    found = {
        "findings": [cause],
        "flips": {
            "count": 40,
            "asked": 175,
            "examples": [{**flip, "image": image} for image in images],
        },
        "reference": 1,
    }
    folder.mkdir(parents=True)
    (folder / "diagnosis.json").write_text(json.dumps(found))


def _version(path: Path, model: str) -> None:
    extra = path / "assets.extra"
    extra.mkdir(parents=True)
    record = {"origin": model, "sha256": "0" * 64}
    (extra / "strata.json").write_text(json.dumps(record))
    (extra / "manifest.json").write_text('{"algorithm": "sha256", "files": {}}')


def measure(root: Path, num_runs: int, rounds: int) -> list[Measurement]:
    """Time every command in turn, `rounds` times, after one that warms the disk."""
    commands = {
        "why": ["why", str(num_runs - (num_runs - _REFUSED) % 10)],
        "runs": ["runs", NAME],
        "show": ["show", "1"],
        "lineage": ["lineage", f"{NAME}@1"],
        "diff": ["diff", "1", str(num_runs)],
    }
    size_mb = (root / "history.db").stat().st_size / 1e6
    measurements = []
    for number in range(rounds + 1):
        for name, arguments in commands.items():
            load = os.getloadavg()[0]
            command = [sys.executable, "-m", "pipeline.cli", *arguments]
            seconds = measuring.run(command, root)
            if number:
                measurements.append(
                    Measurement(
                        date=datetime.date.today().isoformat(),
                        commit=measuring.commit(),
                        hardware=measuring.hardware(),
                        load_average=round(load, 2),
                        runs=num_runs,
                        history_mb=round(size_mb, 1),
                        command=name,
                        round=number,
                        wall_s=round(seconds[0], 3),
                        cpu_s=round(seconds[1], 3),
                    )
                )
    return measurements


def _print_table(measurements: list[Measurement]) -> None:
    first = measurements[0]
    print(f"{first.hardware}; {first.runs} runs, {first.history_mb} MB; wall seconds")
    for command in dict.fromkeys(m.command for m in measurements):
        walls = [m.wall_s for m in measurements if m.command == command]
        cpu = statistics.median(m.cpu_s for m in measurements if m.command == command)
        verdict = "met" if max(walls) < AIM_SECONDS else "missed"
        print(
            f"{command:<9} median {statistics.median(walls):.3f}, longest "
            f"{max(walls):.3f}, CPU {cpu:.3f}; aim under {AIM_SECONDS}: {verdict}"
        )


if __name__ == "__main__":
    main()
