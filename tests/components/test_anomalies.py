"""What is found in statistics, and the words for it."""

import pandas as pd
import pytest
import tensorflow_data_validation as tfdv

from components import anomalies, schema
from components.anomaly_words import exceeds, percent
from tests.components.sections import section

COLUMNS = {
    "label": {"feature": "tip", "above": 0.2},
    "numeric": ["miles"],
    "vocabulary": {"town": 10, "zone": 10},
}
BOUNDS = {"drift": 0.1, "drift_of": {}, "skew": 0.1, "skew_of": {}}
TRAIN = pd.DataFrame(
    {
        "tip": [0.1, 0.5, 0.3, 0.0] * 5,
        "miles": [1.0, 2.0, 3.0, 4.0] * 5,
        "town": ["A", "B", "A", "B"] * 5,
        "zone": [0, 1, 0, 1] * 5,
        "kind": ["a", "b", "a", "b"] * 5,
        "grade": [0, 2, 0, 2] * 5,
        "unused": ["x", "y", "z", "x"] * 5,
    }
)
HALF_A = [0.0] * 20  # a feature of one value, against one half of each


def statistics(rows):
    return tfdv.generate_statistics_from_dataframe(rows)


def report(previous=None, bounds=BOUNDS, frozen=None, recipe=COLUMNS, **splits):
    """Return what is found in splits, after a schema made of `train`."""
    found = {"train": TRAIN, **splits}
    found = {split: statistics(rows) for split, rows in found.items()}
    inferred = frozen or tfdv.infer_schema(found["train"], infer_feature_shape=False)
    curated = schema.curate(inferred, recipe and section(**recipe), bounds)
    before = None if previous is None else statistics(previous)
    return anomalies.find(found, curated, before)


def lines(**arguments):
    return anomalies.list_anomalies(report(**arguments))


def classes(feature, values):
    return {**COLUMNS, "label": {"feature": feature, "classes": values}}


def test_data_like_those_of_the_schema_have_no_anomaly():
    assert lines(eval=TRAIN.iloc[::-1].reset_index(drop=True)) == []


# Distances worked out by hand, in bits: H(mean of both) - mean of H(each).
# Halves against all of one kind: H(3/4, 1/4) - (1 + 0) / 2 = 0.8113 - 0.5.
# 7 : 3 against 3 : 7: H(1/2) - H(0.7) = 1 - 0.8813.
@pytest.mark.parametrize(
    ("before", "now", "distance"),
    [
        (["A", "B"] * 10, ["A"] * 20, 0.298630),
        (["A"] * 14 + ["B"] * 6, ["A"] * 6 + ["B"] * 14, 0.102524),
        (["A", "B"] * 10, ["A", "B"] * 10, 0.0),
        (["A"] * 20, ["B"] * 20, 1.0),
    ],
)
def test_drift_of_a_text_is_the_jensen_shannon_divergence(before, now, distance):
    found = report(train=TRAIN.assign(town=now), previous=TRAIN.assign(town=before))
    moved = anomalies.distances(found)
    assert moved["drift"]["town"] == pytest.approx(distance, abs=1e-6)
    assert moved["skew"] == {}


def test_drift_of_a_number_is_measured_on_its_deciles():
    moved = [0.0, 1.0] * 10
    found = report(
        train=TRAIN.assign(miles=moved), previous=TRAIN.assign(miles=[0.0] * 20)
    )
    assert anomalies.distances(found)["drift"]["miles"] == pytest.approx(0.31, abs=0.05)


def test_drift_above_its_bound_is_told_in_words():
    assert lines(train=TRAIN.assign(town="A"), previous=TRAIN) == [
        "town: Jensen-Shannon 0.30 > 0.10 (drift from the run before)"
    ]


def test_drift_below_its_bound_is_no_anomaly():
    bounds = {**BOUNDS, "drift_of": {"town": 0.4}}
    found = report(train=TRAIN.assign(town="A"), previous=TRAIN, bounds=bounds)
    assert anomalies.list_anomalies(found) == []
    moved = anomalies.distances(found)["drift"]["town"]
    assert moved == pytest.approx(0.298630, abs=1e-6)


def test_skew_is_told_once_and_the_served_need_no_label():
    served = TRAIN.assign(miles=7.0, town="A").drop(columns="tip")
    assert lines(serving=served) == [
        "miles: Jensen-Shannon 1.00 > 0.10 (skew between `train` and `serving`)",
        "town: Jensen-Shannon 0.30 > 0.10 (skew between `train` and `serving`)",
    ]


def test_drift_below_its_bound_is_not_told_beside_an_anomaly():
    gaps = TRAIN.assign(tip=[None, 0.5] * 10)
    assert lines(train=gaps, previous=gaps) == [
        "tip (train): no value in 10 of 20 records, where each must have one"
    ]


def test_a_report_holds_the_schema_with_all_its_bounds():
    (miles,) = (
        feature
        for feature in report(previous=TRAIN)["train"].baseline.feature
        if feature.name == "miles"
    )
    assert miles.drift_comparator.jensen_shannon_divergence.threshold == 0.1


def test_labels_that_were_served_too_do_no_harm():
    assert lines(serving=TRAIN.assign(tip=[None, 0.1] * 10)) == []


