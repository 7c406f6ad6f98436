"""Exams that change inputs, on real SavedModels whose answers are known by hand.

The pictures' model compares their mean with half grey; the table's says yes where
`miles` is above its mean, and heeds nothing else.
"""

import json
from dataclasses import replace
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf

from components import export
from components.columns import transformed_name
from components.exams import (
    NotApplicableError,
    attack,
    behaviour,
    changes,
    out_of_distribution,
    robustness,
)
from components.exams.case import Case, Model
from recipes.behaviour import Behaviour
from recipes.errors import BadInputError
from recipes.examine import Attack, OutOfDistribution, Robustness
from tests.components import artifacts
from tests.components.conftest import transform
from tests.components.records import example
from tests.components.sections import section

GREYS = (60, 118, 124, 136, 150, 200)  # of flat pictures; half grey is 127.5
MILES = (1.0, 1.9, 1.99, 2.01, 2.2, None)  # their mean in the graph is 2


@pytest.fixture(scope="module")
def pictures(images, tmp_path_factory):
    """A Case whose candidate calls dark pictures 3 and light ones 5."""
    folder = tmp_path_factory.mktemp("pictures")
    asked = keras.Input((2, 3, 1))
    logits = keras.layers.Dense(3, name="logits")(keras.layers.Flatten()(asked))
    model = keras.Model(asked, logits)
    weights = np.zeros((6, 3), np.float32)
    weights[:, 1] = 1 / 6
    model.get_layer("logits").set_weights([weights, np.array([127.5, 0, -1e3])])
    rows = [
        example(
            scan=tf.io.encode_png(np.full((2, 3, 1), grey, np.uint8)).numpy(),
            digit=5 if grey > 127 else 3,
        )
        for grey in GREYS
    ]
    return case(model, images, rows, folder)


@pytest.fixture(scope="module")
def rides(table, tmp_path_factory):
    """A Case whose candidate says yes where `miles` is above 2, and to no other."""
    folder = tmp_path_factory.mktemp("rides")
    names = ("miles", "speed", "age", "town", "day")
    asked = {
        name: keras.Input(
            (1,), name=name, dtype=table.columns[transformed_name(name)].dtype.name
        )
        for name in names
    }
    logits = keras.layers.Dense(1, name="logits")(asked["miles"])
    model = keras.Model(asked, logits)
    model.get_layer("logits").set_weights([np.ones((1, 1)), np.zeros(1)])
    cells = {"speed": 1.0, "age": 20, "town": "b", "fare": 10.0}
    rows = [
        example(miles=miles, tip=9.0 if (miles or 0) > 2 else 0.0, **cells)
        for miles in MILES
    ]
    return case(model, table, rows, folder)


def case(model, transformed, rows, folder):
    directory = folder / "model"
    export.write(model, transformed.output, transformed.section, str(directory))
    examples = artifacts.examples(folder / "examples", train=rows, test=rows)
    return Case(
        transform=transformed.section,
        candidate=Model(directory),
        live=None,
        examples=Path(examples),
        transformed=folder,
        spec={},
        baselines=folder,
        model_run=folder,
        kept=folder,
        most=2000,
    )


def sat(exam, of, bounds, folder):
    bounds = bounds.model_dump(mode="json")
    exam.collect(of, bounds, folder)
    return exam.judge(folder, bounds)


def test_what_is_lighter_is_taken_for_a_light_picture(pictures, tmp_path):
    verdict = sat(robustness, pictures, Robustness(), tmp_path)
    found = verdict.figures["corruptions"]
    # Brightness adds 12.75, 25.5, 38.25, 51 and 76.5: the pictures of grey 118 and 124
    # turn at once, that of 60 at the last strength. Contrast changes no flat picture.
    assert found["brightness"] == pytest.approx([4 / 6, 4 / 6, 4 / 6, 4 / 6, 3 / 6])
    assert found["contrast"] == [1.0] * 5
    assert verdict.figures["clean"] == 1.0
    assert verdict.figures["worst"]["corruption"] == "brightness"


def test_the_pictures_that_turned_first_are_kept(pictures, tmp_path):
    sat(robustness, pictures, Robustness(), tmp_path)
    first, *_ = json.loads((tmp_path / changes.FLIPPED).read_text())
    with np.load(tmp_path / changes.ARRAYS) as stored:
        before, after = stored["before"], stored["after"]
    assert (first["strength"], first["label"], first["said"]) == (1, "3", "5")
    assert (before[0] == GREYS[first["example"]]).all()
    assert before[0].mean() < 127.5 < after[0].mean() + 1  # it was cut


