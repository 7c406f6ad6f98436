"""A version is followed back to data, recipe, code and verdicts."""

import hashlib
import io
import json
import shutil

import pytest

from pipeline import lineage, runs
from recipes.errors import BadInputError
from tests.pipeline.archive import Archive


@pytest.fixture
def archive(tmp_path, monkeypatch):
    monkeypatch.setenv("STRATA_HOME", str(tmp_path))
    return Archive(tmp_path)


def followed(text):
    stream = io.StringIO()
    lineage.main(text, as_json=True, stream=stream)
    return json.loads(stream.getvalue())


def told(text):
    stream = io.StringIO()
    lineage.main(text, stream=stream)
    return stream.getvalue().splitlines()


def test_the_live_version_leads_back_to_the_file_and_its_sha256(archive):
    archive.run(parts={"ingest": {"data": "digest of all"}})
    facts = followed("digits")
    content = archive.data.read_bytes()
    assert facts["data"] == {
        "digest": "digest of all",
        "source": "csv",
        "files": [
            {
                "path": str(archive.data),
                "part": "",
                "size_bytes": len(content),
                "sha256": hashlib.sha256(content).hexdigest(),
            }
        ],
        "rows": {"train": 1437},
    }


def test_run_candidate_recipe_code_and_verdict_stand_on_the_way(archive):
    archive.run()
    facts = followed("digits@1")
    assert (facts["pushed"]["run"], facts["candidate"]["run"]) == (1, 1)
    assert facts["candidate"]["exists"]
    assert facts["recipe"]["overrides"] == ["train.epochs=3"]
    assert facts["recipe"]["resolved"]["train"] == {"epochs": 3}
    assert facts["code"].keys() & {"commit", "version"}
    assert facts["packages"] == {"python": "3.11", "keras": "3.15"}
    assert facts["schema"]["sha256"] == hashlib.sha256(b"schema\n").hexdigest()
    assert facts["verdict"]["blessed"]
    assert facts["files"]["count"] == 2


def test_an_older_version_is_followed_to_its_own_run(archive):
    archive.run()
    archive.run()
    assert told("digits@1")[0] == f"digits@1  {archive.base_path / '1'}"
    assert told("digits")[0] == f"digits@2  live  {archive.base_path / '2'}"
    assert [followed(f"digits@{v}")["pushed"]["run"] for v in (1, 2)] == [1, 2]


def test_a_version_that_was_deleted_is_still_followed(archive):
    archive.run()
    archive.run()
    shutil.rmtree(archive.base_path / "1")
    facts = followed("digits@1")
    assert (facts["on_disk"], facts["candidate"]["run"]) == (False, 1)
    assert "not on disk any more" in told("digits@1")[0]


def test_a_teacher_is_named_as_the_version_it_is(archive):
    archive.run()
    teacher = str(archive.base_path / "1")
    archive.run(parts={"train": {"origin teacher_dir": teacher}})
    assert followed("digits")["origins"] == [
        {"use": "teacher", "path": teacher, "version": "digits@1", "run": 1}
    ]
    assert "             ./strata lineage digits@1" in told("digits")


def test_a_start_from_a_run_is_named_as_that_run(archive):
    archive.run()
    (first,) = archive.history.done_steps("digits", "train")
    start = f"{first.outputs['model']}/Format-Serving"
    archive.run(parts={"train": {"origin start_from_dir": start}})
    assert followed("digits")["origins"] == [
        {"use": "start_from", "path": start, "version": None, "run": 1}
    ]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("digits@2", "'digits' has the versions 1. Received: 'digits@2'"),
        ("digits@x", "Expected NAME or NAME@VERSION. Received: 'digits@x'"),
        ("taxi", "First: ./strata run taxi"),
    ],
)
def test_a_version_that_is_not_there_is_refused(archive, text, message):
    archive.run()
    with pytest.raises(BadInputError, match=message):
        lineage.main(text)


def test_a_version_from_elsewhere_is_refused(archive):
    archive.run()
    (archive.base_path / "5").mkdir()
    with pytest.raises(BadInputError, match="came from elsewhere"):
        runs.find_version(archive.history, "digits@5", archive.workspace)
