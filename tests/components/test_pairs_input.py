"""Texts that become other texts: columns, what is written, and how near it is."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import models
from components import pairs_input, text_codec
from components.columns import LABEL
from models import Pair, Tokens
from tests.components import conftest
from tests.components.records import example
from tests.components.sections import section

SPEC = {name: tf.io.VarLenFeature(tf.string) for name in ("source", "target")}
ROWS = [
    {"source": "ab", "target": "b"},
    {"source": "", "target": "abcdefgh"},
    {"source": "abcdefgh"},
    {"source": "aa", "target": "aa"},
]


def options(**keys):
    given = {"source_length": 4, "target_length": 5, "vocabulary": 14, **keys}
    return section(pairs=given, label=None)


def columns(**keys):
    own = options(tokens="bytes", **keys)["pairs"]
    features = {name: tf.constant([row.get(name, "") for row in ROWS]) for name in SPEC}
    made = pairs_input.columns(features, own)
    return {name: column.numpy().tolist() for name, column in made.items()}


def ids(letters):
    return [ord(letter) + 4 for letter in letters]


def test_a_source_is_ended_and_a_target_started_and_ended():
    got = columns()
    assert got["source_xf"] == [
        [*ids("ab"), 3, 0],
        [3, 0, 0, 0],
        ids("abcd"),
        [*ids("aa"), 3, 0],
    ]
    assert got["target_xf"] == [
        [2, *ids("b"), 0, 0, 0],
        [2, *ids("abcd")],
        [2, 0, 0, 0, 0],
        [2, *ids("aa"), 0, 0],
    ]
    assert got[LABEL] == [
        [*ids("b"), 3, 0, 0, 0],
        ids("abcde"),
        [0] * 5,
        [*ids("aa"), 3, 0, 0],
    ]


def test_the_model_reads_a_pair_of_one_vocabulary():
    own = options()["pairs"]
    assert pairs_input.input_shape(own) == Pair(Tokens(4, 14), Tokens(5, 14))
    assert pairs_input.num_outputs(own) == 14


def test_only_the_source_is_asked_for():
    own = options()["pairs"]
    assert list(pairs_input.raw_signature(own)) == ["source"]
    asked = {"source": tf.constant(["ab", ""])}
    raw = pairs_input.raw_features(asked, own, SPEC)
    parsed = tf.io.parse_example(
        [example(source="ab"), example()], {"source": SPEC["source"]}
    )
    for part in ("indices", "values"):
        got, want = (getattr(one["source"], part).numpy() for one in (raw, parsed))
        assert got.tolist() == want.tolist()


@pytest.fixture(scope="module")
def learned(tmp_path_factory):
    """Return columns of `ROWS`, and a model that has learned them by heart."""
    folder = tmp_path_factory.mktemp("pairs")
    result = conftest.transform(options(), ROWS, SPEC, folder)
    own = result.section["pairs"]
    shape = pairs_input.input_shape(own)
    model = models.build(
        "transformer_encoder_decoder", shape, 14, num_blocks=1, dim=16, num_heads=2
    )
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True, ignore_class=0)
    model.compile(keras.optimizers.Adam(0.02), loss)
    inputs = pairs_input.model_inputs(result.columns, own)
    for _ in range(80):
        model.train_on_batch(inputs, result.columns[LABEL])
    return result, model, pairs_input.Answers(model, result.output, own)


@pytest.mark.slow
def test_both_texts_share_a_vocabulary_by_frequency(learned):
    result, _, _ = learned
    texts = text_codec.token_texts(result.section["pairs"], result.output, "pairs")
    assert texts[4:6] == [b"a", b"b"]
    assert result.columns["source_xf"][0].tolist() == [4, 5, 3, 0]


@pytest.mark.slow
def test_answers_are_texts_and_judged_where_there_is_a_target(learned):
    result, model, answers = learned
    columns = {n: tf.constant(c) for n, c in result.columns.items()}
    got = {name: value.numpy() for name, value in answers(columns).items()}
    outputs = [text.decode() for text in got["outputs"]]
    assert [outputs[0], outputs[1], outputs[3]] == ["b", "abcde", "aa"]
    # The second was cut, so it cannot be met; the third has no target.
    assert got["scores"][:, 1].tolist() == [1, 0, 0, 1]
    inputs = pairs_input.model_inputs(columns, result.section["pairs"])
    losses = text_codec.token_losses(model(inputs), columns[LABEL])
    np.testing.assert_allclose(got["scores"][:, 0], losses, rtol=1e-5)
    assert got["scores"][2, 0] == 0


@pytest.mark.slow
def test_the_target_does_not_change_what_is_written(learned):
    result, _, answers = learned
    columns = {n: tf.constant(c) for n, c in result.columns.items()}
    bare = {**columns, "target_xf": tf.fill([4, 5], tf.constant(2, tf.int64))}
    assert answers(bare)["outputs"].numpy().tolist() == (
        answers(columns)["outputs"].numpy().tolist()
    )
