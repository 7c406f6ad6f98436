"""The signature `explain`: an answer, and what of the request speaks for it.

It takes what `serve_raw` takes and returns `probabilities` and `classes` as that does,
and, in logits of the class that was answered (of yes or no: of the answer given):

- of an image `attributions` (batch, H, W, C), of a recording those of what the model
  reads of it; by integrated gradients from the mean of the `train` split. A network of
  convolutions adds `grad_cam` (batch, H, W), 0 to 1;
- of a table `attributions_<column>` (batch,) for each raw column: Shapley values
  against an example of means and most frequent ids;
- of a text `tokens` (batch, length), strings, and `attributions` of each, likewise
  Shapley values, against the empty text. Of a bag, where the order is lost, they are
  the `BAG_TOKENS` that matter most, by integrated gradients from the empty text;
- `completeness_gap` (batch,): how far the attributions are from adding up to the logit
  less that of what they are compared with.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf
import tensorflow_transform as tft

from components import inputs, tokens
from components.columns import transformed_name
from components.explanations import LogitsOf, completeness_gap
from components.explanations.grad_cam import grad_cam, last_convolution
from components.explanations.gradients import integrated_gradients
from components.explanations.shapley import orders, shapley
from components.explanations.spelling import speller
from components.explanations.token_shares import token_shares
from components.explanations.typical import typical
from components.input_checks import kind, used_features
from components.training_data import Data
from components.transform import num_ids
from recipes.errors import BadInputError

KINDS = ("image", "audio", "table", "text")
MAX_EXAMPLES = 4096  # that a baseline is made from
BAG_TOKENS = 32
Features = Mapping[str, Any]
Explain = Callable[[LogitsOf, Any, Features, tf.Tensor], dict[str, tf.Tensor]]


def check(config: Mapping[str, Any]) -> None:
    """Refuse a recipe that asks for explanations which do not exist.

    Raises:
      BadInputError: the model is of another kind than `KINDS`.
    """
    of = kind(config["transform"])
    if config["export"]["explain"] and of not in KINDS:
        raise BadInputError(
            f"`export.explain` needs an input of kind {', '.join(KINDS)}. Received: a "
            f"recipe of kind {of}. Leave it out."
        )


def baseline(data: Data, config: Mapping[str, Any]) -> Any:
    """Return the example that explanations compare with, or None where none are asked.

    Args:
      data: the examples of the training.
      config: of the Trainer.

    Returns:
      As the model is called on it, without the batch axis: means of numbers and most
      frequent ids over the `train` split, of which at most `MAX_EXAMPLES` are read,
      evenly taken; of a text zeros.
    """
    if not config["export"]["explain"]:
        return None
    check(config)
    transform = config["transform"]
    if transform["text"]:
        column = data.spec[transformed_name(transform["text"]["feature"])]
        return np.zeros(column.shape, column.dtype.as_numpy_dtype)
    every = -(-data.num_examples // MAX_EXAMPLES)
    records = tf.data.TFRecordDataset(data.train, compression_type="GZIP")
    batches = records.shard(every, 0).batch(256)
    return typical(
        inputs.model_inputs(tf.io.parse_example(batch, data.spec), transform)
        for batch in batches
    )


def function(
    model: keras.Model,
    transform_output: tft.TFTransformOutput,
    transform: Mapping[str, Any],
    baseline: Any,
) -> Explain:
    """Return what explains answers, to be called while a signature is traced.

    Args:
      model: as it is exported.
      transform_output: the graph the model was trained on, for its vocabulary.
      transform: the recipe's section of that name.
      baseline: of the function of that name.

    Returns:
      A function of `logits_of`, ready inputs (B, ...), the raw tensors they were made
      from, and (B,) classes; it returns the outputs beside the answer.
    """
    of = kind(transform)
    if of == "table":
        return _table(transform, baseline)
    if of == "text":
        return _text(transform_output, transform["text"], baseline)
    return _array(model, baseline)


def _array(model: keras.Model, baseline: np.ndarray) -> Explain:
    layer = last_convolution(model) if len(model.input.shape) == 4 else None

    def explain(logits_of, ready, raw, classes):
        del raw
        values = integrated_gradients(logits_of, ready, baseline, classes)
        gap = completeness_gap(logits_of, ready, baseline, classes, values)
        outputs = {"attributions": values, "completeness_gap": gap}
        if layer:
            outputs["grad_cam"] = grad_cam(model, layer, ready, classes)
        return outputs

    return explain


def _table(transform: Mapping[str, Any], baseline: Mapping[str, np.ndarray]) -> Explain:
    columns = used_features(transform)
    owners, order = _owners(transform, columns), orders(len(columns))

    def explain(logits_of, ready, raw, classes):
        del raw
        values = shapley(
            logits_of, ready, baseline, classes, owners=owners, orders=order
        )
        gap = completeness_gap(logits_of, ready, baseline, classes, values)
        named = {f"attributions_{n}": values[:, i] for i, n in enumerate(columns)}
        return named | {"completeness_gap": gap}

    return explain


def _text(
    output: tft.TFTransformOutput, text: Mapping[str, Any], baseline: np.ndarray
) -> Explain:
    spelled = speller(output, text)

    def explain_ids(logits_of, ids, raw, classes):
        values = token_shares(logits_of, ids, classes)
        return {
            "tokens": spelled(ids, raw),
            "attributions": values,
            "completeness_gap": completeness_gap(
                logits_of, ids, baseline, classes, values
            ),
        }

    def explain_bag(logits_of, bag, raw, classes):
        del raw
        values = integrated_gradients(logits_of, bag, baseline, classes)
        _, ids = tf.math.top_k(tf.abs(values), min(BAG_TOKENS, bag.shape[1]))
        is_there = tf.gather(bag, ids, batch_dims=1) > 0
        return {
            "tokens": spelled(tf.where(is_there, ids, tokens.PADDING), {}),
            "attributions": tf.gather(values, ids, batch_dims=1),
            "completeness_gap": completeness_gap(
                logits_of, bag, baseline, classes, values
            ),
        }

    return explain_ids if text["output"] == "ids" else explain_bag


def _owners(transform: Mapping[str, Any], columns: Sequence[str]) -> dict[str, Any]:
    """Return for each input of a table the numbers of the raw columns in it."""
    features = {name: [name] for name in num_ids(transform)}
    for name, parts in transform["calendar"].items():
        features |= {f"{name}_{part}": [name] for part in parts}
    for name, cross in transform["crosses"].items():
        features[name] = cross["features"]
    return {
        name: [columns.index(feature) for feature in of]
        for name, of in features.items()
    }
