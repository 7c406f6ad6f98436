"""Simple models on data whose scores are known by hand."""

import json

import numpy as np
import pytest
import tensorflow as tf
from scipy import sparse

from components import baselines
from tests.components.records import example, write

# One number, split at zero; two thirds of `train` are of class 1, half of `test`.
TRAIN = (np.array([[-2.0], [-1.0], [1.0], [2.0], [3.0], [4.0]]), [0, 0, 1, 1, 1, 1])
TEST = (np.array([[-3.0], [-1.5], [1.5], [3.0]]), [0, 0, 1, 1])


def data(pair):
    return pair[0], np.array(pair[1])


def test_scores_on_separable_data():
    got = baselines.compare(data(TRAIN), data(TEST), num_classes=2)
    assert got == {
        "majority": {"accuracy": 0.5, "auc": 0.5},
        "logistic_regression": {"accuracy": 1.0, "auc": 1.0},
    }


def test_sparse_columns_give_the_scores_of_dense_ones():
    thin = [(sparse.csr_matrix(x), np.array(y)) for x, y in (TRAIN, TEST)]
    assert baselines.compare(*thin, num_classes=2) == baselines.compare(
        data(TRAIN), data(TEST), num_classes=2
    )


def test_more_classes_have_no_auc():
    train = (np.array([[-5.0], [0.0], [5.0]] * 4), np.array([0, 1, 2] * 4))
    test = (np.array([[-5.0], [0.0], [5.0], [5.0]]), np.array([0, 1, 2, 2]))
    got = baselines.compare(train, test, num_classes=3)
    assert got["logistic_regression"] == {"accuracy": 1.0}
    assert got["majority"] == {"accuracy": 0.25}  # all are as frequent: the first


def test_a_class_that_train_lacks_is_never_guessed():
    test = (np.array([[5.0], [-5.0], [5.0], [-5.0]]), np.array([2, 0, 3, 1]))
    train = (np.array([[-5.0], [5.0]] * 4), np.array([0, 2] * 4))
    got = baselines.compare(train, test, num_classes=4)
    assert got["logistic_regression"] == {"accuracy": 0.5}


def test_one_class_leaves_the_majority_vote_only():
    train = (np.array([[1.0], [2.0]]), np.array([1, 1]))
    got = baselines.compare(train, data(TEST), num_classes=2)
    assert got == {"majority": {"accuracy": 0.5, "auc": 0.5}}


def test_a_table_becomes_one_hot_ids_beside_its_numbers(tmp_path):
    transform = {
        "label": {"feature": "y", "classes": None},
        "image": None,
        "numeric": ["a"],
        "buckets": {"b": 2},
        "vocabulary": {},
    }
    spec = {
        "a_xf": tf.io.FixedLenFeature([1], tf.float32),
        "b_xf": tf.io.FixedLenFeature([1], tf.int64),
        "strata_label": tf.io.FixedLenFeature([1], tf.int64),
    }
    rows = [
        example(a_xf=0.5, b_xf=2, strata_label=1),
        example(a_xf=-1.0, b_xf=0, strata_label=0),
    ]
    write(tmp_path / "a.gz", rows)
    columns, labels = baselines.load(tmp_path, spec, transform)
    assert columns.toarray().tolist() == [[0.5, 0, 0, 1], [-1.0, 1, 0, 0]]
    assert labels.tolist() == [1, 0]


def test_an_image_becomes_a_row_of_pixels_from_0_to_1(tmp_path):
    transform = {
        "label": {"feature": "y", "classes": [0, 1]},
        "image": {"feature": "scan", "shape": [1, 2, 1]},
    }
    spec = {
        "scan_xf": tf.io.FixedLenFeature([1], tf.string),
        "strata_label": tf.io.FixedLenFeature([1], tf.int64),
    }
    png = tf.io.encode_png(np.array([[[0], [255]]], np.uint8)).numpy()
    write(tmp_path / "a.gz", [example(scan_xf=png, strata_label=1)])
    columns, labels = baselines.load(tmp_path, spec, transform)
    np.testing.assert_allclose(columns, [[0.0, 1.0]])
    assert labels.tolist() == [1]


@pytest.mark.parametrize(
    ("scores", "want"),
    [
        (
            {"majority": {"accuracy": 0.7, "auc": 0.5}},
            "majority auc 0.5000",
        ),
        (
            {"majority": {"accuracy": 0.1}, "logistic_regression": {"accuracy": 0.9}},
            "majority accuracy 0.1000 · logistic regression accuracy 0.9000",
        ),
    ],
)
def test_figures_lead_with_auc_where_there_is_one(scores, want, tmp_path):
    (tmp_path / baselines.FILE_NAME).write_text(json.dumps(scores))
    got = baselines.figures({"scores": str(tmp_path)})
    assert got == {"summary": want, "scores": scores}
