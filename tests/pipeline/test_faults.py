"""Faults by name, and what is put back to mend them."""

from dataclasses import replace

import pytest

from components import diagnosis
from pipeline import faults, retest
from pipeline.history import RunRecord
from pipeline.pictures import beside, draw
from pipeline.workspace import Workspace
from recipes import load
from recipes.errors import BadInputError
from tests.pipeline.archive import Archive


def test_a_fault_is_named_as_the_cause_that_is_to_be_found():
    assert set(faults.FAULTS) == set(diagnosis.CAUSES)


def test_an_unknown_fault_is_told_what_there_is():
    with pytest.raises(BadInputError, match="labels, shift, .* Received: 'poison'"):
        faults.check("poison")


@pytest.mark.parametrize("overrides", faults._OVERRIDES.values())
def test_overrides_that_break_a_recipe_are_valid(overrides):
    for name in ("digits", "adult_mlp"):
        assert load.load(load.find(name), overrides).name == name


def test_what_is_put_back_is_told_as_an_override():
    old, new = {"epochs": 3, "max_steps": 20}, {"epochs": 3, "max_steps": None}
    assert retest._difference("train", old, new) == "train.max_steps=null"


def run_of(train):
    return RunRecord(1, "digits", {"train": train}, 0.0, None, "refused")


def test_the_data_are_put_back_where_the_section_did_not_change():
    few, many = run_of({"max_steps": 20}), run_of({"max_steps": None})
    assert retest._section("undertraining", few, many) == "train"
    assert retest._section("undertraining", few, few) == "data"
    assert retest._section("labels", few, many) == "data"
    assert retest._section("serving", few, few) == ""


def test_the_changed_recipe_has_what_the_run_had(tmp_path):
    archive = Archive(tmp_path)
    archive.run()
    pushed = archive.base_path.rename(tmp_path / "elsewhere")
    run = replace(archive.history.run(1), recipe={"push": {"base_path": "elsewhere"}})
    kept = archive.workspace.exam_sets("digits") / "span.gz"
    schema = tmp_path / "schemas" / "digits.pbtxt"
    for path in (kept, schema):
        path.parent.mkdir(parents=True)
        path.write_text(path.name)
    recipe = tmp_path / "runs/1/retest/digits.yaml"
    recipe.parent.mkdir(parents=True)
    retest._furnish(archive.history, run, archive.workspace, recipe)
    scratch = Workspace(recipe.parent)
    assert (recipe.parent / "schemas" / "digits.pbtxt").read_text() == "digits.pbtxt"
    assert (scratch.exam_sets("digits") / "span.gz").read_text() == "span.gz"
    assert (scratch.models("digits") / "1").resolve() == pushed / "1"


def test_a_picture_has_two_letters_a_pixel_from_dark_to_bright():
    assert draw([[0, 255], [127.5, 30]]) == ["  @@", "==.."]


def test_pictures_stand_side_by_side():
    assert beside([["a", "bb"], ["c", "d"]]) == ["a   c", "bb  d"]
    assert beside([["a"], ["c", "d"]]) == ["a  c", "   d"]
