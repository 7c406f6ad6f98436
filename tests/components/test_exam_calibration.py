"""Calibration: known answers."""

import numpy as np
import pytest

from components.exams import calibration


def judged(folder, confidence, right, **section):
    np.savez(
        folder / calibration.FILE_NAME,
        confidence=np.array(confidence),
        right=np.array(right, bool),
    )
    return calibration.judge(folder, {"error_at_most": None, "bins": 2} | section)


def test_error_of_two_bins_by_hand(tmp_path):
    # Unsure: 0.5 and 0.7 with one of two right: gap 0.1. Sure: 0.9, 1.0, both: 0.05.
    verdict = judged(tmp_path, [1.0, 0.5, 0.9, 0.7], [1, 1, 1, 0])
    assert verdict.figures["error"] == pytest.approx(0.075)
    assert [one["count"] for one in verdict.figures["bins"]] == [2, 2]
    assert verdict.status == "passed"


def test_whoever_is_surer_than_right_is_refused(tmp_path):
    verdict = judged(tmp_path, [0.99] * 4, [1, 1, 0, 0], error_at_most=0.1)
    (line,) = verdict.refusals
    assert line.startswith("calibration error is 0.4900, expected at most 0.1 (chance")


def test_chance_refuses_nobody_who_knows_how_sure_it_is(tmp_path):
    # Of 180 answers, the error of a perfect model is 0.065 on average.
    rng = np.random.default_rng(0)
    refused = 0
    for _ in range(20):
        sure = rng.uniform(0.5, 1, 180)
        right = rng.random(180) < sure
        verdict = judged(tmp_path, sure, right, error_at_most=0.05, bins=15)
        refused += verdict.status == "refused"
    assert refused <= 3


def test_the_surest_answers_are_kept():
    confidence, right = np.array([0.6, 0.9, 0.8, 0.7]), np.array([0, 1, 1, 0])
    assert calibration.accuracy_at(confidence, right, 0.5) == 1.0
    assert calibration.accuracy_at(confidence, right, 1.0) == 0.5
