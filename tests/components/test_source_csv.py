"""Tables of text: what is found by looking, what is read, what is refused."""

import bz2
import csv as python_csv
import gzip
import io
import json
import zipfile
from collections import Counter
from pathlib import Path
from random import Random

import pyarrow as pa
import pyarrow.csv as pa_csv
import pytest

from components.sources import Piece, csv, delimited, files
from recipes.data import Csv
from recipes.errors import BadInputError

DATA = Path(__file__).parents[2].parent / "shared/data"
with_data = pytest.mark.skipif(not DATA.is_dir(), reason="needs ../shared/data")

ADULT = (
    *("age", "workclass", "fnlwgt", "education", "education-num", "marital-status"),
    *("occupation", "relationship", "race", "sex", "capital-gain", "capital-loss"),
    *("hours-per-week", "native-country", "label"),
)


def pieces(path, **options):
    """Return the pieces of a file, a folder, or of files by part."""
    path = {k: str(v) for k, v in path.items()} if isinstance(path, dict) else str(path)
    source = Csv(path=path, **options).model_dump(mode="json")
    found = files.list_files(
        files.resolve(source["path"], None, Path("/")), csv.SUFFIXES
    )
    return csv.pieces(source, found, {})


def read(path, **options):
    """Return the rows of all files, their names, the bad rows, and the notes."""
    batches = [b for piece in pieces(path, **options) for b in csv.read(piece)]
    rows = [row for batch in batches for row in batch.table.to_pylist()]
    names = [name for batch in batches for name in batch.names]
    bad = [row for batch in batches for row in batch.bad]
    assert len(names) == len(rows)
    return rows, names, bad, [note for batch in batches for note in batch.notes]


@pytest.fixture
def write(tmp_path):
    def write(content, name="a.csv"):
        path = tmp_path / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    return write


def test_a_table_is_read_with_types_found_and_rows_named(write):
    path = write("id,price,town\n1,2.5,Ulm\n2,,Bern\n3,1e3,\n")
    rows, names, bad, notes = read(path)
    assert rows == [
        {"id": 1, "price": 2.5, "town": "Ulm"},
        {"id": 2, "price": None, "town": "Bern"},
        {"id": 3, "price": 1000.0, "town": None},
    ]
    assert names == ["a.csv row 1", "a.csv row 2", "a.csv row 3"]
    assert not bad
    assert notes == [
        "delimiter ',', a header line, utf-8",
        "types: id int, price float, town text",
    ]


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
def test_the_delimiter_is_found(write, delimiter):
    rows, *_ = read(write(f"a{delimiter}b\n1{delimiter}x: y\n2{delimiter}z\n"))
    assert rows == [{"a": 1, "b": "x: y"}, {"a": 2, "b": "z"}]


def test_a_delimiter_in_some_cells_only_is_none(write):
    rows, *_ = read(write("a\tb\n1\tx, y\n2\tz; z\n3\tv|w\n"))
    assert [row["b"] for row in rows] == ["x, y", "z; z", "v|w"]


def test_decimal_commas_do_not_hide_the_delimiter(write):
    rows, *_ = read(write("1,5;2,5;x\n2,5;3,5;y\n"))
    assert rows[0] == {"column_1": "1,5", "column_2": "2,5", "column_3": "x"}


@pytest.mark.parametrize(
    ("content", "has_header"),
    [
        ("a,b\n1,2\n", True),
        ("1,2\n3,4\n", False),
        ("label,text\nham,hello you\nspam,win now\n", True),
        ("ham,hello you\nspam,win now\nham,bye\n", False),  # ham is there again
        (",value\n0,1.5\n1,2.5\n", True),  # an unnamed index, as pandas writes it
        ("x,x\ny,z\n", False),  # no two columns have one name
    ],
)
def test_a_header_line_is_told_from_rows(write, content, has_header):
    rows, *_ = read(write(content))
    assert len(rows) == content.count("\n") - has_header


def test_columns_name_a_table_without_a_header(write):
    rows, *_ = read(write("a,1\nb,2\n"), columns=("town", "size"))
    assert rows[1] == {"town": "b", "size": 2}


def test_columns_beside_a_header_line_are_refused(write):
    with pytest.raises(BadInputError, match="Leave `columns` out"):
        read(write("town,size\na,1\n"), columns=("town", "size"))


