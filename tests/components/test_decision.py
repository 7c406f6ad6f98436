"""What is fitted on `eval` is what the served signatures answer with."""

from dataclasses import replace

import keras
import numpy as np
import pytest
import tensorflow as tf

import models
from components import decision, export, inputs, temperature
from components.decision import Decision
from recipes.train import Export
from tests.components.records import example, write
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
    thresholds = np.array([0.5, 0.9, 0.1], np.float32)
    groups = {"sex": tf.constant([[0], [1], [2], [2]], tf.int64)}
    logits = [[2.0], [2.0], [-2.0], [-3.0]]  # 0.88, 0.88, 0.12, 0.05
    got = answered(logits, Decision(1.0, "sex", thresholds), groups)
    assert got["classes"] == [1, 0, 1, 0]
    assert got["probabilities"] == answered(logits)["probabilities"]


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
    assert set(record["thresholds"]["thresholds"]) == {"b", "a", "2", "3"}
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
    found = replace(found, thresholds=np.array([0.0, 1.0, 0.0, 1.0], np.float32))
    export.write(model, table.output, table.section, str(tmp_path), decision=found)
    saved = tf.saved_model.load(str(tmp_path))
    for got in (
        ask(saved, "serving_default", examples=serialized(table.rows)),
        ask(saved, "serve_raw", **raw_columns(table.rows)),
    ):
        np.testing.assert_allclose(got["probabilities"], want, rtol=1e-5)
        assert got["classes"].tolist() == [g % 2 == 0 for g in groups]


def test_where_nothing_is_asked_for_nothing_is_read(table):
    found, record = decision.fit(None, ["none"], {}, config(table.section), None)
    assert (found.temperature, found.column, record) == (1.0, None, {})


def test_the_summary_says_what_was_fitted():
    record = {
        "temperature": {"value": 1.234},
        "thresholds": {"usual": {"gap": 0.1}, "fitted": {"gap": 0.0125}},
    }
    want = ["temperature 1.23", "gap 0.100 -> 0.013 by thresholds"]
    assert decision.words(record) == want
    assert decision.words({}) == []
