"""Fairness: rates and gaps by hand, who is too few, what is refused."""

import json

import numpy as np
import pyarrow as pa
import pytest
from pydantic import ValidationError

from components.exams import NotApplicableError, fairness, groups
from components.exams.groups import Groups
from recipes.errors import BadInputError
from recipes.examine import Fairness
from tests.components import told_answers
from tests.components.records import example
from tests.components.sections import section as transform_section

# Women: yes to 1 of 4, to 1 of 2 with the label, to 0 of 2 without, 3 of 4 right.
# Men: yes to 3 of 4, to 2 of 2 with the label, to 1 of 2 without, 3 of 4 right.
SAID = [1, 0, 0, 0, 1, 1, 1, 0]
LABELS = [1, 1, 0, 0, 1, 1, 0, 0]
SEXES = [0, 0, 0, 0, 1, 1, 1, 1]
WOMEN = {"count": 4, "selection": 0.25, "tpr": 0.5, "fpr": 0.0}
WOMEN |= {"precision": 1.0, "accuracy": 0.75}
MEN = {"count": 4, "selection": 0.75, "tpr": 1.0, "fpr": 0.5}
MEN |= {"precision": 2 / 3, "accuracy": 0.75}


def section(**changes):
    keys = {"columns": ["sex"], "min_examples": 2, **changes}
    return Fairness.model_validate_json(json.dumps(keys)).model_dump(mode="json")


def write(folder, said, labels, ids, names, *, yes_or_no=True):
    arrays = {"said": np.array(said), "labels": np.array(labels)}
    np.savez(folder / fairness.ANSWERS, **arrays, ids=np.array([ids]))
    record = {"yes_or_no": yes_or_no, "by": ["sex"], "groups": [names]}
    (folder / fairness.GROUPS).write_text(json.dumps(record))


def judged(folder, **bounds):
    write(folder, SAID, LABELS, SEXES, ["woman", "man"])
    return fairness.judge(folder, section(**bounds))


def test_rates_and_gaps_are_those_counted_by_hand(tmp_path):
    verdict = judged(tmp_path)
    found = verdict.figures["by"]["sex"]
    assert found["groups"] == {"woman": WOMEN, "man": MEN}
    gaps = {name: gap["gap"] for name, gap in found["gaps"].items()}
    assert gaps == {"selection": 0.5, "tpr": 0.5, "fpr": 0.5, "accuracy": 0.0}
    tpr = found["gaps"]["tpr"]
    assert (tpr["highest"], tpr["lowest"], tpr["too_few"]) == ("man", "woman", {})
    assert (verdict.status, verdict.figures["accuracy"]) == ("passed", 0.75)
    assert verdict.summary == (
        "gaps by sex: selection 0.500, TPR 0.500, FPR 0.500, accuracy 0.000"
    )


def test_a_gap_above_its_bound_is_refused_though_it_may_be_chance(tmp_path):
    verdict = judged(tmp_path, tpr_gap_at_most=0.4, selection_gap_at_most=0.5)
    assert verdict.status == "refused"
    (line,) = verdict.refusals
    assert line.startswith("TPR gap by sex is 0.5000 (0.0000 to ")
    assert line.endswith("highest man, lowest woman), expected at most 0.4")


def test_groups_too_small_for_a_rate_are_named(tmp_path):
    verdict = judged(tmp_path, min_examples=3)
    gaps = verdict.figures["by"]["sex"]["gaps"]
    assert gaps["tpr"] == {"too_few": {"woman": 2, "man": 2}}
    assert gaps["selection"]["gap"] == 0.5
    assert verdict.summary.endswith(
        "TPR unknown, FPR unknown, accuracy 0.000; too few: woman / man"
    )


def test_a_bound_on_a_gap_that_nobody_can_measure_is_missed(tmp_path):
    verdict = judged(tmp_path, min_examples=3, fpr_gap_at_most=0.9)
    assert verdict.refusals == (
        "FPR gap by sex: fewer than two groups with 3 examples that count, expected at "
        "most 0.9",
    )


def test_a_group_without_a_yes_has_no_rate_of_it(tmp_path):
    write(tmp_path, [1, 0, 0], [1, 0, 0], [0, 1, 1], ["a", "b"])
    found = fairness.judge(tmp_path, section(min_examples=1)).figures["by"]["sex"]
    assert (found["groups"]["b"]["tpr"], found["groups"]["b"]["precision"]) == (
        None,
    ) * 2
    assert found["gaps"]["tpr"] == {"too_few": {"b": 0}}


