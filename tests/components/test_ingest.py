"""From a source to shards: every record in once, named, counted, or refused."""

import gzip
import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import tensorflow as tf

from components import ingest, records, shard_writer
from components.sources import Batch, Piece, feature_name
from recipes.errors import BadInputError
from recipes.schema import DataRecipe
from tests.components.records import example

ROWS = [f"{number},{'ab'[number % 2]}" for number in range(300)]


def data(**section):
    return DataRecipe(name="x", data=section).data.model_dump(mode="json")


def run(folder, **section):
    return ingest.run(
        data(**section), folder, folder / "examples", tfds_dir=folder / "tfds"
    )


def read(folder, split):
    """Return the examples of a split and the names of their records, by shard."""
    found = []
    for shard in sorted((folder / f"examples/Split-{split}").glob("*.gz")):
        name = f"{shard.name.removesuffix('.gz')}.txt.gz"
        with gzip.open(folder / f"examples/origins/Split-{split}" / name, "rt") as file:
            names = file.read().splitlines()
        raw = tf.data.TFRecordDataset(str(shard), "GZIP").as_numpy_iterator()
        examples = [tf.train.Example.FromString(record) for record in raw]
        found += zip(names, examples, strict=True)
    return found


@pytest.fixture(scope="module")
def ingested(tmp_path_factory):
    folder = tmp_path_factory.mktemp("ingest")
    (folder / "a.csv").write_text("\n".join(["size number,kind", *ROWS]))
    return folder, run(folder, csv="a.csv")


def test_every_record_comes_out_once_and_is_named_after_its_row(ingested):
    folder, report = ingested
    rows = [row for split in ("train", "eval", "test") for row in read(folder, split)]
    got = {
        name: example.features.feature["size_number"].int64_list.value[0]
        for name, example in rows
    }
    assert got == {f"a.csv row {number + 1}": number for number in range(300)}
    assert report["rows_in"] == 300
    assert report == json.loads((folder / "examples/ingest.json").read_text())


def test_the_report_counts_splits_and_shows_types_and_new_names(ingested):
    folder, report = ingested
    for split, count in report["records"].items():
        assert len(read(folder, split)) == count
    assert report["columns"] == {"size_number": "int", "kind": "text"}
    assert report["renamed"] == {"size_number": "size number"}
    assert ingest.figures({"examples": str(folder / "examples")})["summary"] == (
        " · ".join(f"{n:,} {split}" for split, n in report["records"].items())
    )


def test_bad_rows_are_refused_with_their_rows_or_left_out_up_to_the_limit(tmp_path):
    rows = [*ROWS, "1,a,too much", "2,b,also"]
    (tmp_path / "a.csv").write_text("\n".join(["size,kind", *rows]))
    with pytest.raises(BadInputError) as caught:
        run(tmp_path, csv="a.csv", max_bad_rows=0.006)
    text = str(caught.value)
    assert text.startswith("2 of 302 records cannot be used, 0.66%, allowed 0.60%: ")
    assert "a.csv row 301: " in text
    assert "a.csv row 302: " in text
    report = run(tmp_path, csv="a.csv", max_bad_rows=0.01)
    assert (report["bad_rows"], sum(report["records"].values())) == (2, 300)
    assert [bad["where"] for bad in report["bad_samples"]] == [
        "a.csv row 301",
        "a.csv row 302",
    ]


def test_an_infinite_number_makes_a_bad_row():
    table = pa.RecordBatch.from_pydict({"x": [1.0, float("inf"), None, float("nan")]})
    got = records.without_infinite(Batch(list("abcd"), table=table))
    assert list(got.names) == ["a", "c", "d"]
    assert got.table.num_rows == 3
    why = "x is infinite, or above 3.4e38"
    assert [(bad.where, bad.why) for bad in got.bad] == [("b", why)]


@pytest.mark.parametrize(
    "values",
    [
        pa.array([1.0, 1e39], pa.float64()),
        pa.array(np.array([1, np.inf], np.float16)),
        pa.array([[1.0], [2.0, float("inf")]]),
    ],
)
def test_no_infinite_number_becomes_a_feature(values):
    table = pa.RecordBatch.from_arrays([values], ["x"])
    got = records.without_infinite(Batch(["a", "b"], table=table))
    assert list(got.names) == ["a"]
    assert len(records.encode(got.table)) == 1


def test_a_time_with_a_zone_is_told_in_utc():
    noon = pa.array([1_577_880_000], pa.timestamp("s", "America/New_York"))
    (record,) = records.encode(pa.RecordBatch.from_arrays([noon], ["at"]))
    feature = tf.train.Example.FromString(record).features.feature["at"]
    assert feature.bytes_list.value[0] == b"2020-01-01T12:00:00Z"


def test_two_columns_of_one_name_are_refused():
    table = pa.RecordBatch.from_pydict({"a b": [1], "a-b": [2]})
    with pytest.raises(BadInputError, match="'a b', 'a-b' would all be .*'a_b'"):
        records.with_feature_names(Batch(["a"], table=table))


