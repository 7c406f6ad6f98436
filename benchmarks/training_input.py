"""How fast does a small CNN learn from TFRecord files, beside arrays in memory?

    python benchmarks/training_input.py --data FOLDER [--rounds 3] [--epochs 2]

FOLDER holds the IDX files `train-{images-idx3,labels-idx1}-ubyte.gz` of Fashion-MNIST.
They are written once as the transform step leaves them: gzipped TFRecord shards of PNG
images. Then `fit` runs in turns on their batches, read, shuffled, decoded and scaled as
in a training, and on NumPy arrays that are ready. Writes `results/training_input.csv`.
"""

import argparse
import datetime
import io
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import label_audit
import measuring
import numpy as np
from PIL import Image

sys.path.insert(0, str(measuring.HERE.parent))

RESULTS = measuring.RESULTS / "training_input.csv"
AIM = 0.9  # of the examples a second that arrays give
BATCH_SIZE = 128
NUM_SHARDS = 4
SHAPE = (28, 28, 1)


@dataclass(frozen=True)
class Measurement:
    """One `fit`, a row of the CSV; seconds include opening the input, not compiling."""

    date: str
    commit: str
    hardware: str
    load_average: float  # over the minute before
    path: str  # `files` or `arrays`
    examples: int  # over all epochs
    seconds: float
    cpu_seconds: float
    examples_per_second: float


def main() -> None:
    """Measure, write, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--epochs", type=int, default=2)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="training_input-") as scratch:
        measurements = measure(
            arguments.data, Path(scratch), arguments.rounds, arguments.epochs
        )
    measuring.write(measurements, RESULTS)
    files, arrays = (
        statistics.median(m.examples_per_second for m in measurements if m.path == path)
        for path in ("files", "arrays")
    )
    ratio = files / arrays
    print(f"ratio of the medians {ratio:.3f}, aim at least {AIM}")


def measure(
    folder: Path, scratch: Path, num_rounds: int, num_epochs: int
) -> list[Measurement]:
    """Time both in turns, the same model going on learning."""
    images, labels = label_audit.read(folder)
    shards = write(images, labels, scratch)
    steps = len(images) // BATCH_SIZE
    model = _model()
    fits = {
        "arrays": _from_arrays(model, images, labels, steps),
        "files": _from_files(model, shards, steps),
    }
    for fit in fits.values():
        fit(1)  # compiles
    return [
        _timed(path, fit, num_epochs, steps * BATCH_SIZE)
        for _ in range(num_rounds)
        for path, fit in fits.items()
    ]


def write(images: list[bytes], labels: np.ndarray, scratch: Path) -> list[str]:
    """Write shards of transformed examples; return their paths."""
    import pyarrow as pa
    import tensorflow as tf

    from components import records
    from components.columns import LABEL, transformed_name

    paths = []
    for shard in range(NUM_SHARDS):
        columns = {
            transformed_name("image"): images[shard::NUM_SHARDS],
            LABEL: labels[shard::NUM_SHARDS],
        }
        paths.append(str(scratch / f"examples-{shard:05d}.gz"))
        with tf.io.TFRecordWriter(paths[-1], "GZIP") as file:
            for record in records.encode(pa.RecordBatch.from_pydict(columns)):
                file.write(record)
    return paths


def _model():
    import keras

    import models

    keras.utils.set_random_seed(0)
    model = models.build("cnn", SHAPE, 10, architecture="compact")
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile("adam", loss, metrics=["accuracy"], jit_compile=False)
    return model


def _from_files(model, shards: list[str], steps: int) -> Callable[[int], None]:
    import tensorflow as tf

    from components import inputs
    from components.columns import LABEL, transformed_name
    from recipes.transform import Transform

    section = {
        "label": {"feature": "label", "classes": label_audit.CLASSES},
        "image": {"feature": "image", "shape": SHAPE, "normalize": "unit"},
    }
    transform = Transform.model_validate(section).model_dump(mode="json")
    spec = {
        transformed_name("image"): tf.io.FixedLenFeature([1], tf.string),
        LABEL: tf.io.FixedLenFeature([1], tf.int64),
    }

    def fit(num_epochs: int) -> None:
        batches = inputs.training_batches(
            shards,
            spec,
            transform,
            global_batch_size=BATCH_SIZE,
            steps_per_epoch=steps,
            first_step=0,
            seed=0,
        )
        model.fit(
            batches, epochs=num_epochs, steps_per_epoch=steps, shuffle=False, verbose=0
        )

    return fit


def _from_arrays(
    model, images: list[bytes], labels: np.ndarray, steps: int
) -> Callable[[int], None]:
    decoded = [np.asarray(Image.open(io.BytesIO(image))) for image in images]
    pixels = np.stack(decoded)[..., None].astype(np.float32) / 255
    used = steps * BATCH_SIZE

    def fit(num_epochs: int) -> None:
        model.fit(
            pixels[:used],
            labels[:used, None],
            batch_size=BATCH_SIZE,
            epochs=num_epochs,
            verbose=0,
        )

    return fit


def _timed(
    path: str, fit: Callable[[int], None], num_epochs: int, epoch_examples: int
) -> Measurement:
    load, cpu, started = os.getloadavg()[0], time.process_time(), time.perf_counter()
    fit(num_epochs)
    seconds = time.perf_counter() - started
    examples = epoch_examples * num_epochs
    found = Measurement(
        date=datetime.date.today().isoformat(),
        commit=measuring.commit(),
        hardware=measuring.hardware(),
        load_average=round(load, 2),
        path=path,
        examples=examples,
        seconds=round(seconds, 2),
        cpu_seconds=round(time.process_time() - cpu, 2),
        examples_per_second=round(examples / seconds, 1),
    )
    print(
        f"{path}: {found.examples_per_second:,.0f} examples/s, "
        f"{found.cpu_seconds:.1f} CPU s",
        flush=True,
    )
    return found


if __name__ == "__main__":
    main()
