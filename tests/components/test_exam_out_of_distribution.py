"""Familiar or not: known answers."""

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from components.exams import out_of_distribution as exam
from recipes.examine import OutOfDistribution


def judged(folder, *scores, **bounds):
    """Judge test scores and those of one set from elsewhere and of one corruption."""
    of = np.array(scores, float)
    names = {"elsewhere": np.array(["noise"]), "corrupted": np.array(["fog"])}
    np.savez(
        folder / exam.FILE_NAME, energy=of, probability=1 / (1 + np.exp(-of)), **names
    )
    section = OutOfDistribution(**bounds).model_dump(mode="json")
    return exam.judge(folder, section)


def test_auroc_counts_pairs_and_ties_half():
    # Of 3 x 2 pairs four are in order and one is a tie.
    test, other = np.array([3.0, 2.0, 1.0]), np.array([2.0, 0.0])
    assert exam.auroc(test, other) == pytest.approx(4.5 / 6)


def test_auroc_is_that_of_scikit_learn():
    rng = np.random.default_rng(0)
    test, other = rng.normal(1, 1, 50).round(1), rng.normal(0, 1, 70).round(1)
    labels = np.repeat([1, 0], [50, 70])
    want = roc_auc_score(labels, np.concatenate([test, other]))
    assert exam.auroc(test, other) == pytest.approx(want)


def test_what_examples_add_has_the_mean_auroc_for_its_mean():
    rng = np.random.default_rng(0)
    test, others = rng.normal(1, 1, 40), rng.normal(0, 1, (2, 40))
    want = np.mean([exam.auroc(test, other) for other in others])
    assert exam.placements(test, others).mean() == pytest.approx(want)


def test_the_interval_holds_the_true_auroc_19_times_of_20():
    # Scores of N(1, 1) and N(0, 1): the AUROC is Phi(1 / sqrt 2) = 0.76025.
    rng, held = np.random.default_rng(0), 0
    for _ in range(400):
        parts = exam.placements(rng.normal(1, 1, 60), rng.normal(0, 1, (1, 60)))
        error = parts.std(ddof=1) / np.sqrt(60)
        held += abs(parts.mean() - 0.76025) < 2.001 * error
    assert 0.92 <= held / 400 <= 0.98


def test_who_does_not_notice_is_refused_and_corruptions_do_not_count(tmp_path):
    rng = np.random.default_rng(0)
    test, other, fog = rng.normal(size=(3, 200))
    verdict = judged(tmp_path, test + 9, other, fog + 20, auroc_at_least=0.9)
    assert verdict.status == "passed"
    assert verdict.figures["auroc"] == pytest.approx(1.0)
    assert verdict.figures["sets"]["energy"] == pytest.approx({"noise": 1, "fog": 0})
    blind = judged(tmp_path, test, other, fog, auroc_at_least=0.9)
    assert blind.refusals[0].startswith("AUROC of the energy against inputs from else")


def test_a_bound_that_chance_may_have_missed_is_met(tmp_path):
    rng = np.random.default_rng(0)
    scores = rng.normal(size=(3, 20)) + np.array([[1.0], [0.0], [0.0]])
    verdict = judged(tmp_path, *scores, auroc_at_least=0.8)
    assert verdict.figures["auroc"] < 0.8 < verdict.figures["high"]
    assert verdict.status == "passed"
