"""The gate, fed by the statistics and the validation that the line uses."""

import pandas as pd
import pytest
import tensorflow_data_validation as tfdv

from components import validate
from components.schema import curate
from recipes.errors import BadInputError

TRANSFORM = {
    "label": {"feature": "tip", "classes": None, "above": 0.2, "divide_by": None},
    "image": None,
    "numeric": ["miles"],
    "buckets": {},
    "vocabulary": {"town": 10},
}
TRAIN = pd.DataFrame(
    {
        "tip": [0.1, 0.5, 0.3, 0.0] * 5,
        "miles": [1.0, 2.0, 3.0, 4.0] * 5,
        "town": ["A", "B", "A", "B"] * 5,
        "kind": ["a", "b", "a", "b"] * 5,
        "grade": [0, 2, 0, 2] * 5,
        "unused": ["x", "y", "z", "x"] * 5,
    }
)


@pytest.fixture
def found(tmp_path):
    """Return the lines of the gate for `eval` data, after a schema made of `train`."""

    def validate_eval(rows, train=TRAIN, **changes):
        transform = {**TRANSFORM, **changes}
        statistics = tfdv.generate_statistics_from_dataframe(train)
        schema = curate(tfdv.infer_schema(statistics), transform)
        for split, data in (("train", train), ("eval", rows)):
            anomalies = tfdv.validate_statistics(
                tfdv.generate_statistics_from_dataframe(data), schema
            )
            folder = tmp_path / f"Split-{split}"
            folder.mkdir()
            (folder / "SchemaDiff.pb").write_bytes(anomalies.SerializeToString())
        return validate.list_anomalies(str(tmp_path))

    return validate_eval


def label(feature, classes):
    return {"feature": feature, "classes": classes, "above": None, "divide_by": None}


def test_data_like_that_of_the_schema_passes(found):
    assert found(TRAIN.iloc[::-1].reset_index(drop=True)) == []


def test_a_label_that_is_no_class_is_reported(found):
    rows = TRAIN.assign(kind=["a", "c"] * 10)
    (line,) = found(rows, label=label("kind", ["a", "b"]))
    assert line.startswith("kind (eval): ")
    assert "c" in line


def test_a_number_label_out_of_range_is_reported(found):
    rows = TRAIN.assign(grade=[0, 3] * 10)
    (line,) = found(rows, label=label("grade", [0, 1, 2]))
    assert line.startswith("grade (eval): ")


def test_a_missing_label_is_reported(found):
    rows = TRAIN.assign(tip=[None, 0.5] * 10)
    (line,) = found(rows)
    assert line.startswith("tip (eval): ")


def test_texts_where_numbers_belong_are_reported(found):
    (line,) = found(TRAIN.assign(miles=["far", "near"] * 10))
    assert line.startswith("miles (eval): ")


def test_texts_where_numbers_belong_are_reported_in_train_too(found):
    texts = TRAIN.assign(miles=["far", "near"] * 10)
    lines = found(texts, texts)
    assert [line.split(":")[0] for line in lines] == ["miles (eval)", "miles (train)"]


def test_a_column_that_is_missing_is_reported(found):
    (line,) = found(TRAIN.drop(columns="miles"))
    assert line.startswith("miles (eval): ")


def test_every_anomaly_is_reported_by_split_and_feature(found):
    train = TRAIN.drop(columns="town")
    lines = found(train.drop(columns="miles").assign(tip=["a", "b"] * 10), train)
    assert [line.split(":")[0] for line in lines] == [
        "miles (eval)",
        "tip (eval)",
        "town (eval)",
        "town (train)",
    ]


def test_one_new_text_among_twenty_passes(found):
    assert found(TRAIN.assign(town=["A"] * 19 + ["C"])) == []


def test_three_new_texts_among_twenty_are_reported(found):
    (line,) = found(TRAIN.assign(town=["A"] * 17 + ["C"] * 3))
    assert line.startswith("town (eval): ")


def test_an_unused_column_may_be_anything_or_nothing(found):
    assert found(TRAIN.drop(columns="unused")) == []


def test_an_empty_split_is_named():
    with pytest.raises(BadInputError, match="none in eval, test of 7 in all"):
        validate.check_splits({"train": 7, "eval": 0, "test": 0})


def test_an_unused_column_that_only_eval_has_is_ignored(found):
    assert found(TRAIN.assign(rare=[None] * 19 + ["x"])) == []


def test_a_missing_divisor_is_reported(found):
    rows = TRAIN.assign(fare=[None, 10.0] * 10)
    section = {"feature": "tip", "classes": None, "above": 0.2, "divide_by": "fare"}
    lines = found(rows, rows, label=section)
    assert [line.split(":")[0] for line in lines] == ["fare (eval)", "fare (train)"]
