"""Typos, dropped words, capitals: on a few words by hand, and on real messages."""

import string
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from components.corruptions import STRENGTHS, texts

MESSAGES = Path(__file__).parents[3] / "shared/data/sms-spam/SMSSpamCollection"
ALL = range(1, STRENGTHS + 1)
MANY = " ".join(["hello"] * 5000)


def draws(seed=0):
    return np.random.default_rng(seed)


@pytest.fixture(scope="module")
def messages():
    if not MESSAGES.exists():
        pytest.skip("needs shared/data/sms-spam")
    return [line.split(b"\t")[1] for line in MESSAGES.read_bytes().splitlines()[:500]]


def differing(before, after):
    return sum(a != b for a, b in zip(before.split(" "), after.split(" "), strict=True))


@pytest.mark.parametrize("name", ["typos", "case"])
@pytest.mark.parametrize("strength", ALL)
def test_as_many_words_are_touched_as_asked(name, strength):
    (got,) = texts.corrupt(name, [MANY], strength, rng=draws())
    share = texts.SHARES[strength - 1]
    bound = 4 * np.sqrt(share * (1 - share) / 5000)
    assert differing(MANY, got) / 5000 == pytest.approx(share, abs=bound)


@pytest.mark.parametrize("strength", ALL)
def test_as_many_words_are_dropped_as_asked(strength):
    (got,) = texts.corrupt("dropped_words", [MANY], strength, rng=draws())
    share = texts.SHARES[strength - 1]
    bound = 4 * np.sqrt(share * (1 - share) / 5000)
    assert 1 - len(got.split()) / 5000 == pytest.approx(share, abs=bound)


def test_a_slip_is_a_swap_a_drop_a_double_or_the_key_beside():
    rng = draws()
    got = {texts.slip("as", rng) for _ in range(500)}
    beside = {key + "s" for key in "qwsz"} | {"a" + key for key in "adwezx"}
    assert got == {"sa", "a", "s", "aas", "ass"} | beside


def test_a_word_of_one_letter_is_not_lost():
    rng = draws()
    got = {texts.slip("é", rng) for _ in range(50)}
    assert got == {"éé"}  # no key of the table, nothing to swap, nothing to spare


def test_a_slip_keeps_the_capitals_around_it():
    rng = draws()
    got = {texts.slip("A1", rng) for _ in range(300)}
    assert got == {"1A", "A", "1", "AA1", "A11", "A2", "Aq"} | {
        key + "1" for key in "QWSZ"
    }


def test_keys_beside_each_other_agree_on_it():
    for key, others in texts.NEIGHBOURS.items():
        for other in others.lower():
            assert key.lower() in texts.NEIGHBOURS[other]
    assert set(string.ascii_letters) <= set(texts.NEIGHBOURS)


def test_white_space_stays_where_no_word_is_dropped():
    text = " one\t two\n\nthree "
    for seed in range(20):
        (got,) = texts.corrupt("case", [text], 5, rng=draws(seed))
        assert got.lower() == text


def test_a_text_keeps_at_least_one_word():
    rng = draws()
    got = texts.corrupt("dropped_words", ["a b"] * 500, 5, rng=rng)
    assert set(got) == {"a b", "a ", "b"}
    assert texts.corrupt("dropped_words", ["word"], 5, rng=rng) == ["word"]


@pytest.mark.parametrize("name", texts.NAMES)
def test_empty_texts_stay_empty_and_types_are_kept(name):
    values = ["", b"", " ", b"caf\xc3\xa9 au lait", "日本語 テキスト"]
    got = texts.corrupt(name, values, 5, rng=draws())
    assert got[:3] == ["", b"", " "]
    assert [type(text) for text in got] == [type(text) for text in values]


@pytest.mark.parametrize("name", texts.NAMES)
def test_real_messages_change_more_with_each_strength(name, messages):
    def changed(strength):
        got = texts.corrupt(name, messages, strength, rng=draws())
        return sum(a != b for a, b in zip(messages, got, strict=True))

    found = [changed(strength) for strength in ALL]
    assert found[0] > 0
    assert found == sorted(set(found)), found


@given(st.text(), st.sampled_from(texts.NAMES), st.integers(0, 99))
@settings(max_examples=60, deadline=None)
def test_any_text_stays_utf8(text, name, seed):
    (got,) = texts.corrupt(name, [text.encode()], 5, rng=draws(seed))
    as_str = texts.corrupt(name, [text], 5, rng=draws(seed))
    assert got.decode() == as_str[0]


def test_bytes_that_are_no_text_are_kept():
    got = {
        texts.corrupt("case", [b"\xff\xfe a\x80"], 5, rng=draws(seed))[0]
        for seed in range(20)
    }
    assert got == {b"\xff\xfe a\x80", b"\xff\xfe A\x80"}


@given(st.binary(), st.sampled_from(texts.NAMES))
@settings(max_examples=30, deadline=None)
def test_bytes_that_are_no_text_are_no_error(data, name):
    (got,) = texts.corrupt(name, [data], 5, rng=draws())
    assert isinstance(got, bytes)
