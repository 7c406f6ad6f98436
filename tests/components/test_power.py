"""Energy: known answers, counters as Linux shows them, and the exam's bounds."""

import json
import threading
import time

import pytest

from components import power
from components.exams import NotApplicableError, energy
from components.exams.case import Case
from recipes.examine import Energy

RANGE = 1000_000_000  # of a counter, in microjoules


@pytest.fixture
def powercap(tmp_path):
    """Two packages, a part of one, what holds all, and one that may not be read."""
    zones = {
        "intel-rapl:0": "package-0",
        "intel-rapl:0:0": "core",
        "intel-rapl:1": "package-1",
        "intel-rapl:3": "psys",
    }
    for name, zone in zones.items():
        (tmp_path / name).mkdir()
        (tmp_path / name / "name").write_text(f"{zone}\n")
        (tmp_path / name / "max_energy_range_uj").write_text(f"{RANGE}\n")
        count(tmp_path, name, 0)
    (tmp_path / "intel-rapl:2").mkdir()
    (tmp_path / "intel-rapl:2/name").write_text("package-2\n")
    return tmp_path


def count(powercap, name, joules):
    (powercap / name / "energy_uj").write_text(f"{int(joules * 1e6)}\n")


def work(seconds):
    end = time.process_time() + seconds
    while time.process_time() < end:
        pass


def test_energy_by_hand():
    assert power.kwh({"cpu_seconds": 3600.0}, 5.0) == 0.005
    # What was counted comes before what is estimated.
    counted = {"cpu_seconds": 1.0, "cpu_joules": 1.8e6, "gpu_joules": 3.6e6}
    assert power.kwh(counted, 5.0) == 1.5


def test_cpu_seconds_are_of_this_process(tmp_path):
    with power.metered(tmp_path) as meter:
        work(0.05)
    cost = meter.cost()
    assert 0.05 <= cost["cpu_seconds"] < 0.5
    assert cost["seconds"] > 0
    assert cost["peak_mb"] > 10


def test_without_counters_no_joules_are_given(tmp_path):
    assert power.Meter(tmp_path / "absent").cost()["cpu_joules"] is None


def test_packages_are_added_up_and_neither_their_parts_nor_what_holds_them(powercap):
    meter = power.Meter(powercap)
    count(powercap, "intel-rapl:0", 3)
    count(powercap, "intel-rapl:0:0", 2)
    count(powercap, "intel-rapl:1", 4)
    count(powercap, "intel-rapl:3", 9)
    meter.sample()
    assert meter._package_joules == 7


def test_a_counter_may_come_round(powercap):
    count(powercap, "intel-rapl:0", 999)
    meter = power.Meter(powercap)
    count(powercap, "intel-rapl:0", 2)
    meter.sample()
    assert meter._package_joules == 3


def test_who_samples_waits_for_who_does_so_already(powercap):
    meter = power.Meter(powercap)
    count(powercap, "intel-rapl:0", 3)
    second = threading.Thread(target=meter.sample)
    with meter._lock:
        second.start()
        second.join(0.05)  # ends at once, if it does not wait
        assert meter._package_joules == 0
    second.join()
    assert meter._package_joules == 3


def test_a_counter_that_failed_once_counted_nothing():
    assert power.counted(2.0, 5.0) == 3.0
    assert power.counted(None, 5.0) is None
    assert power.counted(2.0, None) is None


def test_a_process_is_given_its_share_of_the_packages(powercap):
    meter = power.Meter(powercap)
    work(0.1)
    count(powercap, "intel-rapl:0", 10)
    assert 0 < meter.cost()["cpu_joules"] <= 10


def judged(folder, *, cost=None, **section):
    kept = {"cpu_seconds": 3600.0, "cpu_joules": None, "gpu_joules": None}
    kept |= {"resumed_at_step": 0, **(cost or {})}
    (folder / energy.FILE_NAME).write_text(json.dumps(kept))
    return energy.judge(folder, Energy(**section).model_dump(mode="json"))


def test_an_estimate_says_that_it_is_one(tmp_path):
    verdict = judged(tmp_path, watts_per_core=10, grams_per_kwh=500)
    assert verdict.figures["kwh"] == 0.01
    assert verdict.figures["grams"] == 5
    assert verdict.figures["is_estimated"]
    assert "(estimated: 3600 CPU seconds at 10 W)" in verdict.summary


def test_what_was_counted_says_so(tmp_path):
    verdict = judged(tmp_path, cost={"cpu_joules": 3.6e6})
    assert verdict.figures["kwh"] == 1
    assert verdict.summary.endswith("(measured)")


def test_a_resumed_training_says_what_is_not_in_it(tmp_path):
    verdict = judged(tmp_path, cost={"cpu_joules": 1.0, "resumed_at_step": 1350})
    assert "only from update 1,350 on" in verdict.summary


def test_a_training_over_its_budget_is_refused(tmp_path):
    verdict = judged(tmp_path, watts_per_core=10, kwh_at_most=0.009)
    assert verdict.refusals == (
        "training took 0.01 kWh (estimated: 3600 CPU seconds at 10 W), "
        "expected at most 0.009",
    )
    assert judged(tmp_path, watts_per_core=10, kwh_at_most=0.01).status == "passed"


def collected(folder, record):
    (folder / "training.json").write_text(json.dumps(record))
    places = dict.fromkeys(set(Case.__dataclass_fields__) - {"live", "most"}, folder)
    energy.collect(Case(**places, live=None, most=10), {}, folder)


def test_what_a_training_recorded_is_judged(tmp_path):
    with power.metered(tmp_path / "absent") as meter:
        work(0.02)
    collected(tmp_path, {"used": meter.cost(), "resumed_at_step": 0})
    verdict = energy.judge(tmp_path, Energy().model_dump(mode="json"))
    assert verdict.figures["cpu_seconds"] >= 0.02
    assert verdict.figures["is_estimated"]


def test_a_training_without_a_record_is_not_judged(tmp_path):
    with pytest.raises(NotApplicableError, match="no record of what it used"):
        collected(tmp_path, {"resumed_at_step": 0})
