"""Flip 5 % of Fashion-MNIST's training labels; how many does the label audit find?

    python benchmarks/label_audit.py --data FOLDER [--seeds 3]

FOLDER holds the IDX files `train-{images-idx3,labels-idx1}-ubyte.gz`.
Of all 60,000 labels those that the audit believes least come first; counted is how
many of the flipped ones are among the first tenth. Writes `results/label_audit.csv`.
"""

import argparse
import datetime
import gzip
import io
import os
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import measuring
import numpy as np
from PIL import Image

sys.path.insert(0, str(measuring.HERE.parent))

RESULTS = measuring.RESULTS / "label_audit.csv"
SHARE = 0.05
AIM = 0.7  # of the flipped labels, in the worst-scored tenth
CLASSES = tuple(range(10))


@dataclass(frozen=True)
class Measurement:
    """One set of flips, a row of the CSV.

    Seconds are those of the whole audit, reading included; of the suspects, `precision`
    were flipped.
    """

    date: str
    commit: str
    hardware: str
    load_average: float  # over the minute before
    seed: int
    labels: int
    flipped: int
    in_worst_tenth: int
    suspects: int
    precision: float
    noise_rate: float
    accuracy: float
    seconds: float


def main() -> None:
    """Measure, write, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--seeds", type=int, default=3, help="0, 1, ... so many")
    arguments = parser.parse_args()
    images, labels = read(arguments.data)
    measurements = []
    for seed in range(arguments.seeds):
        with tempfile.TemporaryDirectory(prefix="label_audit-") as scratch:
            found = measure(images, labels, seed, Path(scratch))
        measurements.append(found)
        print(
            f"seed {seed}: {found.in_worst_tenth:,} of {found.flipped:,} flipped "
            f"labels ({found.in_worst_tenth / found.flipped:.1%}) in the worst tenth, "
            f"aim {AIM:.0%}; {found.suspects:,} suspects, {found.precision:.1%} "
            f"of them flipped; {found.seconds:.1f} s",
            flush=True,
        )
    measuring.write(measurements, RESULTS)


def read(folder: Path) -> tuple[list[bytes], np.ndarray]:
    """Return the images as PNG, and (images,) int64 labels."""
    pixels = _idx(folder / "train-images-idx3-ubyte.gz", 16).reshape(-1, 28, 28)
    return [_png(image) for image in pixels], _idx(
        folder / "train-labels-idx1-ubyte.gz", 8
    ).astype(np.int64)


def flip(labels: np.ndarray, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Return labels of which SHARE are another class, and which those are."""
    random = np.random.default_rng(seed)
    chosen = random.choice(len(labels), round(SHARE * len(labels)), replace=False)
    is_flipped = np.zeros(len(labels), bool)
    is_flipped[chosen] = True
    shift = random.integers(1, len(CLASSES), len(labels))
    return np.where(is_flipped, (labels + shift) % len(CLASSES), labels), is_flipped


def measure(
    images: list[bytes], labels: np.ndarray, seed: int, scratch: Path
) -> Measurement:
    """Audit the images with flipped labels, as a step of a run would."""
    from components import label_audit

    given, is_flipped = flip(labels, seed)
    transform = _transform()
    write(images, given, scratch / "examples")
    _write_graph(images[:100], given[:100], transform, scratch)
    load, started = os.getloadavg()[0], time.perf_counter()
    features, read_labels = label_audit.read(
        str(scratch / "examples"),
        str(scratch / "graph"),
        transform,
        np.arange(len(given)),
    )
    probabilities = label_audit.out_of_fold(features, read_labels, is_table=False)
    doubts = label_audit.doubt(read_labels, probabilities)
    seconds = time.perf_counter() - started
    worst = np.argsort(doubts.scores, kind="stable")[: len(given) // 10]
    return Measurement(
        date=datetime.date.today().isoformat(),
        commit=measuring.commit(),
        hardware=measuring.hardware(),
        load_average=round(load, 2),
        seed=seed,
        labels=len(given),
        flipped=int(is_flipped.sum()),
        in_worst_tenth=int(is_flipped[worst].sum()),
        suspects=len(doubts.rows),
        precision=round(float(is_flipped[doubts.rows].mean()), 4),
        noise_rate=round(doubts.noise_rate, 4),
        accuracy=round(float(np.mean(probabilities.argmax(1) == labels)), 4),
        seconds=round(seconds, 2),
    )


def write(images: list[bytes], labels: np.ndarray, folder: Path) -> None:
    """Write a shard of examples, as the ingest step does."""
    import pyarrow as pa
    import tensorflow as tf

    from components import records

    table = pa.RecordBatch.from_pydict({"image": images, "label": labels})
    (folder / "Split-train").mkdir(parents=True)
    path = str(folder / "Split-train" / "examples-00000-of-00001.gz")
    with tf.io.TFRecordWriter(path, "GZIP") as file:
        for record in records.encode(table):
            file.write(record)


def _transform() -> dict:
    from recipes.transform import Transform

    section = {
        "label": {"feature": "label", "classes": CLASSES},
        "image": {"feature": "image", "shape": (28, 28, 1)},
    }
    return Transform.model_validate(section).model_dump(mode="json")


def _write_graph(
    images: list[bytes], labels: np.ndarray, transform: dict, scratch: Path
) -> None:
    """Write the transform graph; it learns nothing from images, so a few will do."""
    import apache_beam as beam
    import tensorflow as tf
    import tensorflow_transform as tft
    import tensorflow_transform.beam as tft_beam
    from apache_beam.runners.portability.fn_api_runner import FnApiRunner
    from tensorflow_transform.tf_metadata.dataset_metadata import DatasetMetadata

    from components.transform import preprocessing_fn

    graph = scratch / "graph"
    metadata = DatasetMetadata.from_feature_spec(
        {
            "image": tf.io.FixedLenFeature([1], tf.string),
            "label": tf.io.FixedLenFeature([1], tf.int64),
        }
    )
    cells = [
        {"image": [image], "label": [label]}
        for image, label in zip(images, labels, strict=True)
    ]
    raw_metadata = str(graph / tft.TFTransformOutput.RAW_METADATA_DIR)
    with (
        beam.Pipeline(runner=FnApiRunner()) as pipeline,
        tft_beam.Context(temp_dir=str(scratch / "temp")),
    ):
        data = pipeline | beam.Create(cells)
        learned = (data, metadata) | tft_beam.AnalyzeDataset(
            lambda inputs: preprocessing_fn(inputs, {"transform": transform})
        )
        _ = learned | tft_beam.WriteTransformFn(str(graph))
        _ = metadata | tft_beam.WriteMetadata(raw_metadata, pipeline)


def _idx(path: Path, header_bytes: int) -> np.ndarray:
    with gzip.open(path) as file:
        return np.frombuffer(file.read(), np.uint8, offset=header_bytes)


def _png(pixels: np.ndarray) -> bytes:
    encoded = io.BytesIO()
    Image.fromarray(pixels).save(encoded, "PNG")
    return encoded.getvalue()


if __name__ == "__main__":
    main()
