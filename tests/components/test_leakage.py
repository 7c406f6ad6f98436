"""Planted copies of rows are refused with both named; honest tables are not."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest

from components import leakage
from recipes.validation import Leakage as Limits
from tests.components.artifacts import examples
from tests.components.leaks import section, shared
from tests.components.records import example

DATA = Path(__file__).parents[2].parent / "shared/data"
TABLE = section(numeric=["a", "b"])


def rows(count, seed):
    random = np.random.default_rng(seed)
    numbers = random.normal(size=(count, 3)).round(3)
    return [example(a=float(a), b=float(b), y=int(c > 0)) for a, b, c in numbers]


def test_a_planted_duplicate_is_refused_with_both_rows_named(tmp_path):
    train, judged = rows(100, 1), rows(100, 2)
    judged[16] = train[2]
    uri = examples(tmp_path, train=train, eval=rows(50, 3), test=judged)
    found = leakage.examine(uri, TABLE, Limits())
    assert found["refusals"] == [
        "test: 1 of 100 records (1 %, limit 0.5 %) also stand in train: "
        "test: test.csv row 17 = train: train.csv row 3. Keep equal records in one "
        "split: shares in data.splits do; or raise validation.leakage.duplicates."
    ]
    assert found["duplicates"]["test"]["pairs"] == [
        {"row": "test.csv row 17", "train": "train.csv row 3", "index": 16, "of": 2}
    ]


def test_below_the_limit_is_a_warning(tmp_path):
    train, judged = rows(100, 1), rows(100, 2)
    judged[0] = train[99]
    uri = examples(tmp_path, train=train, eval=[], test=judged)
    found = leakage.examine(uri, TABLE, Limits(duplicates=0.01))
    assert found["refusals"] == []
    assert found["warnings"] == [
        "test: 1 of 100 records (1 %, limit 1 %) also stand in train: "
        "test: test.csv row 1 = train: train.csv row 100."
    ]


def test_what_was_served_may_be_what_was_trained_on(tmp_path):
    train = rows(60, 1)
    uri = examples(
        tmp_path, train=train, eval=rows(9, 2), test=rows(9, 3), serving=train
    )
    found = leakage.examine(uri, TABLE, Limits())
    assert found["refusals"] == found["warnings"] == []


def test_rows_of_few_values_are_equal_by_chance(tmp_path):
    def people(count, seed):
        random = np.random.default_rng(seed)
        return [
            example(a=int(a), b="xyz"[b], y=int(y))
            for a, b, y in random.integers(0, (5, 3, 2), (count, 3))
        ]

    transform = section(numeric=["a"], vocabulary={"b": 3})
    uri = examples(tmp_path, train=people(200, 1), eval=[], test=people(50, 2))
    found = leakage.examine(uri, transform, Limits())
    assert found["refusals"] == []
    assert found["duplicates"]["test"]["by_chance"] == 50


def test_rows_equal_but_for_rounding_and_row_number_are_near(tmp_path):
    numbers = np.random.default_rng(0).uniform(1, 9, (200, 3)).astype("float32")

    def row(values, number, factor=1.0):
        a, b, c = (float(v) * factor for v in values)
        return example(a=a, b=b, c=c, y=number % 2, number=f"row {number}")

    train = [row(values, i) for i, values in enumerate(numbers[:150])]
    judged = [row(values, 500 + i) for i, values in enumerate(numbers[150:])]
    judged[4] = row(numbers[8], 504, factor=1 + 1e-6)
    uri = examples(tmp_path, train=train, eval=[], test=judged)
    found = leakage.examine(uri, TABLE, Limits(near_duplicates=0.01))
    assert found["duplicates"]["test"]["found"] == 0
    assert found["refusals"] == [
        "test: 1 of 50 records (2 %, limit 1 %) are almost the same as one of train: "
        "test: test.csv row 5 = train: train.csv row 9. Remove copies, or keep them in "
        "one split by data.split_by.key; or raise validation.leakage.near_duplicates."
    ]


def test_an_unused_time_hides_no_copy_of_a_row(tmp_path):
    numbers = np.random.default_rng(0).normal(size=(150, 2))

    def row(i, time):
        a, b = numbers[i].tolist()
        return example(a=a, b=b, y=i % 2, time=float(time), town="abc"[i % 3])

    train = [row(i, 60 * i) for i in range(100)]
    judged = [row(100 + i, 9_000 + 60 * i) for i in range(50)]
    judged[7] = row(5, 50_000)
    uri = examples(tmp_path, train=train, eval=[], test=judged)
    used = leakage.examine(uri, section(numeric=["a", "b", "time"]), Limits())
    assert used["near_duplicates"]["test"]["found"] == 0
    unused = leakage.examine(uri, TABLE, Limits())
    assert unused["near_duplicates"]["test"]["pairs"] == [
        {"row": "test.csv row 8", "train": "train.csv row 6", "index": 7, "of": 5}
    ]


def test_the_step_writes_what_the_gate_reads(tmp_path):
    uri = examples(tmp_path / "in", train=rows(60, 1), eval=rows(9, 2), test=rows(9, 3))
    found = leakage.examine(uri, None, Limits())
    (tmp_path / leakage.FILE_NAME).write_text(json.dumps(found))
    figures = leakage.figures({"report": str(tmp_path)})
    assert figures["summary"] == "no record in two splits, no feature tells the label"
    assert figures["refusals"] == []


def test_without_training_records_there_is_nothing_to_say(tmp_path):
    found = leakage.examine(examples(tmp_path, train=[]), TABLE, Limits())
    assert found["refusals"] == found["warnings"] == []


@pytest.mark.slow
def test_adult_has_a_few_honest_duplicates(tmp_path):
    folder = DATA / "adult"
    if not folder.exists():
        pytest.skip("needs ../shared/data/adult")

    def people(name, skip):
        lines = (folder / name).read_text().splitlines()[skip:]
        for line in filter(str.strip, lines):
            cells = enumerate(line.rstrip(".").split(", "))
            values = {f"c{i}": v for i, v in cells if v != "?"}
            yield example(
                **{n: int(v) if v.isdigit() else v for n, v in values.items()}
            )

    uri = examples(
        tmp_path,
        train=list(people("adult.data", 0)),
        eval=[],
        test=list(people("adult.test", 1)),
    )
    transform = section(
        label={"feature": "c14", "classes": ["<=50K", ">50K"]},
        numeric=["c0", "c2", "c4", "c10", "c11", "c12"],
        vocabulary={f"c{i}": 50 for i in (1, 3, 5, 6, 7, 8, 9, 13)},
    )
    found = leakage.examine(uri, transform, Limits())
    assert found["refusals"] == []
    assert found["duplicates"]["test"]["found"] == 23
    without_weights = transform.model_copy(update={"numeric": ("c0", "c4", "c10")})
    assert leakage.examine(uri, without_weights, Limits())["refusals"] == []


@pytest.mark.slow
def test_wine_is_not_refused_though_its_rows_repeat(tmp_path):
    path = DATA / "wine-quality/winequality-red.csv"
    if not path.exists():
        pytest.skip("needs ../shared/data/wine-quality")
    with path.open() as file:
        wines = list(csv.DictReader(file, delimiter=";"))
    names = {n: n.replace(" ", "_") for n in wines[0] if n != "quality"}
    records = [
        example(y=int(w["quality"]), **{names[n]: float(w[n]) for n in names})
        for w in wines
    ]
    transform = section(
        label={"feature": "y", "above": 5.5}, numeric=list(names.values())
    )
    found = leakage.examine(examples(tmp_path, **shared(records)), transform, Limits())
    assert found["refusals"] == []
