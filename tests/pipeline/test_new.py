"""What `new` recognises, and the text it writes; a whole line is in `tests/e2e`."""

from pathlib import Path
from types import SimpleNamespace
from zipfile import ZipFile

import pytest
import yaml

from components.look_columns import Choice
from pipeline import new, new_source
from pipeline.new_source import Source
from pipeline.new_text import recipe_text
from pipeline.workspace import Workspace
from recipes import load
from recipes.errors import BadInputError

DATA = Path(__file__).parents[2].parent / "shared/data"


@pytest.fixture
def recognise(tmp_path, monkeypatch):
    """Return the section `data` for sources below a folder of their own."""
    monkeypatch.chdir(tmp_path)

    def source(*sources):
        return new.source_of(sources, tmp_path, Workspace(tmp_path / "workspace"))

    return source


def write(path, text, encoding="utf-8"):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text.encode(encoding))


def real(name):
    path = DATA / name
    if not path.exists():
        pytest.skip(f"{path} is not there")
    return str(path)


def test_a_table_below_the_folder_gets_a_relative_path_and_no_option(
    recognise, tmp_path
):
    write(tmp_path / "in here/a.csv", "a,b\n1,x\n2,y\n")
    found = recognise("in here/a.csv").section()
    assert found == {"csv": {"path": "in here/a.csv"}}


def test_a_table_elsewhere_keeps_its_absolute_path(recognise, tmp_path):
    elsewhere = tmp_path.parent / f"{tmp_path.name}-elsewhere" / "a.csv"
    write(elsewhere, "a,b\n1,x\n2,y\n")
    assert recognise(str(elsewhere)).options["path"] == str(elsewhere)


@pytest.mark.parametrize(
    ("text", "options"),
    [
        ("a,b\n1,?\n2,y\n", {"missing": "?"}),
        ("a,b\n1,2\n-,3\n4,5\n", {"missing": "-"}),
        ("a,b\nx,-\ny,z\n", {}),  # a text may be a dash
        ('a\tb\nx\t"so\ny\tno" he\n', {"quotes": False}),
        ('a,b\n1,"x, y"\n2,"z"\n', {}),
        ('a,b\n1,"5"" disk"\n2,z\n', {}),
        ("1 2 3\n4 5 6\n7 8 9\n", {"columns": ["column_1", "column_2", "column_3"]}),
        ("A title\na,b,c\n1,2,3\n4,5,6\n", {"skip_lines": 1}),
    ],
)
def test_options_of_a_table_are_those_it_needs(text, options, recognise, tmp_path):
    write(tmp_path / "a.csv", text)
    found = dict(recognise("a.csv").options)
    assert found.pop("path") == "a.csv"
    if "missing" in options:
        assert found["missing"][-1] == options["missing"]
        assert found["missing"][0] == ""
    else:
        assert found == options


@pytest.mark.parametrize("encoding", ["cp1252", "utf-16"])
def test_another_encoding_is_said(encoding, recognise, tmp_path):
    write(tmp_path / "a.csv", "town,size\nKöln,1\nBonn,2\n", encoding)
    assert recognise("a.csv").options["encoding"] == encoding


def test_parts_differ_by_a_dot_and_a_line_that_is_no_row(recognise):
    data, test = real("adult/adult.data"), real("adult/adult.test")
    found = recognise(f"train={data}", f"test={test}")
    assert found.options["path"] == {"train": data, "test": test}
    assert found.options["strip"] == "."
    assert found.options["missing"][-1] == "?"
    assert len(found.options["columns"]) == 15
    assert found.beside["max_bad_rows"] == 0.001
    assert found.beside["splits"]["eval"] == "train[90%:]"


def test_quotes_of_messages_are_ordinary_characters(recognise):
    found = recognise(real("sms-spam/SMSSpamCollection"))
    assert found.options["quotes"] is False
    assert found.options["columns"] == ["column_1", "column_2"]


def test_files_in_class_folders_are_labelled_by_them(recognise):
    found = recognise(real("sign-digits/sign_digits_100px.zip"))
    assert (found.kind, {*found.options}) == ("images", {"path"})


def test_sounds_in_one_folder_are_labelled_by_their_names(recognise):
    found = recognise(real("spoken-digits/recordings_3_speakers.zip"))
    assert found.options["name"] == "{label}_{part_2}_{part_3}"


def test_a_folder_of_parts_keeps_them(recognise, tmp_path):
    for part in ("train", "test", "val"):
        write(tmp_path / f"set/{part}.csv", "a,b\n1,x\n2,y\n")
    found = recognise("set")
    assert found.options["path"] == {
        part: f"set/{part}.csv" for part in ("test", "train", "val")
    }
    assert found.beside["splits"] == {"train": "train", "eval": "val", "test": "test"}


