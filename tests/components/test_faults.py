"""Faults change what they say and nothing else; a damaged graph is found again."""

import shutil
from collections import Counter

import keras
import numpy as np
import pytest
import tensorflow as tf
import tensorflow_transform as tft

from components import export, faults
from components.diagnosis import Evidence, samples, serving
from tests.components.artifacts import examples
from tests.components.conftest import IMAGE, PIXELS
from tests.components.records import example, write
from tests.components.sections import section

TABLE = section(
    label={"feature": "y", "classes": ["no", "yes"]}, numeric=["a"], vocabulary={"c": 2}
)


def rows(count=100):
    made = (
        example(y="yes" if i % 4 == 0 else "no", a=float(i), c="u")
        for i in range(count)
    )
    return [tf.train.Example.FromString(one) for one in made]


def column(found, name):
    return samples.columns_of(found, TABLE)[name]


def test_mislabelled_are_a_share_of_the_first_class_only():
    before = samples.labels_of(rows(), TABLE)
    after = samples.labels_of(faults.mislabel(rows(), TABLE), TABLE)
    assert (after[before == "yes"] == "yes").all()
    assert 0.4 < (after[before == "no"] == "yes").mean() < 0.8


def test_shifted_numbers_move_by_two_standard_deviations():
    moved = column(faults.shift(rows(), TABLE), "a") - np.arange(100)
    np.testing.assert_allclose(moved, 2 * np.arange(100).std(), rtol=1e-5)


def test_a_leak_is_the_number_of_the_class():
    found = faults.leak(rows(), TABLE)
    is_yes = samples.labels_of(found, TABLE) == "yes"
    np.testing.assert_array_equal(column(found, "a"), is_yes)


def test_a_dropped_column_has_no_value():
    found = faults.drop(rows(), TABLE)
    assert np.isnan(column(found, "a")).all()
    assert (column(found, "c") == "u").all()


def test_copies_crowd_out_the_others():
    found = faults.crowd(rows(), TABLE)
    assert Counter(samples.labels_of(found, TABLE)) == {"no": 97, "yes": 3}
    assert len({row.SerializeToString(deterministic=True) for row in found}) == 5


@pytest.mark.parametrize(
    ("fault", "wanted"),
    [
        ("shift", lambda pixels, _: 255 - pixels),
        ("dropped_column", lambda pixels, _: pixels * np.uint8([1, 0, 1])[:, None]),
        ("leak", lambda pixels, number: np.full_like(pixels, 85 * (number + 1))),
    ],
)
def test_images_are_repainted(images, fault, wanted):
    encoded = [example(**row) for row in images.rows]
    made = [tf.train.Example.FromString(one) for one in encoded]
    numbers = [IMAGE["label"]["classes"].index(row["digit"]) for row in images.rows]
    for row, pixels, number in zip(
        faults.CHANGES[fault](made, IMAGE), PIXELS, numbers, strict=True
    ):
        value = row.features.feature["scan"].bytes_list.value[0]
        got = tf.io.decode_png(value).numpy()
        np.testing.assert_array_equal(got, wanted(pixels, number))


def test_the_test_split_is_written_as_it_is(tmp_path):
    stored = [row.SerializeToString(deterministic=True) for row in rows()]
    uri = examples(tmp_path / "run", train=stored, eval=stored, test=stored)
    files = faults.write(uri, str(tmp_path / "out"), "labels", TABLE)
    read = {
        split: list(tf.data.TFRecordDataset(path).as_numpy_iterator())
        for split, path in files.items()
    }
    assert read["test"] == stored
    assert read["train"] != stored
    assert len(read["train"]) == 100


def test_a_damaged_graph_is_found_by_what_it_makes_of_raw_examples(images, tmp_path):
    right = tmp_path / "graph"
    shutil.copytree(images.output.transform_savedmodel_dir, right / "transform_fn")
    folder = images.output.transform_savedmodel_dir.removesuffix("/transform_fn")
    for name in ("metadata", "transformed_metadata"):
        shutil.copytree(f"{folder}/{name}", right / name)
    raw = [example(**row) for row in images.rows]
    examples(tmp_path / "raw", test=raw)
    stored = tmp_path / "transformed/Split-test"
    stored.mkdir(parents=True)
    columns = [
        dict(zip(images.columns, v, strict=True))
        for v in zip(*images.columns.values(), strict=True)
    ]
    ready = [
        example(**{n: v if isinstance(v, bytes) else int(v) for n, v in one.items()})
        for one in columns
    ]
    write(stored / "a.gz", ready)

    inputs = keras.Input((2, 3, 1))
    logits = keras.layers.Dense(3)(keras.layers.Flatten()(inputs))
    model = keras.Model(inputs, logits)

    def found(name):
        directory = tmp_path / name
        export.write(model, tft.TFTransformOutput(str(right)), IMAGE, str(directory))
        run = Evidence(
            1,
            IMAGE,
            examples=tmp_path / "raw",
            transformed=stored.parent,
            transform_graph=right,
            model=directory,
        )
        return list(serving.look(run))

    assert found("before") == []
    faults.skew(str(right), IMAGE)
    (finding,) = found("after")
    assert finding.cause == "serving"
    assert finding.figures["columns"] == {"scan_xf": 1.0}
