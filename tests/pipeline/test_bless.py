"""A refused candidate goes live only by a recorded decision, shown wherever it is."""

import io
import shutil
from functools import partial
from pathlib import Path

import pytest

from components import versions
from pipeline import bless, lineage, runs, show, why
from pipeline.history import Override
from recipes.errors import BadInputError
from tests.pipeline.archive import MISSED, Archive

WORDS = {"force": True, "reason": "shop closes\n tonight"}


@pytest.fixture
def archive(tmp_path, monkeypatch):
    monkeypatch.setenv("STRATA_HOME", str(tmp_path))
    monkeypatch.setenv("LOGNAME", "anna")
    return Archive(tmp_path)


def refused(archive, *, live="none"):
    parts = {"evaluate": {"live": live}}
    return archive.run(MISSED, "b is too high", parts=parts)


def told(main, *arguments):
    stream = io.StringIO()
    main(*arguments, stream=stream)
    return stream.getvalue()


@pytest.fixture
def cut_off(archive):
    """A run whose candidate a person pushed, killed before the version was recorded."""
    run_id = refused(archive)
    (trained,) = archive.history.done_steps("digits", "train")
    model = trained.outputs["model"]
    archive.history.add_override(
        Override(run_id, "digits", model, "anna", 200.0, "closes tonight", (MISSED,))
    )
    source = Path(model) / "Format-Serving"
    versions.push(source, archive.base_path, origin=model)
    return archive


@pytest.fixture
def pushed(cut_off):
    cut_off.history.end_override(1, 1)
    return cut_off


def test_every_place_that_shows_the_model_says_who_pushed_it_and_why(cut_off):
    folder = cut_off.workspace.run(1)
    folder.mkdir(parents=True)
    said = told(partial(bless.main, **WORDS), "1")
    assert f" report {folder / 'report.html'}" in said
    said = "version 1 pushed by override of 1 refusal: closes tonight (anna, 1970-01-01"
    places = {
        "runs": told(runs.list_runs, "digits"),
        "show": told(show.main, "1"),
        "lineage": told(lineage.main, "digits"),
        "why": told(why.main, "digits"),
        "report": (folder / "report.html").read_text("utf-8"),
        "card": (folder / "model_card.html").read_text("utf-8"),
    }
    assert [name for name, text in places.items() if said not in text] == []


def test_a_version_pushed_by_a_person_leads_to_the_run_that_refused_it(pushed):
    version = runs.find_version(pushed.history, "digits", pushed.workspace)
    assert (version.run.id, version.number, version.override.who) == (1, 1, "anna")
    shutil.rmtree(pushed.base_path / "1")
    pushed.run()
    deleted = runs.find_version(pushed.history, "digits@1", pushed.workspace)
    assert (deleted.run.id, deleted.is_on_disk) == (1, False)


def test_an_override_cut_off_behind_its_push_is_known_and_completed(cut_off):
    found = runs.find_version(cut_off.history, "digits", cut_off.workspace).override
    assert (found.version, found.who) == (1, "anna")
    said = told(partial(bless.main, **WORDS), "1")
    assert said.startswith(" version 1 pushed by override of 1 refusal: closes tonight")
    (kept,) = cut_off.history.overrides()
    assert (kept.version, kept.reason) == (1, "closes tonight")
    assert versions.versions(cut_off.base_path) == [1]


def test_a_push_that_did_not_end_is_told_as_an_attempt(archive):
    run_id = refused(archive)
    archive.history.add_override(
        Override(run_id, "digits", "/model", "anna", 200.0, "why not", (MISSED,))
    )
    assert "not pushed, an attempt did not end: override of 1 refusal: why not" in (
        told(runs.list_runs, "digits")
    )


@pytest.mark.parametrize(
    "words",
    [{"force": False, "reason": "r"}, {"force": True, "reason": " \n"}]
    + [{"force": True, "reason": None}],
)
def test_force_and_a_reason_are_both_needed(archive, words):
    refused(archive)
    with pytest.raises(BadInputError, match=r"Expected --force and --reason TEXT"):
        bless.main("1", **words)
    assert archive.history.overrides() == []


@pytest.mark.parametrize("status", ["failed", "died", "running"])
def test_a_run_that_came_to_no_verdict_cannot_be_blessed(archive, status):
    archive.run(MISSED, status=status)
    with pytest.raises(BadInputError, match=f"Run 1 is {status}: nothing was judged"):
        bless.main("1", **WORDS)


def test_a_run_that_passed_cannot_be_blessed(archive):
    archive.run()
    with pytest.raises(BadInputError, match="was not refused"):
        bless.main("1", **WORDS)


def test_refused_data_have_no_candidate(archive):
    archive.history.begin_run("digits", "{}", now=1.0)
    archive.history.end_run(1, "refused", now=2.0)
    with pytest.raises(BadInputError, match="refused for its data"):
        bless.main("1", **WORDS)


def test_a_candidate_whose_files_are_gone_cannot_be_blessed(archive):
    refused(archive)
    shutil.rmtree(archive.workspace.artifacts("digits") / "train")
    with pytest.raises(BadInputError, match=r"is gone: .*/Format-Serving is not there"):
        bless.main("1", **WORDS)


def test_a_candidate_that_was_not_judged_against_the_live_model_is_refused(archive):
    refused(archive)
    archive.run()
    with pytest.raises(BadInputError, match="not judged against .* now, version 1"):
        bless.main("1", **WORDS)
    assert archive.history.overrides() == []


def test_a_candidate_that_is_live_cannot_be_blessed_again(pushed):
    with pytest.raises(BadInputError, match="is live already, as version 1"):
        bless.main("1", **WORDS)


@pytest.mark.slow
def test_a_blessed_candidate_goes_live_with_requests_to_warm_up_on(archive):
    refused(archive)
    (trained,) = archive.history.done_steps("digits", "train")
    (ingested,) = archive.history.done_steps("digits", "ingest")
    write_model(Path(trained.outputs["model"]) / "Format-Serving")
    write_examples(Path(ingested.outputs["examples"]) / "Split-eval")
    said = told(partial(bless.main, **WORDS), "1")
    assert said.startswith(" version 1 pushed by override of 2 refusals: shop closes")
    assert versions.versions(archive.base_path) == [1]
    requests = archive.base_path / "1/assets.extra/tf_serving_warmup_requests"
    assert requests.stat().st_size > 0
    (override,) = archive.history.overrides()
    assert (override.version, override.who) == (1, "anna")
    assert override.refusals == (MISSED, "b is too high")
    with pytest.raises(BadInputError, match="is live already, as version 1"):
        bless.main("1", **WORDS)


def write_model(path):
    """Save a model of one number, with the signatures that servers ask."""
    import tensorflow as tf

    module = tf.Module()
    module.double = tf.function(
        lambda x: {"y": 2 * x}, input_signature=[tf.TensorSpec([None], name="x")]
    )
    module.parse = tf.function(
        lambda examples: {"y": tf.strings.length(examples)},
        input_signature=[tf.TensorSpec([None], tf.string, name="examples")],
    )
    signatures = {"serve_raw": module.double, "serving_default": module.parse}
    tf.saved_model.save(module, str(path), signatures=signatures)


def write_examples(folder):
    import tensorflow as tf

    folder.mkdir()
    number = tf.train.Feature(float_list=tf.train.FloatList(value=[1.5]))
    features = tf.train.Features(feature={"x": number})
    with tf.io.TFRecordWriter(str(folder / "0.gz"), "GZIP") as file:
        file.write(tf.train.Example(features=features).SerializeToString())