def test_options_are_honoured(write):
    path = write("made by hand\nid;when;who\n01;?;-a.-\n2;7;-\n")
    options = {"skip_lines": 1, "missing": ("?",), "strip": "-.", "delimiter": ";"}
    rows, *_ = read(path, types={"id": "text", "when": "float"}, **options)
    assert rows == [
        {"id": "01", "when": None, "who": "a"},
        {"id": "2", "when": 7.0, "who": None},
    ]


def test_quotes_enclose_delimiters_lines_and_quotes(write):
    path = write('id,text\n1,"a, ""b""\nc"\n2,"=cmd()"\n')
    assert [row["text"] for row in read(path)[0]] == ['a, "b"\nc', "=cmd()"]


def test_quotes_can_be_ordinary(write):
    path = write('id\ttext\n1\t"open\n2\tb"c\n')
    rows, *_ = read(path, quotes=False)
    assert [row["text"] for row in rows] == ['"open', 'b"c']


def test_rows_lost_in_an_open_quote_are_told(write):
    lines = [f"ham\ttext {i}\nspam\twin {i}\n" for i in range(9)]
    path = write(
        "kind\ttext\n" + "".join(lines) + 'ham\t"open\nham\tx\nspam\tshut" y\n'
    )
    rows, _, bad, _ = read(path)
    assert len(rows) == 18
    assert [row.where for row in bad] == ["a.csv row 19"]
    assert "2 more rows; say `quotes: false`" in bad[0].why


def test_a_long_text_with_line_ends_is_no_lost_row(write):
    texts = ["good, but\nslow, and late", "good\npos\n", "bad\npos, a\nb", "bad\n, "]
    path = write("label,text\n" + "".join(f'pos,"{text}"\n' for text in texts))
    rows, _, bad, _ = read(path)
    assert [row["text"] for row in rows] == texts
    assert not bad


def test_an_open_quote_at_the_end_is_told(write):
    _, _, bad, _ = read(write('a,b\n1,2\n3,"4\n5,6\n'), types={"a": "int", "b": "text"})
    assert [row.where for row in bad] == ["a.csv row 2"]
    assert "quotes: false" in bad[0].why


def test_ragged_rows_are_bad_and_the_others_keep_their_numbers(
    write, tmp_path, monkeypatch
):
    monkeypatch.setattr(delimited, "BLOCK_BYTES", 64)
    lines = [f"{i},{i}" if i % 7 else f"{i}" for i in range(1, 100)]
    rows, names, bad, _ = read(write("a,b\n" + "\n".join(lines) + "\n\n"))
    assert [row["a"] for row in rows] == [i for i in range(1, 100) if i % 7]
    assert names == [f"a.csv row {row['a']}" for row in rows]
    assert [row.where for row in bad] == [f"a.csv row {i}" for i in range(7, 99, 7)]
    assert bad[0].why == "expected 2 cells, received 1"
    assert next(csv.read(pieces(tmp_path / "a.csv")[0])).bad  # not kept to the end


def test_text_in_a_column_of_numbers_is_a_bad_row(write):
    lines = [f"{i},{i}.5" for i in range(50)]
    path = write("a,fare\n" + "\n".join(lines) + "\n51,abc\n52,12.5x\n53,+1\n")
    rows, _, bad, _ = read(path)
    assert rows[-1] == {"a": 53, "fare": 1.0}
    assert [row.where for row in bad] == ["a.csv row 51", "a.csv row 52"]
    assert bad[0].why == (
        "fare: expected a number, received 'abc'; if it is meant, say "
        "`types: {fare: text}` or name it in `missing`"
    )


def test_numbers_with_many_other_cells_are_text_and_that_is_said(write):
    cells = ["1", "2", "3", "unknown", "4", "5"]
    rows, _, bad, notes = read(write("a,b\n" + "".join(f"x,{c}\n" for c in cells)))
    assert [row["b"] for row in rows] == cells
    assert not bad
    assert "b: text, because 83% of its cells are numbers, but 'unknown' is not" in str(
        notes
    )


def test_whole_numbers_beyond_64_bits_stay_text(write):
    rows, *_ = read(write(f"id,n\n9223372036854775808,{2**63 - 1}\n{'9' * 5000},2\n"))
    assert rows[0] == {"id": "9223372036854775808", "n": 2**63 - 1}
    assert len(rows[1]["id"]) == 5000


def test_faults_are_few_or_many_among_all_cells_not_those_of_some_blocks(
    write, monkeypatch
):
    monkeypatch.setattr(csv, "HEAD_BYTES", 1000)
    monkeypatch.setattr(delimited, "BLOCK_BYTES", 500)
    lines = [f"{i}\n" for i in range(1, 2000)]
    lines += [f"{i}\n" if i % 4 else "oops\n" for i in range(1, 200)]
    (piece,) = pieces(write("n\n" + "".join(lines)))
    assert piece.options["kinds"] == {"n": "int"}  # 2% of all cells are none


