"""One verdict of many."""

from components import judge


def verdict(status, *refusals):
    return {"status": status, "summary": "", "refusals": list(refusals), "figures": {}}


def test_one_refusal_refuses():
    found = judge.combined(
        {
            "metrics": verdict("passed"),
            "against_live": verdict("refused", "worse", "much"),
            "calibration": verdict("not applicable"),
        }
    )
    assert found["blessed"] is False
    assert found["refusals"] == ["worse", "much"]
    assert found["summary"] == "1 of 2 exams passed · refused: against live"


def test_what_does_not_apply_does_not_refuse():
    found = judge.combined(
        {"metrics": verdict("passed"), "against_live": verdict("not applicable")}
    )
    assert (found["blessed"], found["summary"]) == (True, "1 of 1 exams passed")
