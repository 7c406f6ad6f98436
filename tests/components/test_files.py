import bz2
import gzip
import os
import subprocess
import sys
import zipfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from components.sources import files
from recipes.errors import BadInputError

REPOSITORY = Path(__file__).parent.parent.parent
DATA = REPOSITORY.parent / "shared/data"


def write(folder, **texts):
    """Write files named by keywords, `_` for `.` and `__` for `/`."""
    for name, text in texts.items():
        path = folder / name.replace("__", "/").replace("_", ".")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


def listed(path, folder, suffixes=()):
    return files.list_files(files.resolve(path, None, folder), suffixes)


def relatives(path, folder, suffixes=()):
    return [file.relative for file in listed(path, folder, suffixes)]


def refusal(path, folder, suffixes=()):
    with pytest.raises(BadInputError) as error:
        listed(path, folder, suffixes)
    return str(error.value)


def content(path):
    with files.open_binary(path) as file:
        return file.read()


def make_zip(path, members):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return path


def test_a_file_is_itself_with_its_size(tmp_path):
    (tmp_path / "a b ü.csv").write_bytes(b"1234")
    (file,) = listed("a b ü.csv", tmp_path, (".parquet",))
    assert (file.relative, file.size_bytes) == ("a b ü.csv", 4)
    assert content(file.path) == b"1234"


def test_a_folder_is_all_below_it_but_hidden_files_and_other_kinds(tmp_path):
    write(
        tmp_path,
        b_csv="1",
        a__c_CSV="1",
        a__d_txt="1",
        __MACOSX__e_csv="1",
        a__z_csv="",
    )
    (tmp_path / ".git").mkdir()
    (tmp_path / ".git/x.csv").write_text("1")
    (tmp_path / "a/.y.csv").write_text("1")
    assert relatives(".", tmp_path, (".csv",)) == ["a/c.CSV", "a/z.csv", "b.csv"]


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("*.csv", ["a1.csv", "a2.csv", "b1.csv"]),
        ("a?.csv", ["a1.csv", "a2.csv"]),
        ("[!a]1.*", ["b1.csv"]),
        ("**/*.csv", ["a1.csv", "a2.csv", "b1.csv", "x/a3.csv", "x/y/a4.csv"]),
        ("x/**/a*.csv", ["a3.csv", "y/a4.csv"]),
        ("*/y", ["x/y/a4.csv"]),
        ("x/**", ["a3.csv", "y/a4.csv"]),
        ("*/a3.csv", ["x/a3.csv"]),
    ],
)
def test_patterns(tmp_path, pattern, expected):
    write(tmp_path, a1_csv="", a2_csv="", b1_csv="", x__a3_csv="", x__y__a4_csv="")
    assert relatives(pattern, tmp_path, (".csv",)) == expected


def test_what_is_there_by_literal_name_is_no_pattern(tmp_path):
    write(tmp_path, a1_csv="", **{"raw [1]__a1_csv": "", "a*_csv": ""})
    assert relatives("raw [1]/*.csv", tmp_path) == ["a1.csv"]
    assert relatives("a*.csv", tmp_path) == ["a*.csv"]


def test_links_are_followed_and_circles_end(tmp_path):
    write(tmp_path, data__a__1_csv="", elsewhere__2_csv="")
    (tmp_path / "data/a/up").symlink_to(tmp_path / "data")
    (tmp_path / "data/a/round").symlink_to(tmp_path / "data/b")
    (tmp_path / "data/b").symlink_to(tmp_path / "data/a")
    (tmp_path / "data/other").symlink_to(tmp_path / "elsewhere")
    assert relatives("data", tmp_path) == ["a/1.csv", "other/2.csv"]
    assert relatives("data/**/*.csv", tmp_path) == ["a/1.csv", "other/2.csv"]


def test_links_in_a_circle_and_to_nothing_are_named(tmp_path):
    (tmp_path / "a.csv").symlink_to(tmp_path / "b.csv")
    assert "a.csv: No such file" in refusal(".", tmp_path)
    (tmp_path / "b.csv").symlink_to(tmp_path / "a.csv")
    assert "symbolic links" in refusal("a.csv", tmp_path)
    write(tmp_path, data__1_csv="")
    (tmp_path / "data/me").symlink_to("me")
    assert "data/me: Too many levels" in refusal("data", tmp_path)


def test_home_and_packages(tmp_path, monkeypatch):
    write(tmp_path, home__x_csv="1")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert relatives("~/x.csv", Path("/")) == ["x.csv"]
    assert relatives("package:recipes/errors.py", tmp_path) == ["errors.py"]
    assert "'no_such' is not installed" in refusal("package:no_such/x.csv", tmp_path)


def test_parts_keep_their_name(tmp_path):
    write(tmp_path, a_csv="", test__b_csv="")
    found = listed({"train": "a.csv", "test": "test"}, tmp_path)
    assert [(f.part, f.relative) for f in found] == [
        ("test", "b.csv"),
        ("train", "a.csv"),
    ]


