"""The search for the worst slice: it finds the planted one, and no other."""

import json

import numpy as np
import pytest
from scipy import stats

from components.exams import slices
from components.exams.groups import Groups
from tests.components import told_answers
from tests.components.records import example
from tests.components.sections import section as transform_section

SECTION = {"worst_at_least": None, "min_examples": 30, "confidence": 0.95}
RANDOM = np.random.default_rng(0)
COUNT = 4000


def column(name, num_values, seed):
    ids = np.random.default_rng(seed).integers(0, num_values, COUNT).astype(np.int32)
    return Groups(tuple(f"{name}={value}" for value in range(num_values)), ids)


COLUMNS = [column("town", 5, 1), column("day", 7, 2), column("hour", 12, 3)]
PLANTED = (COLUMNS[0].ids == 2) & (COLUMNS[1].ids == 6)


def errors(seed, *, planted):
    random = np.random.default_rng(seed).random(COUNT)
    return random < np.where(PLANTED & planted, 0.6, 0.1)


def judged(folder, columns, wrong, **changes):
    arrays = {"wrong": wrong, "labels": np.zeros(len(wrong), int)}
    np.savez(folder / slices.ANSWERS, **arrays, ids=np.stack([c.ids for c in columns]))
    record = {"classes": ["no", "yes"], "columns": [c.names for c in columns]}
    (folder / slices.COLUMNS).write_text(json.dumps(record))
    return slices.judge(folder, SECTION | changes)


def test_the_planted_pair_is_found_and_refused(tmp_path):
    wrong = errors(0, planted=True)
    verdict = judged(tmp_path, COLUMNS, wrong, worst_at_least=0.8)
    worst = verdict.figures["slices"][0]
    assert worst["name"] == "town=2, day=6"
    assert (worst["count"], worst["wrong"]) == (PLANTED.sum(), wrong[PLANTED].sum())
    assert worst["low"] < 0.4 < worst["high"]
    (line,) = verdict.refusals
    assert line.startswith("accuracy on town=2, day=6: 0.")
    assert line.endswith("examples), expected at least 0.8")


def test_without_a_planted_slice_none_is_worse_than_the_rest_in_19_of_20_cases():
    found = [
        min(
            s.p_value
            for s in slices.search(COLUMNS, errors(seed, planted=False), 30, 0.95)
        )
        for seed in range(20)
    ]
    assert sum(p_value < 0.05 for p_value in found) <= 1


def test_slices_that_chance_makes_bad_are_refused_in_at_most_one_of_20_cases(tmp_path):
    # Everywhere 0.9 of the answers are right, which is what is asked for.
    verdicts = [
        judged(tmp_path, COLUMNS, errors(seed, planted=False), worst_at_least=0.9)
        for seed in range(20)
    ]
    assert sum(verdict.status == "refused" for verdict in verdicts) <= 1


def test_p_values_are_fishers_times_the_slices_looked_at():
    ids = np.repeat([0, 1], [40, 60])
    wrong = np.isin(np.arange(100), [*range(12), *range(40, 46)])
    both = slices.search([Groups(("x=a", "x=b"), ids)], wrong, 30, 0.95)
    table = [[12, 28], [6, 54]]
    want = 2 * stats.fisher_exact(table, alternative="greater").pvalue
    assert both[0].name == "x=a"
    assert both[0].p_value == pytest.approx(want)
    assert both[1].p_value == 1


def test_intervals_are_those_of_clopper_and_pearson():
    hits, counts = np.array([8, 0, 5]), np.array([10, 5, 5])
    low, high = slices.intervals(hits, counts, confidence=0.9)
    for place in range(3):
        found = stats.binomtest(hits[place], counts[place])
        want = found.proportion_ci(0.9, "exact")
        assert (low[place], high[place]) == pytest.approx((want.low, want.high))


