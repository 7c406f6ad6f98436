"""Robustness: known answers."""

import numpy as np
import pytest

from components.exams import robustness
from recipes.examine import Robustness

NAMES = np.array(["fog", "rain"])


def judged(folder, clean, wrong, live=None, **bounds):
    stored = {"names": NAMES, "candidate_clean": clean, "candidate": wrong}
    if live is not None:
        stored |= {"live_clean": clean, "live": live}
    np.savez(folder / robustness.WRONG, **stored)
    return robustness.judge(folder, Robustness(**bounds).model_dump(mode="json"))


def table(count, *, fog=0.0, rain=0.0):
    """Return which answers are wrong: a share under each, at all strengths alike."""
    shares = np.array([fog, rain])[:, None, None]
    places = np.arange(count) / count
    return np.broadcast_to(places < shares, (2, 5, count))


def test_means_are_those_of_all_corruptions_and_strengths(tmp_path):
    clean = np.zeros(100, bool)
    clean[:10] = True
    verdict = judged(tmp_path, clean, table(100, fog=0.5, rain=0.3))
    figures = verdict.figures
    assert figures["clean"] == pytest.approx(0.9)
    assert figures["accuracy"] == pytest.approx(0.6)
    assert figures["drop"]["mean"] == pytest.approx(0.3)
    assert figures["worst"]["corruption"] == "fog"
    assert figures["corruptions"]["rain"] == pytest.approx([0.7] * 5)
    assert verdict.status == "passed"


@pytest.mark.parametrize(("bound", "status"), [(0.3, "refused"), (0.32, "passed")])
def test_a_drop_is_refused_only_if_its_interval_is_beyond(tmp_path, bound, status):
    # Of 100 examples 30 are wrong under both, 20 under fog alone: a mean of 0.4 with a
    # deviation of 0.43809 (R, sd). Student's interval (t = 1.98422) is 0.31307 to
    # 0.48693.
    wrong = table(100, fog=0.5, rain=0.3)
    verdict = judged(tmp_path, np.zeros(100, bool), wrong, drop_at_most=bound)
    assert verdict.figures["drop"]["low"] == pytest.approx(0.31307, abs=2e-5)
    assert verdict.status == status


def test_the_worst_corruption_is_held_against_its_bound(tmp_path):
    wrong = table(400, fog=0.5, rain=0.1)
    verdict = judged(tmp_path, np.zeros(400, bool), wrong, worst_at_least=0.6)
    (line,) = verdict.refusals
    # Half of 400, at 97.5 %: 2.2502 (t, 399) times 0.50063 / 20 to either side.
    assert line == (
        "accuracy under fog is 0.5000 (0.4437 to 0.5563), expected at least 0.6"
    )


def test_worse_than_the_live_model_is_refused_and_chance_is_not(tmp_path):
    clean, wrong = np.zeros(400, bool), table(400, fog=0.2, rain=0.2)
    verdict = judged(tmp_path, clean, wrong, live=table(400), worse_at_most=0.1)
    assert verdict.refusals[0].startswith(
        "accuracy on spoiled inputs is 0.2000 below the live model's (0.1"
    )
    close = table(400, fog=0.195, rain=0.2)
    assert not judged(tmp_path, clean, wrong, live=close, worse_at_most=0.0).refusals


def test_the_weakest_corruption_that_turns_an_example_is_found():
    clean = np.array([False, True, False, False])
    wrong = np.zeros((2, 5, 4), bool)
    wrong[0, 3:, 0] = True  # the first turns at 4 under the first corruption
    wrong[1, 1:, 0] = True  # and at 2 under the second
    wrong[:, :, 1] = True  # was wrong already
    wrong[0, 0, 3] = True
    assert robustness.flips(clean, wrong) == [(3, 0, 0), (0, 1, 1)]
