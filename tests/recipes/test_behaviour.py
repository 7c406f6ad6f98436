"""Behaviour tests in a recipe: what cannot be done is refused at load."""

import json

import pytest
from pydantic import ValidationError

from recipes import behaviour
from recipes.behaviour import Behaviour
from recipes.transform import Transform

TABLE = {
    "label": {"feature": "tip", "above": 0.2},
    "numeric": ["miles"],
    "vocabulary": {"town": 5},
}
TEXT = {"label": {"feature": "kind", "classes": ["ham", "spam"]}, "text": {}}
IMAGE = {
    "label": {"feature": "digit", "classes": [0, 1, 2]},
    "image": {"shape": [8, 8, 1]},
}


def parsed(**tests):
    return Behaviour.model_validate_json(json.dumps(tests))


def check(transform, **tests):
    parsed(**tests).check(Transform.model_validate_json(json.dumps(transform)))


def test_what_fits_is_taken():
    check(
        TABLE,
        invariance=[{"column": "town", "values": ["a", "b"], "changes_at_most": 0}],
        direction=[{"column": "miles", "by": 1, "label": "yes", "holds_at_least": 1}],
        minimum=[{"cases": [{"inputs": {"miles": 3}, "label": "no"}]}],
    )
    check(
        TEXT,
        invariance=[
            {"replace": [["Ann", "Bob"]], "changes_at_most": 0},
            {"corruption": "typos", "changes_at_most": 0.1},
        ],
        minimum=[{"cases": [{"inputs": {"text": "win!"}, "label": "spam"}]}],
    )
    check(IMAGE, invariance=[{"flip": "vertical", "changes_at_most": 0.1}])


@pytest.mark.parametrize(
    ("transform", "kind", "test", "said"),
    [
        (TABLE, "invariance", {"column": "twon", "values": [1, 2]}, "'twon'"),
        (TEXT, "invariance", {"column": "text", "values": ["a", "b"]}, "needs a table"),
        (TABLE, "invariance", {"replace": [["a", "b"]]}, "`replace` needs texts"),
        (TABLE, "invariance", {"flip": "vertical"}, "`flip` needs images"),
        (IMAGE, "invariance", {"corruption": "typos"}, "one of gaussian_noise"),
        (TABLE, "direction", {"column": "town", "label": "yes"}, "`numeric`, `scale`"),
        (TABLE, "direction", {"column": "miles", "label": "ja"}, "one of no, yes"),
        (TABLE, "minimum", {"cases": [{"inputs": {"x": 1}, "label": "no"}]}, "'x'"),
        (IMAGE, "minimum", {"cases": [{"inputs": {}, "label": 1}]}, "tables and texts"),
        (TEXT, "minimum", {"cases": [{"inputs": {}, "label": "egg"}]}, "'egg'"),
    ],
)
def test_what_does_not_fit_is_refused_by_its_place(transform, kind, test, said):
    needed = {
        "invariance": {"changes_at_most": 0},
        "direction": {"by": 1, "holds_at_least": 1},
        "minimum": {},
    }
    with pytest.raises(
        ValueError, match=r"\[examine.behaviour\] .*, test 1: "
    ) as error:
        check(transform, **{kind: [needed[kind] | test]})
    assert said in str(error.value)


@pytest.mark.parametrize(
    ("test", "said"),
    [
        ({"flip": "vertical", "corruption": "jpeg"}, "exactly one of"),
        ({}, "exactly one of"),
        ({"column": "town"}, "at least two `values`"),
        ({"flip": "vertical", "values": [1, 2]}, "at least two `values`"),
        ({"replace": [["(", "b"]]}, "regular expressions"),
        ({"replace": [["a", "\\1"]]}, "regular expressions"),
    ],
)
def test_a_change_is_one_change(test, said):
    with pytest.raises(ValidationError, match=said):
        parsed(invariance=[{"changes_at_most": 0} | test])


def test_a_number_must_move():
    test = {"column": "miles", "by": 0, "label": "yes", "holds_at_least": 1}
    with pytest.raises(ValidationError, match="`by` must change the number"):
        parsed(direction=[test])


def test_no_test_is_refused():
    with pytest.raises(ValidationError, match="Expected tests under"):
        parsed()


def test_corruptions_are_those_there_are():
    from components.corruptions import audio, images, tables, texts

    there = {"image": images, "text": texts, "audio": audio, "table": tables}
    assert {k: m.NAMES for k, m in there.items()} == behaviour.CORRUPTIONS
