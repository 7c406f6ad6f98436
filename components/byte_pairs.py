"""Byte-level byte pair encoding: applied in the graph.

A text is cut into words: a run of letters, digits or other signs, each with the space
before it, if there is one; white space that is left over. Bytes beyond ASCII count as
letters. In a word, the pair of neighbours that was learned first becomes one token,
again and again. So any bytes can be encoded, and the tokens of a text, put together,
are the text. Token 0 to 255 is a byte, 256 + n what merge n makes.

Sennrich et al. 2016, "Neural Machine Translation of Rare Words with Subword Units"; on
bytes, Radford et al. 2019, "Language Models are Unsupervised Multitask Learners", whose
cutting this follows but for contractions and letters beyond ASCII. Differences: a word
ends after `MAX_WORD_BYTES`, which bounds the work.
"""

from collections.abc import Callable
from contextlib import nullcontext

import numpy as np
import tensorflow as tf
import tensorflow_transform as tft

from components.byte_pair_learning import KEY_BASE, NO_MERGE, Learn, key

MAX_WORD_BYTES = 64
_NEVER = np.iinfo(np.int64).max


def vectorize(texts: tf.Tensor, num_merges: int, file_name: str) -> tf.RaggedTensor:
    """Learn merges from all texts and apply them; call it in a `preprocessing_fn`.

    Args:
      texts: (batch,) string.
      num_merges: the most to learn.
      file_name: of the vocabulary.

    Returns:
      (batch, any) int64 tokens.
    """
    words, rows = split(texts)
    distinct, places, counts = tf.unique_with_counts(words)
    (path,) = tft.experimental.ptransform_analyzer(
        [distinct, counts],
        Learn(num_merges, file_name),
        output_dtypes=[tf.string],
        output_shapes=[[]],
        output_asset_default_values=[NO_MERGE.encode()],
        name=f"{file_name}_byte_pairs",
    )
    tokens = tft.apply_vocabulary(distinct, path, lookup_fn=_apply)
    tokens = tf.gather(tokens, places)  # (words, any)
    return tf.RaggedTensor.from_value_rowids(
        tokens.values, tf.repeat(rows, tokens.row_lengths()), tf.size(texts, tf.int64)
    )


def byte_values(texts: tf.Tensor) -> tf.RaggedTensor:
    """Return the (batch, any) int64 bytes of (batch,) texts."""
    lengths = tf.cast(tf.strings.length(texts), tf.int64)
    values = tf.io.decode_raw(tf.strings.reduce_join(texts), tf.uint8)
    return tf.RaggedTensor.from_row_lengths(tf.cast(values, tf.int64), lengths)


def split(texts: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Return the (words,) of (batch,) texts in order, and the int64 row of each."""
    pieces = byte_values(texts)
    values, rows = pieces.values, pieces.value_rowids()
    starts = tf.where(_first_bytes(values, rows))[:, 0]
    ends = tf.concat([starts[1:], tf.shape(values, tf.int64)[:1]], 0)
    words = tf.strings.substr(tf.strings.reduce_join(texts), starts, ends - starts)
    return words, tf.gather(rows, starts)


def encode(
    words: tf.Tensor, rank_of: Callable[[tf.Tensor], tf.Tensor]
) -> tf.RaggedTensor:
    """Merge the bytes of words, in every word the first learned pair first.

    Args:
      words: (words,) string, none empty.
      rank_of: returns for int64 pairs when they were learned, from 0; -1: never.

    Returns:
      (words, any) int64 tokens.
    """
    pieces = byte_values(words)
    num_words = tf.size(words, tf.int64)

    # All tokens of words that still change, where they start, and their words; and the
    # tokens of the words that are done, at the bytes where they start.
    def merge(tokens, starts, owners, done):
        best = _best_pairs(tokens, owners, num_words, rank_of)
        changed = tf.boolean_mask(best, best != _NEVER)
        ranks, lefts = changed // KEY_BASE, (changed % KEY_BASE)[:, None]
        tokens = tf.tensor_scatter_nd_update(tokens, lefts, ranks + 256)
        finished = tf.gather(best, owners) == _NEVER
        done = tf.tensor_scatter_nd_update(
            done, starts[finished][:, None], tokens[finished]
        )
        gone = tf.fill(tf.shape(lefts)[:1], True)
        kept = ~tf.tensor_scatter_nd_update(finished, lefts + 1, gone)
        return tokens[kept], starts[kept], owners[kept], done

    owners = pieces.value_rowids()
    starts = tf.range(tf.size(owners, tf.int64))
    state = (pieces.values, starts, owners, -tf.ones_like(owners))
    *_, done = tf.while_loop(
        lambda tokens, *_: tf.size(tokens) > 0,
        merge,
        state,
        shape_invariants=(tf.TensorShape([None]),) * 4,
    )
    kept = done >= 0
    return tf.RaggedTensor.from_value_rowids(done[kept], owners[kept], num_words)


def _apply(words: tf.Tensor, path: tf.Tensor) -> tuple[tf.RaggedTensor, tf.Tensor]:
    # A path that is known belongs to the graph to be saved: one table, made outside.
    with nullcontext() if tf.is_symbolic_tensor(path) else tf.init_scope():
        initializer = tf.lookup.TextFileInitializer(
            path,
            key_dtype=tf.int64,
            key_index=0,
            value_dtype=tf.int64,
            value_index=tf.lookup.TextFileIndex.LINE_NUMBER,
        )
        table = tf.lookup.StaticHashTable(initializer, default_value=-1)
    return encode(words, table.lookup), table.size()


def _best_pairs(tokens, owners, num_words, rank_of) -> tf.Tensor:
    """Return for every word the `key` of rank and place of its first pair to merge."""
    ranks = rank_of(key(tokens[:-1], tokens[1:]))
    possible = (ranks >= 0) & (owners[:-1] == owners[1:])
    places = tf.range(tf.size(ranks, tf.int64))
    keys = tf.where(possible, key(ranks, places), _NEVER)
    return tf.math.unsorted_segment_min(keys, owners[:-1], num_words)


def _first_bytes(values: tf.Tensor, rows: tf.Tensor) -> tf.Tensor:
    """Return which of the (bytes,) values are the first of a word."""
    places = tf.range(tf.size(values, tf.int64))
    kinds = tf.gather(tf.constant(_kinds()), values)
    is_space = kinds == _SPACE
    # What rolls over from the other end stands at the head of a row: no effect.
    starts_row = (places == 0) | (rows != tf.roll(rows, 1, 0))
    changes = kinds != tf.roll(kinds, 1, 0)
    joins = tf.roll(values, 1, 0) == ord(" ")
    last_space = is_space & tf.roll(changes & ~starts_row, -1, 0)
    first = starts_row | last_space | (changes & ~joins)
    starts = tf.where(first)[:, 0]
    place = places - tf.gather(starts, tf.cumsum(tf.cast(first, tf.int64)) - 1)
    return place % MAX_WORD_BYTES == 0


_LETTER, _DIGIT, _SPACE, _SIGN = range(4)


def _kinds() -> list[int]:
    def kind(byte: int) -> int:
        character = chr(byte)
        if byte >= 128 or character.isalpha():
            return _LETTER
        if character.isdigit():
            return _DIGIT
        return _SPACE if character in " \t\n\r\v\f" else _SIGN

    return [kind(byte) for byte in range(256)]
