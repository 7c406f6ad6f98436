"""Train every recipe of the zoo through the line; write down what each reached.

    python benchmarks/zoo.py --data FOLDER [--only fashion,cora_gcn] [--seeds 3]

FOLDER holds the data sets by the names that the recipes' `data:` paths have. Each
recipe is run as it stands, in processes and a workspace of its own; seeds change
`train.seed` alone, and the steps before the training are shared. `ours` and the figure
of the best simple model are of the same test split and metric; `published` is of
another split or protocol where `note` says so. `train_minutes` is the training alone,
`minutes` the whole run, wall time. Replaces the rows of the recipes it ran in
`results/zoo.csv`.
"""

import argparse
import csv
import datetime
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import measuring

RESULTS = measuring.RESULTS / "zoo.csv"
TIMEOUT_SECONDS = 3600
LOWER_IS_BETTER = ("mse", "nats")
# How the line names a metric -> how the table does, and the baselines' name for it.
METRICS = {
    "sparse_categorical_accuracy": ("accuracy", "accuracy"),
    "binary_accuracy": ("accuracy", "accuracy"),
    "auc": ("AUC", "auc"),
    "f1": ("F1", "f1"),
    "mean_squared_error": ("mse", "mse"),
    "token_cross_entropy": ("nats", "cross_entropy"),
    "exact_match": ("exact match", "exact_match"),
}


@dataclass(frozen=True)
class Entry:
    """A recipe, what it is about, and what it is compared with."""

    recipe: str
    what: str
    metric: str  # a key of METRICS
    aim: float | None
    published: str = ""
    note: str = ""
    seeds: int = 1
    overrides: tuple[str, ...] = ()
    name: str = ""  # in the table, where overrides make it another
    shares: str = ""  # a name to run under; with others of it, the data are read once

    @property
    def row(self) -> str:
        return self.name or self.recipe


ACCURACY = "sparse_categorical_accuracy"
FASHION = "2 conv, 113k weights 0.922; human 0.835"
ADULT = "NBTree 0.859; C4.5 0.845"
TREC = "SNoW 0.910; CNN 0.936"
GRAPH = "GCN 0.815; GAT 0.830"
RECORDINGS = "data:spoken-digits/recordings_3_speakers.zip!/recordings"
IMAGES = "28x28 image -> 1 of 10"
NODE = "paper and its citations -> 1 of 7"
TABLE = "table row -> yes or no"
WEEK = "two weeks of 7 channels -> 4 days"


def _fashion(recipe: str, aim: float = 0.90) -> Entry:
    return Entry(
        recipe, IMAGES, ACCURACY, aim, FASHION, "Fashion-MNIST README", shares="fashion"
    )


def _speaker(name: str, others: str) -> Entry:
    """Leave a speaker out; `others` are the initials of those learned from."""
    return Entry(
        "spoken_digits",
        "speech of a new speaker -> 1 of 10",
        ACCURACY,
        None,
        note="learned from the two other speakers",
        overrides=(
            f"data.audio.path.train={RECORDINGS}/*_[{others}]*_[1-4][0-9].wav",
            f"data.audio.path.eval={RECORDINGS}/*_[{others}]*_[0-9].wav",
            f"data.audio.path.test={RECORDINGS}/*_{name}_*.wav",
        ),
        name=f"spoken_digits without {name}",
    )


