"""Byte pairs against a plain Python encoder, on real text and on random bytes."""

import codecs
import random
import re
from collections import Counter
from pathlib import Path

import pytest
import tensorflow as tf

from components import byte_pair_learning, byte_pairs
from components.byte_pair_learning import key

DATA = Path(__file__).parents[3] / "shared/data"
# The cutting of GPT-2 without contractions, on bytes.
WORD = re.compile(
    rb" ?[A-Za-z\x80-\xff]+| ?[0-9]+| ?[^\sA-Za-z0-9\x80-\xff]+|\s+(?!\S)|\s+"
)
# Sennrich et al. 2016, section 3.2.
PAPER = {b"low": 5, b"lower": 2, b"newest": 6, b"widest": 3}


def real_text(name="tiny-shakespeare/input.txt", size=60_000):
    if not (DATA / name).exists():
        pytest.skip(f"needs the data set {name}")
    return (DATA / name).read_bytes()[:size]


def random_texts(seed, count):
    draw = random.Random(seed)
    alphabet = b"ab 12  \n\t.,Z\x00\xc3\xa9\xff"
    lengths = [draw.randrange(40) for _ in range(count)]
    return [bytes(draw.choices(alphabet, k=length)) for length in lengths]


def words_of(text):
    words = WORD.findall(text)
    return [word[i : i + 64] for word in words for i in range(0, len(word), 64)]


def merged(tokens, pair, token):
    out = []
    for value in tokens:
        if out and (out[-1], value) == pair:
            out[-1] = token
        else:
            out.append(value)
    return out


def plain_learn(counts, num_merges):
    words = [(list(word), count) for word, count in counts.items()]
    merges = []
    while len(merges) < num_merges:
        pairs = Counter()
        for tokens, count in words:
            for pair in zip(tokens, tokens[1:], strict=False):
                pairs[pair] += count
        best = min(pairs, key=lambda pair: (-pairs[pair], pair), default=None)
        if best is None or pairs[best] < 2:
            break
        token = 256 + len(merges)
        words = [(merged(tokens, best, token), count) for tokens, count in words]
        merges.append(best)
    return merges


def plain_encode(word, merges):
    ranks = {pair: rank for rank, pair in enumerate(merges)}
    tokens = list(word)
    while True:
        found = [p for p in zip(tokens, tokens[1:], strict=False) if p in ranks]
        if not found:
            return tokens
        best = min(found, key=ranks.get)
        tokens = merged(tokens, best, 256 + ranks[best])


def encode(words, merges):
    pairs = tf.constant([key(*pair) for pair in merges], tf.int64)
    ranks = tf.range(len(merges), dtype=tf.int64)
    initializer = tf.lookup.KeyValueTensorInitializer(pairs, ranks)
    table = tf.lookup.StaticHashTable(initializer, -1)
    return byte_pairs.encode(tf.constant(words, tf.string), table.lookup).to_list()


def decode(tokens, merges):
    known = [bytes([byte]) for byte in range(256)]
    for left, right in merges:
        known.append(known[left] + known[right])
    return b"".join(known[token] for token in tokens)


def split(texts):
    """Return the words of each text."""
    words, rows = byte_pairs.split(tf.constant(texts, tf.string))
    found = [[] for _ in texts]
    for word, row in zip(words.numpy(), rows.numpy(), strict=True):
        found[row].append(word)
    return found


@pytest.mark.parametrize(
    ("text", "want"),
    [
        (b"", []),
        (b"To be, or", [b"To", b" be", b",", b" or"]),
        (b"a  b", [b"a", b" ", b" b"]),
        (b"a \n b", [b"a", b" \n", b" b"]),
        (b"a\nb", [b"a", b"\n", b"b"]),
        (b"a \n", [b"a", b" \n"]),
        (b"in 2026x", [b"in", b" 2026", b"x"]),
        ("für 5 €".encode(), [" für".encode()[1:], b" 5", " €".encode()]),
        (b"x" * 100, [b"x" * 64, b"x" * 36]),
    ],
)
def test_words_are_runs_of_a_kind_with_the_space_before(text, want):
    assert split([text]) == [want]


def test_words_are_those_of_a_regular_expression():
    texts = [*random_texts(0, 2000), *real_text().split(b"\n\n"), b"", b" " * 200]
    assert split(texts) == [words_of(text) for text in texts]


def test_the_merges_of_the_paper():
    text = {256: "es", 257: "est", 258: "lo", 259: "low"}
    merges = byte_pair_learning.learn(PAPER, 4)
    got = [decode([256 + i], merges).decode() for i in range(4)]
    assert got == list(text.values())


@pytest.mark.parametrize("num_merges", [1, 80])
def test_merges_are_those_that_counting_anew_each_time_gives(num_merges):
    counts = Counter(words_of(real_text(size=10_000)))
    counts |= {b"aaaaaaa": 9, b"abababa": 7, b"\xff\x00\xff\x00": 8}
    got = byte_pair_learning.learn(counts, num_merges)
    assert got == plain_learn(counts, num_merges)


def test_pairs_seen_once_are_not_merged():
    assert byte_pair_learning.learn({b"abc": 1, b"abd": 1}, 10) == [(97, 98)]
    assert byte_pair_learning.learn({}, 10) == []


def test_tokens_are_those_of_a_plain_encoder():
    words = words_of(real_text())
    merges = byte_pair_learning.learn(Counter(words), 500)
    words = [*set(words), b"a" * 64, b"th" * 32, b"Zwei", b"\xff\xfe", b"\x00"]
    assert encode(words, merges) == [plain_encode(word, merges) for word in words]


def test_repeated_bytes_are_merged_from_the_left():
    assert encode([b"aaa", b"aaaaa", b"b"], [(97, 97)]) == [
        [256, 97],
        [256, 256, 97],
        [98],
    ]


def test_no_words_have_no_tokens():
    assert encode([], [(97, 97)]) == []
    assert split([]) == []


def test_any_bytes_come_back_from_their_tokens():
    texts = random_texts(1, 500)
    words = [word for words in split(texts) for word in words]
    merges = byte_pair_learning.learn(Counter(words), 100)
    tokens = [token for tokens in encode(words, merges) for token in tokens]
    assert decode(tokens, merges) == b"".join(texts)
    assert len(tokens) < len(b"".join(texts))


def test_counts_of_words_stay_bounded(monkeypatch):
    monkeypatch.setattr(byte_pair_learning, "MAX_WORDS", 2)
    counter = byte_pair_learning._CountWords()
    parts = [{b"a": 9, b"b": 8}, {b"c": 1, b"d": 1}, {b"e": 1}]
    total = counter.merge_accumulators([Counter(), *parts])
    assert total == {b"a": 9, b"b": 8}


def test_the_file_names_the_bytes_of_every_token(tmp_path):
    path = tmp_path / "new" / "text"
    counts = {b"\t\xff\n": 5, b"\r\\'": 4}
    byte_pair_learning._learn_and_write(counts, 10, str(path))
    lines = path.read_bytes().split(b"\n")[:-1]
    assert [codecs.escape_decode(line.split(b"\t")[1])[0] for line in lines] == [
        b"\t\xff",
        b"\t\xff\n",
        b"\r\\",
        b"\r\\'",
    ]
    assert [line.split(b"\t")[0] for line in lines] == [
        str(key(*pair)).encode() for pair in byte_pair_learning.learn(counts, 10)
    ]
