"""The gate: what it refuses, what it lets pass, and what it says about it."""

import json

import pandas as pd
import pytest
import tensorflow_data_validation as tfdv
from google.protobuf import text_format
from tensorflow_metadata.proto.v0 import statistics_pb2

from components import anomalies, schema, statistics, validate
from recipes.errors import BadInputError, RefusedError
from tests.components.sections import section

COLUMNS = {
    "label": {"feature": "kind", "classes": ["a", "b"]},
    "numeric": ["miles"],
}
BOUNDS = {"drift": 0.1, "drift_of": {}, "skew": 0.1, "skew_of": {}}
TRAIN = pd.DataFrame({"miles": [1.0, 2.0] * 10, "kind": ["a"] * 15 + ["b"] * 5})


@pytest.fixture
def judged(tmp_path):
    """Return what the gate says of splits, compared with `TRAIN` as the run before."""

    def judge(refusals=(), warnings=(), **splits):
        splits = {"train": TRAIN, "eval": TRAIN, **splits}
        made = {
            s: tfdv.generate_statistics_from_dataframe(r) for s, r in splits.items()
        }
        before = tfdv.generate_statistics_from_dataframe(TRAIN)
        inferred = tfdv.infer_schema(made["train"], infer_feature_shape=False)
        curated = schema.curate(inferred, section(**COLUMNS), BOUNDS)
        for split, report in anomalies.find(made, curated, before).items():
            folder = tmp_path / f"Split-{split}"
            folder.mkdir()
            report_file, data_file = anomalies.FILE_NAME, statistics.FILE_NAME
            (folder / report_file).write_bytes(report.SerializeToString())
            (folder / data_file).write_bytes(made[split].SerializeToString())
        leaks = {"refusals": list(refusals), "warnings": list(warnings)}
        return validate.judge(str(tmp_path), str(tmp_path), leaks)

    return judge


def test_data_that_pass_are_summarized(judged, tmp_path):
    verdict = judged(warnings=["`id` looks like an id"])
    (tmp_path / "verdict.json").write_text(json.dumps(verdict))
    figures = validate.figures({"verdict": str(tmp_path)})
    assert figures["summary"] == (
        "no anomaly · drift at most 0.00 (miles) · smallest class 5 of 20"
    )
    assert figures["classes"] == {"a": 15, "b": 5}
    assert figures["hints"] == [
        "2 of 2 classes have fewer than 5,000 examples, a rule of thumb for deep "
        "learning: compare with the baselines",
        "`id` looks like an id",
    ]


def test_an_anomaly_is_refused_with_what_to_do(judged):
    with pytest.raises(RefusedError) as refused:
        judged(eval=TRAIN.assign(kind=["a", "c"] * 10))
    assert str(refused.value).splitlines() == [
        "the data were refused, 1 finding:",
        "  kind (eval): 50 % of the values are new, at most 0 % may be: 'c' (50 %)",
        "  Mend the data; or, if they are right:",
        "  `./strata schema diff` and `accept`",
    ]


def test_drift_and_skew_are_refused(judged):
    now = TRAIN.assign(kind=["b"] * 15 + ["a"] * 5)
    served = TRAIN.assign(miles=[7.0, 8.0] * 10).drop(columns="kind")
    with pytest.raises(RefusedError) as refused:
        judged(train=now, serving=served)
    # from 3 : 1 to 1 : 3 is one bit less the entropy of 3 : 1, 0.811
    assert "kind: Jensen-Shannon 0.17 > 0.10 (drift from the run before)" in str(
        refused.value
    )
    assert "miles: Jensen-Shannon 1.00 > 0.10 (skew between" in str(refused.value)


def test_leakage_is_refused_and_its_warnings_are_not(judged):
    with pytest.raises(RefusedError, match="`answer` copies the label") as refused:
        judged(refusals=["`answer` copies the label"], warnings=["two rows alike"])
    assert "two rows alike" not in str(refused.value)
    assert "[validation.leakage]" in str(refused.value)
    assert "schema diff" not in str(refused.value)


def test_many_findings_are_counted_and_some_shown():
    with pytest.raises(RefusedError) as refused:
        validate.check([f"x{i}: bad" for i in range(20)], [])
    assert "20 findings" in str(refused.value)
    assert "x7: bad\n  and 12 more" in str(refused.value)


def test_an_empty_split_is_named_before_anything_else(judged):
    with pytest.raises(BadInputError, match="none in eval of 20 in all"):
        judged(eval=TRAIN.iloc[:0], refusals=["a leak"])


def test_whole_number_classes_are_counted_by_value():
    label = schema.parse("""feature { name: "y" type: INT annotation { tag: "label" }
        int_domain { min: 1 max: 3 } }""")
    found = text_format.Parse(
        """datasets { features { path { step: "y" } type: INT num_stats {}
        custom_stats { name: "value_counts" rank_histogram {
        buckets { label: "3" sample_count: 7 } buckets { label: "1" sample_count: 2 }
        } } } }""",
        statistics_pb2.DatasetFeatureStatisticsList(),
    )
    assert validate.class_counts(label, found) == {"1": 2, "2": 0, "3": 7}


def test_a_yes_or_no_label_has_no_classes_to_count():
    label = schema.parse(
        'feature { name: "y" type: FLOAT float_domain {} annotation { tag: "label" } }'
    )
    none = statistics_pb2.DatasetFeatureStatisticsList()
    assert validate.class_counts(label, none) == {}


def test_an_empty_class_is_named_where_it_is_missing():
    counts = {"train": {"a": 6000, "b": 6000}, "test": {"a": 700, "b": 0}}
    assert validate.class_hints(counts) == ["`test` has no example of the class 'b'"]


def test_a_rare_class_is_named():
    hints = validate.class_hints({"train": {"ABBR": 500, "ENTY": 9500}})
    assert hints[0] == (
        "class 'ABBR' has 500 of 10,000 examples (5 %), 19 times fewer than the "
        "largest: look at its metrics by themselves"
    )
    assert hints[1].startswith("1 of 2 classes have fewer than 5,000 examples")


def test_large_and_even_classes_need_no_hint():
    assert validate.class_hints({"train": {"a": 5000, "b": 49_999}}) == []


def test_a_class_without_an_example_to_learn_from_is_refused():
    counts = {"train": {"a": 3, "b": 0}, "eval": {"a": 1, "b": 0}}
    (line,) = validate.empty_classes(counts)
    assert line.startswith("class 'b': no example in `train`")
    assert validate.empty_classes({"train": {"a": 0}}) == []