def test_the_same_model_loses_nothing_against_itself(pictures, tmp_path):
    twins = replace(pictures, live=pictures.candidate)
    verdict = sat(robustness, twins, Robustness(worse_at_most=0.0), tmp_path)
    assert verdict.status == "passed"
    assert verdict.figures["live"]["worse_by"] == {"mean": 0, "low": 0, "high": 0}


def test_a_live_model_that_takes_other_inputs_is_not_asked(pictures, rides):
    assert changes.comparable(replace(pictures, live=rides.candidate)) is None


@pytest.mark.parametrize(("epsilon", "right"), [(4, 5), (9, 4), (10, 3), (80, 0)])
def test_an_attack_on_a_linear_model_moves_every_pixel_all_the_way(
    pictures, tmp_path, epsilon, right
):
    # From half grey the pictures are 67.5, 9.5, 3.5, 8.5, 22.5 and 72.5 away.
    verdict = sat(attack, pictures, Attack(epsilon=epsilon / 255), tmp_path)
    assert verdict.figures["clean"] == 1.0
    assert verdict.figures["fgsm"] == pytest.approx(right / 6)
    assert verdict.figures["pgd"] == pytest.approx(right / 6)


def test_an_attack_on_who_saw_such_pictures_before_is_no_worse(pictures, tmp_path):
    twins = replace(pictures, live=pictures.candidate)
    bounds = Attack(epsilon=9 / 255, accuracy_at_least=0.99, worse_at_most=0.0)
    verdict = sat(attack, twins, bounds, tmp_path)
    (line,) = verdict.refusals
    # Wilson's interval of 4 in 6 (R, binom::binom.wilson(4, 6)).
    assert line == (
        "accuracy under attack (epsilon 0.0353) is 0.6667 (0.3000 to 0.9032), expected "
        "at least 0.99"
    )


def test_the_live_model_is_attacked_through_its_own_scaling(pictures, images, tmp_path):
    """Its pixels go from -1 to 1; for what is above, its gradient is 0."""
    asked = keras.Input((2, 3, 1))
    flat = keras.layers.Flatten()(asked)
    dark = keras.layers.Dense(1, "relu", name="dark")(flat)  # 1 less the mean
    model = keras.Model(asked, keras.layers.Dense(3, name="logits")(dark))
    model.get_layer("dark").set_weights([np.full((6, 1), -1 / 6), np.ones(1)])
    weights = [np.array([[1.0, 0, 0]]), np.array([0, 1, -1e3])]
    model.get_layer("logits").set_weights(weights)
    image = images.section["image"] | {"normalize": "signed"}
    transform = images.section | {"image": image}
    export.write(model, images.output, transform, str(tmp_path / "live"))
    both = replace(pictures, live=Model(tmp_path / "live"))
    verdict = sat(attack, both, Attack(epsilon=9 / 255), tmp_path)
    assert verdict.figures["live"]["accuracy"] == pytest.approx(4 / 6)


def test_a_table_is_not_attacked(rides, tmp_path):
    with pytest.raises(NotApplicableError, match="does not read pictures"):
        sat(attack, rides, Attack(), tmp_path)


def test_inputs_from_elsewhere_are_scored(pictures, tmp_path):
    verdict = sat(out_of_distribution, pictures, OutOfDistribution(), tmp_path)
    # Shuffling the pixels of a flat picture leaves it as it was.
    assert verdict.figures["sets"]["energy"]["shuffled_pixels"] == 0.5
    with np.load(tmp_path / out_of_distribution.FILE_NAME) as stored:
        energy, probability = stored["energy"][0], stored["probability"][0]
    means = np.array(GREYS)
    np.testing.assert_allclose(energy, np.logaddexp(127.5, means), rtol=1e-5)
    sure = 1 / (1 + np.exp(-np.abs(means - 127.5)))
    np.testing.assert_allclose(probability, sure, rtol=1e-5)


def test_energy_of_a_table_is_that_of_the_changed_columns(rides, tmp_path):
    sat(out_of_distribution, rides, OutOfDistribution(), tmp_path)
    with np.load(tmp_path / out_of_distribution.FILE_NAME) as stored:
        energy, probability = stored["energy"], stored["probability"]
        sets = ["test", *stored["elsewhere"].tolist(), *stored["corrupted"].tolist()]
    # The energy of half a logit z and its negative is log(2 cosh(z / 2)), and the
    # probability of the answer 1 / (1 + exp(-|z|)): one says the other, set by set.
    z = np.log(probability / (1 - probability))
    assert sets[1:3] == ["shuffled_columns", "unseen_values"]
    trusted = z < 12  # beyond, float32 rounds the probability
    assert trusted[0].all()
    np.testing.assert_allclose(
        energy[trusted], np.log(2 * np.cosh(z[trusted] / 2)), rtol=1e-3
    )