def test_a_served_feature_that_is_missing_is_reported_as_that():
    served = TRAIN.drop(columns=["tip", "town"])
    assert lines(serving=served) == ["town (serving): no value in any record"]


def test_a_column_that_the_run_before_did_not_have_is_no_drift():
    assert lines(previous=TRAIN.drop(columns=["town", "miles"])) == []


def test_nothing_before_is_nothing_to_drift_from():
    assert anomalies.distances(report(previous=TRAIN.iloc[:0]))["drift"] == {}


def test_a_label_that_is_no_class_is_named_with_its_share():
    found = lines(
        eval=TRAIN.assign(kind=["a", "c"] * 10), recipe=classes("kind", ["a", "b"])
    )
    assert found == [
        "kind (eval): 50 % of the values are new, at most 0 % may be: 'c' (50 %)"
    ]


def test_of_many_new_texts_five_are_named():
    towns = ["A"] * 13 + list("tuvwxyz")
    assert lines(eval=TRAIN.assign(town=towns)) == [
        "town (eval): 35 % of the values are new, at most 10 % may be: "
        "'z' (5 %), 'y' (5 %), 'x' (5 %), 'w' (5 %), 'v' (5 %) and 2 more"
    ]


def test_one_new_text_among_twenty_passes():
    assert lines(eval=TRAIN.assign(town=["A"] * 19 + ["C"])) == []


def test_a_number_label_out_of_range_is_told_with_the_range():
    found = lines(
        eval=TRAIN.assign(grade=[0, 3] * 10), recipe=classes("grade", [0, 1, 2])
    )
    assert found == ["grade (eval): values from 0 to 3, expected 0 to 2"]


def test_other_numbers_than_0_and_1_are_told_where_train_had_only_these():
    found = lines(eval=TRAIN.assign(zone=[0, 7] * 10))
    assert found == ["zone (eval): values from 0 to 7, expected 0 and 1"]


def test_a_missing_label_is_counted():
    assert lines(eval=TRAIN.assign(tip=[None, 0.5] * 10)) == [
        "tip (eval): no value in 10 of 20 records, where each must have one"
    ]


def test_the_least_share_of_a_frozen_schema_holds():
    frozen = tfdv.infer_schema(statistics(TRAIN), infer_feature_shape=False)
    (town,) = (feature for feature in frozen.feature if feature.name == "town")
    town.presence.min_fraction = 0.75
    gaps = TRAIN.assign(town=[None, "A"] * 10)
    assert lines(eval=gaps, frozen=frozen) == [
        "town (eval): no value in 50 % of the records, at most 25 %"
    ]


def test_texts_where_numbers_belong_are_reported_for_all_splits_at_once():
    texts = TRAIN.assign(miles=["far"] * 20)
    assert lines(train=texts, eval=texts) == [
        "miles (train, eval): expected numbers, found texts such as 'far'"
    ]


def test_a_column_that_is_missing_is_reported():
    found = lines(eval=TRAIN.drop(columns="miles"))
    assert found == ["miles (eval): no value in any record"]


@pytest.mark.filterwarnings("ignore:invalid value encountered:RuntimeWarning")
def test_infinite_numbers_are_reported():
    found = lines(eval=TRAIN.assign(miles=[float("inf"), 1.0] * 10))
    assert found == ["miles (eval): infinite values"]


def test_what_is_not_used_may_be_anything_or_nothing():
    assert lines(eval=TRAIN.drop(columns="unused").assign(other=1)) == []


def test_without_a_recipe_for_a_model_the_columns_of_a_frozen_schema_must_be_there():
    frozen = tfdv.infer_schema(statistics(TRAIN), infer_feature_shape=False)
    rows = TRAIN.drop(columns="unused").assign(other=1)
    assert lines(train=rows, frozen=frozen, recipe=None) == [
        "unused (train): no value in any record"
    ]


def test_reports_are_read_back_with_their_words(tmp_path):
    for split, found in report(eval=TRAIN.drop(columns="miles")).items():
        (tmp_path / f"Split-{split}").mkdir()
        path = tmp_path / f"Split-{split}" / anomalies.FILE_NAME
        path.write_bytes(found.SerializeToString())
    figures = anomalies.figures({"anomalies": str(tmp_path)})
    assert figures["summary"] == "1 anomaly"
    assert figures["anomalies"] == ["miles (eval): no value in any record"]


def test_the_largest_distance_is_summarized():
    moved = {"drift": {"fare": 0.018, "town": 0.002}, "skew": {}}
    assert anomalies.summarize(moved) == ["drift at most 0.02 (fare)"]


@pytest.mark.parametrize(
    ("value", "bound", "words"),
    [
        (0.3113, 0.1, "0.31 > 0.10"),
        (0.102, 0.1, "0.102 > 0.100"),
        (0.004, 0.001, "0.004 > 0.001"),
    ],
)
def test_a_distance_is_shown_with_as_many_digits_as_it_takes(value, bound, words):
    assert exceeds(value, bound) == words


def test_a_small_share_is_not_called_none():
    assert percent(0.0002) == "less than 0.1 %"
    assert percent(0.0) == "0 %"
    assert percent(0.155) == "15.5 %"
