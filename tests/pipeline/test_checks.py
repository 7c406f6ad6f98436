"""What is refused before anything heavy is loaded."""

from pathlib import Path

import pytest

import models
from components.sources.locate import locate
from pipeline import checks
from recipes import load
from recipes.errors import BadInputError

HEADER = "tips,miles,age,town"
DATA = Path(checks.__file__).parents[2] / "shared/data"
TIPS = """\
name: tips
data: {csv: trips.csv}
transform:
  label: {feature: tips, above: 0.2}
  numeric: [miles]
  buckets: {age: 4}
  vocabulary: {town: 9}
model: {family: wide_deep}
train: {epochs: 1}
evaluate: {metrics: {AUC: {at_least: 0.5}}}
"""


@pytest.fixture
def tips(tmp_path):
    """Return a recipe and its folder, with `trips.csv` of the given text in it."""

    def write(text=f"{HEADER}\n1,2,3,x\n", *overrides):
        (tmp_path / "tips.yaml").write_text(TIPS)
        if text is not None:
            (tmp_path / "trips.csv").write_text(text)
        return load.load(tmp_path / "tips.yaml", overrides), tmp_path

    return write


def columns(recipe, folder):
    """Find the data of a recipe, then check its columns."""
    data = recipe.data.model_dump(mode="json")
    checks.columns(recipe, locate(data, folder, tfds_dir=folder / "tfds"))


def refusal(check, *arguments):
    with pytest.raises(BadInputError) as caught:
        check(*arguments)
    return str(caught.value)


@pytest.mark.parametrize("name", load.names())
def test_every_shipped_recipe_passes(name):
    checks.model(load.load(load.find(name)))


@pytest.mark.skipif(not DATA.is_dir(), reason=f"the data sets of {DATA} are absent")
@pytest.mark.parametrize("name", load.names())
def test_the_data_of_every_shipped_recipe_have_its_columns(name, monkeypatch):
    monkeypatch.setenv("STRATA_DATA", str(DATA))
    path = load.find(name)
    columns(load.load(path), path.parent)


def test_a_misspelled_family_gets_the_nearest_name(tips):
    recipe, _ = tips(None, "model.family=wide_dep")
    message = refusal(checks.model, recipe)
    assert message.startswith("[model] family: Expected one of audio, cnn,")
    assert message.endswith("Received: 'wide_dep'. Did you mean 'wide_deep'?")


def test_a_misspelled_argument_gets_the_nearest_name(tips):
    recipe, _ = tips(None, "model.arguments={embeding_dim: 4}")
    message = refusal(checks.model, recipe)
    assert "wide_deep takes no 'embeding_dim'. Did you mean 'embedding_dim'?" in message


@pytest.mark.parametrize("family", models.names())
def test_every_family_tells_its_arguments_without_keras(family, tips):
    recipe, _ = tips(None, f"model.family={family}", "model.arguments={xyz: 1}")
    assert "takes no 'xyz'. Expected some of " in refusal(checks.model, recipe)
    if family == "wide_deep":  # the others do not take this recipe's table
        recipe, _ = tips(None, "model.arguments={seed: 1}")
        checks.model(recipe)


def test_a_csv_may_lie_elsewhere(tips, tmp_path_factory):
    other = tmp_path_factory.mktemp("other") / "data.csv"
    other.write_text("miles\n1\n")
    message = refusal(columns, *tips(None, f"data.csv={other}"))
    assert message.startswith(f"{other}:1: no column ")


def test_a_csv_in_a_package_is_found_without_importing_it(tips):
    recipe, folder = tips(None, "data.csv=package:recipes/digits.yaml")
    message = refusal(columns, recipe, folder)
    assert message.startswith(f"{Path(load.__file__).parent / 'digits.yaml'}:1: ")


def test_a_package_that_is_not_there_is_named(tips):
    recipe, folder = tips(None, "data.csv=package:no_such_package/a.csv")
    message = refusal(columns, recipe, folder)
    assert message == "[data] path: package 'no_such_package' is not installed."


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (None, "[data] path: no "),
        ("", "It is empty."),
        ("tips,miles,age\n1,2,3\n", ":1: no column 'town', which the recipe"),
        ("miles\n1\n", ":1: no column 'age', 'town', 'tips', which the recipe"),
    ],
)
def test_a_csv_that_cannot_do_is_refused(tips, text, words):
    recipe, folder = tips(text)
    message = refusal(columns, recipe, folder)
    assert words in message
    assert "trips.csv" in message


def test_a_missing_divisor_column_is_refused(tips):
    label = "transform.label={feature: tips, above: 0.2, divide_by: fare}"
    recipe, folder = tips(f"{HEADER}\n1,2,3,x\n", label)
    assert "no column 'fare'" in refusal(columns, recipe, folder)


def test_quoted_column_names_are_read(tips):
    recipe, folder = tips('"tips", "miles","age","town"\n1,2,3,x\n')
    columns(recipe, folder)


def test_a_dotted_package_is_refused(tips):
    r, folder = tips(None, "data.csv=package:no_such.package/a.csv")
    with pytest.raises(BadInputError):
        columns(r, folder)


@pytest.mark.parametrize(
    ("recipe", "family", "message"),
    [
        ("shakespeare", "transformer_encoder", "takes the ids of a text, and"),
        ("trec_lstm", "transformer_decoder", "takes a language, and"),
        ("dates", "transformer_decoder", "makes pairs of texts"),
        ("digits", "audio", "takes an array of one axis, and"),
        ("cora_gcn", "forecast", "takes a series, and"),
    ],
)
def test_a_family_that_takes_something_else_is_refused(recipe, family, message):
    overrides = [f"model.family={family}", "model.arguments={}"]
    other = load.load(load.find(recipe), overrides)
    assert message in refusal(checks.model, other)


def test_a_family_for_images_is_refused_a_table(tips):
    r, _ = tips(None, "model.family=cnn", "model.arguments={}")
    with pytest.raises(BadInputError, match="cnn takes an array"):
        checks.model(r)
