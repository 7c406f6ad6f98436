"""Plain text becomes lines, files or windows, and nothing of it gets lost."""

import bz2
import gzip
import tracemalloc
from collections import Counter
from pathlib import Path

import pytest

from components.sources import files, text
from recipes.errors import BadInputError

DATA = Path(__file__).parents[3] / "shared/data"
SOURCE = {"per": "line", "label": "none", "window": 256, "encoding": "utf-8"}
needs_data = pytest.mark.skipif(
    not DATA.exists(), reason="needs the sets in shared/data"
)


def read(path, **options):
    source = {**SOURCE, **options}
    found = files.list_files(files.resolve(str(path), None, Path("/")), text.SUFFIXES)
    return [b for p in text.pieces(source, found, {}) for b in text.read(p)]


def texts(batches):
    return [v for b in batches for v in b.table.column("text").to_pylist()]


def test_lines_keep_their_blanks_and_lose_only_their_ends(tmp_path):
    (tmp_path / "a.txt").write_bytes(b" one\r\n\n \t\ntwo\ttabs \nthree")
    (batch,) = read(tmp_path / "a.txt")
    assert texts([batch]) == [" one", "two\ttabs ", "three"]
    assert batch.names == ["a.txt line 1", "a.txt line 4", "a.txt line 5"]
    assert batch.notes == ("empty line left out",) * 2
    assert batch.table.schema.names == ["text"]


@pytest.mark.parametrize("window", [1, 3, 7, 100])
def test_windows_joined_are_the_file(tmp_path, window):
    whole = "\n\nGrüße 😀\r\n  \n" * 3 + "end"
    (tmp_path / "a.txt").write_bytes(whole.encode())
    (batch,) = read(tmp_path / "a.txt", per="window", window=window)
    assert "".join(texts([batch])) == whole
    assert {len(t) for t in texts([batch])[:-1]} <= {window}
    assert batch.names[0] == "a.txt window 1"
    assert batch.table["window"].to_pylist() == [*range(1, len(batch.names) + 1)]


def test_windows_do_not_cross_files(tmp_path):
    for name in "ab":
        (tmp_path / name).write_text(name * 5)
    assert texts(read(tmp_path, per="window", window=3)) == ["aaa", "aa", "bbb", "bb"]


def test_a_file_is_one_text_and_an_empty_one_none(tmp_path):
    (tmp_path / "pos").mkdir()
    (tmp_path / "pos/1.txt").write_text("good\n\nvery\n")
    (tmp_path / "pos/2.txt").write_text("")
    (batch,) = read(tmp_path, per="file", label="folder")
    assert batch.table.to_pylist() == [{"text": "good\n\nvery\n", "label": "pos"}]
    assert (batch.names, batch.notes) == (["pos/1.txt"], ("empty file left out",))


@pytest.mark.parametrize(
    ("encoding", "mark"),
    [("latin-1", b""), ("utf-16", b""), ("utf-8", b"\xef\xbb\xbf"), ("utf-16-le", b"")],
)
def test_other_encodings_are_read_and_byte_order_marks_are_no_text(
    tmp_path, encoding, mark
):
    (tmp_path / "a.txt").write_bytes(mark + "Grüße\nän\n".encode(encoding))
    assert texts(read(tmp_path / "a.txt", encoding=encoding)) == ["Grüße", "än"]


def test_a_line_of_another_encoding_is_left_out_and_its_neighbours_are_not(tmp_path):
    (tmp_path / "a.txt").write_bytes(b"one\ncaf\xe9!\ntwo\xc3\xa9\n")
    (batch,) = read(tmp_path / "a.txt")
    assert texts([batch]) == ["one", "twoé"]
    (bad,) = batch.bad
    assert (bad.where, bad.text) == ("a.txt line 2", "caf\N{REPLACEMENT CHARACTER}!")
    assert "encoding: latin-1" in bad.why


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le"])
def test_utf_16_read_as_utf_8_yields_nothing(tmp_path, encoding):
    (tmp_path / "a.txt").write_bytes("one\ntwo\n".encode(encoding))
    (batch,) = read(tmp_path / "a.txt")
    assert texts([batch]) == []
    assert len(batch.bad) >= 2


