"""Token ids and bags of texts."""

import codecs
import math
import shutil
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf

from components import tokens
from tests.components import conftest
from tests.components.records import example
from tests.components.sections import section

DATA = Path(__file__).parents[3] / "shared/data"
CLASSES = {"feature": "label", "classes": ["ham", "spam"]}
SPEC = {name: tf.io.VarLenFeature(tf.string) for name in ("label", "text")}
ODD = ["", "Ünïcödé, ÄÖÜ!", "a\r\nb\tc", "\x00 nul", "日本語 текст \U0001f600", "  "]

FRESH = """
import sys
import numpy, tensorflow
model = tensorflow.saved_model.load(f"{sys.argv[1]}/model")
rows = numpy.load(f"{sys.argv[1]}/rows.npy", allow_pickle=True).tolist()
ids = model.signatures["serving_default"](tensorflow.constant(rows))["ids"]
numpy.save(f"{sys.argv[1]}/ids.npy", ids.numpy())
"""


def options(**keys):
    return section(text=keys, label=CLASSES)["text"]


def vectorize(texts, **keys):
    return tokens.vectorize(tf.constant(texts, tf.string), options(**keys)).numpy()


def messages(count):
    path = DATA / "sms-spam/SMSSpamCollection"
    if not path.exists():
        pytest.skip("needs the data set sms-spam")
    lines = path.read_text(encoding="utf-8").split("\n")[:count]
    return [line.split("\t", 1)[1] for line in lines]


def transformed(texts, folder, **keys):
    """Learn from texts and return what became of them, and the graph."""
    rows = [{"label": "ham", "text": text} if text else {} for text in texts]
    return conftest.transform(section(text=keys, label=CLASSES), rows, SPEC, folder)


def vocabulary(result):
    path = Path(result.output.transform_savedmodel_dir) / "assets" / "text"
    return path.read_bytes().split(b"\n")[:-1]


def test_how_many_ids_there_are():
    assert tokens.num_ids(options(tokens="words", vocabulary=500)) == 500
    assert tokens.num_ids(options(tokens="bytes", vocabulary=500)) == 258
    assert tokens.num_ids(options(tokens="bpe", vocabulary=500)) == 500
    with pytest.raises(ValueError, match="must be above 258"):
        options(tokens="bpe", vocabulary=258)


@pytest.mark.parametrize(
    "text", ["TITLE İ", "ÄPFEL ΑΣ ДОМ", "ẞ ǅ", "plain", "", "\r\n\ufffd\x7f\U0001f600"]
)
def test_texts_are_lowered_as_in_python(text):
    assert tokens.lower(tf.constant([text])).numpy()[0].decode() == text.lower()


@pytest.mark.parametrize(
    ("text", "want"),
    [(b"A\x00B\xc3\x84", b"a\x00b\xc3\x84"), (b"A\xffB", b"a\xffb")],
)
def test_of_odd_bytes_only_ascii_is_lowered_and_nothing_is_lost(text, want):
    assert tokens.lower(tf.constant([text])).numpy()[0] == want


def test_words_are_those_of_keras():
    texts = [*messages(300), "", "  ", "it's (a) [TEST] of\x0bwhite\x0cspace_and-signs"]
    ascii_only = [text.encode("ascii", "ignore").decode() for text in texts]
    words = tokens.split_words(tokens.lower(tf.constant(ascii_only)))
    known = sorted(set(words.values.numpy()))[::2]  # the others are unknown
    layer = keras.layers.TextVectorization(vocabulary=[w.decode() for w in known])
    ids = {word: i + 2 for i, word in enumerate(known)}
    want = layer(tf.constant(ascii_only)).numpy()
    got = [[ids.get(word, 1) for word in row] for row in words.to_list()]
    assert [row[row != 0].tolist() for row in want] == got


def test_bytes_have_ids_from_two_on():
    got = vectorize(["Ab", "", b"\x00\xff"], tokens="bytes", length=3)
    assert got.tolist() == [[99, 100, 0], [0, 0, 0], [2, 257, 0]]
    got = vectorize(["Ab"], tokens="bytes", length=3, lower=False)
    assert got.tolist() == [[67, 100, 0]]


def test_a_long_text_is_cut_to_its_length():
    got = vectorize(["abcdef", "é" * 9], tokens="bytes", length=3)
    assert got.tolist() == [[99, 100, 101], [197, 171, 197]]


def test_a_bag_counts_all_tokens_but_no_padding():
    got = vectorize(["abca", "", "z" * 500], tokens="bytes", output="counts", length=2)
    assert got.shape == (3, 258)
    assert got.dtype == np.float32
    assert {i: int(n) for i, n in enumerate(got[0]) if n} == {99: 2, 100: 1, 101: 1}
    assert got.sum(axis=1).tolist() == [4, 0, 500]


