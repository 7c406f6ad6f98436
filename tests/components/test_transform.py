"""What becomes of raw features, missing values included."""

import numpy as np
import pytest
import tensorflow as tf

from components import transform


def label(feature, classes):
    section = {"feature": "kind", "classes": classes, "above": None}
    return transform._label({"kind": feature}, section).numpy().tolist()


def test_the_columns_are_those_of_the_recipe(table):
    want = {"miles_xf", "speed_xf", "age_xf", "town_xf", "day_xf", "strata_label"}
    assert set(table.columns) == want
    dtypes = {name: column.dtype.name for name, column in table.columns.items()}
    assert dtypes.pop("miles_xf") == dtypes.pop("speed_xf") == "float32"
    assert set(dtypes.values()) == {"int64"}


def test_numbers_become_z_scores_and_a_missing_one_the_mean(table):
    # 1, 2, 3: mean 2, variance 2/3
    want = [-np.sqrt(1.5), 0.0, np.sqrt(1.5), 0.0, 0.0, 0.0, 0.0]
    np.testing.assert_allclose(table.columns["miles_xf"], want, atol=1e-6)


def test_a_column_without_gaps_is_scaled_the_same(table):
    # 0 to 6: mean 3, variance 4
    want = (np.arange(7) - 3) / 2
    np.testing.assert_allclose(table.columns["speed_xf"], want, atol=1e-6)


def test_numbers_fall_into_quantile_buckets_and_a_missing_one_into_its_own(table):
    ids = table.columns["age_xf"].tolist()
    assert ids[0] == 0
    assert ids[3] == 1
    assert ids[:4] == sorted(ids[:4])
    assert ids[4:] == [2, 2, 2]  # of 2 buckets: 0 and 1


def test_texts_become_ids_by_frequency(table):
    # b thrice, a twice; c is not kept; missing
    assert table.columns["town_xf"].tolist() == [0, 0, 0, 1, 1, 2, 3]


def test_whole_numbers_may_be_ids_too(table):
    # 1 twice, 7 once, of 7 that would be kept: missing has the last id all the same
    assert table.columns["day_xf"].tolist() == [0, 0, 1, 8, 8, 8, 8]


def test_the_label_is_whether_the_ratio_is_above_the_bound(table):
    # 0.1, 0.3, 0.2 itself, 9 of 0, 9 of nothing, 0.5, 0
    assert table.columns["strata_label"].tolist() == [0, 1, 0, 0, 0, 1, 0]


def test_ids_stay_below_what_the_model_is_built_for(table):
    for name, count in transform.num_ids(table.section).items():
        if count is not None:
            assert table.columns[f"{name}_xf"].max() < count
    assert transform.num_ids(table.section) == {
        "miles": None,
        "speed": None,
        "age": 3,
        "town": 4,
        "day": 9,
    }


def test_an_image_passes_through_with_its_class_index(images):
    assert images.columns["strata_label"].tolist() == [2, 0, 1, 0]  # 8, 3, 5, 3
    assert images.columns["scan_xf"].tolist() == [row["scan"] for row in images.rows]


def test_a_class_is_its_index_in_the_recipe():
    assert label(tf.constant([[b"no"], [b"yes"]]), ["yes", "no"]) == [[1], [0]]
    assert label(tf.constant([[7], [3]], tf.int64), [3, 7, 9]) == [[1], [0]]


def test_a_sparse_class_is_its_index_too():
    column = tf.sparse.from_dense(tf.constant([[b"b"], [b"a"]]))
    assert label(column, ["a", "b"]) == [[1], [0]]


@pytest.mark.parametrize(
    ("missing", "want"), [(0.0, [[5.0], [0.0]]), (9.0, [[5], [9]])]
)
def test_a_missing_cell_is_filled(missing, want):
    column = tf.SparseTensor([[0, 0]], [5.0], [2, 1])
    assert transform._dense(column, missing).numpy().tolist() == want
    empty = tf.SparseTensor(tf.zeros([0, 2], tf.int64), tf.zeros([0]), [2, 0])
    assert transform._dense(empty, missing).numpy().tolist() == [[missing]] * 2


def test_figures_tell_the_size_of_each_vocabulary(table):
    folder = table.output.transform_savedmodel_dir.removesuffix("/transform_fn")
    got = transform.figures({"transform_graph": folder})
    assert got["vocabulary_sizes"] == {"town": 2, "day": 2}
    assert got["summary"] == "6 columns, 2 vocabularies, in the model"