def test_numbers_with_zeros_before_them_are_codes(write, monkeypatch):
    path = write("zip,n,x\n01000,0,0.5\n20000,10,-0\n")
    rows, _, _, notes = read(path)
    assert rows[0] == {"zip": "01000", "n": 0, "x": 0.5}
    assert "zip: text, because 1 of its cells begin with a zero" in str(notes)
    assert read(path, types={"zip": "int"})[0][0]["zip"] == 1000
    monkeypatch.setattr(csv, "HEAD_BYTES", 1000)
    monkeypatch.setattr(delimited, "BLOCK_BYTES", 500)
    late = write("zip\n" + "".join(f"{i}\n" for i in range(1000, 3000)) + "01000\n")
    assert pieces(late)[0].options["kinds"] == {"zip": "text"}


def test_blanks_around_cells_do_not_hide_that_they_are_missing(write):
    lines = [f"{i}, {'?' if i % 5 == 0 else i}, x\n" for i in range(1, 50)]
    rows, _, bad, _ = read(write("a, b, c\n" + "".join(lines)), missing=("", "?"))
    assert not bad
    assert [row["b"] for row in rows[:5]] == [1, 2, 3, 4, None]


def test_many_ragged_rows_come_some_at_a_time(write, monkeypatch):
    monkeypatch.setattr(delimited, "BATCH_ROWS", 10)
    path = write("a,b\n" + "1,2\n" * 300 + "1,2,3\n" * 95 + "4,5\n")
    batches = [b for piece in pieces(path) for b in csv.read(piece)]
    assert max(len(b.bad) for b in batches) == 10
    assert [row.where for b in batches for row in b.bad] == [
        f"a.csv row {i}" for i in range(301, 396)
    ]
    assert batches[-1].names[-1] == "a.csv row 396"
    monkeypatch.setattr(delimited, "BLOCK_BYTES", 200)
    again = [b for piece in pieces(path) for b in csv.read(piece)]
    assert [r for b in again for r in b.bad] == [r for b in batches for r in b.bad]
    assert again[-1].names[-1] == "a.csv row 396"


def test_cells_that_do_not_fit_a_type_given_are_bad_rows(write):
    path = write("a,b\n+7, 1\n9223372036854775808,2\nx,y\n1.5,3\n-9,4\n")
    rows, _, bad, _ = read(path, types={"a": "int", "b": "int"})
    assert rows == [{"a": 7, "b": 1}, {"a": -9, "b": 4}]
    assert [row.text for row in bad] == ["9223372036854775808", "x", "1.5"]
    assert bad[1].why.startswith("a: expected a whole number of 64 bits, received 'x'")


def test_a_late_fraction_makes_the_column_float_from_the_first_row(write, monkeypatch):
    monkeypatch.setattr(csv, "HEAD_BYTES", 1000)
    monkeypatch.setattr(delimited, "BLOCK_BYTES", 500)
    path = write("a,b\n" + "".join(f"{i},{i}\n" for i in range(2000)) + "7,0.5\n")
    (piece,) = pieces(path)
    tables = [batch.table for batch in csv.read(piece)]
    assert len(tables) > 5
    assert {str(t.schema.types) for t in tables} == {
        "[DataType(int64), DataType(double)]"
    }


def test_a_value_that_comes_late_gives_the_column_its_type(write, monkeypatch):
    monkeypatch.setattr(csv, "HEAD_BYTES", 1000)
    monkeypatch.setattr(delimited, "BLOCK_BYTES", 500)
    path = write("a,b\n" + "x,\n" * 2000 + "y,3\n")
    assert pieces(path)[0].options["kinds"] == {"a": "text", "b": "int"}


def test_a_late_text_in_a_column_of_whole_numbers_is_a_bad_row(write, monkeypatch):
    monkeypatch.setattr(csv, "HEAD_BYTES", 1000)
    monkeypatch.setattr(delimited, "BLOCK_BYTES", 500)
    path = write("a,b\n" + "".join(f"{i},1\n" for i in range(2000)) + "n/a,1\n")
    rows, _, bad, _ = read(path)
    assert len(rows) == 2000
    assert [row.where for row in bad] == ["a.csv row 2001"]