def test_a_file_in_two_parts_is_refused(tmp_path):
    write(tmp_path, a_csv="")
    assert "in the parts 'train' and 'test'" in refusal(
        {"train": "*.csv", "test": "a.csv"}, tmp_path
    )


@pytest.mark.parametrize(
    ("path", "words"),
    [
        ("trips.cvs", "no 'trips.cvs' in {folder}. Did you mean 'trips.csv'?"),
        ("nowhere/x.csv", "no 'nowhere' in {folder}."),
        ("trips.csv/x", "no 'x' in {folder}/trips.csv."),
        ("*.parquet", "nothing matches {folder}/*.parquet"),
        ("images", "no file in {folder}/images ends in .csv, .tsv. There: 2 .jpg, 1 "),
        ("[z-a].csv", "expected characters such as [a-z]. Received: [z-a]"),
        ("pipe", "is neither a file nor a folder"),
        ("lines", "line break"),
    ],
)
def test_what_cannot_be_used_is_told(tmp_path, path, words):
    write(tmp_path, trips_csv="", images__1_jpg="", images__2_jpg="", images__3_txt="")
    (tmp_path / "lines").mkdir()
    (tmp_path / "lines/two\nlines.csv").write_text("")
    os.mkfifo(tmp_path / "pipe")
    assert words.format(folder=tmp_path) in refusal(path, tmp_path, (".csv", ".tsv"))


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_files_without_permission_are_named(tmp_path):
    write(tmp_path, closed__a_csv="", b_csv="")
    (tmp_path / "closed").chmod(0)
    (tmp_path / "b.csv").chmod(0)
    assert "closed: Permission denied" in refusal(".", tmp_path)
    with pytest.raises(BadInputError, match=r"b\.csv: Permission denied"):
        files.open_binary(str(tmp_path / "b.csv"))


def test_a_zip_counts_as_a_folder(tmp_path):
    make_zip(
        tmp_path / "a.zip",
        {"x/1.csv": b"12345", "x/2.txt": b"", "__MACOSX/1.csv": b"", "../3.csv": b""},
    )
    (file,) = listed("a.zip", tmp_path, (".csv",))
    assert (file.relative, file.size_bytes) == ("x/1.csv", 5)
    assert file.path == f"{tmp_path}/a.zip!/x/1.csv"
    assert content(file.path) == b"12345"
    assert relatives(".", tmp_path, (".csv",)) == ["a.zip/x/1.csv"]


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("a.zip!/x", ["1.csv", "y/2.csv"]),
        ("a.zip!/x/1.csv", ["1.csv"]),
        ("a.zip!/**/*.csv", ["x/1.csv", "x/y/2.csv"]),
        ("a.zip!/x/*", ["1.csv", "3.txt", "y/2.csv"]),
    ],
)
def test_members_by_pattern(tmp_path, pattern, expected):
    make_zip(tmp_path / "a.zip", {"x/1.csv": b"", "x/y/2.csv": b"", "x/3.txt": b""})
    assert sorted(relatives(pattern, tmp_path, (".csv",))) == expected


def test_zips_that_cannot_be_read_are_named(tmp_path):
    path = make_zip(tmp_path / "a.zip", {"x.csv": b"1" * 1000})
    whole = path.read_bytes()
    (tmp_path / "cut.zip").write_bytes(whole[:-30])
    locked = bytearray(whole)
    for signature in (b"PK\x01\x02", b"PK\x03\x04"):
        locked[locked.index(signature) + (8 if signature[2] == 1 else 6)] |= 1
    (tmp_path / "locked.zip").write_bytes(locked)
    assert "cut short" in refusal("cut.zip", tmp_path)
    assert "x.csv is encrypted" in refusal("locked.zip", tmp_path)


def test_a_damaged_member_is_told_while_reading(tmp_path):
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("x.csv", b"0123456789" * 10)
    path.write_bytes(path.read_bytes().replace(b"789", b"780", 1))
    with pytest.raises(BadInputError, match=r"x\.csv: the zip stream is damaged"):
        files.open_binary(f"{path}!/x.csv").read()


def test_members_are_read_by_several_threads(tmp_path):
    members = {f"{i}.bin": bytes([i]) * 50_000 for i in range(40)}
    make_zip(tmp_path / "a.zip", members)
    with ThreadPoolExecutor(8) as pool:
        found = listed("a.zip", tmp_path)
        contents = pool.map(lambda f: content(f.path), found)
        assert dict(zip((f.relative for f in found), contents, strict=True)) == members


def test_an_archive_is_opened_anew_after_a_fork(tmp_path):
    make_zip(tmp_path / "a.zip", {n: os.urandom(2_000_000) for n in "ab"})
    code = f"""
import hashlib, os
from components.sources import files
def digest():
    return hashlib.sha256(files.open_binary({f"{tmp_path}/a.zip!/a"!r}).read())
want = digest().digest()
for _ in range(4):
    if not os.fork(): os._exit(any(digest().digest() != want for _ in range(20)))
wrong = [digest().digest() != want for _ in range(20)]
assert not any(wrong) and not any(os.wait()[1] for _ in range(4))
"""
    subprocess.run([sys.executable, "-c", code], check=True, cwd=REPOSITORY, timeout=60)


