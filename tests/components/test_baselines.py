"""Simple models on data whose scores are known by hand."""

import json

import numpy as np
import pytest
import tensorflow as tf
from scipy import sparse

from components import baselines
from tests.components.records import example, write
from tests.components.sections import section

# One number, split at zero; two thirds of `train` are of class 1, half of `test`.
TRAIN = (np.array([[-2.0], [-1.0], [1.0], [2.0], [3.0], [4.0]]), [0, 0, 1, 1, 1, 1])
TEST = (np.array([[-3.0], [-1.5], [1.5], [3.0]]), [0, 0, 1, 1])
CLASSES = {"feature": "y", "classes": [0, 1]}


def data(pair):
    return pair[0], np.array(pair[1])


def compare(train, test, *, num_classes):
    found = baselines.guess(train, test, num_classes=num_classes)
    return {name: baselines.scores_of(test[1], one) for name, one in found.items()}


def test_scores_on_separable_data():
    got = compare(data(TRAIN), data(TEST), num_classes=2)
    assert got == {
        # One of two that are said to be class 1 is: precision 1/2, recall 1.
        "majority": {"accuracy": 0.5, "auc": 0.5, "f1": 2 / 3},
        "logistic_regression": {"accuracy": 1.0, "auc": 1.0, "f1": 1.0},
    }


def test_trees_learn_what_no_line_separates():
    cells = np.tile(np.arange(8, dtype=np.float32), 64)[:, None]
    labels = ((cells[:, 0] > 1) & (cells[:, 0] < 6)).astype(int)
    got = baselines.guess_by_trees((cells, labels), (cells, labels), num_classes=2)
    assert (got["gradient_boosted_trees"].argmax(axis=1) == labels).all()
    alone = (cells, np.zeros(len(cells), int))
    assert baselines.guess_by_trees(alone, alone, num_classes=2) == {}


def test_sparse_columns_give_the_scores_of_dense_ones():
    thin = [(sparse.csr_matrix(x), np.array(y)) for x, y in (TRAIN, TEST)]
    assert compare(*thin, num_classes=2) == compare(
        data(TRAIN), data(TEST), num_classes=2
    )


def test_more_classes_have_no_auc():
    train = (np.array([[-5.0], [0.0], [5.0]] * 4), np.array([0, 1, 2] * 4))
    test = (np.array([[-5.0], [0.0], [5.0], [5.0]]), np.array([0, 1, 2, 2]))
    got = compare(train, test, num_classes=3)
    assert got["logistic_regression"] == {"accuracy": 1.0}
    assert got["majority"] == {"accuracy": 0.25}  # all are as frequent: the first


def test_a_class_that_train_lacks_is_never_guessed():
    test = (np.array([[5.0], [-5.0], [5.0], [-5.0]]), np.array([2, 0, 3, 1]))
    train = (np.array([[-5.0], [5.0]] * 4), np.array([0, 2] * 4))
    got = compare(train, test, num_classes=4)
    assert got["logistic_regression"] == {"accuracy": 0.5}


def test_one_class_leaves_the_majority_vote_only():
    train = (np.array([[1.0], [2.0]]), np.array([1, 1]))
    got = compare(train, data(TEST), num_classes=2)
    assert got == {"majority": {"accuracy": 0.5, "auc": 0.5, "f1": 2 / 3}}


def spec(**shapes):
    """Return how transformed columns are stored, by (length, dtype)."""
    shapes["strata_label"] = (1, tf.int64)
    return {n: tf.io.FixedLenFeature([s], d) for n, (s, d) in shapes.items()}


def texts(**options):
    return section(text={"length": 3, **options}, label=CLASSES)


def with_list(values):
    """Return a serialized tf.Example with a list in `text_xf`."""
    packed = tf.train.Example.FromString(example(strata_label=1))
    feature = packed.features.feature["text_xf"]
    numbers = feature.int64_list if isinstance(values[0], int) else feature.float_list
    numbers.value.extend(values)
    return packed.SerializeToString()


def test_a_table_becomes_one_hot_ids_beside_its_numbers(tmp_path):
    transform = section(numeric=["a"], buckets={"b": 2})
    rows = [
        example(a_xf=0.5, b_xf=2, strata_label=1),
        example(a_xf=-1.0, b_xf=0, strata_label=0),
    ]
    write(tmp_path / "a.gz", rows)
    columns, labels = baselines.load(
        tmp_path, spec(a_xf=(1, tf.float32), b_xf=(1, tf.int64)), transform
    )
    assert columns.toarray().tolist() == [[0.5, 0, 0, 1], [-1.0, 1, 0, 0]]
    assert labels.tolist() == [1, 0]


