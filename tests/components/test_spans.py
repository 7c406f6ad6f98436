import io
import json
import zipfile
from dataclasses import asdict
from pathlib import Path

import pytest
from apache_beam.io.filesystem import FileMetadata, FileSystem

from components.sources import files
from components.sources.files import Pattern
from recipes.errors import BadInputError

ROOT = Path("/")  # every path of these tests is absolute
REMOTE = {}  # path -> content, of the file system `memory://`


class MemoryFiles(FileSystem):
    """An object store: names hold slashes, and there are no folders."""

    @classmethod
    def scheme(cls):
        return "memory"

    def has_dirs(self):
        return False

    def exists(self, path):
        return path in REMOTE

    def size(self, path):
        return len(REMOTE[path])

    def last_updated(self, path):
        return 1.5

    def metadata(self, path):
        return FileMetadata(path, self.size(path), self.last_updated(path))

    def _list(self, dir_or_prefix):
        if dir_or_prefix.startswith("memory://closed"):
            raise PermissionError("403 Forbidden")
        return (self.metadata(p) for p in REMOTE if p.startswith(dir_or_prefix))

    def open(self, path, mime_type=None, compression_type="auto"):
        if path not in REMOTE:
            raise FileNotFoundError(path)
        assert compression_type == "uncompressed"
        return io.BytesIO(REMOTE[path])

    def _unused(self, *args):
        raise NotImplementedError

    join = split = mkdirs = create = copy = rename = checksum = delete = _unused


@pytest.fixture(params=["local", "remote"])
def place(request, tmp_path):
    """A function that makes files, and the folder that they are in."""
    if request.param == "local":

        def make(*names):
            for name in names:
                (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
                (tmp_path / name).write_text(name)

        yield make, str(tmp_path)
        return

    def put(*names):
        REMOTE.update({f"memory://bucket/data/{name}": name.encode() for name in names})

    yield put, "memory://bucket/data"
    REMOTE.clear()


def found(place, path, suffixes=(), **wanted):
    """Return the relative names of the files that a path comes to, with their spans."""
    _, folder = place
    patterns = files.resolve(f"{folder}/{path}", wanted or None, ROOT)
    return [(f.span, f.relative) for f in files.list_files(patterns, suffixes)]


def spans(place, path, **wanted):
    _, folder = place
    patterns = files.resolve(f"{folder}/{path}", wanted or None, ROOT)
    return [(p.span, p.version) for p in patterns]


def test_without_a_choice_the_newest_span_and_its_newest_version_are_read(place):
    make, folder = place
    make("span-1/v-9/a.csv", "span-10/v-2/b.csv", "span-10/v-11/c.csv", "span-9/v-1/d")
    patterns = files.resolve(f"{folder}/span-{{SPAN}}/v-{{VERSION}}/*.csv", None, ROOT)
    assert patterns == [Pattern(f"{folder}/span-10/v-11/*.csv", "", 10, 11)]
    assert json.loads(json.dumps(asdict(patterns[0])))["span"] == 10
    (file,) = files.list_files(patterns)
    assert (file.relative, file.span) == ("c.csv", 10)


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [
        ({"last": 2}, [5, 8]),
        ({"last": 9}, [1, 2, 5, 8]),
        ({"first": 2}, [2, 5, 8]),
        ({"until": 5}, [1, 2, 5]),
        ({"first": 2, "until": 7}, [2, 5]),
        ({"last": 1, "until": 7}, [5]),
        ({"first": None, "until": None, "last": None}, [8]),
    ],
)
def test_a_range_of_spans_rolls_over_gaps(place, wanted, expected):
    place[0]("8/a", "1/a", "05/a", "002/a")
    assert [span for span, _ in spans(place, "{SPAN}/a", **wanted)] == expected