def test_types_are_those_of_all_files(write):
    write("a,b\n1,x\n", "1.csv")
    write("b,a\ny,2.5\n", "2.csv")
    rows, names, *_ = read(write("", "x").parent)
    assert rows == [{"a": 1.0, "b": "x"}, {"a": 2.5, "b": "y"}]
    assert names == ["1.csv row 1", "2.csv row 1"]


def test_files_with_other_columns_are_refused(write):
    write("a,b\n1,2\n", "1.csv")
    path = write("a,c\n1,2\n", "2.csv")
    with pytest.raises(BadInputError, match=r"2\.csv.*It lacks 'b', also has 'c'\."):
        read(path.parent)


def test_what_was_served_may_lack_the_label(write):
    train = write("a,label\n1,yes\n2,no\n", "train.csv")
    served = write("a\n3\n", "served.csv")
    made = pieces({"train": train, "serving": served})
    kinds = {piece.part: piece.options["kinds"] for piece in made}
    assert kinds == {"train": {"a": "int", "label": "text"}, "serving": {"a": "int"}}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "It is empty"),
        ("\n\n", "It is empty"),
        ("a,b\n", "expected rows after the header line"),
        ("a,b,a\n1,2,3\n", "the column 'a' is there twice"),
        ("a,b\n1,2,3\n4,5,6\n", "its first line has 2, but most lines have 3"),
        ("a,b\nä,1\nö,2\n".encode("utf-16"), "`encoding: utf-16`"),
        ("a,b\nä,1\nö,2\n".encode("utf-16-le"), "`encoding: utf-16`"),
        ("a,b\nä,1\nö,2\n".encode("latin-1"), "such as latin-1"),
    ],
)
def test_files_that_cannot_be_used_are_refused(write, content, message):
    with pytest.raises(BadInputError, match=message):
        read(write(content))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"types": {"c": "int"}}, "no column 'c'. Expected some of a, b"),
        ({"encoding": "klingon"}, "Received: 'klingon'"),
        ({"delimiter": "::"}, "Received: '::'"),
        ({"columns": ("x",)}, "`columns` names 1, but most lines have 2"),
    ],
)
def test_options_that_do_not_fit_are_refused(write, options, message):
    with pytest.raises(BadInputError, match=message):
        read(write("a,b\n1,2\n"), **options)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "latin-1"])
def test_encodings_are_read_alike(write, encoding):
    text = "id,größe\n" + "1,übel\n2,\n" * 20
    rows, *_ = read(write(text.encode(encoding)), encoding=encoding)
    assert rows[0] == {"id": 1, "größe": "übel"}
    if encoding == "utf-8-sig":  # a mark needs no option
        assert read(write(text.encode(encoding)))[0] == rows


@pytest.mark.parametrize("encoding", ["undefined", "unicode_escape", "utf-7", "a\0"])
def test_notations_are_no_encodings(write, encoding):
    with pytest.raises(BadInputError, match="encoding: expected one that Python knows"):
        read(write("a,b\n\\ud800,2\n"), encoding=encoding)


def test_a_row_in_another_encoding_is_bad_and_says_what_to_try(write):
    lines = [f"{i},größe".encode() for i in range(30)]
    lines[20] = "20,größe".encode("latin-1")
    lines[25] = "25,größe,1".encode("latin-1")  # also ragged
    rows, _, bad, _ = read(write(b"a,b\n" + b"\n".join(lines)))
    assert len(rows) == 28
    assert bad[0].where == "a.csv row 21"
    assert bad[0].why.endswith("not utf-8; say `encoding: latin-1` if it is that")
    assert bad[0].text == "gr\ufffd\ufffde"
    assert bad[1].where == "a.csv row 26"


def test_a_zero_byte_makes_a_bad_row(write):
    path = write("a,b\n" + "x,1\n" * 20 + "y\0,2\n")
    rows, _, bad, _ = read(path)
    assert len(rows) == 20
    assert bad[0].where == "a.csv row 21"


@pytest.mark.parametrize("kind", ["gz", "bz2", "zip"])
def test_packed_files_are_read(write, tmp_path, kind):
    content = b"a,b\n1,x\n2,y\n"
    if kind == "zip":
        path = tmp_path / "a.zip"
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("in/a.csv", content)
    else:
        packed = gzip.compress(content) if kind == "gz" else bz2.compress(content)
        path = write(packed, f"a.csv.{kind}")
    assert [row["b"] for row in read(path)[0]] == ["x", "y"]


