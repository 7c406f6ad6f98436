"""Make texts into token ids and bags of them, in the graph the exported model carries.

Id 0 is padding, 1 the unknown. Three kinds of tokens:

- `words`: punctuation is removed, the rest split at white space, as Keras's
  TextVectorization does; the most frequent words of `train` have ids.
- `bytes`: id = byte + 2, always 258 ids; nothing is unknown.
- `bpe`: byte pairs, learned from `train` (see `components/byte_pairs.py`).

Only TensorFlow's own ops: KerasHub's tokenizers need tensorflow-text, whose ops a fresh
process does not have when it loads the model, and cannot be saved in one
(keras-team/keras-hub#2015).
"""

from collections.abc import Mapping
from typing import Any

import tensorflow as tf
import tensorflow_transform as tft

from components import byte_pairs

PADDING, UNKNOWN = 0, 1
NUM_SPECIAL = 2
NUM_BYTE_IDS = NUM_SPECIAL + 256
_PUNCTUATION = r"""[!"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~]"""


def num_ids(text: Mapping[str, Any]) -> int:
    """Return how many ids a `text` section has, which is also how long its bags are."""
    return NUM_BYTE_IDS if text["tokens"] == "bytes" else int(text["vocabulary"])


def vectorize(texts: tf.Tensor, text: Mapping[str, Any]) -> tf.Tensor:
    """Return what the model gets of each text; call it in a `preprocessing_fn`.

    Args:
      texts: (batch,) string; "" is a text without tokens.
      text: the recipe's `transform.text` section.

    Returns:
      (batch, length) int64 ids; or (batch, num_ids) float32, how often each is there,
      for `tfidf` times 1 + log((1 + texts) / (1 + texts with the token)) as learned
      from `train`. Bags count all tokens, also those behind `length`.
    """
    size = num_ids(text)
    texts = lower(texts) if text["lower"] else texts
    if text["output"] == "ids":
        ids = _ids(_head(texts, text), text)
        return ids.to_tensor(PADDING, shape=[None, text["length"]])
    ids = _ids(texts, text).to_sparse()
    if text["output"] == "counts":
        return _bag(ids, tf.ones_like(ids.values, tf.float32), size)
    return _bag(ids, tft.experimental.idf(ids, size).values, size)


def _ids(texts: tf.Tensor, text: Mapping[str, Any]) -> tf.RaggedTensor:
    """Return (batch, any) int64 ids."""
    if text["tokens"] == "words":
        return _word_ids(texts, text)
    if text["tokens"] == "bytes":
        return byte_pairs.byte_values(texts) + NUM_SPECIAL
    num_merges = num_ids(text) - NUM_BYTE_IDS
    return byte_pairs.vectorize(texts, num_merges, text["feature"]) + NUM_SPECIAL


def lower(texts: tf.Tensor) -> tf.Tensor:
    """Return texts in lower case; of what is not UTF-8 or holds a 0 byte, only a-z.

    TensorFlow cuts such texts otherwise. ASCII comes first, since what becomes of "I"
    depends on the locale of the process.
    """
    texts = tf.strings.lower(texts)
    is_plain = tf.strings.regex_full_match(texts, r"[^\x00]*")  # matches UTF-8 only
    return tf.where(is_plain, tf.strings.lower(texts, encoding="utf-8"), texts)


def split_words(texts: tf.Tensor) -> tf.RaggedTensor:
    """Return (batch, any) words, without punctuation."""
    return tf.strings.split(tf.strings.regex_replace(texts, _PUNCTUATION, ""))


def _word_ids(texts: tf.Tensor, text: Mapping[str, Any]) -> tf.RaggedTensor:
    words = split_words(texts)
    kept = tft.vocabulary(
        words.values,
        top_k=text["vocabulary"] - NUM_SPECIAL,
        vocab_filename=text["feature"],
    )
    ids = tft.apply_vocabulary(words.values, kept, default_value=-1)
    return words.with_values(ids + NUM_SPECIAL)


def _head(texts: tf.Tensor, text: Mapping[str, Any]) -> tf.Tensor:
    """Cut long texts where it cannot change the first `length` tokens."""
    if text["tokens"] == "words":
        return texts  # a word may have any length
    if text["tokens"] == "bytes":
        return tf.strings.substr(texts, 0, text["length"])
    # The cut may change the word it falls into and the white space before that.
    return tf.strings.substr(texts, 0, byte_pairs.MAX_WORD_BYTES * (text["length"] + 2))


def _bag(ids: tf.SparseTensor, weights: tf.Tensor, size: int) -> tf.Tensor:
    """Return (batch, size) float32: the sum of the weights of each id in each row."""
    cells = tf.stack([ids.indices[:, 0], ids.values], axis=1)
    shape = tf.stack([ids.dense_shape[0], tf.constant(size, tf.int64)])
    return tf.ensure_shape(tf.scatter_nd(cells, weights, shape), [None, size])
