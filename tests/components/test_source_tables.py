"""Parquet, JSON lines, TFRecords: what goes in comes out, what is broken is named."""

import datetime
import decimal
import gzip
import json
import struct
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq
import pytest
import tensorflow as tf

from components import records
from components.sources import files, json_keys, jsonl, parquet, tfrecord
from recipes.errors import BadInputError
from tests.components.records import example

MAP = pa.map_(pa.string(), pa.int64())
DATA = Path(__file__).parents[2].parent / "shared/data"
with_data = pytest.mark.skipif(not DATA.is_dir(), reason="needs ../shared/data")


def batches(reader, path, **source):
    """Return what a reader makes of a file, of a folder, or of files by part."""
    by_part = path if isinstance(path, dict) else {"": path}
    patterns = [files.Pattern(str(p), part) for part, p in by_part.items()]
    found = files.list_files(patterns, reader.SUFFIXES)
    return [b for p in reader.pieces(source, found, {}) for b in reader.read(p)]


def rows(read):
    return [row for batch in read for row in batch.table.to_pylist()]


def names(read):
    return [name for batch in read for name in batch.names]


def bad(read):
    return [row for batch in read for row in batch.bad]


# Parquet


def write_parquet(path, table, **options):
    pq.write_table(pa.table(table), path, **options)
    return path


def test_parquet_is_read_as_written(tmp_path):
    table = {"a": [1, None, 3], "b": ["x", "y", None], "c": [[1.5, 2.5], [], None]}
    path = write_parquet(tmp_path / "a.parquet", table, row_group_size=2)
    read = batches(parquet, path, columns=None)
    assert rows(read) == pa.table(table).to_pylist()
    assert names(read) == [f"a.parquet row {i}" for i in (1, 2, 3)]


def test_parquet_types_become_features(tmp_path):
    table = {
        "flag": [True],
        "money": [decimal.Decimal("1.25")],
        "day": [datetime.date(2020, 1, 2)],
        "moment": [datetime.datetime(2020, 1, 2, 3, 4, 5, 678)],
        "clock": pa.array([3661], pa.time32("s")),
        "code": pa.array(["x"]).dictionary_encode(),
        "half": pa.array([np.float16(0.5)]),
        "place": [{"town": "Ulm", "at": {"x": 1}}],
        "matrix": [[[1, 2], [], [3]]],
        "raw": [b"\xff"],
    }
    path = write_parquet(tmp_path / "a.parquet", table)
    (batch,) = batches(parquet, path, columns=None)
    (record,) = records.encode(batch.table)
    features = tf.train.Example.FromString(record).features.feature
    got = {
        name: list(getattr(f, f.WhichOneof("kind")).value)
        for name, f in features.items()
    }
    assert got == {
        "flag": [1],
        "money": [1.25],
        "day": [b"2020-01-02"],
        "moment": [b"2020-01-02T03:04:05"],
        "clock": [b"01:01:01"],
        "code": [b"x"],
        "half": [0.5],
        "place.town": [b"Ulm"],
        "place.at.x": [1],
        "matrix": [1, 2, 3],
        "raw": [b"\xff"],
    }


def test_columns_of_parquet_can_be_chosen(tmp_path):
    table = {"a": [1], "b": [{"c": 1, "d": 2}], "map": pa.array([[("k", 1)]], MAP)}
    path = write_parquet(tmp_path / "a.parquet", table)
    read = batches(parquet, path, columns=["b.d", "a"])
    assert rows(read) == [{"a": 1, "b.d": 2}]
    with pytest.raises(BadInputError, match="no column 'e'. Expected some of a, b.c"):
        batches(parquet, path, columns=["e"])
    with pytest.raises(BadInputError, match="column 'map'.*Leave it out by `columns`"):
        batches(parquet, path, columns=None)