def test_a_rewritten_example_is_answered_as_the_tensors_it_holds(rides):
    requests = changes.requests(rides, 100)
    for name in requests.corruptions:
        values = requests.corrupted(name, 5)
        rows = [
            out_of_distribution.rewritten(
                stored,
                {n: column[row] for n, column in values.items()},
                may_lack=requests.emptied,
            )
            for row, stored in enumerate(requests.examples)
        ]
        asked = rides.candidate.ask(values)["probabilities"]
        got = rides.candidate.ask_examples(rows)["probabilities"]
        np.testing.assert_allclose(got, asked, rtol=1e-5)


def test_only_columns_that_may_be_empty_are_emptied(rides):
    requests = changes.requests(rides, 100)
    assert requests.emptied == {"miles", "day"}
    emptied = requests.corrupted("missing", 5)
    assert np.isnan(emptied["miles"]).sum() > 1
    assert not np.isnan(emptied["speed"]).any()


def test_a_column_that_only_an_asked_row_lacks_may_be_empty(rides, tmp_path):
    cells = {"miles": 1.0, "speed": 1.0, "town": "b", "day": 1, "tip": 0.0, "fare": 9.0}
    rows = [example(age=2**63 - 1, **cells), example(**cells)]
    artifacts.examples(tmp_path, train=rows[:1], test=rows)
    of = replace(rides, examples=tmp_path)
    assert changes.requests(of, 100).emptied == {"age"}
    verdict = sat(out_of_distribution, of, OutOfDistribution(), tmp_path)
    assert verdict.figures["num_examples"] == 2


def test_whole_numbers_are_asked_no_farther_than_64_bits_go():
    far = np.array([np.nan, 3, 2.0**63, -(2.0**70)])
    stored = out_of_distribution._storable(far)
    np.testing.assert_array_equal(stored, [np.nan, 3, 2.0**62, -(2.0**62)])
    fractions = far.astype(np.float32)
    np.testing.assert_array_equal(out_of_distribution._storable(fractions), fractions)


def behave(of, folder, **tests):
    return sat(behaviour, of, Behaviour.model_validate_json(json.dumps(tests)), folder)


def test_a_column_that_is_not_read_changes_nothing(rides, tmp_path):
    towns = {"column": "town", "values": ["a", "b", "?"], "changes_at_most": 0}
    assert behave(rides, tmp_path, invariance=[towns]).status == "passed"


def test_a_column_that_decides_is_refused_with_the_rows(rides, tmp_path):
    test = {"column": "miles", "values": [2.5, 3.5, 1.5], "changes_at_most": 0.5}
    verdict = behave(rides, tmp_path, invariance=[test | {"name": "far is far"}])
    assert verdict.refusals == (
        "invariance 'far is far': 6 of 6 failed (100.0%), expected at most 50.0%",
    )
    (found,) = verdict.figures["tests"]
    first = found["shown"][0]
    assert (first["before"]["miles"], first["after"]["miles"]) == (2.5, 1.5)
    assert (first["said"], first["example"]) == (["yes", "no"], 0)


@pytest.mark.parametrize(("label", "failed"), [("yes", 0), ("no", 5)])
def test_more_miles_make_yes_more_probable_and_no_less(rides, tmp_path, label, failed):
    test = {"column": "miles", "by": 1, "label": label, "holds_at_least": 0.95}
    verdict = behave(rides, tmp_path, direction=[test])
    (found,) = verdict.figures["tests"]
    assert (found["count"], found["failed"]) == (5, failed)  # one row has no miles
    assert verdict.status == ("refused" if failed else "passed")


def test_half_a_whole_number_is_not_added(rides, tmp_path):
    test = {"column": "age", "by": 0.5, "label": "yes", "holds_at_least": 0.95}
    with pytest.raises(BadInputError, match=r"of age: expected `by` .* Received: 0\.5"):
        behave(rides, tmp_path, direction=[test])


