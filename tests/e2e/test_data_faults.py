"""Faults planted in data: each is refused, or handled, as documented."""

import pytest

from benchmarks.data_faults import FAULTS, outcome

pytestmark = pytest.mark.e2e


@pytest.mark.parametrize("fault", FAULTS, ids=[fault.name for fault in FAULTS])
def test_a_planted_fault_comes_to_what_is_documented(fault, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    code, message = outcome(fault, tmp_path)
    assert code == fault.code, message
    for word in fault.words:
        assert word in message