def test_rows_of_parquet_that_fit_no_feature_are_bad(tmp_path):
    table = {"a": pa.array([1, 2**63, 3], pa.uint64()), "b": [[1], [2], [3, None]]}
    read = batches(parquet, write_parquet(tmp_path / "a.parquet", table), columns=None)
    assert names(read) == ["a.parquet row 1"]
    assert [(row.where, row.why) for row in bad(read)] == [
        ("a.parquet row 2", "a: a number above 64 bits with a sign"),
        ("a.parquet row 3", "b: a list holds null"),
    ]


def test_lists_of_times_are_texts_and_lists_of_large_numbers_bad(tmp_path):
    table = {
        "at": pa.array([[datetime.time(1, 2)], None, []], pa.list_(pa.time64("us"))),
        "n": pa.array([[1], [1, 2**64 - 1], [2]], pa.list_(pa.uint64())),
    }
    read = batches(parquet, write_parquet(tmp_path / "a.parquet", table), columns=None)
    assert rows(read) == [{"at": ["01:02:00"], "n": [1]}, {"at": [], "n": [2]}]
    (row,) = bad(read)
    assert (row.where, row.why) == (
        "a.parquet row 2",
        "n: a number above 64 bits with a sign",
    )
    encoded = tf.train.Example.FromString(records.encode(read[0].table)[0])
    assert encoded.features.feature["at"].bytes_list.value == [b"01:02:00"]


def test_row_groups_are_spread_over_pieces(tmp_path, monkeypatch):
    monkeypatch.setattr(parquet, "PIECE_BYTES", 9000)
    table = {"a": list(range(5000))}
    path = write_parquet(tmp_path / "a.parquet", table, row_group_size=500)
    found = files.list_files([files.Pattern(str(path))])
    pieces = parquet.pieces({"columns": None}, found, {})
    assert len(pieces) > 1
    read = [b for piece in pieces for b in parquet.read(piece)]
    assert names(read) == [f"a.parquet row {i}" for i in range(1, 5001)]
    assert [row["a"] for row in rows(read)] == table["a"]


def test_parquet_files_must_agree(tmp_path):
    write_parquet(tmp_path / "1.parquet", {"a": [1], "b": pa.nulls(1)})
    write_parquet(tmp_path / "2.parquet", {"b": ["x"], "a": pa.array([2], pa.int32())})
    assert len(rows(batches(parquet, tmp_path, columns=None))) == 2
    write_parquet(tmp_path / "3.parquet", {"a": [1.5], "b": ["x"]})
    with pytest.raises(BadInputError, match=r"3\.parquet: column 'a': expected int"):
        batches(parquet, tmp_path, columns=None)


def test_what_was_served_as_parquet_may_lack_a_column(tmp_path):
    write_parquet(tmp_path / "1.parquet", {"a": [1], "label": [0]})
    write_parquet(tmp_path / "2.parquet", {"a": [2]})
    by_part = {"train": tmp_path / "1.parquet", "serving": tmp_path / "2.parquet"}
    assert {"a": 2} in rows(batches(parquet, by_part, columns=None))


@pytest.mark.parametrize("cut", [0, 40, -9])
def test_broken_parquet_is_refused_by_name(tmp_path, cut):
    path = write_parquet(tmp_path / "a.parquet", {"a": list(range(1000))})
    path.write_bytes(path.read_bytes()[:cut])
    with pytest.raises(BadInputError, match=r"a\.parquet: "):
        batches(parquet, path, columns=None)


def test_parquet_without_rows_is_refused(tmp_path):
    path = write_parquet(tmp_path / "a.parquet", {"a": pa.array([], pa.int64())})
    with pytest.raises(BadInputError, match="expected rows"):
        batches(parquet, path, columns=None)


# JSON lines


def write_lines(path, *lines):
    path.write_bytes(
        b"\n".join(x if isinstance(x, bytes) else x.encode() for x in lines)
    )
    return path


