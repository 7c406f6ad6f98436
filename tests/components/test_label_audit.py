"""Labels flipped on purpose are found; where nothing can be judged, that is said."""

import io
import json
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image
from scipy import sparse
from sklearn.datasets import load_digits

from components import label_audit
from recipes.transform import Transform
from tests.components.artifacts import examples
from tests.components.conftest import transform as analyze
from tests.components.records import example


def test_a_label_is_doubted_where_another_class_passes_its_usual_confidence():
    # Usual confidence: 0.9 in class 0 (of 0.9 x 9 and 0.05), 0.9 in class 1.
    sure = [[0.95, 0.05]] * 9 + [[0.05, 0.95]] + [[0.05, 0.95]] * 10
    got = label_audit.doubt(np.array([0] * 10 + [1] * 10), np.array(sure))
    assert got.rows.tolist() == [9]
    assert got.likely.tolist() == [0] * 9 + [1] * 11
    assert got.scores[9] == pytest.approx(0.05)
    assert got.noise_rate == pytest.approx(1 / 20)


def test_a_close_call_is_no_doubt():
    sure = [[0.95, 0.05]] * 9 + [[0.3, 0.7]] + [[0.4, 0.6]] * 10
    got = label_audit.doubt(np.array([0] * 10 + [1] * 10), np.array(sure))
    assert got.rows.tolist() == []


def test_classes_that_no_record_has_change_nothing():
    sure = np.array([[0.95, 0.05]] * 9 + [[0.05, 0.95]] * 11)
    wide = np.zeros((20, 5))
    wide[:, [1, 4]] = sure
    labels = np.array([0] * 10 + [1] * 10)
    got = label_audit.doubt(np.array([1, 4])[labels], wide)
    assert got.rows.tolist() == label_audit.doubt(labels, sure).rows.tolist()
    assert got.likely.tolist() == [1] * 9 + [4] * 11


@pytest.mark.parametrize("is_table", [True, False])
def test_flipped_labels_of_separate_groups_are_found(is_table):
    random = np.random.default_rng(0)
    labels = np.arange(240) % 3
    features = random.normal(size=(240, 4)) + 6 * np.eye(4)[labels]
    given = labels.copy()
    given[[10, 100, 200]] = (given[[10, 100, 200]] + 1) % 3
    probabilities = label_audit.out_of_fold(
        features.astype("float32"), given, is_table=is_table
    )
    got = label_audit.doubt(given, probabilities)
    assert sorted(got.rows) == [10, 100, 200]
    np.testing.assert_array_equal(got.likely[got.rows], labels[got.rows])
    np.testing.assert_allclose(probabilities.sum(axis=1), 1)


def test_a_class_of_one_record_is_survived():
    random = np.random.default_rng(0)
    labels = np.array([0] * 30 + [1] * 29 + [2])
    features = random.normal(size=(60, 2)).astype("float32")
    probabilities = label_audit.out_of_fold(features, labels, is_table=False)
    assert probabilities.shape == (60, 3)
    assert np.isfinite(label_audit.doubt(labels, probabilities).scores).all()


def graph_of(made):
    return str(Path(made.output.transform_savedmodel_dir).parent)


def test_a_wrong_row_of_a_table_is_named_with_its_likely_label(table, tmp_path):
    def trip(i):
        generous = i % 2
        tip = 5.0 if generous != (i == 33) else 0.5
        town = "ab"[generous]
        return example(tip=tip, fare=10.0, town=town, speed=float(i % 5))

    uri = examples(tmp_path, train=[trip(i) for i in range(120)])
    got = label_audit.audit(uri, graph_of(table), table.section)
    assert got["worst"] == [
        {
            "name": "train.csv row 34",
            "index": 33,
            "label": "not above 0.2",
            "likely": "above 0.2",
            "score": got["worst"][0]["score"],
        }
    ]
    assert got["suspects"] == 1
    assert got["worst"][0]["score"] < 0.2


@pytest.mark.parametrize(
    ("records", "why"),
    [
        ([example(tip=1.0, fare=9.0)] * 49, "fewer than 50 records"),
        ([example(tip=1.0, fare=9.0, speed=1.0)] * 50, "all labels are equal"),
    ],
)
def test_where_there_is_nothing_to_judge_that_is_said(records, why, table, tmp_path):
    uri = examples(tmp_path, train=records)
    got = label_audit.audit(uri, graph_of(table), table.section)
    assert got == {"applicable": False, "why": why}


