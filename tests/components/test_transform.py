"""What becomes of raw features, missing values included."""

import numpy as np
import pytest
import tensorflow as tf

from components import transform
from tests.components import conftest
from tests.components.records import example
from tests.components.sections import section

OPTIONS = section(
    label={"feature": "sold", "classes": [0, 1]},
    scale=["price"],
    buckets={"age": 2},
    vocabulary={"note": 1},
    hash={"shop": 50, "size": 50},
    calendar={"seen": ["hour", "weekday", "weekend"], "made": ["month"]},
    crosses={
        "shop_size": {"features": ["shop", "size"], "ids": 1000},
        "shop_age": {"features": ["shop", "age"], "ids": 1000},
    },
)
MIDNIGHT = 1467331200  # 2016-07-01, a Friday
SHOPS = [
    {"price": 0.0, "age": 1, "shop": "7", "size": 7, "seen": "2016-07-02 23:59"},
    {"price": 5.0, "age": 2, "shop": "7", "size": 8, "seen": "2016-07-01T13:45:00Z"},
    {"price": 10.0, "age": 8, "shop": "north", "size": 7, "seen": "last week"},
    {"age": 9, "shop": "7", "made": MIDNIGHT - 1, "note": "on\ntwo lines"},
    {"size": 7, "made": MIDNIGHT, "note": "one line"},
    {},
]
SHOPS = [{"sold": i % 2, **row} for i, row in enumerate(SHOPS)]
SHOP_TYPES = dict.fromkeys(["sold", "age", "size", "made"], tf.int64)
SHOP_TYPES |= dict.fromkeys(["shop", "seen", "note"], tf.string)
SHOP_TYPES |= {"price": tf.float32}
SHOP_SPEC = {name: tf.io.VarLenFeature(dtype) for name, dtype in SHOP_TYPES.items()}


@pytest.fixture(scope="module")
def shops():
    """Columns of what needs nothing learned, without a Beam pipeline."""
    learned = {"scale": [], "buckets": {}, "vocabulary": {}}
    crosses = {"shop_size": OPTIONS["crosses"]["shop_size"]}
    features = tf.io.parse_example([example(**row) for row in SHOPS], SHOP_SPEC)
    columns = transform.preprocessing_fn(
        features, {"transform": OPTIONS | learned | {"crosses": crosses}}
    )
    return {name: column.numpy()[:, 0] for name, column in columns.items()}


@pytest.fixture(scope="module")
def learned(tmp_path_factory):
    folder = tmp_path_factory.mktemp("shops")
    return conftest.transform(OPTIONS, SHOPS, SHOP_SPEC, folder)


def transformed(data, rows, spec):
    """Return what the saved graph makes of some rows, as lists."""
    features = tf.io.parse_example([example(**row) for row in rows], spec)
    columns = data.output.transform_features_layer()(features)
    return {name: column.numpy()[:, 0].tolist() for name, column in columns.items()}


def check_alone_as_among_others(data, spec):
    together = transformed(data, data.rows, spec)
    for i, row in enumerate(data.rows):
        alone = transformed(data, [row], spec)
        assert alone == {name: [column[i]] for name, column in together.items()}


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


def test_a_hash_depends_on_the_text_form_alone_and_missing_is_the_last_id(shops):
    shop, size = shops["shop_xf"], shops["size_xf"]
    assert shop[0] == shop[1] == shop[3] == size[0] == size[2]  # "7" and 7
    assert len({shop[0], shop[2], size[1]}) == 3
    assert shop[4] == shop[5] == size[3] == 50


def test_times_become_their_parts(shops):
    assert shops["seen_hour_xf"].tolist() == [23, 13, 24, 24, 24, 24]
    assert shops["seen_weekday_xf"].tolist() == [5, 4, 7, 7, 7, 7]
    assert shops["seen_weekend_xf"].tolist() == [1, 0, 2, 2, 2, 2]
    assert shops["made_month_xf"].tolist() == [12, 12, 12, 5, 6, 12]


def test_a_cross_tells_every_combination_apart_missing_ones_too(shops):
    crossed = shops["shop_size_xf"].tolist()
    assert len(set(crossed)) == len(crossed)


def test_a_record_is_transformed_alone_as_among_others(table):
    check_alone_as_among_others(table, conftest.TABLE_SPEC)


def test_every_input_is_there_in_order_with_its_number_of_ids():
    counts = transform.num_ids(OPTIONS)
    assert list(counts.items()) == [
        ("price", None),
        ("age", 3),
        ("note", 3),
        ("shop", 51),
        ("size", 51),
        ("seen_hour", 25),
        ("seen_weekday", 8),
        ("seen_weekend", 3),
        ("made_month", 13),
        ("shop_size", 1000),
        ("shop_age", 1000),
    ]


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


@pytest.mark.slow
def test_numbers_are_scaled_to_0_to_1_and_a_missing_one_is_in_the_middle(learned):
    np.testing.assert_allclose(learned.columns["price_xf"], [0, 0.5, 1, 0.5, 0.5, 0.5])


@pytest.mark.slow
def test_a_number_beyond_those_of_train_is_cut_to_0_to_1(learned):
    rows = [{"price": -3.0}, {"price": 1e9}]
    assert transformed(learned, rows, SHOP_SPEC)["price_xf"] == [0.0, 1.0]


@pytest.mark.slow
def test_a_number_in_buckets_is_crossed_by_its_bucket(learned):
    crossed = learned.columns["shop_age_xf"].tolist()
    assert learned.columns["age_xf"].tolist() == [0, 0, 1, 1, 2, 2]
    assert crossed[0] == crossed[1]  # ages 1 and 2 of the same shop
    assert len(set(crossed)) == 4
    assert crossed[4] == crossed[5]  # neither shop nor age


@pytest.mark.slow
def test_a_value_with_a_line_break_is_not_in_the_vocabulary(learned):
    assert learned.columns["note_xf"].tolist() == [2, 2, 2, 1, 0, 2]


@pytest.mark.slow
def test_a_record_is_transformed_alone_as_among_others_whatever_it_needs(learned):
    check_alone_as_among_others(learned, SHOP_SPEC)


@pytest.mark.slow
def test_the_saved_graph_makes_of_records_what_the_function_makes(shops, learned):
    for name, column in shops.items():
        assert learned.columns[name].tolist() == column.tolist()


@pytest.mark.slow
def test_every_input_has_a_column_of_ids_below_their_number(learned):
    counts = transform.num_ids(OPTIONS)
    assert {f"{name}_xf" for name in counts} | {transform.LABEL} == set(learned.columns)
    for name, count in counts.items():
        assert learned.columns[f"{name}_xf"].max() < (count or 2)
