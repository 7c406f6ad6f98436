"""The command line starts in a moment: nothing heavy is loaded where it need not be."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
HEAVY = (
    "tensorflow",
    "keras",
    "tfx",
    "apache_beam",
    "tensorflow_transform",
    "tensorflow_model_analysis",
    "tensorflow_data_validation",
    "tensorflow_datasets",
    "ml_metadata",
    "numpy",
    "pandas",
    "grpc",
    "sklearn",
    "google.protobuf",
)


def loaded(code, home):
    """Run code in a fresh process; return the heavy modules it loaded."""
    tell = f"import sys\nprint([m for m in {HEAVY} if m in sys.modules])"
    done = subprocess.run(
        [sys.executable, "-c", f"{code}\n{tell}"],
        cwd=ROOT,
        env={**os.environ, "STRATA_HOME": str(home)},
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout.splitlines()[-1]


def test_the_check_sees_a_heavy_module(tmp_path):
    assert loaded("import numpy", tmp_path) == "['numpy']"


@pytest.mark.parametrize(
    "module",
    ["pipeline.cli", "pipeline.run", "pipeline.why", "models", "recipes.load"]
    + ["serving", "components.versions", "components.datasets"],
)
def test_importing_loads_nothing_heavy(module, tmp_path):
    assert loaded(f"import {module}", tmp_path) == "[]"


@pytest.mark.parametrize(
    "arguments", [["--help"], ["run", "--help"], ["runs"], ["why"], ["recipe-schema"]]
)
def test_a_light_command_loads_nothing_heavy(arguments, tmp_path):
    code = f"""
from pipeline.cli import main
try:
    code = main({arguments})
except SystemExit as end:
    code = end.code
assert code == {2 if arguments == ["why"] else 0}, code
"""
    assert loaded(code, tmp_path) == "[]"


@pytest.mark.parametrize("name", ["digits", "taxi"])
def test_a_plan_loads_nothing_heavy(name, tmp_path):
    code = f"""
from pathlib import Path
from components.sources.locate import locate
from pipeline import checks, plan
from pipeline.history import History
from recipes import load
path = load.find({name!r})
recipe = load.load(path)
checks.model(recipe)
data = recipe.data.model_dump(mode="json")
located = locate(data, path.parent, tfds_dir=Path("tfds"))
history = History(Path({str(tmp_path)!r}) / "history.db")
plans = plan.make(recipe, history, located=located, base_path=Path("models"))
assert len(plans) == 15
"""
    assert loaded(code, tmp_path) == "[]"
