import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import models

ROOT = Path(models.__file__).parents[1]


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    path = tmp_path_factory.mktemp("replicas") / "losses.json"
    subprocess.run(
        [sys.executable, "-m", "tests.models.replica_losses", path],
        cwd=ROOT,
        env={**os.environ, "CUDA_VISIBLE_DEVICES": "-1"},
        check=True,
    )
    return json.loads(path.read_text())


@pytest.mark.slow
@pytest.mark.parametrize("name", models.names())
def test_two_replicas_learn_what_one_learns(runs, name):
    one, two = runs[name]
    assert (one["replicas"], two["replicas"]) == (1, 2)
    assert one["loss"][-1] != one["loss"][0]
    np.testing.assert_allclose(two["loss"], one["loss"], rtol=0, atol=1e-5)
    np.testing.assert_allclose(two["weights"], one["weights"], rtol=1e-5)
