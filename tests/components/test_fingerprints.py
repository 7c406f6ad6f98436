"""Fingerprints are equal where the values are; records are found by their number."""

import pyarrow as pa
import pytest

from components import fingerprints, shards
from tests.components.artifacts import examples
from tests.components.records import example


def lists(**columns):
    return pa.RecordBatch.from_pydict(
        {
            name: pa.array(values, pa.large_list(kind))
            for name, (kind, values) in columns.items()
        }
    )


def fingerprint(table):
    return fingerprints.of_records(fingerprints.cells(table), table.num_rows)


def test_a_fingerprint_depends_on_features_and_values_alone():
    ints, texts = pa.int64(), pa.large_binary()
    table = lists(a=(ints, [[1], [2], [1]]), b=(texts, [[b"x"], [b"x"], None]))
    one, other, gap = fingerprint(table)
    swapped = lists(b=(texts, [[b"x"]]), a=(ints, [[1]]))
    renamed = lists(a=(ints, [[1]]), c=(texts, [[b"x"]]))
    without = lists(a=(ints, [[1]]))
    assert fingerprint(swapped)[0] == one
    assert fingerprint(without)[0] == gap
    assert len({one, other, gap, fingerprint(renamed)[0]}) == 4


def test_a_list_is_fingerprinted_by_its_values_in_their_order():
    ints = pa.int64()
    values = [[1, 2], [2, 1], [1], [2], [1, 1], None]
    got = fingerprint(lists(a=(ints, values)))
    alone = [fingerprint(lists(a=(ints, [value])))[0] for value in values]
    assert got.tolist() == alone
    assert len(set(got.tolist())) == len(values)


def test_rounded_floats_are_equal_where_four_digits_are():
    values = [[1.2345], [1.23450001], [1.236], [0.99745], [0.9974501], [0.0], [-0.0]]
    got = fingerprints.cells(lists(a=(pa.float32(), values)), rounded=True)["a"]
    assert got[0] == got[1]
    assert got[0] != got[2]
    assert got[3] == got[4]
    assert got[5] == got[6] != 0


def test_whole_numbers_are_not_rounded():
    table = lists(a=(pa.int64(), [[1_500_000_001], [1_500_000_002]]))
    one, other = fingerprints.cells(table, rounded=True)["a"]
    assert one != other


@pytest.mark.parametrize("batch_bytes", [1, 1 << 20])
def test_records_are_selected_by_number_across_shards(
    batch_bytes, monkeypatch, tmp_path
):
    monkeypatch.setattr(shards, "BATCH_BYTES", batch_bytes)
    monkeypatch.setattr(shards, "_STEP_BYTES", batch_bytes)
    uri = examples(tmp_path, train=[example(y=i) for i in range(10)])
    tables = list(shards.select(uri, "train", [0, 4, 5, 9]))
    assert [v for t in tables for [v] in t.column("y").to_pylist()] == [0, 4, 5, 9]
    assert shards.names(uri, "train", [9, 4]) == {
        4: "train.csv row 5",
        9: "train.csv row 10",
    }
