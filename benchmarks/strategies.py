"""What do one replica under `mirrored`, and recomputed activations, cost?

    python benchmarks/strategies.py [--rounds 3]

Seconds of an update of a small CNN without a strategy and under `mirrored` with one
replica, in turns; and the memory and the time that the updates of a vision transformer
take with and without `remat`, each in a process of its own. Writes
`results/strategies.csv`.
"""

import argparse
import datetime
import json
import os
import resource
import statistics
import subprocess
import sys
import time
from dataclasses import dataclass

import measuring
import numpy as np

sys.path.insert(0, str(measuring.HERE.parent))

RESULTS = measuring.RESULTS / "strategies.csv"
AIM = 0.05  # of an update's time, that a strategy may add
CNN = {"architecture": "compact"}
CNN_BATCH, CNN_STEPS = 64, 60
VIT = {"patch_size": 4, "dim": 128, "num_blocks": 8, "num_heads": 4}
VIT_BATCH, VIT_STEPS = 128, 4
SHAPE, NUM_CLASSES = (28, 28, 1), 10
REPLICA_CASES, REMAT_CASES = ("none", "mirrored"), ("kept", "remat")


@dataclass(frozen=True)
class Measurement:
    """One process, or one round of one, a row of the CSV."""

    date: str
    commit: str
    hardware: str
    load_average: float  # over the minute before
    case: str  # of REPLICA_CASES or REMAT_CASES
    update_seconds: float  # the median
    peak_mb: float | None  # of the whole process, imports included


def main() -> None:
    """Measure, write, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--process", choices=("replicas", *REMAT_CASES))
    arguments = parser.parse_args()
    if arguments.process:
        print(json.dumps(_process(arguments.process, arguments.rounds)))
        return
    measurements = [row for _ in range(arguments.rounds) for row in _round()]
    measuring.write(measurements, RESULTS)
    none, mirrored = (_median(measurements, case) for case in REPLICA_CASES)
    print(
        f"one replica: {mirrored / none - 1:+.1%} of {none * 1000:.1f} ms an update, "
        f"aim below {AIM:.0%}"
    )
    kept, remat = (_median(measurements, case) for case in REMAT_CASES)
    kept_mb, remat_mb = (_median(measurements, c, "peak_mb") for c in REMAT_CASES)
    print(
        f"remat: peak {kept_mb:,.0f} MB -> {remat_mb:,.0f} MB, "
        f"update {kept:.2f} s -> {remat:.2f} s"
    )


def _median(
    measurements: list[Measurement], case: str, value: str = "update_seconds"
) -> float:
    return statistics.median(getattr(m, value) for m in measurements if m.case == case)


def _round() -> list[Measurement]:
    """Run each process once."""
    rows = []
    for process in ("replicas", *REMAT_CASES):
        load = os.getloadavg()[0]
        done = subprocess.run(
            [sys.executable, __file__, "--process", process],
            env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "2"},
            stdout=subprocess.PIPE,
            text=True,
            check=True,
        )
        for found in json.loads(done.stdout.splitlines()[-1]):
            rows.append(
                Measurement(
                    date=datetime.date.today().isoformat(),
                    commit=measuring.commit(),
                    hardware=measuring.hardware(),
                    load_average=round(load, 2),
                    **found,
                )
            )
            print(found, flush=True)
    return rows


def _process(name: str, num_rounds: int) -> list[dict]:
    if name == "replicas":
        return _replicas(num_rounds)
    seconds = _seconds_of_updates(
        _model("vit", remat=name == "remat", **VIT), VIT_BATCH, VIT_STEPS
    )
    # ru_maxrss is in KiB on Linux.
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return [{"case": name, "update_seconds": seconds, "peak_mb": round(peak, 1)}]


def _replicas(num_rounds: int) -> list[dict]:
    """Train two models in turns; the strategy must be there before the first one."""
    from components import strategies

    mirrored = strategies.create("mirrored", 1)
    with mirrored.scope():
        replica = _model("cnn", **CNN)
    models = {"none": _model("cnn", **CNN), "mirrored": replica}
    timed: dict[str, list[float]] = {case: [] for case in models}
    for _ in range(num_rounds):
        for case, model in models.items():
            timed[case].append(_seconds_of_updates(model, CNN_BATCH, CNN_STEPS))
    return [
        {"case": case, "update_seconds": statistics.median(seconds), "peak_mb": None}
        for case, seconds in timed.items()
    ]


def _model(family: str, **options):
    import keras

    import models

    model = models.build(family, SHAPE, NUM_CLASSES, **options)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile("adam", loss, jit_compile=False)
    return model


def _seconds_of_updates(model, batch_size: int, num_updates: int) -> float:
    """Return the median time of an update; the first, which compiles, is left out."""
    import keras
    import tensorflow as tf

    class Stopwatch(keras.callbacks.Callback):
        def __init__(self):
            super().__init__()
            self.times: list[float] = []

        def on_train_batch_end(self, batch, logs=None):
            float(logs["loss"])  # waits for the device
            self.times.append(time.perf_counter())

    random = np.random.default_rng(0)
    images = random.normal(size=(batch_size, *SHAPE)).astype("float32")
    labels = random.integers(NUM_CLASSES, size=(batch_size, 1))
    batches = tf.data.Dataset.from_tensors((images, labels)).repeat()
    stopwatch = Stopwatch()
    model.fit(
        batches.prefetch(2),
        steps_per_epoch=num_updates + 1,
        callbacks=[stopwatch],
        shuffle=False,
        verbose=0,
    )
    return round(float(np.median(np.diff(stopwatch.times))), 5)


if __name__ == "__main__":
    main()