def test_cases_are_answered_as_they_are_written(rides, tmp_path):
    cases = [
        {"inputs": {"miles": 3, "town": "a"}, "label": "yes"},
        {"inputs": {"miles": 1}, "label": "yes"},
        {"inputs": {"miles": None}, "label": "no"},
    ]
    verdict = behave(
        rides, tmp_path, minimum=[{"cases": cases, "accuracy_at_least": 0.6}]
    )
    (found,) = verdict.figures["tests"]
    assert (verdict.status, found["failed"]) == ("passed", 1)
    assert found["shown"] == [{**cases[1], "said": "no"}]


def test_a_text_in_a_column_of_numbers_is_refused_by_name(rides, tmp_path):
    test = {"column": "age", "values": ["old", "young"], "changes_at_most": 0}
    with pytest.raises(
        BadInputError, match=r"age: expected a number\. Received: 'old'"
    ):
        behave(rides, tmp_path, invariance=[test])


def test_pictures_are_flipped_and_spoiled(pictures, tmp_path):
    tests = [
        {"flip": "horizontal", "changes_at_most": 1},
        {"corruption": "brightness", "changes_at_most": 0.3},
    ]
    verdict = behave(pictures, tmp_path, invariance=tests)
    # A flat picture is its own mirror image: nobody could be asked, which is no pass.
    assert verdict.refusals == (
        "invariance 'flip horizontal': no test example could be asked",
        "invariance 'brightness 1': 2 of 6 failed (33.3%), expected at most 30.0%",
    )


@pytest.mark.parametrize(
    ("exam", "bounds"),
    [
        (robustness, Robustness(drop_at_most=0.01)),
        (out_of_distribution, OutOfDistribution(auroc_at_least=1.0)),
    ],
)
def test_twice_asked_is_twice_the_same(pictures, tmp_path, exam, bounds):
    folders = [tmp_path / "one", tmp_path / "two"]
    for folder in folders:
        folder.mkdir()
    one, two = (sat(exam, pictures, bounds, folder) for folder in folders)
    assert one == two
    json.dumps(dict(one.figures), allow_nan=False)


@pytest.mark.slow
def test_texts_are_replaced_spoiled_and_scored(tmp_path):
    """The model counts `good` against `bad`; vocabulary: good, bad, film, padding."""
    spec = {name: tf.io.FixedLenFeature([1], tf.string) for name in ("kind", "text")}
    words = ("good good good film film", "bad bad film", "good film", "bad")
    rows = [
        {"text": text, "kind": "up" if "good" in text else "down"} for text in words
    ]
    of = section(
        text={"output": "counts", "vocabulary": 5},
        label={"feature": "kind", "classes": ["down", "up"]},
    )
    transformed = transform(of, rows, spec, tmp_path / "graph")
    ids = dict(zip(("good", "bad"), _ids(transformed, ["good", "bad"]), strict=True))
    asked = keras.Input((5,))
    model = keras.Model(asked, keras.layers.Dense(1, name="logits")(asked))
    weights = np.zeros((5, 1))
    weights[ids["good"]], weights[ids["bad"]] = 1, -1
    model.get_layer("logits").set_weights([weights, np.zeros(1)])
    stored = [example(**row) for row in rows]
    texts = case(model, transformed, stored, tmp_path / "texts")
    folder = tmp_path / "exam"
    folder.mkdir()
    tests = [
        {"replace": [["film", "movie"]], "changes_at_most": 0},
        {"replace": [[r"\bbad\b", "good"]], "changes_at_most": 0.9},
    ]
    verdict = behave(texts, folder, invariance=tests)
    first, second = verdict.figures["tests"]
    assert (first["count"], first["failed"]) == (3, 0)
    assert (second["count"], second["failed"]) == (2, 2)
    assert second["shown"][0]["after"] == {"text": "good good film"}
    assert sat(robustness, texts, Robustness(), folder).figures["clean"] == 1.0
    sat(out_of_distribution, texts, OutOfDistribution(), folder)
    with np.load(folder / out_of_distribution.FILE_NAME) as scores:
        energy = scores["energy"]
    # Logits 3, -2, 1, -1; of random letters all are unknown: 0.
    want = np.log(2 * np.cosh(np.array([3, 2, 1, 1]) / 2))
    np.testing.assert_allclose(energy[0], want, rtol=1e-5)
    np.testing.assert_allclose(energy[1], np.log(2), rtol=1e-5)


def _ids(transformed, words):
    """Return which column of the counts each word is."""
    rows = tf.constant([[word] for word in words])
    features = {"text": rows, "kind": tf.constant([["up"]] * len(words))}
    columns = transformed.output.transform_features_layer()(features)
    return columns[transformed_name("text")].numpy().argmax(axis=1)
