"""The list of exams is the recipe's, and each is what its contract says."""

from pathlib import Path

import numpy as np

import components
from components import examine, exams
from recipes.examine import Examine

FOLDER = Path(components.__file__).parent / "exams"
SHARED = {"__init__", "case", "changes", "groups", "paired"}


def test_every_exam_has_a_section_and_a_module():
    modules = {path.stem for path in FOLDER.glob("*.py")} - SHARED
    assert modules == set(Examine.model_fields) - {"examples"}


def test_null_leaves_an_exam_out():
    section = Examine(calibration=None).model_dump(mode="json")
    assert "calibration" not in exams.names(section)
    assert "against_live" in exams.names(section)


def test_answers_that_are_no_numbers_can_be_judged_by_nobody():
    texts = np.array([b"a"], object)
    assert examine.are_numbers({"p": np.ones(2, np.float32), "text": texts})
    assert not examine.are_numbers({"p": np.array([1.0, np.nan], np.float32)})
    assert not examine.are_numbers({"p": np.array([np.inf])})
