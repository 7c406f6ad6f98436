"""Faults planted in data: each is refused, or handled, as documented."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.data_faults import FAULTS

pytestmark = pytest.mark.e2e

REPOSITORY = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def outcomes():
    """Run them all in one process of their own: steps are forked from it."""
    result = subprocess.run(
        [sys.executable, "benchmarks/data_faults.py", "--json"],
        cwd=REPOSITORY,
        env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
        capture_output=True,
        text=True,
        timeout=800,
        check=True,
    )
    lines = map(json.loads, result.stdout.splitlines())
    return {name: (code, message) for name, code, message in lines}


@pytest.mark.parametrize("fault", FAULTS, ids=[fault.name for fault in FAULTS])
def test_a_planted_fault_comes_to_what_is_documented(fault, outcomes):
    code, message = outcomes[fault.name]
    assert code == fault.code, message
    for word in fault.words:
        assert word in message
