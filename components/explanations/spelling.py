"""The tokens of a text as people read them."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import tensorflow as tf
import tensorflow_transform as tft

from components import text_codec, tokens

Spell = Callable[[tf.Tensor, Mapping[str, tf.Tensor]], tf.Tensor]


def speller(output: tft.TFTransformOutput, text: Mapping[str, Any]) -> Spell:
    """Return a function from (B, any) ids and what they were made from to strings.

    Args:
      output: the graph that made the ids, for its vocabulary.
      text: the recipe's `transform.text` section.

    Returns:
      A function of int64 ids and the raw features, name -> (B,); it returns the tokens
      in the shape of the ids, in UTF-8, "" for padding. Unknown words are read off the
      raw text; of a bag, whose places say nothing of the text, they are "?".
    """
    name = text["feature"]

    def words(ids: tf.Tensor, raw: Mapping[str, tf.Tensor]) -> tf.Tensor:
        texts = tokens.lower(raw[name]) if text["lower"] else raw[name]
        shape = [None, ids.shape[1]]
        return _utf8(tokens.split_words(texts).to_tensor("", shape=shape))

    def by_id(ids: tf.Tensor, raw: Mapping[str, tf.Tensor]) -> tf.Tensor:
        del raw
        return _utf8(tf.gather(tf.constant(texts), ids))

    if text["tokens"] == "words" and text["output"] == "ids":
        return words
    texts = _token_texts(output, text)
    return by_id


def _token_texts(
    output: tft.TFTransformOutput, text: Mapping[str, Any]
) -> Sequence[bytes]:
    """Return the text of each id; padding, and ids without a token, have none."""
    size = tokens.num_ids(text)
    if text["tokens"] == "words":
        found = [b"", b"?", *output.vocabulary_by_name(text["feature"])]
        return found + [b""] * (size - len(found))
    extra = text_codec.NUM_SPECIAL - tokens.NUM_SPECIAL  # ids for start and end
    section = {**text, "vocabulary": size + extra}
    return text_codec.token_texts(section, output, text["feature"])[extra:]


def _utf8(texts: tf.Tensor) -> tf.Tensor:
    """Replace what is no UTF-8, such as half a character, which JSON cannot hold."""
    return tf.strings.unicode_transcode(texts, "UTF-8", "UTF-8")