def test_of_many_classes_accuracy_alone_is_compared(tmp_path):
    write(tmp_path, [2, 1, 0], [2, 1, 1], [0, 1, 1], ["a", "b"], yes_or_no=False)
    verdict = fairness.judge(tmp_path, section(min_examples=1))
    found = verdict.figures["by"]["sex"]
    assert found["groups"]["b"] == {"count": 2, "accuracy": 0.5}
    assert [*found["gaps"]] == ["accuracy"]


def test_the_interval_of_two_large_groups_is_that_of_the_normal_law():
    # 0.25 less 0.08, of 10,000 and 5,000: standard error 0.005786, times 1.96 0.01134.
    found = fairness.interval(np.array([2500, 400]), np.array([10_000, 5_000]), 0.95)
    assert found == pytest.approx((0.17 - 0.01134, 0.17 + 0.01134), abs=0.001)


def test_groups_that_are_alike_seem_apart_in_about_one_case_of_twenty():
    random, counts = np.random.default_rng(0), np.array([200, 300])
    lows = [
        fairness.interval(random.binomial(counts, 0.3), counts, 0.95)[0]
        for _ in range(100)
    ]
    assert np.count_nonzero(lows) <= 10


@pytest.fixture(scope="module")
def candidate(tmp_path_factory):
    return told_answers.model(tmp_path_factory.mktemp("told") / "model")


def rows(*, copies=1, **columns):
    return [
        example(answer=float(said), y=label, **{n: c[i] for n, c in columns.items()})
        for i, (said, label) in enumerate(zip(SAID, LABELS, strict=True))
        for _ in range(copies)
    ]


def test_the_evidence_of_raw_columns_crossed_gives_the_verdict(candidate, tmp_path):
    towns = ["b", "a", "b", None, "b", "a", "", "b"]
    case = told_answers.case(
        tmp_path / "data", rows(town=towns, sex=[7, 7, 7, 7, 9, 9, 9, 9]), candidate
    )
    asked = section(columns=["sex", ["sex", "town"]], min_examples=1)
    fairness.collect(case, asked, tmp_path)
    by = fairness.judge(tmp_path, asked).figures["by"]
    assert by["sex"]["groups"] == {"7": WOMEN, "9": MEN}
    counts = {name: group["count"] for name, group in by["sex, town"]["groups"].items()}
    assert counts == {
        **{"7, a": 1, "7, b": 2, "7, (missing)": 1},
        **{"9, a": 1, "9, b": 2, "9, (missing)": 1},
    }


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        (["race"], "no example of `test` has one value in 'race'. Expected some of a"),
        (["age"], "'age' has 24 values, expected at most 20 numbers"),
    ],
)
def test_columns_that_are_no_groups_are_refused(candidate, tmp_path, columns, message):
    many = [example(answer=0.1, y=0, age=age, sex="f") for age in range(24)]
    case = told_answers.case(tmp_path / "data", many, candidate)
    with pytest.raises(BadInputError, match=message):
        fairness.collect(case, section(columns=columns), tmp_path)


def test_groups_that_are_called_alike_are_told_apart():
    texts = [b"\xff", b"\\xff", b"(missing)", None, b"\xff"]
    found = groups.by_value(pa.array(texts))
    names = ("(missing)", "\\xff", "\\xff (2)", "(missing) (2)")
    assert found.names == names
    assert found.ids.tolist() == [2, 1, 0, 3, 2]
    one = Groups(("a", "a, b"), np.array([0, 1]))
    other = Groups(("b, c", "c"), np.array([0, 1]))
    crossed = groups.crossed([one, other])
    assert crossed.names == ("a, b, c", "a, b, c (2)")
    assert groups.unique(["x", "x (2)", "x"]) == ("x", "x (2)", "x (3)")


@pytest.mark.parametrize("columns", [[[]], ["sex", ["race"]]])
def test_fewer_than_two_columns_are_not_crossed(columns):
    with pytest.raises(ValidationError, match="at least 2 items"):
        section(columns=columns)


def test_a_series_has_no_classes_to_be_fair_with(tmp_path):
    transform = transform_section(
        label=None, series={"context": 4, "horizon": 2, "channels": 1}
    )
    case = told_answers.case(tmp_path / "data", [], None, transform=transform)
    with pytest.raises(NotApplicableError, match="no classes"):
        fairness.collect(case, section(), tmp_path)