def test_crosses_hashes_and_parts_of_times_are_one_hot_too(tmp_path):
    transform = section(
        hash={"a": 2},
        calendar={"t": ["weekend"]},
        crosses={"b": {"features": ["a", "t"], "ids": 2}},
    )
    row = example(a_xf=1, t_weekend_xf=2, b_xf=0, strata_label=1)
    write(tmp_path / "a.gz", [row])
    names = ("a_xf", "t_weekend_xf", "b_xf")
    stored = spec(**dict.fromkeys(names, (1, tf.int64)))
    columns, _ = baselines.load(tmp_path, stored, transform)
    assert columns.toarray().tolist() == [[0, 1, 0, 0, 0, 1, 1, 0]]


def test_the_tokens_of_a_text_are_counted_but_not_the_padding(tmp_path):
    transform = texts(vocabulary=5)
    rows = [[4, 2, 4], [1, 0, 0], [0, 0, 0]]
    write(tmp_path / "a.gz", map(with_list, rows))
    columns, _ = baselines.load(tmp_path, spec(text_xf=(3, tf.int64)), transform)
    want = [[0, 0, 1, 0, 2], [0, 1, 0, 0, 0], [0, 0, 0, 0, 0]]
    assert columns.toarray().tolist() == want


def test_a_bag_of_tokens_is_taken_as_it_is(tmp_path):
    transform = texts(vocabulary=4, output="tfidf")
    write(tmp_path / "a.gz", [with_list([0.0, 0.5, 0.0, 2.0])])
    columns, _ = baselines.load(tmp_path, spec(text_xf=(4, tf.float32)), transform)
    assert sparse.issparse(columns)
    assert columns.toarray().tolist() == [[0, 0.5, 0, 2]]


@pytest.mark.parametrize(
    ("normalize", "want"), [("none", [0.0, 1.0]), ("signed", [-1.0, 1.0])]
)
def test_an_image_becomes_a_row_of_pixels_from_0_to_1_or_as_scaled(
    normalize, want, tmp_path
):
    image = {"feature": "scan", "shape": [1, 2, 1], "normalize": normalize}
    png = tf.io.encode_png(np.array([[[0], [255]]], np.uint8)).numpy()
    write(tmp_path / "a.gz", [example(scan_xf=png, strata_label=1)])
    columns, labels = baselines.load(
        tmp_path, spec(scan_xf=(1, tf.string)), section(image=image, label=CLASSES)
    )
    np.testing.assert_allclose(columns, [want])
    assert labels.tolist() == [1]


def test_sound_is_scaled_by_what_train_is_like():
    train = (np.array([[1.0, 5.0], [3.0, 5.0]]), np.array([0, 1]))
    test = (np.array([[5.0, 6.0]]), np.array([1]))
    (train, _), (test, _) = baselines.standardized(train, test)
    assert train.tolist() == [[-1.0, 0.0], [1.0, 0.0]]
    assert test.tolist() == [[3.0, 1.0]]  # a column that is constant is only moved


def test_of_too_many_examples_some_are_taken_from_everywhere(tmp_path, monkeypatch):
    monkeypatch.setattr(baselines, "MAX_EXAMPLES", 3)
    for part in range(2):
        rows = [example(a_xf=float(part * 4 + i), strata_label=0) for i in range(4)]
        write(tmp_path / f"{part}.gz", rows)
    columns, _ = baselines.load(
        tmp_path, spec(a_xf=(1, tf.float32)), section(numeric=["a"])
    )
    assert columns.toarray().tolist() == [[0.0], [3.0], [6.0]]


def test_pixels_count_towards_the_limit_of_memory(tmp_path, monkeypatch):
    monkeypatch.setattr(baselines, "MAX_VALUES", 4)
    png = tf.io.encode_png(np.zeros((1, 2, 1), np.uint8)).numpy()
    write(tmp_path / "a.gz", [example(scan_xf=png, strata_label=i) for i in range(6)])
    columns, labels = baselines.load(
        tmp_path,
        spec(scan_xf=(1, tf.string)),
        section(image={"feature": "scan", "shape": [1, 2, 1]}, label=CLASSES),
    )
    assert columns.shape == (2, 2)
    assert labels.tolist() == [0, 3]


def test_a_large_fit_is_stopped_early_without_a_warning(monkeypatch):
    rng = np.random.default_rng(0)
    features, labels = rng.normal(size=(60, 3)) * [1, 1e4, 1e-4], np.arange(60) % 2
    monkeypatch.setattr(baselines, "MIN_ROUNDS", 2)
    monkeypatch.setattr(baselines, "MAX_WORK", 0)
    assert baselines._fit(features, labels).n_iter_.tolist() == [2]


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
