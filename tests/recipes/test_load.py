"""Reading a recipe: what is refused, in which words, and at which line."""

import json
from pathlib import Path

import pytest

from recipes import load
from recipes.errors import BadInputError
from recipes.schema import Recipe

RECIPE = """\
name: tips
data:
  csv: trips.csv
  splits: {train: 8, eval: 1, test: 1}
transform:
  label: {feature: tip, above: 0.2}
  numeric: [miles]
model:
  family: mlp
train:
  epochs: 3
  learning_rate: 0.01
evaluate:
  metrics:
    AUC: {at_least: 0.8}
"""


@pytest.fixture
def recipe(tmp_path):
    """Write a recipe whose text differs from `RECIPE` in one place."""

    def write(old="", new=""):
        assert old in RECIPE
        path = tmp_path / "tips.yaml"
        path.write_text(RECIPE.replace(old, new, 1) if old else RECIPE)
        return path

    return write


def refusal(path, *overrides):
    with pytest.raises(BadInputError) as caught:
        load.load(path, overrides)
    return str(caught.value)


def test_a_recipe_is_read_with_its_values_and_defaults(recipe):
    got = load.load(recipe())
    assert (got.name, got.data.csv.path, got.train.epochs) == ("tips", "trips.csv", 3)
    assert got.train.learning_rate == 0.01
    assert got.data.splits == {"train": 8, "eval": 1, "test": 1}
    assert (got.train.global_batch_size, got.train.optimizer) == (64, "adam")
    assert got.push.base_path is None


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        (
            "learning_rate: 0.01",
            "lr: 0.01",
            ":12: [train] has no key 'lr'. Did you mean 'learning_rate'?",
        ),
        ("train:\n", "trian:\n", ":10: [the recipe] has no key 'trian'."),
        (
            "at_least: 0.8",
            "at_lest: 0.8",
            ":15: [evaluate.metrics.AUC] has no key 'at_lest'. Did you mean 'at_least'",
        ),
        ("above: 0.2", "abov: 0.2", ":6: [transform.label] has no key 'abov'."),
        (
            "epochs: 3",
            "epochs: '3'",
            ":11: [train] epochs: Input should be a valid integer. Received: '3'",
        ),
        ("epochs: 3", "epochs: 0", ":11: [train] epochs: Input should be greater"),
        ("numeric: [miles]", "numeric: miles", ":7: [transform] numeric: "),
        ("  epochs: 3\n", "", ":10: [train] needs the key 'epochs'."),
        ("name: tips\n", "", ":1: [the recipe] needs the key 'name'."),
        ("name: tips", "name: Tips!", ":1: [the recipe] name: String should match"),
        ("eval: 1", "eval: 0", ":4: [data.splits.eval] "),
    ],
)
def test_a_fault_is_named_with_its_line(recipe, old, new, words):
    path = recipe(old, new)
    assert any(line.startswith(f"{path}{words}") for line in refusal(path).split("\n"))


def test_two_faults_are_both_reported(recipe):
    path = recipe("epochs: 3\n  learning_rate", "epoch: 3\n  lr")
    lines = refusal(path).split("\n")
    assert f"{path}:11: [train] has no key 'epoch'. Did you mean 'epochs'?" in lines
    assert f"{path}:12: [train] has no key 'lr'. Did you mean 'learning_rate'?" in lines
    assert f"{path}:10: [train] needs the key 'epochs'." in lines
    assert len(lines) == 3


def test_a_key_that_stands_twice_is_refused_with_its_line(recipe):
    message = refusal(recipe("  epochs: 3\n", "  epochs: 3\n  epochs: 4\n"))
    assert "key 'epochs' stands twice" in message
    assert "tips.yaml:12" in message


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("name: [", "not valid YAML"),
        ("name: \x01", "not valid YAML"),
        ("", "Expected sections"),
        ("- one\n- two\n", "Expected sections"),
        ("a: &x {b: 1}\nc:\n  <<: *x\n", "not valid YAML"),
        ("a: !!python/object/apply:os.getcwd []\n", "not valid YAML"),
    ],
)
def test_what_is_no_recipe_at_all_is_refused(tmp_path, text, words):
    path = tmp_path / "odd.yaml"
    path.write_text(text)
    message = refusal(path)
    assert message.startswith(str(path))
    assert words in message
    assert "\n" not in message


