import os
from pathlib import Path

import pytest

from pipeline.workspace import Workspace, open_workspace
from recipes.errors import BadInputError


def test_strata_home_says_where_state_lives(tmp_path, monkeypatch):
    monkeypatch.setenv("STRATA_HOME", str(tmp_path / "a" / "b"))
    assert open_workspace().root == tmp_path / "a" / "b"
    assert (tmp_path / "a" / "b").is_dir()


def test_without_it_the_current_folder_holds_a_workspace(tmp_path, monkeypatch):
    monkeypatch.delenv("STRATA_HOME", raising=False)
    monkeypatch.chdir(tmp_path)
    assert open_workspace().root == tmp_path / "workspace"


def test_a_relative_home_stays_where_it_was_opened(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("STRATA_HOME", "state")
    assert open_workspace().root == tmp_path / "state"


def test_a_file_in_its_place_is_refused_with_advice(tmp_path, monkeypatch):
    (tmp_path / "taken").write_text("")
    monkeypatch.setenv("STRATA_HOME", str(tmp_path / "taken"))
    with pytest.raises(BadInputError, match="Cannot keep state in .*Set STRATA_HOME"):
        open_workspace()


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_that_cannot_be_written_is_refused(tmp_path, monkeypatch):
    tmp_path.chmod(0o500)
    monkeypatch.setenv("STRATA_HOME", str(tmp_path))
    with pytest.raises(BadInputError, match="no permission to write"):
        open_workspace()


def test_pipelines_share_metadata_but_no_folder():
    workspace = Workspace(Path("/w"))
    for folder in (workspace.artifacts, workspace.models, workspace.lock):
        assert folder("digits") != folder("taxi")
    assert workspace.baseline("digits", 1) != workspace.baseline("digits", 2)
    key = "0123456789abcdef0123"
    assert workspace.checkpoints("d", key) != workspace.checkpoints("d", key[::-1])