@pytest.mark.parametrize(("pack", "suffix"), [(gzip, ".gz"), (bz2, ".bz2")])
def test_packed_files_are_unpacked_while_read(tmp_path, pack, suffix):
    text = b"some,words\n" * 120_000
    # Two streams behind each other are one file, as `cat a.gz b.gz` makes it.
    path = tmp_path / f"a.csv{suffix}"
    path.write_bytes(pack.compress(text) + pack.compress(b"last"))
    make_zip(tmp_path / "a.zip", {path.name: path.read_bytes()})
    for name in (str(path), f"{tmp_path}/a.zip!/{path.name}"):
        with files.open_decompressed(name) as stream:
            assert stream.read(11) == b"some,words\n"
            assert stream.read() == text[11:] + b"last"


@pytest.mark.parametrize(("pack", "suffix"), [(gzip, ".gz"), (bz2, ".bz2")])
def test_a_cut_or_damaged_stream_is_told_wherever_it_shows(tmp_path, pack, suffix):
    path = tmp_path / f"a.csv{suffix}"
    packed = pack.compress(os.urandom(2_000_000))
    for keep in (0, 5, 1_000_000, len(packed) - 1):
        path.write_bytes(packed[:keep])
        with pytest.raises(BadInputError, match="ends too early; copy it again"):
            files.open_decompressed(str(path)).read()
    middle = len(packed) // 2
    path.write_bytes(packed[:middle] + b"damaged" + packed[middle + 7 :])
    stream = files.open_decompressed(str(path))
    assert len(stream.read(100_000)) == 100_000
    with pytest.raises(BadInputError, match=r"a\.csv.*stream is damaged"):
        stream.read()


def test_a_file_that_only_claims_to_be_packed_is_told(tmp_path):
    (tmp_path / "a.csv.gz").write_text("a,b\n1,2\n")
    with pytest.raises(BadInputError, match="Not a gzipped file"):
        files.open_decompressed(str(tmp_path / "a.csv.gz")).read()


class TestDigest:
    def digest(self, path, folder, memory):
        return files.digest(
            listed(path, folder), known=memory.get, remember=memory.__setitem__
        )

    def test_follows_names_and_contents_not_places_and_times(self, tmp_path):
        write(tmp_path, one__a_csv="1", one__b_csv="2", two__a_csv="1", two__b_csv="2")
        os.utime(tmp_path / "two/a.csv", (1, 1))
        same = {self.digest(folder, tmp_path, {}) for folder in ("one", "two")}
        assert len(same) == 1
        write(tmp_path, two__b_csv="3")
        assert self.digest("two", tmp_path, {}) not in same
        (tmp_path / "one/b.csv").rename(tmp_path / "one/c.csv")
        assert self.digest("one", tmp_path, {}) not in same

    def test_reads_nothing_twice(self, tmp_path):
        write(tmp_path, a_csv="1", b_csv="2" * (1 << 20))
        memory = {}
        found = listed(".", tmp_path)
        first = files.digest(found, known=memory.get, remember=memory.__setitem__)
        (tmp_path / "b.csv").rename(tmp_path / "away")
        again = files.digest(found, known=memory.get, remember=memory.__setitem__)
        assert again == first

    def test_reads_only_what_is_new(self, tmp_path):
        write(tmp_path, span1_csv="1" * (1 << 20))
        memory = {}
        self.digest("*.csv", tmp_path, memory)
        status = (tmp_path / "span1.csv").stat()
        write(tmp_path, span1_csv="x" * (1 << 20), span2_csv="2")
        os.utime(tmp_path / "span1.csv", ns=(status.st_atime_ns, status.st_mtime_ns))
        remembered = self.digest("*.csv", tmp_path, memory)
        # Its size and time are those of the file that was read: it is not opened.
        assert remembered != self.digest("*.csv", tmp_path, {})

    def test_of_an_archive_is_that_of_its_bytes(self, tmp_path):
        make_zip(tmp_path / "a.zip", {"a.csv": b"1", "b.csv": b"2"})
        before = self.digest("a.zip", tmp_path, {})
        make_zip(tmp_path / "a.zip", {"a.csv": b"1", "b.csv": b"3"})
        assert self.digest("a.zip", tmp_path, {}) != before


@pytest.mark.skipif(not DATA.is_dir(), reason="the shared data sets are not here")
def test_real_archives_hold_what_their_folders_hold():
    archive = DATA / "sign-digits/sign_digits_100px.zip"
    members = {f.relative: f for f in listed(str(archive), DATA, (".jpg",))}
    sample = listed("sign-digits/sample", DATA, (".jpg",))
    assert (len(members), len(sample)) == (2059, 200)
    for file in sample:
        member = content(members[file.relative].path)
        assert member == content(file.path)
