"""Texts that become other texts: what the model reads, and what it writes.

Both share one vocabulary. `<source>_xf` (batch, source_length) int64 is the source and
its end; `<target>_xf` (batch, target_length) the start and the target; the label the
target and its end: what follows at each place. Texts are cut to fit. Without a target
the label is all padding.

`serving_default` and `serve_raw` return `outputs` (batch,) string, what the model
writes when it takes the most probable token each time; and `scores` (batch, 2): the
mean cross-entropy in nats of a token of the target, and 1 where the outputs are the
target, else 0. Without a target both are 0; one that was cut is never met.
"""

from collections.abc import Mapping
from typing import Any

import keras
import tensorflow as tf
import tensorflow_transform as tft

from components import generation, text_codec
from components.columns import LABEL, transformed_name
from models import Pair, Tokens

_VOCABULARY = "pairs"  # its file
Section = Mapping[str, Any]
Features = Mapping[str, Any]


def columns(features: Features, section: Section) -> dict[str, tf.Tensor]:
    """Return the transformed columns; call it in a `preprocessing_fn`."""
    texts = [text_codec.column(features[section[key]]) for key in ("source", "target")]
    length = max(section["source_length"], section["target_length"])
    ids = text_codec.encode(tf.concat(texts, 0), section, length, _VOCABULARY)
    num_rows = tf.size(texts[0])
    source, target = ids[:num_rows], ids[num_rows:]
    label = _cut(target, section["target_length"], end=True)
    is_known = (texts[1] != "")[:, None]
    return {
        transformed_name(section["source"]): _cut(
            source, section["source_length"], end=True
        ),
        transformed_name(section["target"]): _cut(
            target, section["target_length"], start=True
        ),
        LABEL: tf.where(is_known, label, tf.zeros_like(label)),
    }


def input_shape(section: Section) -> Pair:
    num_ids = text_codec.num_ids(section)
    return Pair(
        source=Tokens(section["source_length"], num_ids),
        target=Tokens(section["target_length"], num_ids),
    )


def num_outputs(section: Section) -> int:
    return text_codec.num_ids(section)


def model_inputs(features: Features, section: Section) -> dict[str, tf.Tensor]:
    """Return `source` and `target`, the ids that the model is called on."""
    return {
        key: features[transformed_name(section[key])] for key in ("source", "target")
    }


def raw_signature(section: Section) -> dict[str, tf.TensorSpec]:
    name = section["source"]
    return {name: tf.TensorSpec([None], tf.string, name=name)}


def raw_features(
    inputs: Features, section: Section, raw_spec: Mapping[str, Any]
) -> dict[str, Any]:
    """Return sources as the raw feature that `tf.io.parse_example` would have."""
    name = section["source"]
    return {name: text_codec.as_parsed(inputs[name], raw_spec[name])}


class Answers(tf.Module):
    """What a trained model writes, and how near that is to the target.

    Args:
      model: of a family that has `read` and `step`, named after it.
      transform_output: the graph the model was trained on, for its vocabulary.
      section: the recipe's `pairs`.
    """

    def __init__(
        self,
        model: keras.Model,
        transform_output: tft.TFTransformOutput,
        section: Section,
    ):
        super().__init__()
        # A function: of a model as an attribute every layer would be saved by itself.
        self._model = lambda: model
        self._section = section
        self._texts = text_codec.token_texts(section, transform_output, _VOCABULARY)

    def __call__(self, transformed: Features) -> dict[str, tf.Tensor]:
        inputs, label = model_inputs(transformed, self._section), transformed[LABEL]
        written = generation.answer(
            self._model(), inputs["source"], self._section["target_length"]
        )
        logits = self._model()(inputs, training=False)
        is_whole = tf.reduce_any(label == text_codec.END, axis=1)
        is_equal = tf.reduce_all(label == written, axis=1) & is_whole
        scores = [
            text_codec.token_losses(logits, label),
            tf.cast(is_equal, tf.float32),
        ]
        return {
            "outputs": text_codec.decode(written, self._texts),
            "scores": tf.stack(scores, axis=1),
        }

    def signatures(self) -> dict[str, Any]:
        return {}


def _cut(
    ids: tf.RaggedTensor, length: int, *, start: bool = False, end: bool = False
) -> tf.Tensor:
    """Return (batch, length) ids of texts that are started and ended."""
    return text_codec.padded(text_codec.enclosed(ids, start=start, end=end), length)
