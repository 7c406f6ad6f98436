"""Make texts into ids and ids into texts, in the graph the exported model carries.

Id 0 is padding, 1 the unknown, 2 starts a text and 3 ends it. Three kinds of tokens
follow: `characters`, the most frequent first (see `components/characters.py`); `bytes`,
id = byte + 4; `bpe`, byte pairs (see `components/byte_pairs.py`), id = token + 4.
"""

import codecs
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import tensorflow as tf
import tensorflow_transform as tft

from components import byte_pairs, characters

PADDING, UNKNOWN, START, END = range(4)
NUM_SPECIAL = 4
_BYTES = [bytes([byte]) for byte in range(256)]
NUM_BYTE_IDS = NUM_SPECIAL + len(_BYTES)


def num_ids(section: Mapping[str, Any]) -> int:
    """Return how many ids a `language` or `pairs` section has."""
    if section["tokens"] == "bytes":
        return NUM_BYTE_IDS
    return int(section["vocabulary"])


def encode(
    texts: tf.Tensor, section: Mapping[str, Any], length: int, file_name: str
) -> tf.RaggedTensor:
    """Return the first tokens of texts; call it in a `preprocessing_fn`.

    Args:
      texts: (batch,) string.
      section: with `tokens` and `vocabulary`.
      length: the most tokens of a text.
      file_name: of the vocabulary.

    Returns:
      (batch, up to `length`) int64 ids, none of them a padding, a start or an end.
    """
    if section["tokens"] == "characters":
        num_kept = num_ids(section) - NUM_SPECIAL
        unknown = UNKNOWN - NUM_SPECIAL
        ids = characters.vectorize(texts, length, num_kept, file_name, unknown=unknown)
        return ids + NUM_SPECIAL
    if section["tokens"] == "bytes":
        texts = tf.strings.substr(texts, 0, length)
        return byte_pairs.byte_values(texts) + NUM_SPECIAL
    # The cut may change the word it falls into and the white space before that.
    texts = tf.strings.substr(texts, 0, byte_pairs.MAX_WORD_BYTES * (length + 2))
    num_merges = num_ids(section) - NUM_BYTE_IDS
    ids = byte_pairs.vectorize(texts, num_merges, file_name) + NUM_SPECIAL
    return ids[:, :length]


def padded(ids: tf.RaggedTensor, length: int) -> tf.Tensor:
    """Return (batch, length) int64, cut or filled with padding."""
    return ids.to_tensor(PADDING, shape=[None, length])


def enclosed(ids: tf.RaggedTensor, *, start: bool, end: bool) -> tf.RaggedTensor:
    """Put the id that starts a text before each row, the one that ends it behind."""
    column = tf.ones([ids.nrows(), 1], tf.int64)
    parts = [column * START] * start + [ids] + [column * END] * end
    return tf.concat(parts, axis=1)


def token_texts(
    section: Mapping[str, Any], output: tft.TFTransformOutput, file_name: str
) -> list[bytes]:
    """Return the text of each id; special ids, and those not needed, have none."""
    special, merged = [b""] * NUM_SPECIAL, []
    if section["tokens"] == "bytes":
        return special + _BYTES
    path = Path(output.transform_savedmodel_dir) / "assets" / file_name
    if section["tokens"] == "characters":
        texts = special + characters.read(path)
    else:
        for line in path.read_bytes().split(b"\n")[:-1]:
            merged.append(codecs.escape_decode(line.split(b"\t")[1])[0])
        texts = special + _BYTES + merged
    return texts + [b""] * (num_ids(section) - len(texts))


def decode(ids: tf.Tensor, texts: Sequence[bytes]) -> tf.Tensor:
    """Return the (batch,) texts of (batch, any) ids, in UTF-8.

    Half a character, which bytes may leave, becomes U+FFFD.
    """
    pieces = tf.gather(tf.constant(texts), ids)
    joined = tf.strings.reduce_join(pieces, axis=-1)
    return tf.strings.unicode_transcode(joined, "UTF-8", "UTF-8")


def newest(texts: tf.Tensor, section: Mapping[str, Any], length: int) -> tf.Tensor:
    """Return the ends of texts: as much as surely fits into so many tokens.

    These are the last `length` characters, or bytes.
    """
    if section["tokens"] == "characters":
        texts = tf.strings.unicode_transcode(texts, "UTF-8", "UTF-8")
        unit = "UTF8_CHAR"
    else:
        unit = "BYTE"
    starts = tf.maximum(tf.strings.length(texts, unit) - length, 0)
    lengths = tf.fill(tf.shape(starts), length)
    return tf.strings.substr(texts, starts, lengths, unit)


def token_losses(logits: tf.Tensor, labels: tf.Tensor) -> tf.Tensor:
    """Return the (batch,) mean cross-entropy of (batch, length) labels, in nats.

    Padding is left out; a row of padding has 0.
    """
    losses = tf.nn.sparse_softmax_cross_entropy_with_logits(labels, logits)
    weights = tf.cast(labels != PADDING, tf.float32)
    total = tf.reduce_sum(losses * weights, axis=1)
    return tf.math.divide_no_nan(total, tf.reduce_sum(weights, axis=1))


def column(feature: tf.Tensor | tf.SparseTensor) -> tf.Tensor:
    """Return the (batch,) texts of a raw feature, "" where a row has none."""
    if not isinstance(feature, tf.SparseTensor):
        return tf.reshape(feature, [-1])
    first = tf.SparseTensor(
        feature.indices, feature.values, [feature.dense_shape[0], 1]
    )
    return tf.reshape(tf.sparse.to_dense(first, ""), [-1])


def as_parsed(texts: tf.Tensor, feature: Any) -> tf.Tensor | tf.SparseTensor:
    """Return (batch,) texts as `tf.io.parse_example` would have."""
    if isinstance(feature, tf.io.VarLenFeature):
        return tf.sparse.from_dense(texts[:, None])  # leaves "" out
    return tf.reshape(texts, [-1, *feature.shape])
