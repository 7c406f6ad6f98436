"""Tokens of single characters (code points), the most frequent ones of `train`.

The vocabulary file holds their numbers, a line each: as characters a line break could
not stand in it.
"""

from pathlib import Path

import tensorflow as tf
import tensorflow_transform as tft


def vectorize(
    texts: tf.Tensor, length: int, num_kept: int, file_name: str, *, unknown: int
) -> tf.RaggedTensor:
    """Learn which characters are kept; call it in a `preprocessing_fn`.

    Args:
      texts: (batch,) string; what is not UTF-8 becomes U+FFFD.
      length: characters read of each text.
      num_kept: the most to keep.
      file_name: of the vocabulary.
      unknown: what those are that are not kept.

    Returns:
      (batch, up to `length`) int64: 0 for the most frequent, and so on.
    """
    # Four bytes is the longest a character can be.
    texts = tf.strings.substr(texts, 0, 4 * length)
    points = tf.strings.unicode_decode(texts, "UTF-8")[:, :length]
    points = tf.cast(points, tf.int64)
    kept = tft.vocabulary(points.values, top_k=num_kept, vocab_filename=file_name)
    return points.with_values(
        tft.apply_vocabulary(points.values, kept, default_value=unknown)
    )


def read(path: Path) -> list[bytes]:
    """Return the characters of a vocabulary file, in UTF-8."""
    return [chr(int(line)).encode() for line in path.read_text().split()]