def test_prose_is_text_and_a_table_called_txt_is_a_table(recognise, tmp_path):
    write(tmp_path / "a.txt", "Once, there was\na line\nand, well, another\n")
    write(tmp_path / "b.txt", "a;b\n1;2\n3;4\n")
    assert recognise("a.txt").kind == "text"
    assert recognise("b.txt").kind == "csv"


@pytest.mark.parametrize(
    ("stems", "pattern"),
    [
        (["0_a_1", "0_b_2", "1_a_3", "1_b_4"], "{label}_{part_2}_{part_3}"),
        (["1-cat", "2-cat", "3-dog", "4-dog"], "{part_1}-{label}"),
        (["one", "two"], None),
        (["a_1", "a_2_3"], None),
        (["a_1", "b_2"], None),  # nothing comes again
    ],
)
def test_the_label_in_a_name_is_the_first_part_that_comes_again(stems, pattern):
    assert new_source.name_pattern(stems) == pattern


@pytest.mark.parametrize(
    ("names", "sources", "words"),
    [
        ([], ["none.csv"], "no file or folder"),
        (["a.bin"], ["a.bin"], "is empty"),
        (["d/a.xyz"], ["d"], "Expected files ending in .csv"),
        (["d/a.png", "d/b.png"], ["d"], "Expected a folder for each class"),
        (["a.csv", "b.csv"], ["a.csv", "b.csv"], "train=FILE and test=FILE"),
        (["a.csv"], ["train=a.csv"], "train=FILE and test=FILE"),
    ],
)
def test_what_cannot_be_recognised_is_refused(
    names, sources, words, recognise, tmp_path
):
    for name in names:
        write(tmp_path / name, "")
    with pytest.raises(BadInputError, match=words):
        recognise(*sources)


def test_an_archive_of_boxes_is_refused(recognise, tmp_path):
    with ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("VOC/JPEGImages/1.jpg", b"x")
    with pytest.raises(BadInputError, match="Pascal VOC"):
        recognise("a.zip")


@pytest.mark.parametrize("name", ["Wine", "1a", "a-b", "", "a/b"])
def test_a_bad_name_is_refused(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(BadInputError, match="small letters"):
        new.main(name, ["a.csv"], None, Workspace(tmp_path), None)


@pytest.mark.parametrize("there", ["wine.yaml", "test_wine.py", "schemas/wine.pbtxt"])
def test_a_file_that_is_there_is_kept(there, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write(tmp_path / there, "mine")
    with pytest.raises(BadInputError, match=f"{there} exists"):
        new.main("wine", ["a.csv"], None, Workspace(tmp_path), None)
    assert (tmp_path / there).read_text() == "mine"


def choices(**values):
    """Return choices of one column `no`, which YAML would take for false."""
    base = {
        "label": {"feature": "y", "classes": ["no", "1e5", "é: # \n\"'"]},
        "transform": {"numeric": ["no"], "vocabulary": {"on": 3}},
        "model": {"family": "wide_deep", "arguments": {"units": [4]}},
        "train": {"epochs": 1},
        "evaluate": {"metrics": {"SparseCategoricalAccuracy": {"at_least": 0.5}}},
        "validation": {},
        "reasons": [
            Choice("y", "label", "two\nlines"),
            Choice("no", "z-score", "a number"),
            Choice("on", "vocabulary", "3 different texts"),
            Choice("odd", "left out", "it never changes"),
        ],
        "why": {"epochs": "quick"},
    }
    return SimpleNamespace(**{**base, **values})


def test_the_recipe_means_what_was_chosen_and_says_why(tmp_path):
    source = Source("csv", {"path": "a: b #.csv"}, {}, {"path": "a table"})
    text = recipe_text("odd", ["a: b\n#.csv"], source, choices())
    recipe = tmp_path / "odd.yaml"
    recipe.write_text(text)
    loaded = load.load(recipe)
    assert loaded.data.csv.path == "a: b #.csv"
    assert loaded.transform.label.classes == ("no", "1e5", "é: # \n\"'")
    assert loaded.transform.numeric == ("no",)
    assert loaded.transform.vocabulary == {"on": 3}
    assert "  # a table" in text
    assert "epochs: 1  # quick" in text
    assert "# odd is left out: it never changes" in text


def test_the_first_test_is_python():
    compile(new._TEST.format(name="wine"), "test_wine.py", "exec")


def test_splits_of_a_source_with_two_parts_watch_the_end_of_train():
    splits, _ = new_source.splits_of(["train", "test", "extra"])
    assert yaml.safe_load(yaml.safe_dump(splits)) == {
        "train": "train[:90%]",
        "eval": "train[90%:]",
        "test": "test",
    }
    assert new_source.splits_of(["train"]) is None
