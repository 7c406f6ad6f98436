"""Texts as hurried people type them.

A word is what white space separates; so a text of a script without spaces is one word.
The strength is the share of words that are touched, each drawn for itself.
"""

import re
from collections.abc import Callable, Sequence
from typing import TypeVar

import numpy as np

from components.corruptions import check

NAMES = ("typos", "dropped_words", "case")
SHARES = (0.05, 0.10, 0.20, 0.30, 0.50)  # of words

_SPACE = re.compile(r"(\s+)")
_ROWS = ("1234567890", "qwertyuiop", "asdfghjkl", "zxcvbnm")  # QWERTY
Text = TypeVar("Text", bytes, str)


def corrupt(
    name: str, values: Sequence[Text], strength: int, *, rng: np.random.Generator
) -> list[Text]:
    """Spoil texts.

    Args:
      name: `typos`: a word gets one slip, which is two letters swapped, a letter
        dropped or doubled, or the key beside it; `dropped_words`: never the last one
        that is left; `case`: capitals for small letters and the reverse.
      values: texts, or their UTF-8. Bytes that are no UTF-8 stay in the text.
      strength: 1 to 5.
      rng: where draws come from.

    Returns:
      As many texts of the same type; UTF-8 stays UTF-8.

    Raises:
      ValueError: `name` or `strength` is none of these.
    """
    check(name, NAMES, strength)
    share = SHARES[strength - 1]
    return [_changed(text, _CHANGES[name], share, rng) for text in values]


Change = Callable[[list[str], float, np.random.Generator], str]


def _changed(
    text: Text, change: Change, share: float, rng: np.random.Generator
) -> Text:
    if isinstance(text, str):
        return change(_SPACE.split(text), share, rng)
    # A byte that is no UTF-8 becomes a character of its own, and that byte again.
    decoded = text.decode("utf-8", "surrogateescape")
    changed = change(_SPACE.split(decoded), share, rng)
    return changed.encode("utf-8", "surrogateescape")


def _typos(parts: list[str], share: float, rng: np.random.Generator) -> str:
    for place in _touched(parts, share, rng):
        parts[place] = slip(parts[place], rng)
    return "".join(parts)


def _dropped_words(parts: list[str], share: float, rng: np.random.Generator) -> str:
    """Leave out words, each with the space behind it."""
    dropped = _touched(parts, share, rng)
    if dropped and len(dropped) == len(_words(parts)):
        del dropped[rng.integers(len(dropped))]
    for place in dropped:
        parts[place : place + 2] = [""] * len(parts[place : place + 2])
    return "".join(parts)


def _case(parts: list[str], share: float, rng: np.random.Generator) -> str:
    for place in _touched(parts, share, rng):
        parts[place] = parts[place].swapcase()
    return "".join(parts)


def _words(parts: list[str]) -> list[int]:
    """Return where words stand in a text that was split: every other part, if any."""
    return [place for place in range(0, len(parts), 2) if parts[place]]


def _touched(parts: list[str], share: float, rng: np.random.Generator) -> list[int]:
    words = _words(parts)
    draws = rng.random(len(words))
    return [place for place, draw in zip(words, draws, strict=True) if draw < share]


def slip(word: str, rng: np.random.Generator) -> str:
    """Return the word with one slip, of a kind that can happen to it."""
    pairs = range(len(word) - 1)
    unequal = [place for place in pairs if word[place] != word[place + 1]]
    keys = [place for place, letter in enumerate(word) if letter in NEIGHBOURS]
    kinds = ["double"]
    kinds += ["drop"] if len(word) > 1 else []
    kinds += ["swap"] if unequal else []
    kinds += ["neighbour"] if keys else []
    kind = kinds[rng.integers(len(kinds))]
    places = {"swap": unequal, "neighbour": keys}.get(kind, range(len(word)))
    at = places[rng.integers(len(places))]
    head, letter, tail = word[:at], word[at], word[at + 1 :]
    if kind == "swap":
        return head + tail[0] + letter + tail[1:]
    if kind == "neighbour":
        letter = NEIGHBOURS[letter][rng.integers(len(NEIGHBOURS[letter]))]
    return head + {"double": 2 * letter, "drop": ""}.get(kind, letter) + tail


def _neighbours() -> dict[str, str]:
    """Return the keys around each key, in capitals for a capital.

    Each row of keys stands half a key to the right of the one above it.
    """
    keys = {
        key: (row, place + row / 2)
        for row, letters in enumerate(_ROWS)
        for place, key in enumerate(letters)
    }
    around = {
        key: "".join(
            other
            for other, (row, place) in keys.items()
            if other != key and abs(row - at[0]) <= 1 and abs(place - at[1]) <= 1
        )
        for key, at in keys.items()
    }
    letters = [key for key in around if key.isalpha()]
    return around | {key.upper(): around[key].upper() for key in letters}


NEIGHBOURS = _neighbours()  # key -> keys beside it

_CHANGES: dict[str, Change] = {
    "typos": _typos,
    "dropped_words": _dropped_words,
    "case": _case,
}
