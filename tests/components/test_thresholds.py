"""Thresholds by group: equal rates at the least loss of accuracy."""

import numpy as np
import pytest

from components import thresholds

RNG = np.random.default_rng(0)


def of_five(rule):
    """Two groups of 60: twelve times these five, with logits a little apart.

    Group a: logits 4 3 1 -1 -3, labels 1 1 0 1 0.
    Group b: logits 2 -.5 -2 -3 -4, labels 1 1 0 0 0.
    """
    scores = np.array([4, 3, 1, -1, -3] * 12 + [2, -0.5, -2, -3, -4] * 12, np.float32)
    scores += np.repeat(np.arange(24), 5).astype(np.float32) % 12 / 1024
    labels = np.array([1, 1, 0, 1, 0] * 12 + [1, 1, 0, 0, 0] * 12)
    groups = np.repeat([0, 1], 60)
    found = thresholds.fit(scores, labels, groups, rule=rule, num_groups=3)
    record = thresholds.figures(
        scores, labels, groups, rule=rule, thresholds=found, names=["a", "b", "c"]
    )
    return found, record


def test_equal_opportunity_by_hand():
    """Saying yes to all whose label is yes costs 12 mistakes in a, and none in b.

    Leaving out the last third of a's costs as many there, and b 8 of its own.
    """
    found, record = of_five("equal_opportunity")
    assert record["usual"]["rates"] == pytest.approx({"a": 2 / 3, "b": 1 / 2})
    assert record["usual"]["gap"] == pytest.approx(1 / 6)
    assert record["usual"]["accuracy"] == pytest.approx(1 - 36 / 120)
    assert record["fitted"]["rates"] == {"a": 1.0, "b": 1.0}
    assert record["fitted"]["accuracy"] == pytest.approx(1 - 12 / 120)
    a, b = -2 + 11 / 2048, -1.25 + 11 / 2048
    assert found.tolist() == [a, b, 0.0]  # nobody is in the last
    want = {"a": 1 / (1 + np.exp(-a)), "b": 1 / (1 + np.exp(-b))}
    assert record["thresholds"] == pytest.approx(want)


def test_demographic_parity_by_hand():
    """At a rate of 2/5 all of b are right and 12 of a are missed.

    Any other rate makes mistakes in b too.
    """
    _, record = of_five("demographic_parity")
    assert record["fitted"]["rates"] == pytest.approx({"a": 0.4, "b": 0.4})
    assert record["fitted"]["accuracy"] == pytest.approx(1 - 12 / 120)


@pytest.mark.parametrize("rule", ["equal_opportunity", "demographic_parity"])
def test_groups_differ_by_at_most_one_example_of_the_smallest(rule):
    size = 4000
    groups = RNG.choice(4, size, p=[0.6, 0.3, 0.08, 0.02])
    labels = (RNG.uniform(size=size) < 0.2 + 0.1 * groups).astype(int)
    scores = RNG.normal(size=size).astype(np.float32) + 2 * labels - groups
    scores = scores.astype(np.float32)
    arguments = {"rule": rule, "num_groups": 4}
    found = thresholds.fit(scores, labels, groups, **arguments)
    record = thresholds.figures(
        scores, labels, groups, rule=rule, thresholds=found, names=list("abcd")
    )
    counted = labels == 1 if rule == "equal_opportunity" else labels >= 0
    smallest = min(np.sum(counted & (groups == g)) for g in range(4))
    assert record["fitted"]["gap"] <= 1 / smallest + 1e-3
    assert record["usual"]["gap"] > 0.2


def test_no_common_rate_is_better_than_the_one_found():
    """Against every pair of thresholds whose rates are as near."""
    groups = np.repeat([0, 1], 30)
    labels = RNG.integers(0, 2, 60)
    scores = (RNG.normal(-0.5, 1, 60) + labels).astype(np.float32)
    rule = "demographic_parity"
    found = thresholds.fit(scores, labels, groups, rule=rule, num_groups=2)
    got = np.mean((scores > found[groups]) == (labels == 1))
    best = 0.0
    for count in range(31):  # as many of both
        said = np.concatenate(
            [np.argsort(np.argsort(-scores[groups == g])) < count for g in (0, 1)]
        )
        best = max(best, float(np.mean(said == (labels == 1))))
    assert got == best


def test_a_group_of_few_keeps_the_usual_threshold():
    scores, labels = RNG.normal(size=30).astype(np.float32), np.ones(30, int)
    groups = np.array([0] * 19 + [1] * 11)
    found = thresholds.fit(
        scores, labels, groups, rule="equal_opportunity", num_groups=2
    )
    assert found.tolist() == [0.0, 0.0]


# The middle of the last two is, in float32, the upper of them.
NEIGHBOURS = 1 + np.array([1, 2]) * np.finfo(np.float32).eps


@pytest.mark.parametrize(
    ("of", "want"), [([-1.0, 3.0], 1.0), (NEIGHBOURS, NEIGHBOURS[0])]
)
def test_tied_scores_are_answered_alike(of, want):
    """Right are 15 of 40 with yes to nobody, 35 to the upper half, 25 to everybody."""
    scores = np.repeat(of, 20).astype(np.float32)
    labels = np.array([1] * 5 + [0] * 15 + [1] * 20)
    found = thresholds.fit(
        scores, labels, np.zeros(40, int), rule="demographic_parity", num_groups=1
    )
    assert found.tolist() == [want]
    assert (scores > found[0]).tolist() == [False] * 20 + [True] * 20


@pytest.mark.parametrize(("label", "want"), [(0, np.inf), (1, -np.inf)])
def test_nobody_and_everybody_are_beyond_every_logit(label, want):
    scores, labels = np.linspace(-40, 40, 20), np.full(20, label)
    found = thresholds.fit(
        scores.astype(np.float32),
        labels,
        np.zeros(20, int),
        rule="demographic_parity",
        num_groups=1,
    )
    assert found.tolist() == [want]