ENTRIES = (
    Entry("digits", "8x8 scan -> 1 of 10", ACCURACY, 0.985),
    Entry("digits_mlp", "8x8 scan -> 1 of 10", ACCURACY, 0.97),
    _fashion("fashion", 0.92),
    _fashion("fashion_resnet"),
    Entry(
        "fashion_resnet",
        IMAGES,
        ACCURACY,
        None,
        note="the same depth without skips",
        shares="fashion",
        overrides=("model.arguments.skips=false",),
        name="fashion_resnet without skips",
    ),
    _fashion("fashion_vgg"),
    _fashion("fashion_alexnet"),
    _fashion("fashion_efficientnet"),
    _fashion("fashion_vit"),
    Entry(
        "signs",
        "photo of a hand -> 1 of 10",
        ACCURACY,
        0.95,
        "small CNN 0.98",
        "Mavi, arXiv:2011.08927; split of its own",
    ),
    Entry("adult_mlp", TABLE, "binary_accuracy", 0.855, ADULT, "adult.names"),
    Entry("adult_wide_deep", TABLE, "binary_accuracy", 0.855, ADULT, "adult.names"),
    Entry("penguins", "table row -> 1 of 3", ACCURACY, None, seeds=3),
    Entry(
        "wine",
        "table row -> 1 of 6",
        ACCURACY,
        None,
        "SVM 0.624",
        "Cortez et al. 2009; regression, tolerance 0.5; another split",
        seeds=3,
    ),
    Entry("german_credit", TABLE, "binary_accuracy", None, seeds=3),
    Entry("taxi", TABLE, "auc", None),
    *(
        Entry(
            recipe,
            "message -> spam or not",
            "f1",
            0.94,
            "SVM: accuracy 0.976",
            "Almeida et al. 2011; another split",
            seeds=3,
        )
        for recipe in ("sms_lstm", "sms_gru", "sms_transformer")
    ),
    *(
        Entry(
            recipe,
            "question -> 1 of 6",
            ACCURACY,
            0.84,
            TREC,
            "Li & Roth 2002; Kim 2014; same split",
        )
        for recipe in ("trec_lstm", "trec_gru", "trec_transformer")
    ),
    Entry(
        "shakespeare",
        "text -> next character",
        "token_cross_entropy",
        1.88,
        "4 layers of 128: 1.88; 6 of 384: 1.470",
        "nanoGPT README; on the last 10 % (here the last 5 %)",
    ),
    Entry("dates", "date in words -> ISO 8601", "exact_match", 0.95),
    Entry(
        "spelling",
        "word with a slip -> word",
        "exact_match",
        None,
        note="real words, slips made from a seed",
    ),
    *(
        Entry(
            recipe,
            NODE,
            ACCURACY,
            0.805,
            GRAPH,
            "Kipf & Welling 2017; Velickovic et al. 2018; same split",
            seeds=10,
        )
        for recipe in ("cora_gcn", "cora_gat", "cora_sage")
    ),
    *(
        Entry(
            recipe,
            WEEK,
            "mean_squared_error",
            aim,
            "DLinear 0.375",
            "Zeng et al. 2023; same split",
            seeds=3,
        )
        for recipe, aim in (("etth1_dlinear", 0.385), ("etth1_patch", 0.38))
    ),
    Entry(
        "spoken_digits",
        "speech -> 1 of 10",
        ACCURACY,
        0.96,
        "small CNN 0.97",
        "commonly reported, all speakers",
    ),
    _speaker("lucas", "gj"),
    _speaker("george", "jl"),
    _speaker("jackson", "gl"),
)


@dataclass(frozen=True)
class Measurement:
    """What came of one training, a row of the CSV."""

    date: str
    commit: str
    hardware: str
    load_average: float  # over the minute before
    recipe: str
    what: str
    seed: int
    metric: str
    ours: float
    aim: float | None
    baseline: str
    baseline_value: float | None
    published: str
    note: str
    parameters: int
    train_minutes: float
    minutes: float


