"""Which model a training starts from, found in the workspace or refused."""

import pytest

from pipeline import origins
from pipeline.history import History, StepRecord
from pipeline.workspace import Workspace
from recipes import load
from recipes.errors import BadInputError


@pytest.fixture
def find(tmp_path):
    """Return the origins of digits with overrides, in a workspace of `tmp_path`."""

    def found(*overrides):
        recipe = load.load(load.find("digits"), overrides)
        return origins.find(recipe, History(tmp_path / "h.db"), Workspace(tmp_path))

    return found


def test_a_recipe_that_starts_anew_has_none(find):
    assert find() == {}


def test_the_live_version_is_the_newest_and_a_number_names_one(find, tmp_path):
    for version in (3, 12):
        (tmp_path / f"models/old/{version}").mkdir(parents=True)
    live = find("train.start_from.version=old")
    assert live == {"start_from_dir": str(tmp_path / "models/old/12")}
    third = find("train.distill.teacher=old/3")
    assert third == {"teacher_dir": str(tmp_path / "models/old/3")}


def test_a_run_is_the_last_training_of_a_recipe(find, tmp_path):
    model = tmp_path / "model"
    (model / "Format-Serving").mkdir(parents=True)
    record = StepRecord(
        run_id=1,
        step="train",
        key="k",
        parts={},
        execution_id=None,
        outputs={"model": str(model)},
        figures={},
        seconds=1.0,
        error=None,
    )
    History(tmp_path / "h.db").add_step("other", record)
    found = find("train.start_from.run=other")
    assert found == {"start_from_dir": str(model / "Format-Serving")}


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("train.start_from.run=other", "First: ./strata run other"),
        ("train.start_from.version=nowhere", "Received: 'nowhere'"),
        ("train.start_from.version=digits", "would start from itself"),
        ("train.start_from.version=old/9", "'old' has the versions 3"),
    ],
)
def test_what_is_not_there_is_refused(find, tmp_path, override, message):
    (tmp_path / "models/old/3").mkdir(parents=True)
    with pytest.raises(BadInputError, match=message):
        find(override)
