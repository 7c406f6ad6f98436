"""The race against simple models: who is better is said, and refused where it must."""

import numpy as np
import pytest

from components.exams import simple_model

SECTION = {"must_win": False, "confidence": 0.95}


def judged(folder, section=SECTION, **errors):
    found = {name: np.arange(100) < count for name, count in errors.items()}
    np.savez(folder / simple_model.FILE_NAME, **found, overlap=1.0)
    return simple_model.judge(folder, section)


@pytest.mark.parametrize(
    ("ours", "said"),
    [
        (0, "better than the tree (wrong answers -0.1000"),
        (12, "no better than the tree (wrong answers +0.0200"),
        (30, "use the tree: it is better (wrong answers +0.2000"),
    ],
)
def test_the_best_simple_model_is_compared_with(tmp_path, ours, said):
    verdict = judged(tmp_path, candidate=ours, tree=10, majority=50)
    assert verdict.summary.startswith(said)
    assert verdict.status == "passed"
    assert verdict.figures["best"] == "tree"


def test_a_deep_model_that_loses_may_be_refused(tmp_path):
    must = SECTION | {"must_win": True}
    assert judged(tmp_path, must, candidate=30, tree=10).status == "refused"
    assert judged(tmp_path, must, candidate=12, tree=10).status == "passed"
