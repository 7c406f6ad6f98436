"""The table of the zoo, and the small form in which a recipe is checked."""

import csv

import pytest

from pipeline import zoo, zoo_check
from recipes import load
from recipes.errors import BadInputError
from recipes.schema import Recipe

ROW = {
    "recipe": "cora",
    "what": "paper -> 1 of 7",
    "metric": "accuracy",
    "ours": "0.81",
    "baseline": "logistic regression",
    "baseline_value": "0.57",
    "published": "GCN 0.815",
    "note": "",
    "parameters": "92231",
    "train_minutes": "0.4",
    "commit": "abc1234",
    "hardware": "2 cores",
}


@pytest.fixture
def results(tmp_path, monkeypatch):
    """Write rows as the measurements that come along."""
    path = tmp_path / "zoo.csv"
    monkeypatch.setattr(zoo, "RESULTS", path)

    def write(*rows):
        with path.open("w", newline="") as file:
            writer = csv.DictWriter(file, ROW)
            writer.writeheader()
            writer.writerows({**ROW, **row} for row in rows)

    return write


def shown(*names):
    lines = []
    zoo.show(names, lines.append)
    return lines


def test_seeds_of_a_recipe_are_one_line_with_mean_and_spread(results):
    results({"ours": "0.80"}, {"ours": "0.82", "train_minutes": "0.6"})
    head, line, source = shown()
    assert "simple model" in head
    assert "92,231" in line
    assert "accuracy 0.8100 ± 0.0141 (2 seeds)" in line
    assert "logistic regression 0.5700" in line
    assert source == " measured at abc1234 on 2 cores"


def test_a_published_figure_of_something_else_is_marked(results):
    results({"note": "another split"})
    _, line, *notes = shown()
    assert line.endswith("GCN 0.815*")
    assert "   cora: another split" in notes


def test_a_recipe_that_was_not_measured_is_named(results):
    results({})
    with pytest.raises(BadInputError, match="'coral' has not been measured"):
        shown("coral")


def test_only_the_recipes_asked_for_are_shown(results):
    results({}, {"recipe": "other"})
    assert [line.split()[0] for line in shown("other")[1:-1]] == ["other"]


def test_without_measurements_it_says_how_to_make_them(results):
    with pytest.raises(BadInputError, match=r"benchmarks/zoo\.py"):
        shown()


@pytest.mark.parametrize("name", load.names())
def test_the_small_form_of_a_recipe_is_one_that_any_model_passes(name, monkeypatch):
    monkeypatch.setattr(zoo_check, "_tiny", lambda recipe: {})  # it loads Keras
    recipe = load.load(load.find(name))
    small = Recipe.model_validate(zoo_check.smaller(recipe), strict=False)
    assert small.train.max_steps == 2
    assert small.evaluate.metrics.keys() == recipe.evaluate.metrics.keys()
    for metric, bound in small.evaluate.metrics.items():
        bounds = bound.model_dump(exclude_none=True)
        free = [{"at_least": -1e9}, {"at_most": 1e9}]
        # Precision is no number, and passes no bound, until a model says yes.
        assert bounds in ([{}] if metric in ("Precision", "Recall") else free)