def test_days_are_counted_from_1970(place):
    place[0](
        "1970-01-02/a.csv",
        "2024-02-29/a.csv",
        "2024-2-3/b.csv",
        "2024-13-40/a.csv",
        "2023-02-29/a.csv",
        "latest/a.csv",
    )
    # date +%s -ud 2024-02-29, divided by 86,400
    path = "{YYYY}-{MM}-{DD}/*.csv"
    assert found(place, path) == [(19782, "a.csv")]
    assert found(place, path, last=9) == [
        (1, "a.csv"),
        (19756, "b.csv"),
        (19782, "a.csv"),
    ]
    assert [s for s, _ in spans(place, path, first="2024-02-03")] == [19756, 19782]
    assert spans(place, path, until="2024-02-28", last=1) == [(19756, None)]


def test_days_without_separators_and_in_folders_of_their_own(place):
    place[0]("logs/20240105.csv", "logs/20231231.csv", "t/2024/01/05/v7/x/a.csv")
    assert spans(place, "logs/{YYYY}{MM}{DD}.csv", last=2) == [
        (19722, None),
        (19727, None),
    ]
    path = "t/{YYYY}/{MM}/{DD}/v{VERSION}/**/*.csv"
    assert spans(place, path) == [(19727, 7)]
    assert found(place, path) == [(19727, "x/a.csv")]


def test_a_span_may_be_a_file_or_a_folder_and_share_its_name_with_a_pattern(place):
    place[0](
        "day-3-x.csv", "day-4-y.csv", "day-4.txt", "all/7/deep/a.csv", "all/7/b.txt"
    )
    assert found(place, "day-{SPAN}-?.csv", last=2) == [
        (3, "day-3-x.csv"),
        (4, "day-4-y.csv"),
    ]
    assert found(place, "all/{SPAN}", (".csv",)) == [(7, "deep/a.csv")]


def test_a_span_may_lie_among_names_with_brackets(place, tmp_path):
    make, _ = place
    make("x [1]-3/a1.csv", "x [1]-2/a1.csv")
    ((span, name),) = found(place, "*-{SPAN}/a*")
    assert (span, name.split("/")[-1]) == (3, "a1.csv")
    (tmp_path / "raw [1]/7").mkdir(parents=True)
    (tmp_path / "raw [1]/7/a.csv").write_text("")
    (pattern,) = files.resolve("raw [1]/{SPAN}/*.csv", None, tmp_path)
    assert pattern.span == 7


def test_every_part_but_serving_has_the_same_spans(place):
    make, folder = place
    make("train/1", "train/2", "train/3", "test/1", "test/2", "serving/9", "extra")
    path = {part: f"{folder}/{part}/{{SPAN}}" for part in ("train", "test", "serving")}
    path["extra"] = f"{folder}/extra"
    patterns = files.resolve(path, None, ROOT)
    assert {p.part: p.span for p in patterns} == {
        "train": 2,
        "test": 2,
        "serving": 9,
        "extra": None,
    }


@pytest.mark.parametrize(
    ("path", "wanted", "words"),
    [
        ("{SPAN}/{YYYY}-{MM}-{DD}/a", None, "{SPAN} or a date, not both"),
        ("{YYYY}-{MM}/a", None, "go together. Received: {YYYY}, {MM} only"),
        ("{SPAN}/{SPAN}/a", None, "{SPAN} may stand there once"),
        ("v{VERSION}/a", None, "{VERSION} is that of a span"),
        ("**/{SPAN}/a", None, "`**` cannot stand before a span"),
        ("7/a", {"last": 2}, "holds neither {SPAN} nor"),
        ("x{SPAN}/a", None, "no span matches"),
        ("{SPAN}/a", {"first": 8}, "no span from 8 until the newest. There: 7 to 7"),
        ("{SPAN}/a", {"first": "2024-01-01"}, "first: expected a number"),
        ("d/{YYYY}-{MM}-{DD}/a", {"until": 5}, "until: expected a day, YYYY-MM-DD"),
        ("d/{YYYY}-{MM}-{DD}/a", {"until": "2024-13-01"}, "expected a day"),
        ("d/{YYYY}-{MM}-{DD}/a", {"until": "2020-01-01"}, "There: 2024-01-05 to 2024"),
        ("bad/{YYYY}-{MM}-{DD}/a", None, "no span matches"),
        ("twice/{SPAN}/a", None, "twice/007 and"),
    ],
)
def test_spans_that_cannot_be_used_are_told(place, path, wanted, words):
    make, folder = place
    make("7/a", "d/2024-01-05/a", "bad/2024-13-40/a", "twice/7/a", "twice/007/a")
    with pytest.raises(BadInputError) as error:
        files.resolve(f"{folder}/{path}", wanted, ROOT)
    assert words in str(error.value)


