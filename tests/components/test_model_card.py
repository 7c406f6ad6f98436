"""The model card: recorded facts, each with its source, in one form for good."""

import json
from pathlib import Path

import pytest

from components import model_card
from tests.components import recorded_run
from tests.components.recorded_run import ENVIRONMENT, verdict

# Readers count on these names: they may become more, none may be renamed.
FACTS = {
    "use": {"intended_use", "kind_of_answer"},
    "model": {"family", "arguments", "parameters", "updates", "precision", "strategy"}
    | {"replicas", "seconds", "artifact", "pushed", "override"},
    "data": {"source", "records", "unreadable_records", "spans", "features"}
    | {"classes", "hints", "suspect_labels"},
    "metrics": {"test", "num_test_examples", "slices"},
    "exams": set(),
    "limits": {"refusals", "worst_slice", "not_applicable", "exams_left_out"}
    | {"measured_without_a_bound"},
    "energy": {"kwh", "grams", "is_estimated"},
    "origin": {"code", "recipe", "recipe_overrides", "environment"},
}


def written(workspace, **changes):
    """Return the card of a run as JSON, and as HTML."""
    folder = workspace / "runs" / "1"
    folder.mkdir(parents=True)
    facts = recorded_run.facts(workspace, **changes)
    model_card.write(folder, facts, ENVIRONMENT, now=0.0)
    names = {path.name for path in folder.iterdir()}
    assert names == {model_card.JSON_NAME, model_card.HTML_NAME}
    card = json.loads((folder / model_card.JSON_NAME).read_text("utf-8"))
    return card, (folder / model_card.HTML_NAME).read_text("utf-8")


def test_card_has_the_form_that_its_number_promises(tmp_path):
    card, _ = written(tmp_path)
    head = ["format", "name", "run", "written", "headline", "facts"]
    assert list(card) == head
    assert card["format"] == 1
    assert card["written"] == "1970-01-01T00:00:00+00:00"
    assert tuple(card["facts"]) == model_card.SECTIONS
    for section, names in FACTS.items():
        assert names <= card["facts"][section].keys()
    for section in card["facts"].values():
        for fact in section.values():
            assert set(fact) == {"value", "source", "missing"}
            assert (fact["value"] is None) == (fact["missing"] is not None)


def test_facts_are_those_that_were_recorded_with_their_source(tmp_path):
    facts = written(tmp_path)[0]["facts"]
    artifacts = tmp_path / "artifacts"
    parameters = facts["model"]["parameters"]
    assert parameters["value"] == 123
    assert Path(parameters["source"]) == artifacts / "train"
    test = facts["metrics"]["test"]
    assert test["value"] == {"binary_accuracy": 0.75, "auc": 0.8}
    assert Path(test["source"]) == artifacts / "evaluate"
    bounds = facts["exams"]["metrics"]["value"]["bounds"]
    assert bounds == {"AUC at_least": 0.85}
    calibration = facts["exams"]["calibration"]
    assert calibration["value"]["bounds"] == {"error_at_most": 0.05}
    assert Path(calibration["source"]) == artifacts / "examine" / "calibration"
    assert facts["energy"]["grams"]["value"] == 0.48
    assert facts["limits"]["worst_slice"]["value"]["name"] == "town=b"


def test_what_nobody_recorded_is_said_to_be_missing(tmp_path):
    verdicts = {"served": verdict("served")}
    card, page = written(tmp_path, verdicts=verdicts)
    missing = {
        name: fact["missing"]
        for section in card["facts"].values()
        for name, fact in section.items()
        if fact["missing"]
    }
    assert missing["kwh"] == "the exam `energy` was not sat"
    assert missing["intended_use"] == "where the recipe lies was not recorded"
    assert missing["suspect_labels"] == "labels were not audited"
    for reason in missing.values():
        assert f"missing: {reason}" in page


def test_run_that_failed_early_has_a_card_of_missing_facts(tmp_path):
    steps = {"ingest": recorded_run.steps(tmp_path)["ingest"]}
    card, _ = written(tmp_path, steps=steps, verdict=None, status="failed")
    assert card["headline"] == "Not judged: the run is failed"
    assert card["facts"]["exams"] == {}
    assert card["facts"]["metrics"]["test"]["missing"] == "the model was not evaluated"
    assert card["facts"]["data"]["records"]["value"] == {"train": 100, "test": 10}


@pytest.mark.parametrize("failed", ["ingest", "train", "evaluate"])
def test_step_that_failed_measured_nothing(tmp_path, failed):
    steps = recorded_run.steps(tmp_path)
    steps[failed] |= {"error": "out of memory", "figures": {"cost": {"kwh": 0.1}}}
    card, _ = written(tmp_path, steps=steps, verdict=None, status="failed")
    facts = card["facts"]
    missing = {
        "ingest": facts["data"]["records"]["missing"],
        "train": facts["model"]["parameters"]["missing"],
        "evaluate": facts["metrics"]["test"]["missing"],
    }
    assert [name for name, why in missing.items() if why] == [failed]


def test_what_is_no_number_is_null(tmp_path):
    steps = recorded_run.steps(tmp_path)
    steps["evaluate"]["figures"]["metrics"]["auc"] = float("nan")
    card, _ = written(tmp_path, steps=steps)
    assert card["facts"]["metrics"]["test"]["value"]["auc"] is None


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (
            "# For towns.\n# Not for cities.\nname: towns\n",
            "For towns.\nNot for cities.",
        ),
        ("name: towns\n# not at the head\n", None),
    ],
)
def test_intended_use_is_the_comment_at_the_head_of_the_recipe(tmp_path, text, said):
    path = tmp_path / "towns.yaml"
    path.write_text(text)
    origin = {
        "recipe_path": str(path),
        "recipe_overrides": [],
        "code": {"commit": "abc", "changed": []},
    }
    card, _ = written(tmp_path, origin=origin)
    use = card["facts"]["use"]["intended_use"]
    assert use["value"] == said
    assert use["source"] == (str(path) if said else None)
    assert card["facts"]["origin"]["code"]["value"]["commit"] == "abc"


def test_limits_name_what_was_refused_and_what_nobody_looked_at(tmp_path):
    verdicts = {
        "calibration": verdict("calibration", "refused", refusals=["error is 0.2"]),
        "attack": verdict("attack", "not applicable"),
        "slices": verdict("slices"),
    }
    limits = written(tmp_path, verdicts=verdicts)[0]["facts"]["limits"]
    assert limits["refusals"]["value"] == ["error is 0.2"]
    assert limits["not_applicable"]["value"] == ["attack"]
    assert limits["measured_without_a_bound"]["value"] == ["slices"]
    assert "fairness" in limits["exams_left_out"]["value"]


def test_override_is_on_the_card(tmp_path):
    override = {"text": "version 3 pushed by override of 1 refusal: needed (ann)"}
    pushed = {"version": 3, "path": str(tmp_path / "models/3"), "override": override}
    verdicts = {"served": verdict("served", "refused", refusals=["too slow"])}
    card, page = written(tmp_path, verdicts=verdicts, pushed=pushed)
    assert card["facts"]["model"]["override"]["value"] == override
    assert card["facts"]["model"]["pushed"]["value"] == 3
    assert override["text"] in page
