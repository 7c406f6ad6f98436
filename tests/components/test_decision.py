"""What is fitted on `eval` is what the served signatures answer with."""

from dataclasses import replace

import keras
import numpy as np
import pytest
import tensorflow as tf

import models
from components import decision, export, inputs, temperature, thresholds
from components.decision import Decision
from recipes.errors import BadInputError
from recipes.train import Export
from tests.components.records import example, write
from tests.components.sections import section as transform
from tests.components.test_export import ask, raw_columns, serialized


def config(transform, **options):
    section = Export.model_validate(options).model_dump(mode="json")
    return {"transform": transform, "export": section}


def answered(logits, *arguments):
    answer = export._answer(tf.constant(logits), *arguments)
    return {name: tensor.numpy().tolist() for name, tensor in answer.items()}


def test_the_temperature_divides_the_logits():
    hot = Decision(temperature=2.0)
    one = answered([[2.0], [-2.0]], hot)
    assert one["probabilities"] == [
        [pytest.approx(0.7310586)],
        [pytest.approx(0.2689414)],
    ]
    many = answered([[0.0, 2 * np.log(3.0)]], hot)
    assert many["probabilities"] == [pytest.approx([0.25, 0.75])]
    assert (one["classes"], many["classes"]) == ([1, 0], [1])


def test_each_group_has_its_own_threshold():
    thresholds = np.array([0.0, 2.5, -2.5], np.float32)
    groups = {"sex": tf.constant([[0], [1], [2], [2]], tf.int64)}
    logits = [[2.0], [2.0], [-2.0], [-3.0]]
    got = answered(logits, Decision(1.0, "sex", thresholds), groups)
    assert got["classes"] == [1, 0, 1, 0]
    assert got["probabilities"] == answered(logits)["probabilities"]


@pytest.mark.parametrize("rule", ["equal_opportunity", "demographic_parity"])
def test_the_rates_of_what_is_served_are_those_of_the_record(rule):
    """Above a logit of 17 probabilities in float32 are 1."""
    rng = np.random.default_rng(0)
    groups = rng.integers(0, 3, 2000)
    logits = rng.uniform(-30, 30, (2000, 1)).astype(np.float32)
    logits[groups == 1] = rng.uniform(15, 30, (np.sum(groups == 1), 1))
    labels = (logits[:, 0] > np.array([0, 22, 10])[groups]).astype(int)
    cooled = 0.7
    arguments = {"rule": rule, "num_groups": 3}
    scaled = logits[:, 0] / np.float32(cooled)
    found = thresholds.fit(scaled, labels, groups, **arguments)
    record = thresholds.figures(
        scaled, labels, groups, rule=rule, thresholds=found, names=list("abc")
    )
    ids = {"sex": tf.constant(groups[:, None])}
    got = np.array(answered(logits, Decision(cooled, "sex", found), ids)["classes"])
    counted = labels == 1 if rule == "equal_opportunity" else labels >= 0
    rates = {n: got[counted & (groups == g)].mean() for g, n in enumerate("abc")}
    assert record["fitted"]["rates"] == rates
    assert record["fitted"]["accuracy"] == np.mean(got == labels)
    assert record["fitted"]["gap"] < 0.01


@pytest.fixture(scope="module")
def model(table):
    keras.utils.set_random_seed(0)
    shape = inputs.input_shape(table.section)
    return models.build("wide_deep", shape, 1, units=[4], embedding_dim=2)


@pytest.fixture(scope="module")
def files(table, tmp_path_factory):
    """The seven transformed rows, 24 times: as `eval`."""
    names = list(table.columns)
    rows = [
        example(**{name: table.columns[name][row].item() for name in names})
        for row in range(len(table.rows))
    ]
    path = tmp_path_factory.mktemp("eval") / "eval.gz"
    return [write(path, rows * 24)]