def test_json_lines_are_read_with_nested_keys_and_late_ones(tmp_path):
    path = write_lines(
        tmp_path / "a.jsonl",
        '{"id": 1, "who": {"name": "Ada", "tags": ["x", "y"]}}',
        "",
        '{"id": 2.5, "at": "2016-01-01 00:00:00", "who": null, "matrix": [[1], [2]]}',
        "{}",
    )
    read = batches(jsonl, path)
    first, second, third = rows(read)
    given = {"id": 1.0, "who.name": "Ada", "who.tags": ["x", "y"]}
    assert {name: value for name, value in first.items() if value} == given
    assert (second["id"], second["at"]) == (2.5, "2016-01-01 00:00:00")
    assert second["matrix"] == [1, 2]
    assert not any(third.values())
    assert names(read) == [f"a.jsonl line {i}" for i in (1, 3, 4)]


def test_a_fraction_in_the_last_block_counts_from_the_first(tmp_path, monkeypatch):
    monkeypatch.setattr(jsonl, "BLOCK_BYTES", 200)
    lines = ['{"a": 1, "b": 2}'] * 100 + ['{"a": 0.5, "b": 2, "c": true}']
    read = batches(jsonl, write_lines(tmp_path / "a.jsonl", *lines))
    assert len(read) > 5
    assert {str(b.table.schema.types) for b in read} == {
        "[DataType(double), DataType(int64), DataType(bool)]"
    }
    assert names(read)[-1] == "a.jsonl line 101"


def test_texts_that_look_like_times_are_texts(tmp_path, monkeypatch):
    monkeypatch.setattr(jsonl, "BLOCK_BYTES", 40)
    lines = ['{"at": "2016-01-01 00:00:00"}'] * 9 + ['{"at": 20160101}'] * 9
    with pytest.raises(BadInputError, match="Received: 9 text, 9 int"):
        batches(jsonl, write_lines(tmp_path / "a.jsonl", *lines))


def test_bad_lines_are_named_and_the_others_kept(tmp_path):
    good = ['{"a": 1, "l": [1, 2]}'] * 60
    path = write_lines(
        tmp_path / "a.jsonl",
        *good,
        '{"a": ',
        '{"a": "x"}',
        "[1]",
        '{"a": 1}{"a": 2}',
        '{"l": [1, null]}',
        b'{"a": 2, "t": "gr\xfc\xdf"}',
        '{"a": 3}',
    )
    read = batches(jsonl, path)
    assert names(read) == [f"a.jsonl line {i}" for i in (*range(1, 61), 67)]
    assert rows(read)[-1]["a"] == 3
    reasons = {int(row.where.split()[-1]): row.why for row in bad(read)}
    assert sorted(reasons) == [61, 62, 63, 64, 65, 66]
    assert reasons[61].startswith("no JSON: ")
    assert reasons[62] == "a: received string where other lines hold something else"
    assert reasons[63] == "expected an object, received list"
    assert reasons[64].startswith("no JSON: Extra data")
    assert reasons[65] == "l: a list holds null"
    assert reasons[66] == "t: bytes that are not UTF-8"


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ((), "There is none"),
        (("[", '{"a": 1}'[:-1], "]"), "There is none"),
        (('{"a": 1}', '{"a": "x"}'), "key 'a': expected values of one kind.*1 int"),
        (('{"a": {"b": [{"c": 1}]}}',), "key 'a.b'.*Received: list of object"),
        (('{"a.b": 1, "a": {"b": 2}}',), "the key 'a.b' is there twice"),
    ],
)
def test_lines_without_a_form_are_refused(tmp_path, lines, message):
    with pytest.raises(BadInputError, match=message):
        batches(jsonl, write_lines(tmp_path / "a.jsonl", *lines))


@pytest.mark.parametrize("deep", ['{"a":' * 20_000 + "1" + "}" * 20_000, "[" * 99_999])
def test_a_line_nested_too_deep_is_bad(tmp_path, deep):
    path = write_lines(tmp_path / "a.jsonl", *['{"a": 1}'] * 30, deep, '{"a": 2}')
    read = batches(jsonl, path)
    assert [(row.where, row.why) for row in bad(read)] == [
        ("a.jsonl line 31", "nested deeper than 64 levels")
    ]
    assert rows(read)[-1] == {"a": 2}


