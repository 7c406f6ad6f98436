"""`./strata predict` against a server that fails as told."""

import json

import pytest

from components.sources.locate import Located
from pipeline import ask, provenance
from pipeline.history import History, Override
from pipeline.workspace import Workspace
from recipes.errors import BadInputError, MissingError
from tests.serving.scripted import Failure, Script, rest

ROWS = '{"instances": [], "inputs": {"x": [1, 2]}}'  # the script's server reads inputs


def predict(port, source=ROWS):
    url = f"http://127.0.0.1:{port}"
    return ask.predict("m", source, signature="serving_default", url=url)


def test_predict_returns_the_answer_as_it_came():
    with rest(Script()) as port:
        assert predict(port) == {"outputs": [1, 2]}


@pytest.mark.parametrize(
    ("failure", "error", "text"),
    [
        (Failure("INVALID_ARGUMENT"), BadInputError, "answered 400: told so"),
        (Failure("NOT_FOUND"), BadInputError, "answered 404: told so"),
        (Failure("UNAVAILABLE"), MissingError, "answered 503: told so"),
        (b"SSH-2.0\r\n", MissingError, "is no model server"),
    ],
)
def test_a_refusal_tells_whose_fault_it_is(failure, error, text):
    with (
        rest(Script(to_come=[failure] * 9)) as port,
        pytest.raises(error, match=text),
    ):
        predict(port)


def test_without_a_server_it_says_how_to_start_one():
    with pytest.raises(MissingError, match=r"Start one: ./strata serve m"):
        predict(9)


@pytest.mark.parametrize("url", ["127.0.0.1:8501", "http://", "http://a:b"])
def test_what_is_no_url_is_bad_input(url):
    with pytest.raises(BadInputError):
        ask.predict("m", "[]", signature="s", url=url)


def test_a_model_that_only_an_override_pushed_is_found(tmp_path):
    workspace = Workspace(tmp_path)
    history = History(workspace.history)
    recipe = {"name": "m", "push": {"base_path": "served"}}
    run_id = history.begin_run("m", json.dumps(recipe), now=1.0)
    provenance.record(
        history,
        run_id,
        plans=(),
        located=Located({}, ()),
        recipe_path=tmp_path / "m.yaml",
        recipe_overrides=(),
    )
    history.add_override(Override(run_id, "m", "/model", "anna", 2.0, "needed", ()))
    (tmp_path / "served" / "1").mkdir(parents=True)
    assert ask.pushed_to("m", workspace) == tmp_path / "served"
