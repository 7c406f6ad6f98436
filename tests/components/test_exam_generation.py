"""Generation: known answers of copies and loops, and a small model that writes."""

import json

import numpy as np
import pytest

from components import export
from components.exams import NotApplicableError, generation
from components.exams.case import Case, Model
from recipes.examine import Generation
from tests.components import test_language_input
from tests.components.records import example, write
from tests.components.sections import section

ALPHABET = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"


def windows(text):
    size = generation.MEMORISED
    return {text[i : i + size] for i in range(len(text) - size + 1)}


def judged(folder, texts, *, train=(), scores=((1.0,), (3.0,)), **keys):
    known = sorted(set().union(*map(windows, train)))
    record = {"texts": texts, "in_train": known, "train_records": len(train)}
    (folder / generation.SAMPLES).write_text(json.dumps(record))
    np.savez(folder / generation.SCORES, scores=np.array(scores, np.float32))
    return generation.judge(folder, Generation(**keys).model_dump(mode="json"))


def test_the_share_that_is_copied_by_hand():
    # 52 letters have 23 windows of 30; the first 40 of them have 11.
    known = windows(ALPHABET[:40])
    assert generation.share_in([ALPHABET], known) == pytest.approx(11 / 23)
    assert generation.share_in([ALPHABET, ALPHABET[:40]], known) == 22 / 34
    assert generation.share_in(["too short"], known) is None


def test_what_stands_in_train_is_found():
    wanted = windows(ALPHABET) | {"?" * generation.MEMORISED}
    assert generation._found(wanted, ["", ALPHABET[:40]]) == windows(ALPHABET[:40])


def test_the_longest_copy_is_a_passage_of_a_text():
    known = windows(ALPHABET[3:40]) | windows(ALPHABET[10:52])
    assert generation.longest_copy(["?" + ALPHABET[:40] + "?"], known) == ALPHABET[3:40]
    assert generation.longest_copy([ALPHABET], known) == ALPHABET[3:]
    assert generation.longest_copy(["?" * 60], known) == ""


def test_repetition_by_hand():
    # Of the 33 windows of 52 letters none repeats, of those of 40 "a" 20 of 21 do.
    assert generation.repetition([ALPHABET]) == 0
    assert generation.repetition(["a" * 40]) == pytest.approx(20 / 21)
    assert generation.repetition([ALPHABET, "a" * 40]) == pytest.approx(20 / 54)
    assert generation.repetition([ALPHABET, ALPHABET]) == 0  # not in the same text
    assert generation.repetition(["short"]) is None


def test_perplexity_has_an_interval(tmp_path):
    figures = judged(tmp_path, {"greedy": [], "drawn": [], "real": []}).figures
    assert figures["cross_entropy"] == 2
    assert figures["perplexity"] == pytest.approx(np.e**2)
    # Student's with one degree of freedom, 12.706, times a standard error of 1.
    assert figures["cross_entropy_low"] == pytest.approx(2 - 12.706, abs=1e-3)


def test_a_perplexity_that_no_number_holds_is_none(tmp_path):
    texts = {"greedy": [], "drawn": [], "real": []}
    verdict = judged(tmp_path, texts, scores=((800.0,), (800.0,)))
    assert verdict.figures["cross_entropy"] == 800
    assert verdict.figures["perplexity"] is None
    assert verdict.summary.startswith("cross-entropy 800 nats on test")


def test_real_texts_are_cut_as_long_as_what_was_written():
    real = [ALPHABET, "abc"]
    assert generation.as_long(real, ["1", "12345", "123456789"]) == ["abcde", "abc"]


def test_copies_are_refused_greedy_ones_too(tmp_path):
    texts = {"greedy": [ALPHABET], "drawn": ["?" * 60], "real": [ALPHABET]}
    verdict = judged(tmp_path, texts, train=[ALPHABET], memorised_at_most=0.5)
    assert verdict.refusals == (
        "100.0% of the greedy texts' windows of 30 characters stand in train, "
        "expected at most 50.0%",
    )
    assert verdict.figures["longest_copy"] == ALPHABET


def test_loops_are_refused_where_texts_are_drawn(tmp_path):
    looped, fine = ["a" * 40], [ALPHABET]
    greedy = {"greedy": looped, "drawn": fine, "real": fine}
    assert judged(tmp_path, greedy, repetition_at_most=0.5).status == "passed"
    drawn = {"greedy": fine, "drawn": looped, "real": fine}
    assert judged(tmp_path, drawn, repetition_at_most=0.5).refusals == (
        "95.2% of its texts' windows of 20 characters repeat earlier ones, "
        "expected at most 50.0%",
    )


def test_answers_of_pairs_are_judged_likewise(tmp_path):
    texts = {"answers": ["a" * 40], "real": ["a"]}
    scores = [(1.0, 1.0), (3.0, 0.0)]
    verdict = judged(tmp_path, texts, scores=scores, repetition_at_most=0.5)
    assert verdict.status == "refused"
    assert verdict.figures["equal_share"] == 0.5


def test_texts_too_short_to_judge_are_called_so(tmp_path):
    texts = {"answers": ["1998-03-05"], "real": ["1998-03-05"]}
    verdict = judged(tmp_path, texts, memorised_at_most=0, repetition_at_most=0)
    assert verdict.status == "passed"
    assert "no text is long enough" in verdict.summary


def case(folder, transform, candidate=None):
    places = dict.fromkeys(set(Case.__dataclass_fields__) - {"live", "most"}, folder)
    given = {"transform": transform, "candidate": candidate, "spec": {}}
    return Case(**places | given | {"live": None, "most": 10})


def test_what_writes_no_texts_is_not_asked(tmp_path):
    transform = section(numeric=["a"])
    with pytest.raises(NotApplicableError, match="it writes no texts"):
        generation.collect(case(tmp_path, transform), {}, tmp_path)


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """What a small model with random weights writes, twice, and its evidence."""
    folder = tmp_path_factory.mktemp("generation")
    result = test_language_input.transformed(folder, tokens="bytes", length=40)
    model, _ = test_language_input.answers(result)
    export.write(model, result.output, result.section, str(folder / "model"))
    for split, texts in {"train": [ALPHABET], "test": [20 * ALPHABET, "short"]}.items():
        (folder / f"Split-{split}").mkdir()
        rows = [example(text=text) for text in texts]
        write(folder / f"Split-{split}/part.gz", rows)
    candidate = Model(folder / "model")
    records = []
    for name in ("one", "two"):
        (folder / name).mkdir()
        generation.collect(case(folder, result.section, candidate), {}, folder / name)
        records.append(json.loads((folder / name / generation.SAMPLES).read_text()))
    return folder / "one", records


@pytest.mark.slow
def test_samples_are_the_same_each_time_and_kept(written):
    folder, (one, two) = written
    assert one == two
    assert one["prompts"] == [ALPHABET[: generation.PROMPT]]
    (drawn,), (real,) = one["texts"]["drawn"], one["texts"]["real"]
    assert real == (20 * ALPHABET)[generation.PROMPT :][: len(drawn)]
    assert len(one["texts"]["greedy"][0]) > generation.MEMORISED
    assert one["texts"]["drawn"] != one["texts"]["greedy"]
    verdict = generation.judge(folder, Generation().model_dump(mode="json"))
    assert verdict.figures["texts"]["greedy"]["memorised"] == 0
