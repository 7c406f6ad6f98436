"""Each check of the data finds its own fault, and is silent about the others."""

import json
from dataclasses import replace

import numpy as np
import pytest
import tensorflow as tf

from components import faults
from components.diagnosis import Evidence, columns, data_causes, diagnose, samples
from components.exams.case import Model
from tests.components.artifacts import examples
from tests.components.records import example
from tests.components.sections import section

OF = {
    "label": {"feature": "y", "classes": ["no", "yes"]},
    "numeric": ["a", "b"],
    "vocabulary": {"c": 3},
}
TRANSFORM = section(**OF)


def people(count=600, seed=0):
    """Return serialized rows: `a` tells the label in part, `b` and `c` do not."""
    random = np.random.default_rng(seed)
    rows = []
    for _ in range(count):
        label = random.random() < 0.4
        a, b = random.normal(1.5 * label), random.normal(50, 10)
        c = "uvw"[random.integers(3)]
        rows.append(example(y="yes" if label else "no", a=float(a), b=float(b), c=c))
    return rows


def _written(folder, records):
    # The live model was not trained on what it is judged on.
    examples(folder, train=records, test=records[:50], eval=people(200, seed=2))
    return folder


def faulty(fault, count=600):
    rows = [tf.train.Example.FromString(one) for one in people(count, seed=1)]
    changed = faults.CHANGES[fault](rows, TRANSFORM)
    return [row.SerializeToString(deterministic=True) for row in changed]


def is_above(serialized):
    """Whether the live model says yes."""
    row = tf.train.Example.FromString(serialized)
    return row.features.feature["a"].float_list.value[0] > 0.75


@pytest.fixture(scope="module")
def live(tmp_path_factory):
    """A SavedModel that says yes where `a` is above 0.75."""

    class Threshold(tf.Module):
        @tf.function(input_signature=[tf.TensorSpec([None], tf.string)])
        def serve(self, examples):
            spec = {"a": tf.io.FixedLenFeature([1], tf.float32, 0.0)}
            found = tf.io.parse_example(examples, spec)["a"][:, 0] > 0.75
            return {"classes": tf.cast(found, tf.int64)}

    module = Threshold()
    folder = tmp_path_factory.mktemp("live")
    wrapped = tf.function(lambda examples: module.serve(examples))
    signature = wrapped.get_concrete_function(
        tf.TensorSpec([None], tf.string, name="examples")
    )
    tf.saved_model.save(module, str(folder), {"serving_default": signature})
    return folder


@pytest.fixture(scope="module")
def good(tmp_path_factory, live):
    folder = _written(tmp_path_factory.mktemp("good"), people())
    return Evidence(1, TRANSFORM, examples=folder, model=live)


def causes(tmp_path, good, records):
    run = replace(good, run=2, examples=_written(tmp_path / "run", records), model=None)
    return [finding.cause for finding in diagnose(run, good)]


def test_nothing_is_found_in_other_data_of_the_same_kind(tmp_path, good):
    assert causes(tmp_path, good, people(seed=1)) == []


@pytest.mark.parametrize("fault", sorted(faults.CHANGES))
def test_each_fault_is_the_first_that_is_found(tmp_path, good, fault):
    assert causes(tmp_path, good, faulty(fault))[0] == fault


def test_disputed_labels_are_counted(tmp_path, good, live):
    folder = _written(tmp_path, faulty("labels"))
    ours = samples.take(folder, TRANSFORM)
    theirs = samples.take(good.examples, TRANSFORM, "eval")
    found = data_causes.disputed(ours, theirs, Model(live), TRANSFORM)
    says_no = [
        not is_above(one)
        for one, label in zip(ours.serialized, ours.labels, strict=True)
        if label == "yes"
    ]
    assert found.figures["label"] == "yes"
    assert found.figures["likely"] == "no"
    assert found.figures["disputed"] == pytest.approx(np.mean(says_no))
    json.dumps(found.figures)


def test_what_the_live_model_has_by_heart_is_not_the_usual_rate(tmp_path, good):
    says_yes = [is_above(one) for one in people(2000)]
    learned = [
        one
        for one, yes in zip(people(2000), says_yes, strict=True)
        if (b"yes" in one) == yes
    ]
    folder = tmp_path / "learned"
    examples(folder, train=learned, test=learned[:50], eval=people(600, seed=2))
    reference = replace(good, examples=folder)
    assert "labels" not in causes(tmp_path, reference, people(1000, seed=1))


def test_classes_are_named_as_the_live_model_has_them(tmp_path, good):
    turned = section(**{**OF, "label": {"feature": "y", "classes": ["yes", "no"]}})
    folder = _written(tmp_path / "run", faulty("labels"))
    run = Evidence(2, turned, examples=folder)
    (found,) = data_causes.look(run, good)
    assert (found.figures["label"], found.figures["likely"]) == ("yes", "no")


def test_copies_are_counted_by_class(tmp_path):
    rows = people(20)
    copies = [one for one in rows if b"yes" in one][:2] * 3
    found = samples.take(_written(tmp_path, rows + copies), TRANSFORM)
    assert (found.total, found.copied) == (26, 6)
    assert found.copies_of == {"yes": 6}
    assert len(found.serialized) == 20


def test_divergence_is_one_bit_less_chance_of_texts_with_nothing_in_common():
    one, other = (np.array([text] * 1000, object) for text in "uv")
    assert columns.divergence(one, other) == pytest.approx(1, abs=1e-3)
    assert columns.divergence(one, one) == 0


def test_texts_that_are_all_different_have_not_moved():
    one, other = (
        np.array([f"{side}{i}" for i in range(1000)] + ["usual"] * 1000, object)
        for side in "uv"
    )
    assert columns.divergence(one, other) < 0.01
    one[one == "usual"] = "other"
    assert columns.divergence(one, other) > 0.4


def test_times_are_not_compared():
    transform = section(label=OF["label"], numeric=["a"], calendar={"when": ["hour"]})
    row = tf.train.Example.FromString(example(y="no", a=1.0, when=5))
    assert list(samples.columns_of([row], transform)) == ["a"]


def test_a_missing_number_is_not_above():
    label = {"feature": "y", "above": 0.2, "divide_by": "d"}
    transform = section(label=label, numeric=["a"])
    rows = [example(y=3.0, d=10.0), example(d=10.0), example(y=3.0)]
    found = samples.labels_of(list(map(tf.train.Example.FromString, rows)), transform)
    assert found.tolist() == ["above 0.2", "not above 0.2", "not above 0.2"]


def test_divergence_of_numbers_counts_missing_ones_as_a_value():
    one, other = np.full(1000, 3.0), np.full(1000, 3.0)
    other[:500] = np.nan
    # Half of one side in a bin of its own: entropies 0.8113 - (0 + 1) / 2.
    got = columns.divergence(one, other)
    assert got == pytest.approx(0.3113, abs=1e-3)


def test_columns_of_images_are_their_pixels():
    transform = section(
        label={"feature": "y", "classes": [0, 1]},
        image={"feature": "image", "shape": [2, 2, 1]},
    )
    pixels = np.array([[0, 10], [20, 30]], np.uint8)
    encoded = tf.io.encode_png(pixels[..., None]).numpy()
    row = tf.train.Example.FromString(example(image=encoded, y=1))
    found = samples.columns_of([row], transform)
    assert {name: column[0] for name, column in found.items()} == {
        "pixel 0,0": 0,
        "pixel 0,1": 10,
        "pixel 1,0": 20,
        "pixel 1,1": 30,
        "brightness": 15,
        "contrast": pytest.approx(np.sqrt(125)),
    }