def test_a_truncated_gzip_is_refused_by_name(write):
    content = gzip.compress(
        b"a,b\n" + b"".join(b"%d,%d\n" % (i, i * i) for i in range(9999))
    )
    with pytest.raises(BadInputError, match=r"cut\.csv\.gz"):
        read(write(content[: len(content) // 2], "cut.csv.gz"))


def test_a_row_longer_than_a_block_is_refused(write, monkeypatch):
    monkeypatch.setattr(delimited, "BLOCK_BYTES", 2000)
    path = write('a,b\n1,"' + "x\n" * 9000)
    with pytest.raises(BadInputError, match="quotes: false"):
        read(path)


def test_cells_of_arrow_are_the_cells_read(write):
    """Reference: Arrow's own reader, with its own types, on a table without faults."""
    path = write("a,b,c\n" + "".join(f"{i},{i / 7},t{i % 5}\n" for i in range(40_000)))
    (piece,) = pieces(path)
    batches = list(csv.read(piece))
    assert max(len(b.names) for b in batches) <= csv.BATCH_ROWS
    got = pa.Table.from_batches([b.table for b in batches])
    assert got.equals(pa_csv.read_csv(path))


def test_cells_are_those_that_python_wrote(write, monkeypatch):
    """Reference: Python's own csv module, on cells full of what delimits them."""
    random = Random(0)
    for number in range(60):
        monkeypatch.setattr(delimited, "BLOCK_BYTES", random.choice([300, 4 << 20]))
        want = [
            {
                "id": random.randint(0, 9),
                "x": random.choice([None, random.random()]),
                "text": "".join(random.choices('ab ,;"\n\té', k=random.randint(0, 8))),
            }
            for _ in range(random.randint(1, 60))
        ]
        file = io.StringIO(newline="")
        writer = python_csv.DictWriter(
            file,
            want[0],
            delimiter=random.choice(",;\t|"),
            lineterminator=random.choice(["\n", "\r\n"]),
        )
        writer.writeheader()
        writer.writerows(want)
        path = write(file.getvalue(), f"{number}.csv")
        types = {"id": "int", "x": "float", "text": "text"}
        rows, _, bad, _ = read(path, types=types, missing=())
        assert rows == [row | {"text": row["text"] or None} for row in want]
        assert not bad


def test_pieces_survive_the_way_to_a_worker(write):
    (piece,) = pieces(write("a,b\n1,x\n"))
    copy = Piece(
        piece.path, piece.part, piece.size_bytes, json.loads(json.dumps(piece.options))
    )
    assert next(csv.read(copy)).table.to_pylist() == [{"a": 1, "b": "x"}]


@with_data
def test_adult_is_read_whole():
    rows, _, bad, _ = read(
        {"train": DATA / "adult/adult.data", "test": DATA / "adult/adult.test"},
        columns=ADULT,
        missing=("?",),
        strip=".",
    )
    # Counts: adult.names. The first line of adult.test is no row, and is reported.
    labels = Counter(row["label"] for row in rows)
    assert labels == {"<=50K": 24_720 + 12_435, ">50K": 7_841 + 3_846}
    assert [row.text for row in bad] == ["|1x3 Cross validator"]
    assert sum(None in row.values() for row in rows) == 2_399 + 1_221
    assert rows[16281]["age"] == 39


@with_data
@pytest.mark.parametrize(
    ("path", "options", "num_rows", "row"),
    [
        (
            "german-credit/german.data-numeric",
            {},
            1000,
            {"column_4": 12, "column_25": 1},
        ),
        ("wine-quality", {}, 6497, {"fixed acidity": 7.4, "quality": 5}),
        ("penguins/penguins.csv", {}, 344, {"bill_length_mm": 39.1, "sex": "male"}),
        ("etth1/ETTh1.csv", {}, 17420, {"date": "2016-07-01 00:00:00"}),
        ("sms-spam/SMSSpamCollection", {"quotes": False}, 5574, {"column_1": "ham"}),
        ("chicago-taxi/data.csv", {}, 15002, {"fare": 12.45, "trip_miles": 0.0}),
    ],
)
def test_real_tables_are_read_as_they_lie(path, options, num_rows, row):
    rows, _, bad, _ = read(DATA / path, **options)
    assert len(rows) == num_rows
    assert not bad
    assert row.items() <= rows[0].items()


@with_data
def test_messages_with_quotes_are_not_lost_in_silence():
    rows, _, bad, _ = read(DATA / "sms-spam/SMSSpamCollection")
    assert len(rows) < 5574
    assert "quotes: false" in bad[0].why