def test_what_was_fitted_is_what_is_served(table, model, files, tmp_path):
    options = {"column": "town", "rule": "demographic_parity"}
    settings = config(table.section, temperature=True, thresholds=options)
    spec = table.output.transformed_feature_spec()
    found, record = decision.fit(model, files, spec, settings, table.output)
    assert found.temperature == record["temperature"]["value"] != 1.0
    assert found.column == "town"
    assert found.thresholds.shape == (4,)  # two kept, others, missing
    assert set(record["thresholds"]["thresholds"]) == {
        "b",
        "a",
        "(others)",
        "(missing)",
    }
    assert record["temperature"]["examples"] == 7 * 24

    columns = {name: column[:, None] for name, column in table.columns.items()}
    ready = inputs.model_inputs(columns, table.section)
    logits = np.asarray(model(ready, training=False))
    labels = table.columns["strata_label"]
    before = temperature.log_loss(logits, labels)
    assert record["temperature"]["log_loss"] == pytest.approx(before, rel=1e-5)
    want = 1 / (1 + np.exp(-logits / found.temperature))
    groups = table.columns["town_xf"].tolist()
    assert set(groups) == {0, 1, 2, 3}

    # Not those that were found: with so few rows they are all alike.
    found = replace(found, thresholds=np.array([-np.inf, np.inf] * 2, np.float32))
    export.write(model, table.output, table.section, str(tmp_path), decision=found)
    saved = tf.saved_model.load(str(tmp_path))
    for got in (
        ask(saved, "serving_default", examples=serialized(table.rows)),
        ask(saved, "serve_raw", **raw_columns(table.rows)),
    ):
        np.testing.assert_allclose(got["probabilities"], want, rtol=1e-5)
        assert got["classes"].tolist() == [g % 2 == 0 for g in groups]


def test_logits_that_are_no_numbers_are_refused(table, model, files):
    broken = keras.models.clone_model(model)
    broken.set_weights([w * np.nan for w in broken.get_weights()])
    spec = table.output.transformed_feature_spec()
    settings = config(table.section, temperature=True)
    message = "logits that are finite. Received: others for 168 of 168 examples"
    with pytest.raises(BadInputError, match=message):
        decision.fit(broken, files, spec, settings, table.output)


def test_an_eval_split_without_examples_is_refused(table, model, tmp_path):
    files = [write(tmp_path / "eval.gz", [])]
    spec = table.output.transformed_feature_spec()
    settings = config(table.section, temperature=True)
    with pytest.raises(BadInputError, match="Received: no examples there"):
        decision.fit(model, files, spec, settings, table.output)


class Vocabulary:
    """The one thing of a transform graph that names are read from."""

    def __init__(self, *values):
        self.values = values

    def vocabulary_by_name(self, name):
        return list(self.values)


@pytest.mark.parametrize(
    ("values", "want"),
    [
        ([b"m", b"f"], ["m", "f", "(others)", "(none) (3)", "(none) (4)", "(missing)"]),
        ([b"7", b"5", b"3", b"1"], ["7", "5", "3", "1", "(others)", "(missing)"]),
        (
            [b"\xfe", b"(others)", b"\xff", b"a"],
            [
                "\ufffd (0)",
                "(others) (1)",
                "\ufffd (2)",
                "a",
                "(others) (4)",
                "(missing)",
            ],
        ),
    ],
)
def test_every_group_has_a_name_of_its_own(values, want):
    section = transform(vocabulary={"sex": 4})
    assert decision._names(Vocabulary(*values), section, "sex") == want


def test_groups_without_values_are_called_by_their_numbers():
    section = transform(hash={"town": 2})
    assert decision._names(None, section, "town") == ["0", "1", "(missing)"]


def test_where_nothing_is_asked_for_nothing_is_read(table):
    found, record = decision.fit(None, ["none"], {}, config(table.section), None)
    assert (found.temperature, found.column, record) == (1.0, None, {})


def test_the_summary_says_what_was_fitted():
    record = {
        "temperature": {"value": 1.234},
        "thresholds": {"usual": {"gap": 0.1}, "fitted": {"gap": 0.0125}},
    }
    gap = "gap 0.100 -> 0.013 on eval, where thresholds were fitted"
    want = ["temperature 1.23", gap]
    assert decision.words(record) == want
    assert decision.words({}) == []
