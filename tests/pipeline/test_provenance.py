"""What a run was started from is kept: the commit, the files of its data."""

import hashlib
import subprocess
import zipfile

import pytest

from components.sources.files import Pattern
from components.sources.locate import Located
from pipeline import plan, provenance
from pipeline.history import History
from pipeline.steps import BY_NAME

VERSION = '[project]\nversion = "1.2.3"\n'


def git(folder, *arguments):
    identity = ("-c", "user.name=a", "-c", "user.email=a@b", "-c", "commit.gpgsign=no")
    command = ["git", "-C", str(folder), *identity, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return done.stdout.strip()


@pytest.fixture
def repository(tmp_path):
    """A repository of one commit."""
    folder = tmp_path / "code"
    folder.mkdir()
    (folder / "pyproject.toml").write_text(VERSION)
    git(folder, "init", "--quiet")
    git(folder, "add", "pyproject.toml")
    git(folder, "commit", "--quiet", "--message", "first")
    return folder


def test_clean_code_is_its_commit(repository):
    commit = git(repository, "rev-parse", "HEAD")
    code = provenance.code_of(repository)
    assert code == {"commit": commit, "changed": []}
    assert provenance.code_in_words(code) == f"commit {commit}"


def test_a_new_file_among_the_code_makes_it_dirty(repository):
    for name in ("recipes/mine.yaml", "data/rows.csv"):
        (repository / name).parent.mkdir()
        (repository / name).touch()
    assert provenance.code_of(repository)["changed"] == ["recipes/mine.yaml"]


def test_a_changed_file_makes_it_dirty_and_a_new_one_elsewhere_does_not(repository):
    (repository / "notes.txt").write_text("mine")
    assert provenance.code_of(repository)["changed"] == []
    (repository / "pyproject.toml").write_text(VERSION + "#\n")
    code = provenance.code_of(repository)
    assert code["changed"] == ["pyproject.toml"]
    assert provenance.code_in_words(code).endswith(", dirty: pyproject.toml")


def test_code_that_is_no_repository_is_its_version(tmp_path):
    (tmp_path / "pyproject.toml").write_text(VERSION)
    code = provenance.code_of(tmp_path)
    assert code == {"version": "1.2.3"}
    assert provenance.code_in_words(code) == "version 1.2.3, not in git"


def test_the_repository_around_it_is_not_the_codes(repository):
    inside = repository / "unpacked"
    inside.mkdir()
    (inside / "pyproject.toml").write_text(VERSION)
    assert provenance.code_of(inside) == {"version": "1.2.3"}


def test_the_files_of_data_are_kept_with_their_sha256(tmp_path):
    large = b"x" * (1 << 20)  # of which the history remembers the digest
    (tmp_path / "a.csv").write_bytes(b"a")
    (tmp_path / "b.csv").write_bytes(large)
    found = recorded(tmp_path, "*.csv")
    assert found == [
        {
            "path": str(tmp_path / name),
            "part": "",
            "size_bytes": len(content),
            "sha256": hashlib.sha256(content).hexdigest(),
        }
        for name, content in (("a.csv", b"a"), ("b.csv", large))
    ]


def test_an_archive_counts_as_one_file(tmp_path):
    path = tmp_path / "all.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("one.csv", "1")
        archive.writestr("two.csv", "2")
    (found,) = recorded(tmp_path, "all.zip")
    assert found["path"] == str(path)
    assert found["size_bytes"] == path.stat().st_size
    assert found["sha256"] == hashlib.sha256(path.read_bytes()).hexdigest()


def test_files_of_other_data_are_not_known(tmp_path):
    assert provenance.data_files(History(tmp_path / "h.db"), "other") is None
    assert provenance.of_run(History(tmp_path / "h.db"), 1) is None


def recorded(folder, pattern):
    """Record a run on the files of a folder; return what is kept of them."""
    history = History(folder / "h.db")
    step = plan.StepPlan(BY_NAME["ingest"], "k", {"data": "d"}, None, ())
    provenance.record(
        history,
        1,
        plans=[step],
        located=Located({"csv": {"path": "x"}}, (Pattern(f"{folder}/{pattern}"),)),
        recipe_path=folder / "r.yaml",
        recipe_overrides=[],
    )
    return provenance.data_files(history, "d")
