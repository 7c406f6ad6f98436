"""Let `strata new` write recipes for known data sets, run and serve them as they are.

    python benchmarks/new_recipes.py --data FOLDER [--only wine,adult]

FOLDER holds the sets by the names in `SETS`. Each is looked at, run and served in
processes and a workspace of its own, and nothing is edited between. Beside our figure
on the test split stand those of the run's own simple models, and the published one,
which is of another split wherever `note` does not say that it is the same. Writes
`results/new_recipes.csv`.
"""

import argparse
import base64
import datetime
import json
import os
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import measuring

sys.path.insert(0, str(measuring.HERE.parent))

RESULTS = measuring.RESULTS / "new_recipes.csv"
NUM_SERVED = 200  # records of the test split that the server is asked about
ACCURACY = ("sparse_categorical_accuracy", "binary_accuracy")


@dataclass(frozen=True)
class Set:
    """A data set: what `strata new` is told, and what was published."""

    name: str
    sources: tuple[str, ...]  # {data} is FOLDER
    label: str | None
    published: str
    note: str


SETS = (
    Set(
        "adult",
        ("train={data}/adult/adult.data", "test={data}/adult/adult.test"),
        "column_15",
        "NBTree 0.859; C4.5 0.845; naive Bayes 0.839",
        "adult.names; same split, rows with unknowns removed",
    ),
    Set(
        "wine",
        ("{data}/wine-quality/winequality-red.csv",),
        "quality",
        "SVM 0.624",
        "Cortez et al. 2009, as commonly cited; regression, tolerance 0.5",
    ),
    Set("penguins", ("{data}/penguins/penguins.csv",), "species", "none", ""),
    Set(
        "german",
        ("{data}/german-credit/german.data-numeric",),
        "column_25",
        "none",
        "StatLog publishes costs, not accuracy",
    ),
    Set(
        "sms",
        ("{data}/sms-spam/SMSSpamCollection",),
        "column_1",
        "SVM 0.9764",
        "Almeida et al. 2011, as commonly cited; tested on 70 %",
    ),
    Set(
        "signs",
        ("{data}/sign-digits/sign_digits_100px.zip",),
        None,
        "small CNN 0.98",
        "Mavi, arXiv:2011.08927; split of its own",
    ),
    Set(
        "speech",
        ("{data}/spoken-digits/recordings_3_speakers.zip",),
        None,
        "small CNN 0.97",
        "commonly reported, all speakers; takes 0-4 are the test part",
    ),
    Set(
        "trec",
        ("tfds:trec", "download_dir={data}/tfds_downloads"),
        "label_coarse",
        "SNoW 0.910; CNN 0.936",
        "Li & Roth 2002; Kim 2014, as commonly cited; same split",
    ),
)


@dataclass(frozen=True)
class Measurement:
    """What came of one set, a row of the CSV.

    `metric` names the figures `ours`, `majority` and `logistic_regression`, all on the
    same test split. Of `served` records the server's classes agreed with the label in
    the share `served_accuracy`. Seconds are wall time of whole processes.
    """

    date: str
    commit: str
    hardware: str
    load_average: float  # over the minute before
    set: str
    metric: str
    test_examples: int
    ours: float
    auc: float | None
    majority: float
    logistic_regression: float
    published: str
    note: str
    served: int
    served_accuracy: float
    new_seconds: float
    run_seconds: float