@pytest.mark.parametrize("few", [1, 2])
def test_a_class_of_too_few_to_learn_from_is_not_judged(few, table, tmp_path):
    tips = [5.0] * few + [0.5] * 60
    records = [example(tip=tip, fare=10.0, speed=1.0) for tip in tips]
    got = label_audit.audit(
        examples(tmp_path, train=records), graph_of(table), table.section
    )
    why = "all classes but one have fewer than 3 records"
    assert got == {"applicable": False, "why": why}


@pytest.mark.parametrize("width", [2, 50, 65, 200])
def test_a_vocabulary_of_any_size_is_reduced(width):
    counts = sparse.random(100, width, 0.3, format="csr", random_state=0)
    reduce = label_audit._reduction([counts[:60], counts[60:]], is_table=False)
    got = reduce(counts)
    assert got.shape == (100, min(width, label_audit.MAX_COMPONENTS))
    assert got.dtype == np.float32
    assert np.isfinite(got).all()


@pytest.mark.parametrize(
    ("keys", "want"),
    [
        ({"image": {"shape": (224, 224, 3)}}, 5_000),  # seen as 32x32x3
        ({"audio": {"sample_rate": 16_000, "seconds": 10, "output": "samples"}}, 125),
    ],
)
def test_components_are_learned_from_as_many_records_as_memory_allows(keys, want):
    label = {"feature": "label", "above": 0.5}
    section = Transform.model_validate({"label": label, **keys}).model_dump(mode="json")
    assert label_audit._sample_size(section) == want


def test_it_can_be_turned_off():
    got = label_audit.audit("nowhere", "nowhere", None)
    assert got == {"applicable": False, "why": "not asked for"}


@pytest.mark.parametrize(
    ("found", "summary"),
    [
        (
            {
                "applicable": True,
                "records": 1437,
                "examined": 1437,
                "suspects": 12,
                "worst": [{"name": "digits train[17]", "label": 8, "likely": 3}],
            },
            "12 of 1,437 labels look wrong (0.84 %); digits train[17]: 8, likely 3",
        ),
        (
            {
                "applicable": True,
                "records": 200_000,
                "examined": 100_000,
                "suspects": 0,
                "worst": [],
            },
            "0 of 100,000 labels look wrong (0 %), in a sample of 200,000",
        ),
        ({"applicable": False, "why": "not asked for"}, "no audit: not asked for"),
    ],
)
def test_the_summary_tells_how_many_and_which(found, summary, tmp_path):
    (tmp_path / label_audit.FILE_NAME).write_text(json.dumps(found))
    got = label_audit.figures({"report": str(tmp_path)})
    assert got == {"summary": summary, **found}


@pytest.mark.slow
def test_flipped_digits_are_among_the_worst(tmp_path):
    digits = load_digits()
    given = digits.target.copy()
    random = np.random.default_rng(0)
    flipped = random.choice(len(given), 90, replace=False)
    given[flipped] = (given[flipped] + random.integers(1, 10, 90)) % 10

    def png(image):
        encoded = io.BytesIO()
        Image.fromarray((image * 15).astype(np.uint8)).save(encoded, "PNG")
        return encoded.getvalue()

    rows = [
        {"image": png(image), "label": int(label)}
        for image, label in zip(digits.images, given, strict=True)
    ]
    section = Transform.model_validate(
        {
            "label": {"feature": "label", "classes": tuple(range(10))},
            "image": {"feature": "image", "shape": (8, 8, 1)},
        }
    ).model_dump(mode="json")
    spec = {
        "image": tf.io.FixedLenFeature([1], tf.string),
        "label": tf.io.FixedLenFeature([1], tf.int64),
    }
    made = analyze(section, rows[:20], spec, tmp_path)
    uri = examples(tmp_path / "examples", train=[example(**row) for row in rows])
    got = label_audit.audit(uri, graph_of(made), section)
    found = {suspect["index"] for suspect in got["worst"]}
    assert len(found & set(flipped.tolist())) >= 75
    assert got["suspects"] <= 105
    assert got["accuracy"] > 0.9
