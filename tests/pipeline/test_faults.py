"""Faults by name, and what is put back to mend them."""

import pytest

from components import diagnosis
from pipeline import faults, retest
from pipeline.pictures import beside, draw
from recipes import load
from recipes.errors import BadInputError


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


def test_a_picture_has_two_letters_a_pixel_from_dark_to_bright():
    assert draw([[0, 255], [127.5, 30]]) == ["  @@", "==.."]


def test_pictures_stand_side_by_side():
    assert beside([["a", "bb"], ["c", "d"]]) == ["a   c", "bb  d"]
