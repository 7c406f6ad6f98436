"""`./strata schema diff|accept`: a history and a schema file, without TensorFlow."""

import io

import pytest
from google.protobuf import text_format
from tensorflow_metadata.proto.v0 import schema_pb2, statistics_pb2

from components import frozen
from pipeline import schema
from pipeline.history import History, StepRecord
from recipes.errors import BadInputError

FROZEN = """
feature { name: "fare" type: FLOAT presence { min_fraction: 1 min_count: 1 } }
feature { name: "company" type: BYTES presence { min_fraction: 1 min_count: 1 } }
feature { name: "payment_type" type: BYTES domain: "payment_type" }
feature { name: "window" type: FLOAT value_count { min: 3 max: 3 } }
string_domain { name: "payment_type" value: "Cash" value: "Card" }
"""
MISSING = 'datasets { features { path { step: "company" } string_stats { '
MISSING += "common_stats { num_missing: 3 num_non_missing: 97 } } } }"


def parse(text):
    return text_format.Parse(text, schema_pb2.Schema())


def differences(changed, **arguments):
    return schema.differences(parse(FROZEN), parse(changed), **arguments)


def test_a_schema_does_not_differ_from_itself():
    assert differences(FROZEN) == []


@pytest.mark.parametrize(
    ("old", "new", "line"),
    [
        ('"fare" type: FLOAT', '"fare" type: BYTES', "fare: type float -> text"),
        ('value: "Card"', 'value: "Card" value: "Bitcoin"', "new value 'Bitcoin'"),
        ('value: "Card"', "", "payment_type: no longer value 'Card'"),
        (' domain: "payment_type"', "", "too many values now for a list of them"),
        ("min: 3 max: 3", "min: 1", "window: values a record 3 -> 1 to any number"),
        (
            "BYTES presence { min_fraction: 1 min_count: 1 }",
            "BYTES presence { min_count: 1 }",
            "company: now missing in some records",
        ),
    ],
)
def test_a_change_is_told_in_words(old, new, line):
    assert old in FROZEN
    (got,) = differences(FROZEN.replace(old, new))
    assert got.endswith(line)


def test_columns_come_and_go():
    changed = FROZEN.replace('"fare"', '"price"')
    assert differences(changed) == ["fare: gone", "price: a new column of type float"]


def test_the_share_of_gaps_is_told_where_it_is_known():
    changed = FROZEN.replace("min_fraction: 1", "")
    assert differences(changed, missing={"company": 0.031, "fare": 0.0}) == [
        "company: now missing in 3.1 %"
    ]


def test_what_people_added_is_no_difference():
    edited = FROZEN.replace(
        '"fare" type: FLOAT presence { min_fraction: 1 min_count: 1 }',
        '"fare" type: FLOAT presence { min_fraction: 0.9 } float_domain { max: 500 }',
    )
    assert schema.differences(parse(edited), parse(FROZEN)) == []


class Ran:
    """A recipe whose data were looked at: schema NEW inferred, KEY its fingerprint."""

    def __init__(self, tmp_path, new, key="k1"):
        self.recipe = tmp_path / "taxi.yaml"
        self.recipe.write_text("name: taxi\ndata: {csv: trips.csv}\n")
        self.file = frozen.path_of(self.recipe, "taxi")
        self.file.parent.mkdir()
        self.file.write_text(frozen.freeze(FROZEN, "k0"))
        folder = tmp_path / "schema" / "1"
        (folder / "Split-train").mkdir(parents=True)
        (folder / "schema.pbtxt").write_text(new)
        found = text_format.Parse(
            MISSING, statistics_pb2.DatasetFeatureStatisticsList()
        )
        stats_file = folder / "Split-train" / "FeatureStats.pb"
        stats_file.write_bytes(found.SerializeToString())
        history = History(tmp_path / "history.db")
        for step, name, parts in (
            ("statistics", "statistics", {}),
            ("infer_schema", "schema", {"after statistics": f"statistics {key}"}),
        ):
            own_key = key if step == "infer_schema" else f"statistics {key}"
            outputs = {name: str(folder)}
            record = StepRecord(7, step, own_key, parts, 1, outputs, {}, 1.0)
            history.add_step("taxi", record)

    def command(self, action):
        stream = io.StringIO()
        code = schema.main(action, str(self.recipe), stream)
        return code, stream.getvalue().splitlines()


@pytest.fixture
def ran(tmp_path, monkeypatch):
    monkeypatch.setenv("STRATA_HOME", str(tmp_path))
    in_all = " presence { min_fraction: 1 min_count: 1 }"
    gaps = FROZEN.replace(f"BYTES{in_all}", "BYTES")
    return Ran(tmp_path, gaps)


def test_diff_tells_the_differences_and_ends_like_diff(ran):
    assert ran.command("diff") == (1, ["company: now missing in 3 %"])
    assert "company: now" not in ran.file.read_text()


def test_accept_replaces_the_file_and_diff_is_content_then(ran):
    code, lines = ran.command("accept")
    assert code == 0
    assert lines[0] == "company: now missing in 3 %"
    assert lines[1].endswith("what run 7 found holds from now on")
    assert ran.command("diff") == (0, ["no difference"])
    assert frozen.part(ran.file.read_text(), "other") == "inferred by k1"


def test_accept_says_when_it_drops_edits(ran):
    ran.file.write_text(ran.file.read_text() + "\nfeature { name: 'mine' }\n")
    assert "edits by hand are gone from it" in ran.command("accept")[1]


def test_accept_makes_the_file_where_there_is_none(ran):
    ran.file.unlink()
    with pytest.raises(BadInputError, match="No schema file"):
        ran.command("diff")
    code, lines = ran.command("accept")
    assert (code, len(lines)) == (0, 1)
    assert ran.command("diff") == (0, ["no difference"])


def test_a_broken_schema_file_is_named_with_its_line(ran):
    ran.file.write_text("feature {\n nme: 1 }")
    with pytest.raises(BadInputError, match="taxi.pbtxt: not a schema: line 2"):
        ran.command("diff")


def test_accept_replaces_a_broken_file(ran):
    ran.file.write_text("feature {")
    assert ran.command("accept")[0] == 0
    assert ran.command("diff") == (0, ["no difference"])


def test_without_a_run_there_is_nothing_to_compare_with(ran, tmp_path, monkeypatch):
    monkeypatch.setenv("STRATA_HOME", str(tmp_path / "other"))
    with pytest.raises(BadInputError, match="No run of taxi"):
        ran.command("diff")
