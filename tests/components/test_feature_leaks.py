"""Features that tell the label, or name the row, are refused with an example."""

import numpy as np
import pyarrow as pa
import pytest

from components import feature_leaks, fingerprints, leakage
from recipes.validation import Leakage as Limits
from tests.components.artifacts import examples
from tests.components.leaks import section
from tests.components.records import example


def table_with(count=400, **columns):
    random = np.random.default_rng(0)
    labels = random.integers(0, 2, count)
    made = {name: make(labels, random) for name, make in columns.items()}
    return [
        example(y=int(labels[i]), **{name: made[name][i] for name in made})
        for i in range(count)
    ]


def examine_table(tmp_path, records, transform, **limits):
    uri = examples(tmp_path, train=records, eval=[], test=[])
    return leakage.examine(uri, transform, Limits(**limits))


def test_a_copy_of_the_label_is_refused(tmp_path):
    records = table_with(
        paid=lambda y, _: [["no", "yes"][v] for v in y],
        noise=lambda y, random: random.normal(size=len(y)).tolist(),
    )
    transform = section(vocabulary={"paid": 2}, numeric=["noise"])
    found = examine_table(tmp_path, records, transform)
    [line] = found["refusals"]
    assert line.startswith("Feature 'paid' alone tells 100 % of the labels")
    assert "as in train.csv row 1: paid='yes', label 1" in line
    assert "validation.leakage.allow" in line


def test_what_is_allowed_is_reported_but_not_refused(tmp_path):
    records = table_with(paid=lambda y, _: y.tolist())
    transform = section(numeric=["paid"])
    found = examine_table(tmp_path, records, transform, allow=("paid",))
    assert found["refusals"] == []
    assert [c["feature"] for c in found["label_copies"]] == ["paid"]


def test_a_number_proportional_to_the_label_is_a_copy(tmp_path):
    random = np.random.default_rng(1)
    tips, fares = random.uniform(0, 9, 400), random.uniform(5, 30, 400)
    records = [
        example(tips=float(t), fare=float(f), cents=float(t / f * 100))
        for t, f in zip(tips, fares, strict=True)
    ]
    label = {"feature": "tips", "divide_by": "fare", "above": 0.2}
    transform = section(label=label, numeric=["fare", "cents"])
    found = examine_table(tmp_path, records, transform)
    assert [c["feature"] for c in found["label_copies"]] == ["cents"]


def test_a_feature_that_is_missing_where_the_label_is_1_is_a_copy(tmp_path):
    records = table_with(
        died=lambda y, random: [None if v else float(random.random()) for v in y]
    )
    found = examine_table(tmp_path, records, section(numeric=["died"]))
    assert [c["feature"] for c in found["label_copies"]] == ["died"]


def test_a_rare_label_is_not_told_by_guessing_the_frequent_one(tmp_path):
    records = [example(a=float(i % 7), y=int(i % 300 == 0)) for i in range(600)]
    found = examine_table(tmp_path, records, section(numeric=["a"]))
    assert found["label_copies"] == []


def test_a_column_with_a_value_of_its_own_in_each_row_is_an_id(tmp_path):
    columns = {
        "user": [f"user {i}" for i in range(60)],
        "town": [f"town {i % 50}" for i in range(60)],
        "code": [7 * i * i for i in range(60)],
        "nickname": [f"nick {i}" if i < 40 else None for i in range(60)],  # too few
        "number": list(range(1000, 1060)),
        "price": [7 * i * i for i in range(60)],  # an amount: numbers, with gaps
        "weight": [i / 7 for i in range(60)],
        "time": [86_400 * i for i in range(60)],  # of which the hour is used
    }
    records = [
        example(y=i % 2, **{name: values[i] for name, values in columns.items()})
        for i in range(60)
    ]
    transform = section(
        vocabulary=dict.fromkeys(("user", "town", "code", "nickname"), 9),
        numeric=["number", "price", "weight"],
        calendar={"time": ["hour"]},
    )
    found = examine_table(tmp_path, records, transform, allow=("code",))
    assert {f["feature"] for f in found["id_like"]} == {"user", "code", "number"}
    assert sorted(found["refusals"])[1] == (
        "Feature 'user' has 100 % different values in 60 records (limit 95 %), such as "
        "'user 0': an id, from which nothing can be learned. Take it out of transform, "
        "or, if it is known when the model is asked, add 'user' to "
        "validation.leakage.allow."
    )


def test_the_share_of_different_values_is_kept_in_bounded_memory(monkeypatch):
    monkeypatch.setattr(feature_leaks, "_MAX_KEPT", 10_000)
    # 20,000 values that stand once, 10,000 that stand twice: 30 of 40 thousand.
    numbers = np.concatenate([np.arange(30_000), np.arange(10_000)])
    values = feature_leaks.Values()
    for part in np.array_split(numbers, 8):
        cells = pa.array(part[:, None].tolist(), pa.large_list(pa.int64()))
        column = pa.RecordBatch.from_arrays([cells], ["v"])
        values.add(column.column(0), fingerprints.cells(column)["v"])
    assert values.share() == pytest.approx(0.75, abs=0.02)
    assert values.present == 40_000