def main() -> None:
    """Train, write after each, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--only", help="rows of the table, with commas between")
    parser.add_argument("--seeds", type=int, help="instead of an entry's own number")
    parsed = parser.parse_args()
    rows = [entry.row for entry in ENTRIES]
    wanted = parsed.only.split(",") if parsed.only else rows
    for name in wanted:
        if name not in rows:
            parser.error(f"--only: expected some of {', '.join(rows)}; got {name!r}")
    chosen = [e for e in ENTRIES if e.row in wanted]
    with tempfile.TemporaryDirectory() as folder:
        for entry in chosen:
            workspace = Path(folder, entry.shares or entry.row.replace(" ", "_"))
            workspace.mkdir(exist_ok=True)
            found = [
                measure(entry, seed, parsed.data.absolute(), workspace)
                for seed in range(parsed.seeds or entry.seeds)
            ]
            save(found)
            report(found)


def report(found: Sequence[Measurement]) -> None:
    """Print a line a training."""
    for one in found:
        outcome = "met" if is_met(one) else "missed"
        aim = f" (aim {one.aim:g} {outcome})" if one.aim is not None else ""
        print(
            f"{one.recipe:<28} seed {one.seed}: {one.metric} {one.ours:.4f}{aim}; "
            f"{one.baseline} {one.baseline_value}; {one.parameters:,} weights; "
            f"{one.train_minutes:.1f} of {one.minutes:.1f} min",
            flush=True,
        )


def is_met(one: Measurement) -> bool:
    """Whether a training reached its aim; it has if there is none."""
    if one.aim is None:
        return True
    lower = one.metric in LOWER_IS_BETTER
    return one.ours <= one.aim if lower else one.ours >= one.aim


def measure(entry: Entry, seed: int, data: Path, workspace: Path) -> Measurement:
    """Run a recipe with a seed of its own."""
    load_average = os.getloadavg()[0]
    begin = time.perf_counter()
    steps = run(entry, seed, data, workspace)
    minutes = (time.perf_counter() - begin) / 60
    metric, simple = METRICS[entry.metric]
    baseline, value = best(steps["baselines"]["scores"], simple)
    return Measurement(
        date=datetime.datetime.now(datetime.UTC).date().isoformat(),
        commit=measuring.commit(),
        hardware=measuring.hardware(),
        load_average=round(load_average, 1),
        recipe=entry.row,
        what=entry.what,
        seed=seed,
        metric=metric,
        ours=figure(steps["evaluate"]["metrics"], entry.metric),
        aim=entry.aim,
        baseline=baseline,
        baseline_value=value,
        published=entry.published,
        note=entry.note,
        parameters=steps["train"]["parameters"],
        train_minutes=round(steps["train"]["seconds"] / 60, 2),
        minutes=round(minutes, 2),
    )


def run(
    entry: Entry, seed: int, data: Path, workspace: Path
) -> dict[str, Mapping[str, Any]]:
    """Run a recipe; return the figures of each step.

    A refused candidate is measured as well.
    """
    command = [sys.executable, "-m", "pipeline.cli", "run", entry.recipe, "--json"]
    command += [*entry.overrides, f"train.seed={seed}"]
    command += [f"name={entry.shares}"] if entry.shares else []
    result = subprocess.run(
        command,
        cwd=workspace,
        env={
            **os.environ,
            "PYTHONPATH": str(measuring.HERE.parent),
            "STRATA_HOME": str(workspace),
            "STRATA_DATA": str(data),
            "TF_CPP_MIN_LOG_LEVEL": "2",
        },
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=TIMEOUT_SECONDS,
        check=False,
    )
    events = [json.loads(x) for x in result.stdout.splitlines() if x.startswith("{")]
    steps = {
        event["step"]: event["figures"]
        for event in events
        if event["event"] in ("done", "reused")
    }
    if "evaluate" not in steps:
        raise RuntimeError(f"{entry.row}: {result.stdout[-3000:]}{result.stderr}")
    return steps


def figure(metrics: Mapping[str, float], name: str) -> float:
    """Return a metric; F1 is made of precision and recall."""
    if name != "f1":
        return metrics[name]
    precision, recall = metrics["precision"], metrics["recall"]
    return 2 * precision * recall / max(1e-9, precision + recall)


def best(
    scores: Mapping[str, Mapping[str, float]], metric: str
) -> tuple[str, float | None]:
    """Return the simple model with the best figure."""
    found = {n.replace("_", " "): s[metric] for n, s in scores.items() if metric in s}
    if not found:
        return "", None
    pick = min if metric in ("mse", "cross_entropy") else max
    name = pick(found, key=lambda n: found[n])
    return name, round(found[name], 4)


def save(found: Sequence[Measurement]) -> None:
    """Replace the rows of a recipe; the order is that of `ENTRIES`."""
    names = [field.name for field in fields(Measurement)]
    rows: list[Mapping[str, Any]] = []
    if RESULTS.exists():
        with RESULTS.open(newline="", encoding="utf-8") as file:
            rows = [*csv.DictReader(file)]
    known = [entry.row for entry in ENTRIES if entry.row != found[0].recipe]
    rows = [row for row in rows if row["recipe"] in known]
    rows += [{name: getattr(one, name) for name in names} for one in found]
    order = [entry.row for entry in ENTRIES]
    rows.sort(key=lambda row: (order.index(row["recipe"]), int(row["seed"])))
    with RESULTS.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, names, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


if __name__ == "__main__":
    main()