def test_dates_in_one_part_and_numbers_in_another_are_refused(place):
    make, folder = place
    make("a/7", "b/2024-01-05")
    path = {
        "train": f"{folder}/a/{{SPAN}}",
        "test": f"{folder}/b/{{YYYY}}-{{MM}}-{{DD}}",
    }
    with pytest.raises(BadInputError, match="or a date in every part"):
        files.resolve(path, None, ROOT)


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("a.csv", ["a.csv"]),
        ("*.csv", ["a.csv", "b [1].csv"]),
        ("b [1].csv", ["b [1].csv"]),
        ("", ["a.csv", "b [1].csv", "x/c.csv", "x/y/d.csv"]),
        ("x", ["c.csv", "y/d.csv"]),
        ("x/", ["c.csv", "y/d.csv"]),
        ("**/*.csv", ["a.csv", "b [1].csv", "x/c.csv", "x/y/d.csv"]),
        ("x/**/?.csv", ["c.csv", "y/d.csv"]),
        ("*/y", ["x/y/d.csv"]),
    ],
)
def test_patterns_mean_the_same_everywhere(place, path, expected):
    place[0](
        "a.csv",
        "b [1].csv",
        "x/c.csv",
        "x/y/d.csv",
        "x/e.txt",
        ".hidden/f.csv",
        ".g.csv",
    )
    assert [name for _, name in found(place, path, (".csv",))] == expected


def test_remote_files_are_opened_as_they_lie_and_known_by_size_and_time():
    REMOTE["memory://bucket/a.csv"] = b"1,2\n"
    (file,) = files.list_files([Pattern("memory://bucket/a.csv")])
    with files.open_decompressed(file.path) as stream:
        assert stream.read() == b"1,2\n"
    assert (file.size_bytes, file.modified_ns) == (4, 1_500_000_000)
    digests = []
    for content in (b"1,2\n", b"3,4\n", b"5\n"):
        REMOTE["memory://bucket/a.csv"] = content
        listed = files.list_files([Pattern("memory://bucket/*")])
        digests.append(
            files.digest(listed, known={}.get, remember=lambda key, digest: None)
        )
    assert digests[0] == digests[1] != digests[2]
    REMOTE.clear()


def test_a_remote_archive_counts_as_a_folder_of_its_age():
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("x/a.csv", b"1,2\n")
    REMOTE["memory://bucket/a.zip"] = packed.getvalue()
    for path in ("memory://bucket/a.zip", "memory://bucket/a.zip!/**/*.csv"):
        (file,) = files.list_files([Pattern(path)], (".csv",))
        assert (file.relative, file.modified_ns) == ("x/a.csv", 1_500_000_000)
        with files.open_binary(file.path) as stream:
            assert stream.read() == b"1,2\n"
    REMOTE.clear()


@pytest.mark.parametrize(
    ("path", "words"),
    [
        ("memory://bucket/none.csv", "nothing matches memory://bucket/none.csv"),
        ("memory://closed/*.csv", "memory://closed/*.csv cannot be reached"),
        ("nosuch://bucket/a.csv", "nosuch://bucket/a.csv cannot be reached: Unable to"),
    ],
)
def test_remote_files_that_cannot_be_had_are_told(path, words):
    with pytest.raises(BadInputError) as error:
        files.list_files(files.resolve(path, None, ROOT))
    assert words in str(error.value)


def test_a_remote_file_that_is_gone_is_told():
    with pytest.raises(BadInputError, match=r"memory://gone\.csv cannot be reached"):
        files.open_binary("memory://gone.csv")
