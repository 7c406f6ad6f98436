"""Transform graphs of tiny data, made by Beam once for all tests."""

from dataclasses import dataclass

import apache_beam as beam
import numpy as np
import pytest
import tensorflow as tf
import tensorflow_transform as tft
import tensorflow_transform.beam as tft_beam
from apache_beam.runners.portability.fn_api_runner import FnApiRunner
from tensorflow_transform.tf_metadata import dataset_metadata

from components.transform import preprocessing_fn
from tests.components.records import example
from tests.components.sections import section

TABLE = section(
    label={"feature": "tip", "above": 0.2, "divide_by": "fare"},
    numeric=["miles", "speed"],
    buckets={"age": 2},
    vocabulary={"town": 2, "day": 7},
)
ROWS = [
    {"tip": 1.0, "fare": 10.0, "miles": 1.0, "age": 10, "town": "b", "day": 1},
    {"tip": 3.0, "fare": 10.0, "miles": 2.0, "age": 20, "town": "b", "day": 1},
    {"tip": 2.0, "fare": 10.0, "miles": 3.0, "age": 30, "town": "b", "day": 7},
    {"tip": 9.0, "fare": 0.0, "age": 40, "town": "a"},
    {"tip": 9.0, "town": "a"},
    {"tip": 5.0, "fare": 10.0, "town": "c"},
    {"tip": 0.0, "fare": 10.0},
]
ROWS = [{**row, "speed": float(i)} for i, row in enumerate(ROWS)]
DTYPES = {"tip": tf.float32, "fare": tf.float32, "miles": tf.float32, "age": tf.int64}
DTYPES |= {"town": tf.string, "day": tf.int64}
TABLE_SPEC = {name: tf.io.VarLenFeature(dtype) for name, dtype in DTYPES.items()}
# As of a column that has a value in every row.
TABLE_SPEC |= {"speed": tf.io.FixedLenFeature([1], tf.float32)}

IMAGE = section(image={"feature": "scan", "shape": [2, 3, 1]})
IMAGE["label"] = {"feature": "digit", "classes": [3, 5, 8], "above": None}
PIXELS = np.random.default_rng(0).integers(0, 256, (4, 2, 3, 1), np.uint8)
IMAGE_SPEC = {
    "digit": tf.io.FixedLenFeature([1], tf.int64),
    "scan": tf.io.FixedLenFeature([1], tf.string),
}


@dataclass
class Transformed:
    """Raw rows (absent where missing), what became of them, and the graph.

    Attributes:
      section: the recipe's `transform`.
      rows: raw feature -> value.
      columns: name -> (rows,) transformed values; of a text (rows, length).
      output: the graph, as the stages load it.
    """

    section: dict
    rows: list
    columns: dict
    output: tft.TFTransformOutput


@pytest.fixture(scope="session")
def table(tmp_path_factory):
    return transform(TABLE, ROWS, TABLE_SPEC, tmp_path_factory.mktemp("table"))


@pytest.fixture(scope="session")
def images(tmp_path_factory):
    """Four images of 2x3 pixels, `PIXELS`."""
    encoded = [tf.io.encode_png(image).numpy() for image in PIXELS]
    digits = (8, 3, 5, 3)
    rows = [{"digit": d, "scan": e} for d, e in zip(digits, encoded, strict=True)]
    return transform(IMAGE, rows, IMAGE_SPEC, tmp_path_factory.mktemp("images"))


def transform(section, rows, spec, folder):
    """Analyze rows in Beam, as TFX Transform does, and transform them."""
    metadata = dataset_metadata.DatasetMetadata.from_feature_spec(spec)
    cells = [{n: [row[n]] if n in row else [] for n in spec} for row in rows]
    result = folder / "result"
    with (
        beam.Pipeline(runner=FnApiRunner()) as pipeline,
        tft_beam.Context(temp_dir=str(folder / "temp")),
    ):
        data = pipeline | beam.Create(cells)
        graph = (data, metadata) | tft_beam.AnalyzeDataset(
            lambda inputs: preprocessing_fn(inputs, {"transform": section})
        )
        _ = graph | tft_beam.WriteTransformFn(str(result))
        _ = metadata | tft_beam.WriteMetadata(
            str(result / tft.TFTransformOutput.RAW_METADATA_DIR), pipeline
        )
    output = tft.TFTransformOutput(str(result))
    features = tf.io.parse_example([example(**row) for row in rows], spec)
    columns = output.transform_features_layer()(features)
    values = {
        name: column.numpy()[:, 0] if column.shape[1] == 1 else column.numpy()
        for name, column in columns.items()
    }
    return Transformed(section, rows, values, output)
