"""Which steps run again, and why: nothing more than must, nothing less."""

import os
import shutil
from pathlib import Path

import pytest

from components import frozen, versions
from pipeline import plan
from pipeline.steps import WITHOUT_SEARCH
from recipes import load
from tests.pipeline.line import Line

ALL = [step.name for step in WITHOUT_SEARCH]
AFTER_INGEST = [name for name in ALL if name != "ingest"]
JUDGED = ["train", "evaluate", "examine", "judge", "push"]
NOT_LEAKAGE = [name for name in AFTER_INGEST if name != "leakage"]
TIPS = """\
name: tips
data: {csv: trips.csv}
transform:
  label: {feature: tip, above: 0.2}
  numeric: [miles]
model: {family: wide_deep}
train: {epochs: 1}
evaluate: {metrics: {AUC: {at_least: 0.5}}}
"""


@pytest.fixture
def line(tmp_path):
    return Line(tmp_path, "digits")


@pytest.fixture
def tips(tmp_path):
    (tmp_path / "trips.csv").write_text("tip,miles\n1,2\n0,3\n")
    (tmp_path / "tips.yaml").write_text(TIPS)
    return Line(tmp_path, "tips", path=tmp_path / "tips.yaml")


@pytest.fixture
def sources(tmp_path, monkeypatch):
    """A copy of the packages that the plan looks at, so that a test may change it."""
    copy = tmp_path / "sources"
    for package in ("components", "models", "pipeline", "recipes"):
        shutil.copytree(
            plan.REPOSITORY / package,
            copy / package,
            ignore=shutil.ignore_patterns("__pycache__"),
        )
    monkeypatch.setattr(plan, "REPOSITORY", copy)
    plan._sources.cache_clear()
    yield copy
    plan._sources.cache_clear()


def stale_after(line, path):
    """Change a source file, as a next process would see it."""
    path.write_text(path.read_text() + "\n# changed\n")
    plan._sources.cache_clear()
    return line.stale()


@pytest.mark.parametrize("name", ["digits", "digits_mlp", "taxi"])
def test_the_first_time_every_step_runs(name, tmp_path):
    line = Line(tmp_path, name)
    assert line.stale() == dict.fromkeys(ALL, ("never ran",))
    assert line.run() == ALL


@pytest.mark.parametrize("name", ["digits", "taxi"])
def test_the_second_time_nothing_runs(name, tmp_path):
    line = Line(tmp_path, name)
    line.run()
    assert line.stale() == {}
    assert all(planned.earlier.run_id == 1 for planned in line.plans())
    assert versions.versions(line.base_path) == [1]


def test_more_epochs_train_judge_and_push_again(line):
    line.run()
    stale = line.stale("train.epochs=4")
    assert list(stale) == JUDGED
    epochs = load.load(load.find("digits")).train.epochs
    assert stale["train"] == (f"train.epochs {epochs} -> 4",)
    assert "train changed" in stale["evaluate"]
    assert set(stale["push"]) == {"judge changed", "train changed"}


@pytest.mark.parametrize(
    ("override", "first", "reason"),
    [
        ("data.seed=77", "ingest", "data.seed "),
        ("transform.image.shape=[8, 8, 3]", "schema", "transform.image.shape [8, 8, 1"),
        ("model.arguments.scale=1.0", "train", "model.arguments.scale 0.0039"),
        ("model.family=mlp", "train", "model.family "),
        ("train.seed=77", "train", "train.seed "),
        ("evaluate.slices=[]", "evaluate", "evaluate.slices "),
    ],
)
def test_a_changed_key_reruns_its_step_first(line, override, first, reason):
    line.run()
    bounds = "evaluate.metrics={SparseCategoricalAccuracy: {at_least: 0.9}}"
    more = (bounds,) if "slices" in override else ()
    stale = line.stale(override, *more)
    assert next(iter(stale)) == first
    assert any(text.startswith(reason) for text in stale[first])


def test_a_failed_step_and_those_behind_it_run_again(line):
    assert line.run(until="train") == ALL[: ALL.index("train")]
    assert list(line.stale()) == JUDGED
    assert line.run() == JUDGED


def test_data_written_again_with_the_same_content_is_unchanged(tips, tmp_path):
    tips.run()
    data = tmp_path / "trips.csv"
    data.write_bytes(data.read_bytes())
    os.utime(data, ns=(1, 1))
    assert tips.stale() == {}


def test_changed_data_runs_the_whole_line_again(tips, tmp_path):
    tips.run()
    with (tmp_path / "trips.csv").open("a") as file:
        file.write("1,1\n")
    stale = tips.stale()
    assert list(stale) == ALL
    assert stale["ingest"] == ("data changed",)
    assert stale["statistics"] == ("ingest changed",)


@pytest.mark.parametrize(
    ("source", "want"),
    [
        ("models/cnn.py", JUDGED),
        ("models/_layers.py", JUDGED),
        ("models/mlp.py", []),
        ("components/datasets/digits.py", ALL),
        ("components/statistics.py", NOT_LEAKAGE),
        ("components/export.py", JUDGED),
        ("components/baselines.py", ["baselines", "label_audit", *JUDGED[2:]]),
        ("components/evaluate.py", ["evaluate", "judge", "push"]),
        ("components/exams/calibration.py", ["examine", "judge", "push"]),
        ("components/judge.py", ["judge", "push"]),
        ("components/push.py", ["push"]),
        ("components/versions.py", ["examine", "judge", "push"]),
        ("pipeline/graph.py", ALL),
        ("pipeline/display.py", []),
        ("recipes/schema.py", []),
    ],
)
def test_a_changed_source_reruns_the_steps_that_import_it(line, sources, source, want):
    line.run()
    assert set(stale_after(line, sources / source)) == set(want)