def test_an_encoding_that_nobody_knows_is_refused(tmp_path):
    (tmp_path / "a.txt").write_text("a")
    with pytest.raises(BadInputError, match="'utf-9'"):
        read(tmp_path / "a.txt", encoding="utf-9")


@pytest.mark.parametrize(("suffix", "pack"), [("gz", gzip), ("bz2", bz2)])
def test_packed_files_are_read_and_cut_ones_refused(tmp_path, suffix, pack):
    lines = [f"line {i} {i * i}" for i in range(5000)]
    path = tmp_path / f"a.txt.{suffix}"
    path.write_bytes(pack.compress("\n".join(lines).encode()))
    assert texts(read(path)) == lines
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(BadInputError, match=f"a.txt.{suffix}"):
        read(path)


@pytest.mark.parametrize("per", ["line", "file"])
def test_memory_does_not_grow_with_a_text_without_end(tmp_path, monkeypatch, per):
    monkeypatch.setattr(text, "LARGEST_BYTES", 1000)
    (tmp_path / "a.txt").write_bytes(b"x" * (32 << 20))
    tracemalloc.start()
    batches = read(tmp_path / "a.txt", per=per)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert [len(b.bad) for b in batches] == [1]
    assert peak < 10 << 20  # some chunks of 1 MB


@pytest.mark.parametrize("per", ["line", "file"])
def test_a_text_without_end_is_left_out_not_gathered(tmp_path, monkeypatch, per):
    monkeypatch.setattr(text, "LARGEST_BYTES", 1000)
    (tmp_path / "a.txt").write_bytes(b"x" * 3_000_000 + b"\nshort\n")
    (batch,) = read(tmp_path / "a.txt", per=per)
    (bad,) = batch.bad
    assert "longer than" in bad.why
    assert len(bad.text) == 80
    assert texts([batch]) == (["short"] if per == "line" else [])


def test_batches_are_bounded_and_hold_everything_once(tmp_path):
    lines = [str(i) for i in range(40_000)]
    (tmp_path / "a.txt").write_text("\n".join(lines))
    batches = read(tmp_path / "a.txt")
    assert [len(b.names) for b in batches] == [16_384, 16_384, 40_000 - 2 * 16_384]
    assert texts(batches) == lines
    assert batches[-1].names[-1] == "a.txt line 40000"


def test_lines_left_out_come_some_at_a_time(tmp_path, monkeypatch):
    monkeypatch.setattr(text, "BATCH_ROWS", 10)
    (tmp_path / "a.txt").write_bytes(b"caf\xe9\n" * 25 + b"\n" * 25 + b"last")
    batches = read(tmp_path / "a.txt")
    assert max(len(b.bad) + len(b.notes) for b in batches) == 10
    assert sum(len(b.bad) for b in batches) == sum(len(b.notes) for b in batches) == 25
    assert texts(batches) == ["last"]


def test_many_small_files_are_read_some_at_a_time(tmp_path):
    for i in range(300):
        (tmp_path / f"{i:03}").write_text(str(i))
    batches = read(tmp_path, per="file")
    assert [len(b.names) for b in batches] == [256, 44]
    assert texts(batches) == [str(i) for i in range(300)]


def test_files_at_the_top_have_no_folder_to_label_them(tmp_path):
    (tmp_path / "a.txt").write_text("a")
    with pytest.raises(BadInputError, match="`label: none`"):
        read(tmp_path, label="folder")


@needs_data
def test_the_messages_of_sms_spam_are_all_there():
    got = texts(read(DATA / "sms-spam/SMSSpamCollection"))
    labels = Counter(line.partition("\t")[0] for line in got)
    assert labels == {"ham": 4827, "spam": 747}


@needs_data
def test_tiny_shakespeare_is_40000_lines_or_its_characters():
    path = DATA / "tiny-shakespeare/input.txt"
    batches = read(path)
    empty = sum(len(b.notes) for b in batches)
    assert len(texts(batches)) + empty == 40_000
    windows = texts(read(path, per="window", window=1000))
    assert len(windows) == 1116  # ceil(1115394 / 1000)
    assert "".join(windows) == path.read_text()


@needs_data
def test_trec_holds_one_line_that_is_latin_1():
    assert len(read(DATA / "trec/train_5500.label")[0].bad) == 1
    got = texts(read(DATA / "trec/train_5500.label", encoding="latin-1"))
    assert len(got) == 5452
