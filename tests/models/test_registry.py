import subprocess
import sys
from pathlib import Path

import pytest

import models

ROOT = Path(models.__file__).parents[1]


def test_names_are_the_files_without_an_underscore():
    files = {path.stem for path in Path(models.__file__).parent.glob("[!_]*.py")}
    assert set(models.names()) == files
    assert {"cnn", "mlp", "wide_deep"} <= files


@pytest.mark.parametrize("name", ["mpl", "_layers", "os"])
def test_unknown_family_is_named_with_the_known_ones(name):
    with pytest.raises(ValueError, match=rf"Expected one of .*'mlp'.*'{name}'"):
        models.load(name)


def test_misspelled_family_gets_the_nearest_name():
    with pytest.raises(ValueError, match=r"Received: 'mpl'\. Did you mean 'mlp'\?"):
        models.load("mpl")


def test_misspelled_argument_gets_the_nearest_name():
    with pytest.raises(ValueError, match=r"'dropuot'\. Did you mean 'dropout'\?"):
        models.build("mlp", (4,), 2, dropuot=0.1)


def test_build_passes_the_arguments_on():
    model = models.build("mlp", (4,), 2, units=[5])
    assert [w.shape for w in model.weights] == [(4, 5), (5,), (5, 2), (2,)]


def test_importing_the_zoo_stays_light():
    code = (
        "import sys, models; models.names();"
        "print(*sorted({'keras', 'tensorflow', 'numpy'} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == ""