def main() -> None:
    """Measure, write, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--only", help="names of sets, with commas between")
    parsed = parser.parse_args()
    names = parsed.only.split(",") if parsed.only else [each.name for each in SETS]
    measurements = []
    for each in sorted(
        (s for s in SETS if s.name in names), key=lambda s: names.index(s.name)
    ):
        with tempfile.TemporaryDirectory() as folder:
            measured = measure(each, parsed.data.absolute(), Path(folder))
        measurements.append(measured)
        print(
            f"{measured.set:<9} {measured.metric} {measured.ours:.4f} · majority "
            f"{measured.majority:.4f} · logistic regression "
            f"{measured.logistic_regression:.4f} · published {measured.published} · "
            f"served {measured.served_accuracy:.4f} of {measured.served} · new "
            f"{measured.new_seconds:.0f} s, run {measured.run_seconds:.0f} s",
            flush=True,
        )
        measuring.write(measurements, RESULTS)


def measure(data_set: Set, data: Path, workspace: Path) -> Measurement:
    """Do `new`, `run`, `serve` for one set.

    Raises:
      RuntimeError: a command failed.
    """
    load = os.getloadavg()[0]
    strata = [sys.executable, "-m", "pipeline.cli"]
    sources = [s.format(data=data) for s in data_set.sources]
    told = [word for source in sources for word in ("--from", source)]
    told += ["--label", data_set.label] if data_set.label else []
    new_seconds, _ = measuring.run([*strata, "new", data_set.name, *told], workspace)
    recipe = f"{data_set.name}.yaml"
    run_seconds, _ = measuring.run([*strata, "run", recipe, "--json"], workspace)
    steps = _steps(workspace / measuring.LOG_NAME)
    metrics = steps["evaluate"]["figures"]["metrics"]
    simple = steps["baselines"]["figures"]["scores"]
    with _served(data_set.name, workspace) as url:
        served, right = _ask(data_set.name, url, steps)
    return Measurement(
        date=datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d"),
        commit=measuring.commit(),
        hardware=measuring.hardware(),
        load_average=round(load, 2),
        set=data_set.name,
        metric="accuracy",
        test_examples=steps["ingest"]["figures"]["records"]["test"],
        ours=round(next(metrics[name] for name in ACCURACY if name in metrics), 4),
        auc=round(metrics["auc"], 4) if "auc" in metrics else None,
        majority=round(simple["majority"]["accuracy"], 4),
        logistic_regression=round(simple["logistic_regression"]["accuracy"], 4),
        published=data_set.published,
        note=data_set.note,
        served=served,
        served_accuracy=round(right / served, 4),
        new_seconds=round(new_seconds, 1),
        run_seconds=round(run_seconds, 1),
    )


def _steps(log: Path) -> dict[str, Any]:
    """Return the last event of each step that says what it came to."""
    found = {}
    for line in log.read_text("utf-8").splitlines():
        event = json.loads(line) if line.startswith("{") else {}
        if "figures" in event and "step" in event:
            found[event["step"]] = event
    return found


@contextmanager
def _served(name: str, workspace: Path) -> Iterator[str]:
    """Serve the live version of a model; yield where it answers."""
    from serving.client import Client

    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    words = ["serve", name, "--port=0", f"--rest_api_port={port}"]
    server = subprocess.Popen(
        [sys.executable, "-m", "pipeline.cli", *words],
        env={
            **os.environ,
            "STRATA_HOME": str(workspace),
            "PYTHONPATH": str(measuring.HERE.parent),
        },
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        url = f"http://127.0.0.1:{port}"
        with Client(url) as client:
            client.wait_ready(name, timeout_seconds=180)
        yield url
    finally:
        server.terminate()
        server.wait(timeout=60)


def _ask(name: str, url: str, steps: dict[str, Any]) -> tuple[int, int]:
    """Ask about raw test records; return how many, and how many answers were right."""
    from components import shards
    from serving.client import Client

    raw = _first(shards.records(steps["ingest"]["outputs"]["examples"], "test"))
    transformed = steps["transform"]["outputs"]["transformed_examples"]
    labels = _labels(_first(shards.records(transformed, "test")))
    instances = [{"b64": base64.b64encode(record).decode()} for record in raw]
    body = {"signature_name": "serving_default", "instances": instances}
    with Client(url) as client:
        answers = client.predict_json(name, body, timeout_seconds=60.0)["predictions"]
    classes = [answer["classes"] for answer in answers]
    pairs = zip(classes, labels, strict=True)
    return len(classes), sum(int(got == want) for got, want in pairs)


def _first(batches: Iterator[list[bytes]]) -> list[bytes]:
    return next(batches)[:NUM_SERVED]


def _labels(records: Sequence[bytes]) -> list[int]:
    from tensorflow.core.example import example_pb2

    from components.columns import LABEL

    examples = map(example_pb2.Example.FromString, records)
    return [e.features.feature[LABEL].int64_list.value[0] for e in examples]


if __name__ == "__main__":
    main()
