"""Statistics of shards on disk, against values by hand and TFDV's own way."""

from pathlib import Path

import apache_beam as beam
import numpy as np
import pyarrow as pa
import pyarrow.csv
import pytest
import tensorflow as tf
import tensorflow_data_validation as tfdv
from apache_beam.runners.portability.fn_api_runner import FnApiRunner

from components import statistics
from components.records import encode
from recipes.errors import BadInputError
from tests.components.records import example, write

DATA = Path(__file__).parents[3] / "shared/data/chicago-taxi/data.csv"
PNG = tf.io.encode_png(np.zeros((2, 2, 1), np.uint8)).numpy()
ROWS = [
    {"town": "a", "age": 3, "fare": 1.0, "scan": PNG},
    {"town": "b", "age": 5, "fare": 2.0, "scan": PNG},
    {"town": "a", "age": 5, "fare": 6.0, "scan": PNG},
    {"age": 3, "scan": PNG},
    {"town": "a", "age": 5, "scan": PNG},
]


def made(folder, **rows):
    """Write rows as the shards of splits, and their statistics; return where."""
    for split, records in rows.items():
        (folder / f"Split-{split}").mkdir(parents=True)
        half = len(records) // 2
        for number, part in enumerate((records[:half], records[half:])):
            write(folder / f"Split-{split}" / f"examples-{number}.gz", part)
    uri = folder / "statistics"
    statistics.write(str(folder), str(uri), list(rows), beam.Pipeline(FnApiRunner()))
    return str(uri)


def features(uri, split):
    (dataset,) = statistics.load(uri, split).datasets
    return {feature.path.step[0]: feature for feature in dataset.features}


@pytest.fixture(scope="module")
def uri(tmp_path_factory):
    records = [example(**row) for row in ROWS]
    return made(
        tmp_path_factory.mktemp("few"), train=records, eval=records[:1], test=[]
    )


def test_numbers_have_the_moments_worked_out_by_hand(uri):
    fare = features(uri, "train")["fare"].num_stats
    assert (fare.min, fare.max, fare.mean, fare.median) == (1.0, 6.0, 3.0, 2.0)
    # the root of the mean of the squares 4, 1 and 9
    assert fare.std_dev == pytest.approx(2.160247)
    assert fare.common_stats.num_missing == 2
    assert fare.common_stats.num_non_missing == 3


def test_texts_are_counted(uri):
    town = features(uri, "train")["town"]
    assert statistics.value_counts(town) == {"a": 3, "b": 1}
    assert town.string_stats.unique == 2


def test_whole_numbers_are_counted_by_value(uri):
    found = features(uri, "train")
    assert statistics.value_counts(found["age"]) == {5: 3, 3: 2}
    assert statistics.value_counts(found["fare"]) == {}


def test_encoded_images_are_measured_but_not_counted(uri):
    scan = features(uri, "train")["scan"]
    assert scan.type == scan.BYTES
    assert scan.bytes_stats.avg_num_bytes == len(PNG)
    assert not scan.HasField("string_stats")


def test_each_split_has_its_own_and_none_is_left_out(uri):
    assert statistics.num_examples(uri) == {"train": 5, "eval": 1, "test": 0}
    assert features(uri, "eval")["fare"].num_stats.max == 1.0
    assert features(uri, "test") == {}
    assert statistics.figures({"statistics": uri})["summary"] == (
        "5 train · 1 eval · 0 test"
    )


def test_tfdv_reads_what_is_written(uri):
    read = tfdv.load_stats_binary(f"{uri}/Split-train/FeatureStats.pb")
    assert [f.name for f in tfdv.infer_schema(read).feature] == [
        "age",
        "fare",
        "scan",
        "town",
    ]


def test_long_texts_count_as_blobs_and_short_ones_do_not(tmp_path):
    records = [example(essay="word " * 300, note="word")]
    path = write(tmp_path / "examples.gz", records)
    assert statistics.blobs([path]) == ["essay"]


def test_many_whole_numbers_are_not_counted_by_value(tmp_path):
    rows = [example(key=i, few=i % 1000) for i in range(1001)]
    found = features(made(tmp_path, train=rows), "train")
    assert statistics.value_counts(found["key"]) == {}
    assert len(statistics.value_counts(found["few"])) == 1000


def test_records_that_disagree_about_a_type_are_refused(tmp_path):
    (tmp_path / "Split-train").mkdir()
    write(tmp_path / "Split-train" / "examples.gz", [example(x=1), example(x="one")])
    with pytest.raises(BadInputError, match="'?x'?"):
        statistics.write(
            str(tmp_path), str(tmp_path / "s"), ["train"], beam.Pipeline(FnApiRunner())
        )


@pytest.mark.slow
@pytest.mark.skipif(not DATA.exists(), reason="needs ../shared/data")
def test_the_taxi_trips_have_the_statistics_of_tfdv_itself(tmp_path):
    (table,) = pa.csv.read_csv(DATA).combine_chunks().to_batches()
    records = encode(table)
    ours = features(made(tmp_path, train=records), "train")
    shards = str(tmp_path / "Split-train" / "*.gz")
    stock = tfdv.generate_statistics_from_tfrecord(shards)
    theirs = {f.path.step[0]: f for f in stock.datasets[0].features}
    assert list(ours) == list(theirs)
    for name, feature in ours.items():
        del feature.custom_stats[:]  # the counts of whole numbers, ours alone
        for found in (feature, theirs[name]):  # sums are made in another order
            numbers = found.num_stats if found.HasField("num_stats") else None
            for moment in ("mean", "std_dev") if numbers else ():
                rounded = float(f"{getattr(numbers, moment):.8g}")
                setattr(numbers, moment, rounded)
        assert feature == theirs[name], name
