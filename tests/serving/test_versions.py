import pytest

from serving.errors import ServingError
from serving.versions import ModelVersions


class Loaded:
    """Stands for a SavedModel: what matters here is when it is closed."""

    def __init__(self, path):
        self.content = (path / "saved_model.pb").read_text()
        if self.content == "damaged":
            raise IndexError("list index out of range")
        self.closed = False

    def close(self):
        self.closed = True


def write(base_path, name, content="good"):
    (base_path / name).mkdir(exist_ok=True)
    (base_path / name / "saved_model.pb").write_text(content)


@pytest.fixture
def versions(tmp_path):
    write(tmp_path, "1")
    versions = ModelVersions("m", tmp_path, Loaded)
    versions.poll(wait_until_stable=False)
    return versions


def poll_twice(versions):
    versions.poll()
    versions.poll()


def states(versions):
    return {status.version: status.state for status in versions.statuses()}


def test_old_version_stays_open_until_its_last_request_ends(versions, tmp_path):
    write(tmp_path, "2")
    with versions.use() as first:
        poll_twice(versions)
        assert not first.model.closed
        assert states(versions) == {2: "AVAILABLE", 1: "UNLOADING"}
        with versions.use() as second:
            assert second.number == 2
    assert first.model.closed
    assert states(versions) == {2: "AVAILABLE", 1: "END"}


def test_a_version_is_left_alone_while_its_files_change(versions, tmp_path):
    for size in range(3):
        write(tmp_path, "2", "x" * size)
        versions.poll()
        assert versions.available() == [1]
    versions.poll()
    assert versions.available() == [2]


def test_damaged_version_keeps_the_old_one_and_heals(versions, tmp_path):
    write(tmp_path, "2", "damaged")
    poll_twice(versions)
    assert versions.available() == [1]
    assert versions.failures()[0].error_message == "list index out of range"
    write(tmp_path, "2", "repaired")
    poll_twice(versions)
    assert versions.available() == [2]
    assert versions.failures() == []


def test_only_directories_named_by_an_integer_count(versions, tmp_path):
    for name in (".tmp-3", "4.tmp", "-5", "six", str(2**63)):
        write(tmp_path, name)
    (tmp_path / "9").write_text("a file")
    poll_twice(versions)
    assert versions.available() == [1]
    write(tmp_path, "007")
    poll_twice(versions)
    assert versions.available() == [7]


def test_deleting_the_newest_goes_back_and_the_last_unloads(versions, tmp_path):
    write(tmp_path, "2")
    poll_twice(versions)
    (tmp_path / "2").rename(tmp_path / "gone")
    poll_twice(versions)
    assert versions.available() == [1]
    (tmp_path / "1").rename(tmp_path / "gone too")
    versions.poll()
    with pytest.raises(ServingError, match=r"Latest\(m\)"), versions.use():
        pass


def test_a_base_path_that_goes_away_changes_nothing(versions, tmp_path):
    tmp_path.rename(tmp_path.with_name("elsewhere"))
    versions.poll()
    assert versions.available() == [1]
