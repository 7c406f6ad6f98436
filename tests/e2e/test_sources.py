"""Every kind of source, real data, from raw files to shards: rows and labels agree."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[2]
# Named, because with PYTHONSAFEPATH a script does not find the files beside it.
PYTHONPATH = os.pathsep.join(map(str, (REPOSITORY, REPOSITORY / "benchmarks")))
DATA = REPOSITORY.parent / "shared/data"
KINDS = (
    "parquet",
    "jsonl",
    "tfrecord",
    "images",
    "voc",
    "masks",
    "audio",
    "text",
    "series",
    "graph",
)

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.skipif(not DATA.is_dir(), reason=f"the data sets of {DATA} are absent"),
]


@pytest.mark.parametrize("kind", KINDS)
def test_rows_and_labels_come_out_as_the_raw_files_have_them(kind):
    """The script counts both sides by different code, and fails where they differ."""
    result = subprocess.run(
        [sys.executable, "benchmarks/sources.py", "--data", str(DATA), "--only", kind],
        cwd=REPOSITORY,
        env={**os.environ, "PYTHONPATH": PYTHONPATH},
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert result.returncode == 0, result.stdout + result.stderr
    assert any(line.startswith(kind) for line in result.stdout.splitlines())
