"""Forgetting: what is kept of each span, and when a candidate lost too much of one."""

import json

import numpy as np
import pytest

from components.exams import NotApplicableError, forgetting
from tests.components import told_answers
from tests.components.records import example

SECTION = {"drop_at_most": 0.0, "examples": 50, "confidence": 0.95}


@pytest.fixture(scope="module")
def candidate(tmp_path_factory):
    return told_answers.model(tmp_path_factory.mktemp("told") / "model")


@pytest.fixture(scope="module")
def live(tmp_path_factory):
    return told_answers.model(tmp_path_factory.mktemp("told") / "live", "live_answer")


def rows(count, *, forgotten, live_wrong=0):
    """Return examples whose label is no: so many the candidate says yes to."""
    return [
        example(answer=float(i < forgotten), live_answer=float(i < live_wrong), y=0)
        for i in range(count)
    ]


def sit(folder, serialized, span, candidate, live):
    """Sit the exam on the data of a span; return the folder of its evidence."""
    case = told_answers.case(
        folder / f"data {span}",
        serialized,
        candidate,
        spans=[span],
        live=live,
        kept=folder / "kept",
    )
    evidence = folder / f"evidence {span}"
    evidence.mkdir()
    forgetting.collect(case, SECTION, evidence)
    return evidence


def test_the_first_span_is_kept_though_there_is_nothing_to_compare(
    candidate, live, tmp_path
):
    with pytest.raises(NotApplicableError, match="no older span was seen yet"):
        sit(tmp_path, rows(50, forgotten=0), 1, candidate, live)
    assert forgetting.kept_spans(tmp_path / "kept") == [1]


def test_each_span_is_kept_once_and_asked_when_it_is_older(candidate, live, tmp_path):
    with pytest.raises(NotApplicableError, match="no model is live yet"):
        sit(tmp_path, rows(100, forgotten=40), 1, candidate, None)
    sit(tmp_path, rows(50, forgotten=0), 2, candidate, live)
    evidence = sit(tmp_path, rows(50, forgotten=50), 3, candidate, live)
    verdict = forgetting.judge(evidence, SECTION)
    spans = verdict.figures["spans"]
    assert [*spans] == ["1", "2"]  # the newest is no older one
    assert (spans["1"]["candidate"], spans["1"]["live"]) == (0.4, 0.0)
    assert spans["1"]["num_examples"] == 50
    assert verdict.status == "refused"
    (line,) = verdict.refusals
    assert line.startswith("span 1: wrong answers +0.4000 against the live model (+0.2")


def test_what_is_kept_of_a_span_never_changes(candidate, live, tmp_path):
    with pytest.raises(NotApplicableError):
        sit(tmp_path / "a", rows(50, forgotten=0), 1, candidate, None)
    (shard,) = (tmp_path / "a/kept/1").iterdir()
    before = shard.read_bytes()
    case = told_answers.case(
        tmp_path / "b",
        rows(50, forgotten=50),
        candidate,
        spans=[1],
        kept=tmp_path / "a/kept",
    )
    with pytest.raises(NotApplicableError):
        forgetting.collect(case, SECTION, tmp_path)
    assert shard.read_bytes() == before


def test_a_kept_set_that_cannot_be_read_any_more_is_named(candidate, live, tmp_path):
    with pytest.raises(NotApplicableError):
        sit(tmp_path, [example(y=0)] * 4, 1, None, None)  # without `answer`
    with pytest.raises(NotApplicableError, match="compared: .*Feature: answer"):
        sit(tmp_path, rows(50, forgotten=0), 2, candidate, live)


def test_of_several_spans_read_at_once_nothing_is_kept(candidate, live, tmp_path):
    case = told_answers.case(
        tmp_path / "data", rows(4, forgotten=0), candidate, spans=[1, 2], live=live
    )
    with pytest.raises(NotApplicableError, match="several spans"):
        forgetting.collect(case, SECTION, tmp_path)
    assert not forgetting.kept_spans(case.kept)


def test_data_without_spans_have_none_to_forget(candidate, live, tmp_path):
    case = told_answers.case(tmp_path / "data", rows(4, forgotten=0), candidate)
    with pytest.raises(NotApplicableError, match="no spans"):
        forgetting.collect(case, SECTION, tmp_path)


def judged(folder, candidate, live, num_spans=1, **changes):
    arrays = {}
    for span in range(num_spans):
        arrays[f"candidate {span}"] = np.arange(100) < candidate
        arrays[f"live {span}"] = np.arange(100) >= 100 - live
    np.savez(folder / forgetting.ERRORS, **arrays)
    (folder / forgetting.UNFIT).write_text(json.dumps({}))
    return forgetting.judge(folder, SECTION | changes)


@pytest.mark.parametrize(
    ("wrong", "num_spans", "status"),
    [
        (5, 1, "passed"),  # McNemar's exact p is 2 / 2^5 = 0.0625
        (6, 1, "refused"),  # 0.03125
        (6, 2, "passed"),  # of two spans each must be below 0.025
        (7, 2, "refused"),  # 0.015625
    ],
)
def test_a_loss_that_may_be_chance_is_not_refused(tmp_path, wrong, num_spans, status):
    assert judged(tmp_path, wrong, 0, num_spans).status == status


def test_a_loss_that_is_allowed_is_not_refused(tmp_path):
    verdict = judged(tmp_path, 10, 0, drop_at_most=0.1)
    assert verdict.status == "passed"
    assert verdict.summary.startswith("worse on 1 of 1 older spans")
