"""Texts whose next tokens are predicted: columns, scores, and what is written."""

import shutil

import numpy as np
import pytest
import tensorflow as tf
from tensorflow.core.protobuf.saved_model_pb2 import SavedModel

import models
from components import language_input, text_codec
from components.columns import LABEL
from tests.components import conftest
from tests.components.sections import section

SPEC = {"text": tf.io.VarLenFeature(tf.string)}
TEXTS = ["to be\nor", "bé\N{GRINNING FACE}", "", "oooooooooooo", b"\xff\x00o"]
LENGTH = 8


def options(**keys):
    given = {"length": LENGTH, "vocabulary": 300, **keys}
    return section(language=given, label=None)


def columns(texts, **keys):
    own = options(tokens="bytes", **keys)["language"]
    made = language_input.columns({"text": tf.constant(texts)}, own)
    return made["text_xf"].numpy().tolist(), made[LABEL].numpy().tolist()


def transformed(folder, **keys):
    rows = [{"text": text} if text else {} for text in TEXTS]
    return conftest.transform(options(**keys), rows, SPEC, folder)


def answers(result):
    """Return a small model with random weights, and what it answers."""
    own = result.section["language"]
    model = models.build(
        "transformer_decoder",
        language_input.input_shape(own),
        language_input.num_outputs(own),
        num_blocks=1,
        dim=16,
        num_heads=2,
    )
    graph = tf.saved_model.load(result.output.transform_savedmodel_dir)
    made = language_input.Answers(model, result.output, own, graph.transform_fn)
    made.graph, made.weights = graph, [v.value for v in model.variables]
    return model, made


def test_a_text_is_predicted_from_its_start_to_its_end():
    ids, label = columns(["ab", "", "abcdef", "abcd"], length=4)
    a, b, c, d = (ord(letter) + 4 for letter in "abcd")
    assert ids == [[2, a, b, 3], [2, 3, 0, 0], [2, a, b, c], [2, a, b, c]]
    assert label == [[a, b, 3, 0], [3, 0, 0, 0], [a, b, c, d], [a, b, c, d]]


def test_how_many_ids_there_are():
    for tokens, want in (("characters", 300), ("bytes", 260), ("bpe", 300)):
        own = options(tokens=tokens)["language"]
        assert language_input.input_shape(own) == models.Tokens(LENGTH, want)
        assert language_input.num_outputs(own) == want


def test_losses_are_means_over_tokens_without_padding():
    logits = tf.math.log([[[0.5, 0.25, 0.25], [0.1, 0.1, 0.8]]] * 3)
    labels = tf.constant([[1, 2], [1, 0], [0, 0]], tf.int64)
    got = text_codec.token_losses(logits, labels)
    want = [(np.log(4) - np.log(0.8)) / 2, np.log(4), 0]
    np.testing.assert_allclose(got, want, rtol=1e-5)


@pytest.mark.parametrize("tokens", ["characters", "bytes"])
def test_the_end_of_a_prompt_is_what_counts(tokens):
    own = options(tokens=tokens)["language"]
    texts = tf.constant(["abcdef", "ab", "", "\xe9\xe9\xe9\xe9"])
    got = [t.decode(errors="replace") for t in text_codec.newest(texts, own, 3).numpy()]
    last = "\xe9\xe9\xe9" if tokens == "characters" else "\ufffd\xe9"
    assert got == ["def", "ab", "", last]


def test_half_a_character_is_replaced():
    texts = [b"", b"a", b"\xc3", b"\xa9"]
    got = text_codec.decode(tf.constant([[1, 2, 3], [1, 2, 0], [0, 0, 0]]), texts)
    assert [t.decode() for t in got.numpy()] == ["a\xe9", "a\ufffd", ""]


def test_no_ids_are_an_empty_text():
    got = text_codec.decode(tf.zeros([2, 0], tf.int64), [b"", b"a"])
    assert got.numpy().tolist() == [b"", b""]


@pytest.fixture(scope="module")
def characters(tmp_path_factory):
    return transformed(tmp_path_factory.mktemp("characters"), tokens="characters")