def test_the_changed_source_is_named(line, sources):
    line.run()
    stale = stale_after(line, sources / "components/transform.py")
    for step in ("transform", "train"):
        assert "code components/transform.py changed" in stale[step]
    assert "ingest" not in stale


def test_a_search_comes_before_the_training_and_changes_it(tips):
    tips.run()
    stale = tips.stale("tune.space={train.learning_rate: [0.1, 0.2]}")
    assert list(stale)[:2] == ["tune", "train"]
    assert stale["train"] == ("tune changed",)


def test_what_a_training_starts_from_is_read_back_from_its_plan(tips):
    recipe = load.load(tips.path)
    plans = plan.make(
        recipe,
        tips.history,
        located=tips.located(recipe),
        base_path=tips.base_path,
        origins={"start_from_dir": "/models/old/3"},
    )
    assert plan.origins(plans) == {"start_from_dir": "/models/old/3"}
    assert plan.origins(tips.plans()) == {}


def test_a_new_release_of_a_package_reruns_what_depends_on_it(line, monkeypatch):
    line.run()
    installed = plan._version("keras")
    real = plan._version
    monkeypatch.setattr(
        plan, "_version", lambda name: "99.0" if name == "keras" else real(name)
    )
    stale = line.stale()
    assert list(stale) == JUDGED
    assert stale["train"] == (f"package keras {installed} -> 99.0",)


def test_a_deleted_output_is_made_again(line):
    line.run()
    (before,) = line.history.done_steps("digits", "transform")
    (gone,) = before.outputs.values()
    shutil.rmtree(gone)
    assert line.stale() == {"transform": (f"its output {gone} is gone",)}


def test_another_base_path_is_pushed_to(line, tmp_path):
    line.run()
    line.base_path = tmp_path / "elsewhere"
    stale = line.stale()
    assert list(stale)[-1] == "push"
    assert "train" not in stale


def test_a_live_version_is_known_by_its_training(line):
    assert plan.live(line.history, "digits", line.base_path) is None
    line.run()
    live = plan.live(line.history, "digits", line.base_path)
    keys = {planned.step.name: planned.key for planned in line.plans()}
    assert (live.version, live.path) == (1, line.base_path / "1")
    assert live.train_key == keys["train"]


def test_the_verdict_on_the_live_candidate_stands(line):
    line.run()
    line.run("train.epochs=4")  # was judged against version 1, is version 2 now
    assert line.stale("train.epochs=4") == {}


def test_against_another_live_version_a_candidate_is_judged_again(line):
    line.run()
    line.run("train.epochs=4")
    stale = line.stale()
    assert list(stale) == JUDGED[1:]
    assert "live changed" in stale["evaluate"]


def test_going_back_pushes_the_older_model_as_a_new_version(line):
    line.run()
    line.run("train.epochs=4")
    assert line.run() == JUDGED[1:]
    assert versions.versions(line.base_path) == [1, 2, 3]
    first, third = (versions.origin_of(line.base_path / v) for v in ("1", "3"))
    assert first == third
    assert line.stale() == {}


def test_deleting_the_newest_version_brings_the_candidate_back(line):
    line.run()
    line.run("train.epochs=4")
    shutil.rmtree(line.base_path / "2")
    stale = line.stale("train.epochs=4")
    assert list(stale) == ["push"]
    assert stale["push"] == ("another version is live now",)
    line.run("train.epochs=4")
    assert versions.versions(line.base_path) == [1, 3]


def test_deleting_every_version_pushes_again(line):
    line.run()
    shutil.rmtree(line.base_path)
    assert line.stale()["push"] == ("no version is live",)


def test_a_version_of_unknown_origin_is_compared_with(line, tmp_path):
    line.run()
    stranger = tmp_path / "stranger"
    stranger.mkdir()
    versions.push(stranger, line.base_path, origin="another machine")
    live = plan.live(line.history, "digits", line.base_path)
    assert (live.version, live.train_key) == (2, "version 2")
    assert line.stale()["evaluate"] == ("live changed",)


def test_freezing_the_schema_that_was_inferred_changes_nothing(line):
    line.frozen_schema = ""
    line.run()
    (key,) = (p.key for p in line.plans() if p.step.name == "infer_schema")
    line.frozen_schema = frozen.freeze('feature { name: "image" }\n', key)
    assert not line.stale()
    line.frozen_schema = line.frozen_schema.replace("image", "picture")
    assert line.stale()["schema"] == ("frozen changed",)


def test_a_schema_frozen_elsewhere_runs_once(line):
    line.frozen_schema = frozen.freeze("", "another fingerprint")
    line.run()
    assert not line.stale()


def test_drift_is_measured_from_the_last_data_that_passed(line):
    def previous(*overrides):
        plans = {p.step.name: p for p in line.plans(*overrides)}
        return plans["find_anomalies"].parts["previous"]

    def key(*overrides):
        plans = {p.step.name: p for p in line.plans(*overrides)}
        return plans["statistics"].key

    assert previous() == ""
    line.run()
    assert previous("data.seed=2") == key()
    line.run("data.seed=3", until="validate")  # refused: nothing is measured from it
    assert previous("data.seed=2") == key()
    line.run("data.seed=2")
    assert previous("data.seed=2") == key()  # as when they were first compared
    assert previous() == ""
    assert previous("data.seed=4") == key("data.seed=2")


def test_no_step_depends_on_where_the_repository_lies(line):
    for planned in line.plans():
        names = [name for name in planned.parts if name.startswith("code ")]
        assert names
        assert not any(Path(name.removeprefix("code ")).is_absolute() for name in names)
