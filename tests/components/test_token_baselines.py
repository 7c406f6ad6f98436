"""Simple models of texts: their scores on a few tokens, worked out by hand."""

import math

import pytest
import tensorflow as tf

from components import token_baselines
from components.columns import LABEL
from tests.components.sections import section

LANGUAGE = section(label=None, language={"length": 3, "vocabulary": 6})
PAIRS = section(
    label=None, pairs={"source_length": 3, "target_length": 3, "vocabulary": 8}
)


def write(folder, *rows):
    """Write rows of ids, column -> list, as transformed examples; return the spec."""
    folder.mkdir()
    with tf.io.TFRecordWriter(str(folder / "x.gz"), "GZIP") as file:
        for row in rows:
            ids = {name: _feature(values) for name, values in row.items()}
            features = tf.train.Features(feature=ids)
            file.write(tf.train.Example(features=features).SerializeToString())
    return {
        name: tf.io.FixedLenFeature([len(values)], tf.int64)
        for name, values in rows[0].items()
    }


def _feature(values):
    return tf.train.Feature(int64_list=tf.train.Int64List(value=values))


def test_counts_with_one_added_give_the_cross_entropy(tmp_path):
    spec = write(tmp_path / "train", {"text_xf": [2, 4, 5], LABEL: [4, 5, 0]})
    write(tmp_path / "test", {"text_xf": [2, 4, 4], LABEL: [4, 4, 0]})
    got, losses = token_baselines.compare(
        tmp_path / "train", tmp_path / "test", spec, LANGUAGE
    )
    assert losses["unigram"] == pytest.approx([-math.log(2 / 8)])
    # Of 6 ids, 4 and 5 were seen once: 2 of 8 each. After 2 came 4: 2 of 7; after 4
    # came 5, so that 4 has 1 of 7. Padding counts nowhere.
    assert got["unigram"]["cross_entropy"] == pytest.approx(-math.log(2 / 8))
    want = -(math.log(2 / 7) + math.log(1 / 7)) / 2
    assert got["bigram"]["cross_entropy"] == pytest.approx(want)
    assert "copy" not in got


def test_a_copy_is_right_where_both_texts_are_the_same(tmp_path):
    same = {"source_xf": [4, 5, 3], "target_xf": [2, 4, 5], LABEL: [4, 5, 3]}
    other = {"source_xf": [4, 5, 3], "target_xf": [2, 5, 4], LABEL: [5, 4, 3]}
    spec = write(tmp_path / "train", same)
    write(tmp_path / "test", same, other, other, other)
    got, _ = token_baselines.compare(tmp_path / "train", tmp_path / "test", spec, PAIRS)
    assert got["copy"] == {"exact_match": 0.25}
