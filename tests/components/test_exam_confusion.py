"""Confusion: known answers."""

import json

import numpy as np

from components import page_records
from components.exams import confusion
from tests.components import told_answers
from tests.components.records import example


def judged(folder, labels, said, *, classes=("a", "b", "c"), wrong=()):
    np.savez(
        folder / confusion.ANSWERS,
        labels=np.array(labels, np.int64),
        said=np.array(said, np.int64),
        confidence=np.linspace(0.5, 1.0, len(labels)),
        wrong=np.array(wrong, np.int64),
    )
    (folder / confusion.CLASSES).write_text(json.dumps(classes))
    return confusion.judge(folder, {"shown": 24})


def test_matrix_and_pairs_by_hand(tmp_path):
    verdict = judged(tmp_path, [0, 0, 1, 1, 2, 2], [0, 1, 1, 2, 1, 1], wrong=[5, 4])
    assert verdict.status == "passed"
    assert verdict.summary == "4 of 6 wrong · most often c taken for b (2)"
    assert verdict.figures["matrix"] == [[1, 1, 0], [0, 1, 1], [0, 2, 0]]
    assert verdict.figures["pairs"] == [
        {"label": "c", "answer": "b", "count": 2},
        {"label": "a", "answer": "b", "count": 1},
        {"label": "b", "answer": "c", "count": 1},
    ]
    assert verdict.figures["wrong"] == [
        {"label": "c", "answer": "b", "confidence": 1.0},
        {"label": "c", "answer": "b", "confidence": 0.9},
    ]


def test_whoever_is_never_wrong_has_no_pairs(tmp_path):
    verdict = judged(tmp_path, [0, 1], [0, 1])
    assert verdict.summary == "0 of 2 wrong"
    assert verdict.figures["pairs"] == []


def test_matrix_of_too_many_classes_is_left_out(tmp_path):
    classes = [str(i) for i in range(confusion.MOST_CLASSES + 1)]
    verdict = judged(tmp_path, [0, 100], [0, 99], classes=classes)
    assert verdict.figures["matrix"] is None
    assert verdict.figures["pairs"] == [{"label": "100", "answer": "99", "count": 1}]


def test_examples_of_the_surest_mistakes_are_kept_to_be_looked_at(tmp_path):
    told = [(0.9, 0), (0.8, 1), (0.2, 1), (0.7, 0), (0.1, 0)]  # probability of yes
    rows = [example(answer=answer, y=label) for answer, label in told]
    model = told_answers.model(tmp_path / "model")
    case = told_answers.case(tmp_path, rows, model)
    folder = tmp_path / "evidence"
    folder.mkdir()
    confusion.collect(case, {"shown": 2}, folder)
    stored = [page_records.parse(r) for r in page_records.frames(folder / "wrong.gz")]
    assert [record["answer"][0] for record in stored] == np.float32([0.9, 0.2]).tolist()
    verdict = confusion.judge(folder, {"shown": 2})
    assert verdict.figures["matrix"] == [[1, 2], [1, 1]]
    wrong = verdict.figures["wrong"]
    assert [(one["label"], one["answer"]) for one in wrong] == [("0", "1"), ("1", "0")]
    np.testing.assert_allclose([one["confidence"] for one in wrong], [0.9, 0.8])
