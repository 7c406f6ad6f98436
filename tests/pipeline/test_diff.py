"""`diff` says what differs between two runs, and nothing else."""

import io
import json
from pathlib import Path

import pytest

from pipeline import diff
from pipeline.history import StepRecord
from recipes.errors import BadInputError
from tests.pipeline.archive import MISSED, Archive


@pytest.fixture
def archive(tmp_path, monkeypatch):
    monkeypatch.setenv("STRATA_HOME", str(tmp_path))
    return Archive(tmp_path)


def compared(a, b):
    stream = io.StringIO()
    diff.main(a, b, as_json=True, stream=stream)
    return json.loads(stream.getvalue())


def test_a_run_does_not_differ_from_itself(archive):
    archive.run(parts={"ingest": {"data": "d"}})
    facts = compared("1", "digits")
    for part in ("recipe", "packages", "verdicts"):
        assert facts[part] == []
    assert facts["code"]["files"] == facts["data"]["files"] == []
    assert facts["schema"] == {"same": True, "lines": []}
    assert {m["difference"] for m in facts["metrics"]} == {0.0}


def test_metrics_and_verdicts_are_compared_by_name(archive):
    archive.run(accuracy=0.75)
    archive.run(MISSED, accuracy=0.5)
    facts = compared("1", "2")
    accuracy = next(m for m in facts["metrics"] if m["name"] == "accuracy")
    assert accuracy == {"name": "accuracy", "a": 0.75, "b": 0.5, "difference": -0.25}
    assert "calibration.ece" in {m["name"] for m in facts["metrics"]}
    assert facts["verdicts"] == [
        {"name": "blessed", "a": "yes", "b": "no"},
        {"name": "metrics", "a": "passed", "b": "refused"},
    ]


def test_code_and_packages_are_compared_by_the_fingerprints(archive):
    archive.run(parts={"train": {"code components/train.py": "1", "code x.py": "1"}})
    archive.run(parts={"train": {"code components/train.py": "2", "package tfx": "1"}})
    facts = compared("1", "2")
    assert facts["code"]["files"] == [
        {"name": "components/train.py", "a": "1", "b": "2"},
        {"name": "x.py", "a": "1", "b": None},
    ]
    assert facts["packages"] == [{"name": "tfx", "a": None, "b": "1"}]


def test_a_file_that_changed_is_named(archive):
    archive.run(parts={"ingest": {"data": "before"}})
    archive.data.write_text("a,b\n3,4\n")
    archive.run(parts={"ingest": {"data": "after"}})
    facts = compared("1", "2")
    assert [file["name"] for file in facts["data"]["files"]] == [str(archive.data)]
    assert facts["data"]["digest"] == ["before", "after"]


@pytest.mark.parametrize(
    ("sources", "said"),
    [
        (("tfds", "tfds"), "data      same source, no files"),
        (("tfds", "csv"), "data      differ: tfds -> csv"),
        (("tfds", None), "data      not recorded"),
        ((None, None), "data      not recorded"),
    ],
)
def test_data_without_files_are_compared_by_their_source(archive, sources, said):
    for source in sources:
        run_id = archive.history.begin_run("digits", "{}", now=100.0)
        if source:
            figures = {"source": source, "records": {}}
            step = StepRecord(run_id, "ingest", "k", {}, 1, {}, figures, 1.0)
            archive.history.add_step("digits", step)
    stream = io.StringIO()
    diff.main("1", "2", stream=stream)
    assert said in stream.getvalue().splitlines()


def test_lines_of_the_schema_are_shown(archive):
    archive.run()
    archive.run()
    (second, _) = archive.history.done_steps("digits", "schema")
    (Path(second.outputs["schema"]) / "schema.pbtxt").write_text("schema\nmore\n")
    facts = compared("1", "2")
    assert facts["schema"] == {
        "same": False,
        "lines": ["@@ -1 +1,2 @@", " schema", "+more"],
    }


def test_a_changed_key_of_the_recipe_is_told_in_a_line(archive):
    archive.run()
    recipe = json.dumps({"name": "digits", "train": {"epochs": 4}, "new": {"key": 1}})
    archive.history.begin_run("digits", recipe, now=200.0)
    stream = io.StringIO()
    diff.main("1", "2", stream=stream)
    lines = stream.getvalue().splitlines()
    assert " train.epochs: 3 -> 4" in lines
    assert " new.key: null -> 1" in lines


def test_versions_can_be_compared_and_a_missing_run_is_refused(archive):
    archive.run()
    archive.run()
    facts = compared("digits@1", "digits@2")
    assert (facts["a"]["run"], facts["b"]["run"]) == (1, 2)
    with pytest.raises(BadInputError, match="No run 3"):
        diff.main("1", "3")