def test_a_pair_that_is_one_of_its_columns_is_not_looked_at_again():
    same = Groups(("code=0", "code=1"), (COLUMNS[0].ids > 2).astype(np.int32))
    both = Groups(("flag=0", "flag=1"), same.ids)
    found = slices.search([same, both], errors(0, planted=False), 30, 0.95)
    assert sorted(each.name for each in found) == [
        "code=0",
        "code=1",
        "flag=0",
        "flag=1",
    ]


def test_slices_of_too_few_examples_are_not_looked_at(tmp_path):
    wrong = errors(0, planted=True)
    verdict = judged(tmp_path, COLUMNS, wrong, min_examples=COUNT, worst_at_least=1.0)
    assert (verdict.status, verdict.figures["num_slices"]) == ("passed", 0)


@pytest.fixture(scope="module")
def candidate(tmp_path_factory):
    return told_answers.model(tmp_path_factory.mktemp("told") / "model")


def test_columns_are_cut_by_value_by_quartile_or_not_at_all(candidate, tmp_path):
    rows = [
        example(
            answer=float(i % 2),
            y=0,
            age=i,
            town=None if i % 3 else "b",
            name=f"person {i}",
            weekday=i % 2,
        )
        for i in range(400)
    ]
    slices.collect(
        told_answers.case(tmp_path / "data", rows, candidate), SECTION, tmp_path
    )
    record = json.loads((tmp_path / slices.COLUMNS).read_text())
    assert record["columns"] == [
        ["age 0 to 99", "age 100 to 199", "age 200 to 299", "age 300 to 399"],
        ["answer=0.0", "answer=1.0"],
        ["town=b", "town=(missing)"],
        ["weekday=0", "weekday=1"],
    ]
    verdict = slices.judge(tmp_path, SECTION)
    # Wrong is who has the answer 1, which is each odd weekday.
    assert verdict.figures["slices"][0]["accuracy"] == 0
    assert verdict.figures["classes"] == {"0": {"count": 400, "accuracy": 0.5}}


def test_missing_numbers_are_a_slice_of_their_own(candidate, tmp_path):
    rows = [
        example(answer=0.1, y=0, age=None if i < 40 else max(i, 80)) for i in range(120)
    ]
    slices.collect(
        told_answers.case(tmp_path / "data", rows, candidate), SECTION, tmp_path
    )
    record = json.loads((tmp_path / slices.COLUMNS).read_text())
    assert record["columns"][0] == [
        "age=80",
        "age 81 to 99",
        "age 100 to 119",
        "age=(missing)",
    ]


def test_whole_numbers_that_no_float_holds_are_cut(candidate, tmp_path):
    first = 2**53
    rows = [example(answer=0.1, y=0, id=first + 1000 * i) for i in range(120)]
    slices.collect(
        told_answers.case(tmp_path / "data", rows, candidate), SECTION, tmp_path
    )
    record = json.loads((tmp_path / slices.COLUMNS).read_text())
    assert record["columns"][1] == [
        f"id {first + 1000 * low} to {first + 1000 * (low + 29)}"
        for low in (0, 30, 60, 90)
    ]


def test_without_columns_the_classes_are_slices(tmp_path):
    candidate = told_answers.model(tmp_path / "model", num_classes=3)
    transform = transform_section(
        label={"feature": "y", "classes": [0, 1, 2]},
        image={"feature": "answer", "shape": [2, 3, 1]},
    )
    rows = [example(answer=f"{min(i % 3, 1)} is said", y=i % 3) for i in range(300)]
    case = told_answers.case(tmp_path / "data", rows, candidate, transform=transform)
    slices.collect(case, SECTION, tmp_path)
    verdict = slices.judge(tmp_path, SECTION | {"worst_at_least": 0.5})
    worst = verdict.figures["slices"][0]
    assert (worst["name"], worst["count"], worst["accuracy"]) == ("y=2", 100, 0)
    assert verdict.status == "refused"