def test_features_of_ready_examples_are_renamed_too():
    odd = example(**{"image/encoded": "x", "label": 1})
    got = records.with_feature_names(Batch(["a"], records=[odd])).records
    assert set(tf.train.Example.FromString(got[0]).features.feature) == {
        "image_encoded",
        "label",
    }
    plain = [example(label=1)]
    assert records.with_feature_names(Batch(["a"], records=plain)).records == plain


@pytest.mark.parametrize(
    ("column", "feature"),
    [
        ("fixed acidity", "fixed_acidity"),
        ("education-num", "education_num"),
        ("class", "class_"),
        ("2nd", "column_2nd"),
        ("outer.inner", "outer_inner"),
        ("größe", "gr_e"),
        ("中", "column"),
        ("fare", "fare"),
    ],
)
def test_a_feature_is_called_as_signatures_can(column, feature):
    assert feature_name(column) == feature


def test_pieces_are_bundled_in_order_up_to_the_size():
    half = ingest.BUNDLE_BYTES // 2
    sizes = [half, half, 1, 3 * half, 5]
    pieces = [Piece(str(i), size_bytes=size) for i, size in enumerate(sizes)]
    got = [[piece.path for piece in bundle] for bundle in ingest.bundled(pieces)]
    assert got == [["0", "1"], ["2"], ["3"], ["4"]]
    assert ingest.bundled([]) == []


def test_a_shard_that_is_full_is_followed_by_another(tmp_path, monkeypatch):
    monkeypatch.setattr(shard_writer, "SHARD_BYTES", 25)
    with shard_writer.ShardWriter(tmp_path, 7) as writer:
        for start in range(0, 6, 2):
            encoded = [b"0123456789"] * 6
            names = [f"line\n{i}" for i in range(6)]
            writer.write("train", encoded, names, range(start, start + 2))
    shards = sorted(path.name for path in (tmp_path / "Split-train").iterdir())
    assert shards == ["examples-00007-00000.gz", "examples-00007-00001.gz"]
    origins = sorted((tmp_path / "origins/Split-train").iterdir())
    lines = [
        gzip.decompress(path.read_bytes()).decode().split("\n") for path in origins
    ]
    assert lines == [[f"line {i}" for i in range(4)] + [""], ["line 4", "line 5", ""]]


def test_encoding_keeps_values_and_leaves_out_what_is_missing():
    table = pa.RecordBatch.from_pydict(
        {
            "whole": pa.array([1, None, 3], pa.int8()),
            "yes": [True, False, None],
            "real": [0.5, float("nan"), None],
            "text": ["ä", "", None],
            "many": [[1.5, 2.5], [], None],
            "day": pa.array([0, 1, None], pa.date32()),
            "time": pa.array([0, 1_500, None], pa.timestamp("ms")),
        }
    )
    got = [
        tf.train.Example.FromString(r).features.feature for r in records.encode(table)
    ]
    first = {
        name: list(getattr(feature, feature.WhichOneof("kind")).value)
        for name, feature in got[0].items()
    }
    assert first == {
        "whole": [1],
        "yes": [1],
        "real": [0.5],
        "text": ["ä".encode()],
        "many": [1.5, 2.5],
        "day": [b"1970-01-01"],
        "time": [b"1970-01-01T00:00:00"],
    }
    present = [
        {name for name, feature in features.items() if feature.WhichOneof("kind")}
        for features in got[1:]
    ]
    assert present == [{"yes", "day", "time"}, {"whole"}]


def test_a_type_that_no_feature_can_hold_is_named():
    table = pa.RecordBatch.from_pydict({"nested": [{"a": 1}]})
    with pytest.raises(ValueError, match="column 'nested'.*struct"):
        records.encode(table)


def test_digits_fall_into_the_same_shares_as_ever(tmp_path):
    report = run(tmp_path, tfds={"name": "digits"}, seed=1)
    assert report["records"] == {"train": 1444, "eval": 178, "test": 175}
    labels = np.array(
        [
            example.features.feature["label"].int64_list.value[0]
            for split in report["records"]
            for _, example in read(tmp_path, split)
        ]
    )
    # scikit-learn's count of each digit.
    assert np.bincount(labels).tolist() == [
        178,
        182,
        177,
        183,
        181,
        182,
        181,
        179,
        174,
        180,
    ]


def test_a_source_without_a_record_is_refused(tmp_path):
    (tmp_path / "empty.txt").write_text("\n\n")
    with pytest.raises(BadInputError, match="not one record"):
        run(tmp_path, text="empty.txt")


def test_nothing_is_left_of_the_scratch_files(ingested):
    folder, _ = ingested
    left = {path.name for path in Path(folder / "examples").iterdir()}
    assert left == {"Split-train", "Split-eval", "Split-test", "origins", "ingest.json"}