def test_no_texts_have_no_rows():
    assert vectorize([], tokens="bytes", length=3).shape == (0, 3)
    assert vectorize([], tokens="bytes", output="counts").shape == (0, 258)


@pytest.mark.slow
def test_words_have_ids_by_frequency_and_others_are_unknown(tmp_path):
    texts = ["b b b a a c", "B! a, d", "", "\x00\xfe".encode("latin-1")]
    result = transformed(texts, tmp_path, tokens="words", vocabulary=4, length=7)
    assert result.columns["text_xf"].tolist() == [
        [2, 2, 2, 3, 3, 1, 0],
        [2, 3, 1, 0, 0, 0, 0],
        [0, 0, 0, 0, 0, 0, 0],
        [1, 0, 0, 0, 0, 0, 0],
    ]
    assert vocabulary(result) == [b"b", b"a"]


@pytest.mark.slow
def test_rare_tokens_weigh_more(tmp_path):
    texts = ["a a b", "a c", "a", ""]
    keys = {"tokens": "words", "vocabulary": 5, "output": "tfidf"}
    result = transformed(texts, tmp_path, **keys)
    assert vocabulary(result) == [b"a", b"c", b"b"]
    # 4 texts; a is in three of them, b and c in one
    often, rare = 1 + math.log(5 / 4), 1 + math.log(5 / 2)
    want = [
        [0, 0, 2 * often, 0, rare],
        [0, 0, often, rare, 0],
        [0, 0, often, 0, 0],
        [0, 0, 0, 0, 0],
    ]
    np.testing.assert_allclose(result.columns["text_xf"], want, rtol=1e-6)


@pytest.fixture(scope="module")
def byte_pairs(tmp_path_factory):
    """Messages and odd texts, and the byte pairs they are made of."""
    texts = messages(2000) + ODD
    keys = {"tokens": "bpe", "vocabulary": 900, "length": 1000}
    return texts, transformed(texts, tmp_path_factory.mktemp("bpe"), **keys)


@pytest.mark.slow
def test_texts_come_back_from_their_byte_pairs(byte_pairs):
    texts, result = byte_pairs
    lines = vocabulary(result)
    assert len(lines) == 900 - 258
    known = [bytes([byte]) for byte in range(256)]
    known += [codecs.escape_decode(line.split(b"\t")[1])[0] for line in lines]
    for text, ids in zip(texts, result.columns["text_xf"], strict=True):
        decoded = b"".join(known[i - 2] for i in ids if i != 0)
        assert decoded == tokens.lower(tf.constant(text)).numpy()
    used = (result.columns["text_xf"] != 0).sum()
    assert used < 0.5 * sum(len(text.encode()) for text in texts)


@pytest.mark.slow
def test_a_model_carries_its_vocabulary_to_a_process_that_knows_nothing(
    byte_pairs, tmp_path
):
    texts, result = byte_pairs
    graph = tmp_path / "graph"
    shutil.copytree(result.output.transform_savedmodel_dir, graph)
    loaded = tf.saved_model.load(str(graph))
    spec = [tf.TensorSpec([None], tf.string)]

    def serve(examples):
        features = tf.io.parse_example(examples, SPEC)
        return {"ids": loaded.transform_fn(features)["text_xf"]}

    model = tf.Module()
    model.graph = loaded
    traced = tf.function(serve, input_signature=spec).get_concrete_function()
    tf.saved_model.save(model, str(tmp_path / "model"), {"serving_default": traced})
    shutil.rmtree(graph)
    rows = [example(text=text) for text in texts[:50]]
    np.save(tmp_path / "rows.npy", np.array(rows, object))
    done = subprocess.run(
        [sys.executable, "-c", FRESH, str(tmp_path)], capture_output=True, check=False
    )
    assert done.returncode == 0, done.stderr.decode()
    want = result.columns["text_xf"][:50]
    assert np.load(tmp_path / "ids.npy").tolist() == want.tolist()


@pytest.mark.slow
def test_a_text_has_the_byte_pairs_it_has_among_others_however_long(tmp_path):
    texts = [*messages(200), *ODD, "the word " * 200, "x" * 5000]
    keys = {"tokens": "bpe", "vocabulary": 400, "length": 9}
    result = transformed(texts, tmp_path, **keys)
    layer = result.output.transform_features_layer()
    for text, want in zip(texts, result.columns["text_xf"].tolist(), strict=True):
        row = {"text": text} if text else {}
        alone = layer(tf.io.parse_example([example(**row)], SPEC))["text_xf"]
        assert alone.numpy().tolist() == [want]
    assert 0 not in result.columns["text_xf"][-2]  # not cut too early


@pytest.mark.slow
def test_texts_without_a_repeated_pair_are_bytes(tmp_path):
    keys = {"tokens": "bpe", "vocabulary": 300, "length": 3}
    result = transformed(["a", "b"], tmp_path, **keys)
    assert result.columns["text_xf"].tolist() == [[99, 0, 0], [100, 0, 0]]