def test_bytes_that_are_no_text_are_refused(tmp_path):
    path = tmp_path / "latin.yaml"
    path.write_bytes("name: café".encode("latin-1"))
    assert "not valid YAML" in refusal(path)


def test_a_power_of_ten_without_a_point_is_a_number(recipe):
    path = recipe("learning_rate: 0.01", "learning_rate: 1e-3")
    assert load.load(path).train.learning_rate == 0.001
    assert load.load(path, ["train.learning_rate=2E-4"]).train.learning_rate == 0.0002


def test_yes_and_no_as_classes_are_told_to_be_no_texts(recipe):
    path = recipe("above: 0.2", "classes: [no, yes]")
    assert f"{path}:6: [transform.label.classes.0] int: " in refusal(path)


def test_overrides_win_and_the_last_one_most(recipe):
    got = load.load(
        recipe(),
        ["train.epochs=5", "train.epochs=7", "model.arguments={units: [4, 2]}"],
    )
    assert got.train.epochs == 7
    assert got.model.arguments == {"units": (4, 2)}


def test_an_override_may_open_a_section(recipe):
    assert load.load(recipe(), ["push.base_path=out"]).push.base_path == "out"


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("train.lr=1", "override 'train.lr=1': [train] has no key 'lr'. Did you"),
        ("train.epochs=no", "override 'train.epochs=no': [train] epochs: "),
        ("name.first=x", "override 'name.first=x': 'name' has no keys below it."),
        ("train.epochs", "Expected an override such as train.epochs=3. Received: 'tr"),
        ("=3", "Expected an override such as train.epochs=3. Received: '=3'"),
        ("train.epochs=[", "override 'train.epochs=[': not valid YAML"),
    ],
)
def test_a_bad_override_names_itself(recipe, override, words):
    assert refusal(recipe(), override).startswith(words)


def test_a_fault_of_the_file_is_not_blamed_on_an_override(recipe):
    path = recipe("learning_rate", "lr")
    assert refusal(path, "train.epochs=5").startswith(f"{path}:12: ")


@pytest.mark.parametrize("name", load.names())
def test_every_shipped_recipe_loads_under_its_own_name(name):
    assert load.load(load.find(name)).name == name


def test_a_recipe_is_the_same_after_it_is_written_and_read():
    taxi = load.load(load.find("taxi"))
    assert Recipe.model_validate_json(taxi.model_dump_json()) == taxi


def test_a_misspelled_recipe_gets_the_nearest_name():
    with pytest.raises(BadInputError, match=r"'digit'.*Did you mean 'digits'\?"):
        load.find("digit")


def test_a_missing_file_is_refused(tmp_path):
    with pytest.raises(BadInputError, match=r"No recipe '.*gone\.yaml'"):
        load.find(str(tmp_path / "gone.yaml"))


def test_the_json_schema_for_editors_is_up_to_date():
    stored = Path(load.__file__).with_name("recipe.schema.json").read_text("utf-8")
    want = json.dumps(Recipe.model_json_schema(), indent=2) + "\n"
    assert stored == want, "strata recipe-schema > recipes/recipe.schema.json"


@pytest.mark.parametrize("text", ["? [a]\n: 1\n", "a: &a\n  b: *a\n", "[" * 3000])
def test_odd_yaml_is_refused(tmp_path, text):
    path = tmp_path / "odd.yaml"
    path.write_text(text)
    assert "not valid YAML" in refusal(path)


def test_the_double_key_is_given_as_file_and_line(recipe):
    path = recipe("  epochs: 3\n", "  epochs: 3\n  epochs: 4\n")
    assert refusal(path).startswith(f"{path}:12: ")


@pytest.mark.parametrize(
    "o",
    [
        "train.seed=-1",
        "train.seed=4294967296",
        "train.learning_rate=.inf",
        "evaluate.metrics={AUC: {at_least: .nan}}",
    ],
)
def test_a_value_that_fails_later_is_refused_now(recipe, o):
    assert o in refusal(recipe(), o)
