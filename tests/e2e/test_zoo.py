"""Every recipe that comes along runs, in small, to a served model that answers."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from recipes import load

REPOSITORY = Path(__file__).parents[2]
DATA = REPOSITORY.parent / "shared/data"

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.timeout(1800),
    pytest.mark.skipif(not DATA.is_dir(), reason=f"the data sets of {DATA} are absent"),
]


def test_every_recipe_runs_and_is_served(tmp_path):
    result = subprocess.run(
        [sys.executable, "-m", "pipeline.cli", "zoo", "--check"],
        cwd=tmp_path,
        env={
            **os.environ,
            "PYTHONPATH": str(REPOSITORY),
            "STRATA_DATA": str(DATA),
            "STRATA_HOME": str(tmp_path / "workspace"),
        },
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stdout + result.stderr
    checked = re.findall(r"^ (\S+) +✔", result.stdout, re.MULTILINE)
    assert tuple(checked) == load.names()