@pytest.mark.slow
def test_characters_have_ids_by_frequency_line_breaks_too(characters):
    texts = text_codec.token_texts(
        characters.section["language"], characters.output, "text"
    )
    # Of each text the first eight characters are read: ten "o" there, then three "b".
    assert texts[4] == b"o"
    assert set(texts[4:]) == {
        b"",
        *(c.encode() for c in "tobe\nr \xe9\N{GRINNING FACE}\ufffd\x00"),
    }
    assert len(texts) == 300
    ids, label = characters.columns["text_xf"], characters.columns[LABEL]
    assert (ids[:, 0] == text_codec.START).all()
    assert ids[3].tolist() == [2] + [4] * 7
    assert label[3].tolist() == [4] * 8
    assert ids[2].tolist() == [2, 3, 0, 0, 0, 0, 0, 0]


@pytest.mark.slow
@pytest.mark.parametrize("tokens", ["characters", "bytes", "bpe"])
def test_texts_come_back_from_their_ids(tokens, tmp_path):
    result = transformed(tmp_path, tokens=tokens, length=40)
    texts = text_codec.token_texts(result.section["language"], result.output, "text")
    got = text_codec.decode(tf.constant(result.columns[LABEL]), texts).numpy()
    want = [t if isinstance(t, bytes) else t.encode() for t in TEXTS]
    want = [t.decode(errors="replace").encode() for t in want]
    assert got.tolist() == want


@pytest.mark.slow
def test_what_is_rare_is_unknown(tmp_path):
    result = transformed(tmp_path, tokens="characters", vocabulary=6)
    assert result.columns["text_xf"][1].tolist() == [2, 5, 1, 1, 3, 0, 0, 0]


@pytest.mark.slow
def test_scores_are_what_the_model_loses_on_a_text(characters):
    model, made = answers(characters)
    columns = {n: tf.constant(c) for n, c in characters.columns.items()}
    got = made(columns)
    assert got["scores"].shape == (5, 1)
    shares = tf.nn.softmax(model(characters.columns["text_xf"])).numpy()
    for row, label in enumerate(characters.columns[LABEL]):
        kept = [-np.log(shares[row, t, i]) for t, i in enumerate(label) if i]
        np.testing.assert_allclose(got["scores"][row, 0], np.mean(kept), rtol=1e-5)
    np.testing.assert_allclose(
        got["perplexity"], np.exp(got["scores"][:, 0]), rtol=1e-5
    )


@pytest.mark.slow
def test_a_saved_model_that_was_moved_goes_on_from_prompts(tmp_path):
    result = transformed(tmp_path / "graph")
    _, made = answers(result)
    signatures = made.signatures()
    prompts = tf.constant(["to be", "", "o" * 50, "\xe9" * 50])
    want = signatures["generate"](prompts, max_tokens=tf.constant(20))["text"].numpy()
    tf.saved_model.save(made, str(tmp_path / "model"), signatures)
    shutil.move(tmp_path / "model", tmp_path / "moved")
    shutil.rmtree(tmp_path / "graph")
    saved = tf.saved_model.load(str(tmp_path / "moved"))
    given = {n: tf.constant(*o) for n, o in language_input.OPTIONS.items()}
    given["max_tokens"] = tf.constant(20)
    got = saved.signatures["generate"](prompt=prompts, **given)["text"].numpy()
    assert got.tolist() == want.tolist()
    assert len(set(got.tolist())) == 4
    assert {*b"".join(got).decode()} <= {*"tobe\nr \xe9\N{GRINNING FACE}\ufffd\x00"}


@pytest.mark.slow
def test_all_but_the_prompt_may_be_left_out_of_a_request(characters, tmp_path):
    _, made = answers(characters)
    tf.saved_model.save(made, str(tmp_path), made.signatures())
    stored = SavedModel.FromString((tmp_path / "saved_model.pb").read_bytes())
    defaults = stored.meta_graphs[0].signature_def["generate"].defaults
    got = {name: tf.make_ndarray(value).item() for name, value in defaults.items()}
    assert got == {name: value for name, (value, _) in language_input.OPTIONS.items()}
