"""Against the live model: what is chance, and what is not."""

import numpy as np
import pytest

from components.exams import against_live, paired

SECTION = {"worse_at_most": 0.0, "confidence": 0.95}


def wrong(count, *places):
    found = np.zeros(count, bool)
    found[list(places)] = True
    return found


def judged(folder, candidate, live, **section):
    np.savez(
        folder / against_live.FILE_NAME, candidate=candidate, live=live, overlap=1.0
    )
    return against_live.judge(folder, SECTION | section)


def test_one_of_three_apart_is_chance_as_mcnemars_exact_test_says():
    # Apart are three: two are wrong by `one` alone. Clopper-Pearson of 2 of 3 at 95 %
    # is 0.0943 to 0.9916 (R, binom.test(2, 3)), so 3/10 times -0.8114 to +0.9832.
    # Bonett and Price: 3/12 - 2/12 +- 1.96 sqrt((5/12 - 1/144) / 12), which is wider.
    found = paired.difference(wrong(10, 0, 1), wrong(10, 2), confidence=0.95)
    assert found.mean == pytest.approx(0.1)
    assert (found.low, found.high) == pytest.approx((-0.27881, 0.44548), abs=1e-4)
    assert found.is_chance


def test_five_to_none_is_chance_and_six_to_none_is_not():
    # McNemar's exact p is 2 / 2^5 = 0.0625 and 2 / 2^6 = 0.03125.
    none = wrong(100)
    assert paired.difference(wrong(100, *range(5)), none, confidence=0.95).is_chance
    assert not paired.difference(wrong(100, *range(6)), none, confidence=0.95).is_chance


def test_losses_are_compared_by_students_interval():
    # Differences 1, 2, 3: mean 2, standard error 1/sqrt(3), t(0.975, 2) = 4.3027.
    found = paired.difference(np.array([1.0, 2.0, 3.0]), np.zeros(3), confidence=0.95)
    width = 4.302653 / np.sqrt(3)
    assert (found.low, found.high) == pytest.approx((2 - width, 2 + width), abs=1e-5)


def test_windows_that_share_what_is_predicted_count_as_one():
    # The same three differences, each four times: as above but for the deviation.
    losses = np.repeat([1.0, 2.0, 3.0], 4)
    found = paired.difference(losses, np.zeros(12), confidence=0.95, overlap=4)
    width = 4.302653 * losses.std(ddof=1) / np.sqrt(3)
    assert (found.low, found.high) == pytest.approx((2 - width, 2 + width), abs=1e-5)


def test_an_allowance_is_exceeded_by_chance_in_one_case_of_forty():
    # The candidate alone is wrong in 2 % of the cases, which is what is allowed.
    rng = np.random.default_rng(0)
    refused = sum(
        paired.difference(
            rng.random(2000) < 0.02, np.zeros(2000, bool), confidence=0.95
        ).low
        > 0.02
        for _ in range(400)
    )
    assert refused <= 16


def test_equal_models_do_not_differ(tmp_path):
    verdict = judged(tmp_path, wrong(50, 3), wrong(50, 3))
    assert (verdict.status, verdict.refusals) == ("passed", ())
    assert verdict.summary.startswith("no difference")


def test_a_candidate_that_is_surely_worse_is_refused(tmp_path):
    verdict = judged(tmp_path, wrong(100, *range(10)), wrong(100))
    assert verdict.status == "refused"
    (line,) = verdict.refusals
    assert line.startswith("wrong answers: +0.1000 against the live model (+0.03")


def test_what_is_allowed_is_not_refused(tmp_path):
    verdict = judged(tmp_path, wrong(100, *range(10)), wrong(100), worse_at_most=0.05)
    assert (verdict.status, verdict.figures["verdict"]) == ("passed", "worse")


def test_twins_differ_in_fewer_than_one_case_of_twenty():
    # Two models that are wrong by the same coin: at 95 % at most 5 % may seem apart.
    rng = np.random.default_rng(0)
    apart = sum(
        not paired.difference(
            rng.random(200) < 0.1, rng.random(200) < 0.1, confidence=0.95
        ).is_chance
        for _ in range(400)
    )
    assert apart <= 20