@pytest.mark.parametrize(
    ("text", "want"),
    [
        (b"", 0),
        (b'{"a": [[1], {"b": 2}]}\n{"c": []}', 3),
        (rb'{"{[[\"{\\": [1], "}": {"[": 1}}', 2),
        (b'{"a":\n' * 70, 70),
        (b'{"}": ' * 70, 70),
    ],
)
def test_levels_are_those_outside_of_texts(text, want):
    assert json_keys.levels(text) == want


def test_lines_left_open_do_not_nest_without_end(tmp_path):
    path = write_lines(tmp_path / "a.jsonl", *['{"a": 1}'] * 30, *['{"b":'] * 300)
    assert len(bad(batches(jsonl, path))) == 300


def test_whole_numbers_beyond_64_bits_are_bad_not_rounded(tmp_path):
    large = [f'{{"id": {2**63 - 1}, "l": [{i}]}}' for i in range(30)]
    path = write_lines(tmp_path / "a.jsonl", *large, '{"id": 18446744073709551615}')
    read = batches(jsonl, path)
    assert {row["id"] for row in rows(read)} == {2**63 - 1}
    assert bad(read)[0].why == "expected int64, received '18446744073709551615'"
    write_lines(path, '{"l": [1]}', '{"l": [18446744073709551614]}')
    assert [row.where for row in bad(batches(jsonl, path))] == ["a.jsonl line 2"]


def test_large_numbers_among_fractions_are_floats(tmp_path):
    path = write_lines(
        tmp_path / "a.jsonl", '{"x": 36893488147419103232}', '{"x": 0.5}'
    )
    assert [row["x"] for row in rows(batches(jsonl, path))] == [2.0**65, 0.5]
    write_lines(path, '{"x": 1e30}')
    assert rows(batches(jsonl, path)) == [{"x": 1e30}]


def test_keys_are_those_of_all_files(tmp_path):
    write_lines(tmp_path / "1.jsonl", '{"a": 1}')
    (tmp_path / "2.jsonl.gz").write_bytes(gzip.compress(b'{"b": "x"}\n'))
    assert rows(batches(jsonl, tmp_path)) == [
        {"a": 1, "b": None},
        {"a": None, "b": "x"},
    ]


def test_json_lines_read_what_python_wrote(tmp_path):
    random = np.random.default_rng(0)
    want = [
        {
            "i": int(random.integers(-(2**62), 2**62)),
            "f": float(random.normal()),
            "s": "".join(map(chr, random.integers(32, 0xD7FF, 5))),
            "l": random.integers(0, 9, 3).tolist(),
        }
        for _ in range(3000)
    ]
    path = write_lines(tmp_path / "a.jsonl", *map(json.dumps, want))
    assert rows(batches(jsonl, path)) == want


# TFRecords


def write_records(path, *written, compression=""):
    options = tf.io.TFRecordOptions(compression)
    with tf.io.TFRecordWriter(str(path), options) as writer:
        for record in written:
            writer.write(record)
    return path


EXAMPLES = [example(label=i, text=f"text {i}") for i in range(100)]


@pytest.mark.parametrize("compression", ["", "GZIP"])
def test_examples_pass_unchanged(tmp_path, compression):
    path = tmp_path / ("a.tfrecord.gz" if compression else "a.tfrecord")
    write_records(path, *EXAMPLES, compression=compression)
    read = batches(tfrecord, path, sequence=False)
    assert [r for batch in read for r in batch.records] == EXAMPLES
    assert names(read)[-1] == f"{path.name} record 100"


