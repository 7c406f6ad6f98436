"""The list of exams is the recipe's, and each is what its contract says."""

from pathlib import Path

import components
from components import exams
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


def test_every_exam_can_collect_and_judge():
    for name in set(Examine.model_fields) - {"examples"}:
        exam = exams.load(name)
        assert callable(exam.collect), name
        assert callable(exam.judge), name
