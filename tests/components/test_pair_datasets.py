"""Pairs of texts that are made from a seed."""

import datetime
import itertools

from components.datasets import dates, spelling

TEXT = "Maybe maybe. MAYBE! This this this is; is is once only. Words words words\n" * 3


def test_a_day_is_written_in_forms_that_say_the_same():
    assert dates._forms(datetime.date(1998, 3, 5)) == [
        "March 5, 1998",
        "5 March 1998",
        "Thursday, March 5, 1998",
        "Thu 5 Mar 1998",
        "Mar 5 1998",
        "5.3.1998",
        "1998/03/05",
    ]


def test_dates_are_the_same_every_time_and_no_source_comes_twice():
    made = list(dates.pairs(500, seed=0))
    assert made == list(itertools.islice(dates.pairs(900, seed=0), 500))
    assert len({source for source, _ in made}) == 500
    assert max(len(source) for source, _ in made) < 32
    assert {len(target) for _, target in made} == {10}


def test_slips_are_of_words_of_the_text_and_no_words_themselves():
    made = spelling.pairs(TEXT, seed=0)
    assert made == spelling.pairs(TEXT, seed=0)
    assert {target for _, target in made} == {"maybe", "this", "once", "only", "words"}
    for source, target in made:
        assert source not in TEXT.lower().split()
        assert abs(len(source) - len(target)) <= 1
    assert len({source for source, _ in made}) == len(made)
