"""Adult under a rule of fairness: refused without mitigation, live with it."""

from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[2]
DATA = REPOSITORY.parent / "shared/data"

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.skipif(not DATA.is_dir(), reason=f"the data sets of {DATA} are absent"),
]


@pytest.fixture
def run(strata):
    def start(*overrides):
        # Three epochs show the gap as twelve do; the bound on AUC is not in question.
        small = ("train.epochs=3", "evaluate.metrics={AUC: {at_least: 0.8}}")
        return strata("run", "adult_fair", *small, *overrides, STRATA_DATA=str(DATA))

    return start


def test_a_gap_that_is_too_wide_is_refused_and_thresholds_close_it(run, strata):
    refused = run("export.thresholds=null")
    assert refused.returncode == 4, refused.stdout + refused.stderr
    assert "TPR gap by sex is 0.0" in refused.stdout + refused.stderr
    assert strata.models("adult_fair") == []
    mitigated = run()
    assert mitigated.returncode == 0, mitigated.stdout + mitigated.stderr
    assert strata.models("adult_fair") == ["1"]