def test_a_record_that_is_no_example_is_bad(tmp_path):
    path = write_records(tmp_path / "a", EXAMPLES[0], b"\x0a\xff", EXAMPLES[1])
    (batch,) = batches(tfrecord, path, sequence=False)
    assert batch.records == EXAMPLES[:2]
    assert batch.names == ["a record 1", "a record 3"]
    assert [row.where for row in batch.bad] == ["a record 2"]


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda data: data[:-3], "record 100: the file ends within it"),
        (lambda data: data[: len(EXAMPLES[0]) + 16 + 5], "record 2: the file ends"),
        (
            lambda data: data[:14] + b"?" + data[15:],
            "record 1: it has a wrong checksum",
        ),
        (lambda data: b"?" + data[1:], "record 1: its length has a wrong checksum"),
        (gzip.compress, "is compressed but not called .gz"),
        (lambda data: b"", "expected records"),
    ],
)
def test_damaged_records_are_refused_by_name(tmp_path, damage, message):
    path = write_records(tmp_path / "a.tfrecord", *EXAMPLES)
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(BadInputError, match=rf"a\.tfrecord: .*{message}"):
        batches(tfrecord, path, sequence=False)


@pytest.mark.parametrize("length", [3 << 30, 2**63 + 5])
def test_a_record_that_declares_more_than_a_message_holds_is_refused(tmp_path, length):
    header = struct.pack("<Q", length)
    masked = struct.pack("<I", tfrecord._masked(header))
    (tmp_path / "a").write_bytes(header + masked + b"abc")
    with pytest.raises(BadInputError, match="record 1: it declares .* at most 2 GB"):
        batches(tfrecord, tmp_path / "a", sequence=False)


def sequence(context, **lists):
    message = tf.train.SequenceExample()
    for name, values in context.items():
        message.context.feature[name].int64_list.value.extend(values)
    for name, steps in lists.items():
        for values in steps:
            step = message.feature_lists.feature_list[name].feature.add()
            step.float_list.value.extend(values)
    return message.SerializeToString()


SEQUENCES = [
    sequence({"label": [1]}, even=[[1, 2], [3, 4]], words=[[1, 2], [], [3]]),
    sequence({"label": [0]}, even=[[5, 6]], words=[[4]]),
    sequence({}, words=[]),
]


def test_sequences_become_lists_with_the_lengths_of_uneven_steps(tmp_path):
    path = write_records(tmp_path / "a.tfrecord", *SEQUENCES)
    (batch,) = batches(tfrecord, path, sequence=True)
    got = [
        {name: value for name, value in row.items() if value}
        for row in batch.table.to_pylist()
    ]
    assert got == [
        {
            "label": [1],
            "even": [1, 2, 3, 4],
            "words": [1, 2, 3],
            "words.lengths": [2, 0, 1],
        },
        {"label": [0], "even": [5, 6], "words": [4], "words.lengths": [1]},
        {},
    ]
    assert len(records.encode(batch.table)) == 3


@pytest.mark.parametrize(("written", "asked"), [(SEQUENCES, False), (EXAMPLES, True)])
def test_the_other_kind_of_record_is_refused(tmp_path, written, asked):
    path = write_records(tmp_path / "a.tfrecord", *written)
    with pytest.raises(BadInputError, match=f"sequence: {str(not asked).lower()}"):
        batches(tfrecord, path, sequence=asked)


# One table in every format


@with_data
def test_penguins_are_alike_in_every_format(tmp_path):
    table = pa_csv.read_csv(DATA / "penguins/penguins_processed.csv")
    write_parquet(tmp_path / "a.parquet", table)
    write_lines(tmp_path / "a.jsonl", *map(json.dumps, table.to_pylist()))
    (from_parquet,) = batches(parquet, tmp_path / "a.parquet", columns=None)
    from_json = batches(jsonl, tmp_path / "a.jsonl")
    encoded = records.encode(from_parquet.table)
    assert len(encoded) == 334
    lines = [r for b in from_json for r in records.encode(b.table)]
    parse = tf.train.Example.FromString  # the order of features is not fixed
    assert list(map(parse, lines)) == list(map(parse, encoded))
    write_records(tmp_path / "a.tfrecord", *encoded)
    (passed,) = batches(tfrecord, tmp_path / "a.tfrecord", sequence=False)
    assert passed.records == encoded
