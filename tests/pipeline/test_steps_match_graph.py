"""The light list of steps and the TFX graph are the same line."""

from pathlib import Path

import pytest

from components.sources.locate import locate
from pipeline import graph, steps
from recipes import load
from recipes.schema import DataRecipe


def nodes(name, root, baseline=None, data_only=False):
    """Return id -> ids of the nodes it comes after, in the order of the graph."""
    path = load.find(name)
    recipe = load.load(path)
    if data_only:
        recipe = DataRecipe(name=recipe.name, data=recipe.data)
    places = graph.Places(
        root=root,
        metadata=root / "metadata.db",
        located=locate(
            recipe.data.model_dump(mode="json"), path.parent, tfds_dir=root / "tfds"
        ),
        base_path=root / "models",
        checkpoints=root / "checkpoints",
        kept=root / "exam_sets",
        baseline=baseline,
    )
    line = graph.create(recipe, places)
    return {node.id: {n.id for n in node.upstream_nodes} for node in line.components}


@pytest.mark.parametrize("name", ["digits", "taxi"])
def test_every_step_is_a_node_after_the_same_ones(name, tmp_path):
    assert nodes(name, tmp_path) == without_tuning()


def test_a_recipe_of_data_alone_ends_with_its_validation(tmp_path):
    want = {step.name: set(step.after) for step in steps.DATA_STEPS}
    assert nodes("digits", tmp_path, data_only=True) == want
    assert list(want)[-1] == "validate"


def test_a_live_model_is_only_compared_with(tmp_path):
    got = nodes("digits", tmp_path, baseline=Path("/somewhere"))
    assert got.pop("live") == set()
    assert got["evaluate"] == {"ingest", "train", "live"}
    got["evaluate"].remove("live")
    assert got == without_tuning()


def without_tuning():
    """Return id -> ids of the steps that every recipe with a model has."""
    return {step.name: set(step.after) for step in steps.WITHOUT_SEARCH}


def test_every_step_comes_after_those_it_needs():
    seen = set()
    for step in steps.STEPS:
        assert set(step.after) <= seen
        seen.add(step.name)


def test_every_module_can_tell_its_figures():
    for step in steps.STEPS:
        if step.module:
            source = plan_source(step.module)
            assert "\ndef figures(outputs: Mapping[str, str])" in source, step.name


def plan_source(module):
    root = Path(steps.__file__).parents[1]
    return root.joinpath(*module.split(".")).with_suffix(".py").read_text()
