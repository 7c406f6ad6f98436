"""Explanations: known answers."""

import json

import numpy as np
import pytest

from components.exams import NotApplicableError, explanations
from tests.components import told_answers
from tests.components.records import example


def judged(folder, *, gap_at_most=None, **outputs):
    outputs = {name: np.array(value) for name, value in outputs.items()}
    np.savez(folder / explanations.OUTPUTS, **outputs)
    (folder / explanations.CLASSES).write_text(json.dumps(["no", "yes"]))
    return explanations.judge(folder, {"examples": 2, "gap_at_most": gap_at_most})


def test_gap_is_relative_to_the_size_of_the_attributions(tmp_path):
    verdict = judged(
        tmp_path,
        classes=[1, 0],
        attributions=[[[3.0], [-1.0]], [[2.0], [2.0]]],  # sizes 4 and 4
        completeness_gap=[0.4, 1.0],
    )
    assert verdict.status == "passed"
    assert verdict.figures["gap"] == pytest.approx(0.25)
    assert verdict.figures["answers"] == ["yes", "no"]
    assert verdict.figures["columns"] == {}


def test_columns_of_a_table_are_told_by_their_mean_size(tmp_path):
    verdict = judged(
        tmp_path,
        gap_at_most=0.1,
        classes=[1, 1],
        attributions_age=[1.0, -3.0],
        attributions_town=[0.5, 0.5],
        completeness_gap=[0.0, 0.7],
    )
    assert verdict.figures["columns"] == {"age": 2.0, "town": 0.5}
    assert verdict.summary.endswith("age speaks loudest")
    line = "explanations miss 0.2000 of what they explain, expected at most 0.1"
    assert verdict.refusals == (line,)


def test_model_without_the_signature_is_not_asked(tmp_path):
    model = told_answers.model(tmp_path / "model")
    case = told_answers.case(tmp_path, [example(answer=0.9, y=1)], model)
    with pytest.raises(NotApplicableError, match="without `export.explain`"):
        explanations.collect(case, {"examples": 2}, tmp_path)
