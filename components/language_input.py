"""Texts whose every next token is predicted, and the text generated from a prompt.

A text is read as the id that starts one, its tokens, and the id that ends it, cut to
`length` + 1. `<feature>_xf` (batch, length) int64 is all but the last, the label all
but the first: what follows at each place. A text of `length` tokens is predicted whole;
its end is not, since it may as well have been cut there.

`serving_default` and `serve_raw` score texts: `scores` (batch, 1) is the mean
cross-entropy in nats of a token, `perplexity` (batch,) its exponential. `generate` goes
on from prompts, see `components/generation`.
"""

from collections.abc import Callable, Mapping
from typing import Any

import keras
import tensorflow as tf
import tensorflow_transform as tft

from components import generation, text_codec
from components.columns import LABEL, transformed_name
from models import Tokens

# Inputs of `generate` beside the prompt: default and type.
OPTIONS = {
    "max_tokens": (100, tf.int32),
    "temperature": (1.0, tf.float32),
    "top_k": (0, tf.int32),
    "top_p": (1.0, tf.float32),
    "seed": (0, tf.int64),
}
Section = Mapping[str, Any]
Features = Mapping[str, Any]


def columns(features: Features, section: Section) -> dict[str, tf.Tensor]:
    """Return the transformed columns; call it in a `preprocessing_fn`."""
    name, length = section["feature"], section["length"]
    texts = text_codec.column(features[name])
    ids = text_codec.encode(texts, section, length, name)
    ids = text_codec.enclosed(ids, start=True, end=True)
    ids = text_codec.padded(ids, length + 1)
    return {transformed_name(name): ids[:, :-1], LABEL: ids[:, 1:]}


def input_shape(section: Section) -> Tokens:
    return Tokens(section["length"], text_codec.num_ids(section))


def num_outputs(section: Section) -> int:
    return text_codec.num_ids(section)


def model_inputs(features: Features, section: Section) -> tf.Tensor:
    """Return the (batch, length) int64 ids the model is called on."""
    return features[transformed_name(section["feature"])]


def raw_signature(section: Section) -> dict[str, tf.TensorSpec]:
    name = section["feature"]
    return {name: tf.TensorSpec([None], tf.string, name=name)}


def raw_features(
    inputs: Features, section: Section, raw_spec: Mapping[str, Any]
) -> dict[str, Any]:
    """Return texts as the raw feature that `tf.io.parse_example` would have."""
    name = section["feature"]
    return {name: text_codec.as_parsed(inputs[name], raw_spec[name])}


class Answers(tf.Module):
    """What a trained model says of texts, and writes.

    Args:
      model: of a family that has `read` and `step`, named after it.
      transform_output: the graph the model was trained on, for its vocabulary.
      section: the recipe's `language`.
      transformed: makes raw features into transformed columns.
    """

    def __init__(
        self,
        model: keras.Model,
        transform_output: tft.TFTransformOutput,
        section: Section,
        transformed: Callable[[Features], Features],
    ):
        super().__init__()
        # A function: of a model as an attribute every layer would be saved by itself.
        self._model = lambda: model
        self._section = section
        self._raw_spec = transform_output.raw_feature_spec()
        self._texts = text_codec.token_texts(
            section, transform_output, section["feature"]
        )
        self._transformed = transformed

    def __call__(self, transformed: Features) -> dict[str, tf.Tensor]:
        ids = model_inputs(transformed, self._section)
        logits = self._model()(ids, training=False)
        losses = text_codec.token_losses(logits, transformed[LABEL])
        return {"scores": losses[:, None], "perplexity": tf.exp(losses)}

    def signatures(self) -> dict[str, Any]:
        """Return `generate`, whose inputs but `prompt` may be left out."""

        def generate(prompt, max_tokens, temperature, top_k, top_p, seed):
            sampling = generation.Sampling(temperature, top_k, top_p, seed)
            return {"text": self._written(prompt, max_tokens, sampling)}

        # Tensors that a function has as defaults become those of a saved signature.
        generate.__defaults__ = tuple(tf.constant(*o) for o in OPTIONS.values())
        signature = [tf.TensorSpec([None], tf.string, name="prompt")]
        signature += [tf.TensorSpec([], dtype) for _, dtype in OPTIONS.values()]
        traced = tf.function(generate, input_signature=signature, autograph=False)
        return {"generate": traced}

    def _written(
        self, prompts: tf.Tensor, max_tokens: tf.Tensor, sampling: generation.Sampling
    ) -> tf.Tensor:
        """Return the (batch,) texts that go on from prompts."""
        heads = text_codec.newest(prompts, self._section, self._section["length"] - 1)
        name = self._section["feature"]
        raw = raw_features({name: heads}, self._section, self._raw_spec)
        ids = model_inputs(self._transformed(raw), self._section)
        ids = tf.where(ids == text_codec.END, tf.zeros_like(ids), ids)  # it goes on
        written = generation.generate(self._model(), ids, max_tokens, sampling)
        return text_codec.decode(written, self._texts)
