"""Make a trained model smaller before it is exported: prune it, quantize it to int8.

Pruning sets weights to 0, which saves space only where files are compressed. Int8 makes
dense, einsum and embedding layers a quarter in size; Keras has no int8 for convolution
or recurrent layers, which stay as they are. Neither makes a CPU faster.

The weights of a quantized model cannot be trained further.
"""

from collections.abc import Callable, Mapping
from typing import Any

import keras
import numpy as np

import models
from components import inputs
from components.input_checks import kind
from recipes.errors import RefusedError

Score = Callable[[keras.Model], float]
_LOSSES = ("series", "language", "pairs")  # kinds whose score is minus a loss


def apply(
    model: keras.Model, config: Mapping[str, Any], score: Score
) -> tuple[keras.Model, dict[str, Any]]:
    """Return the model to export and what pruning and quantizing cost it.

    Args:
      model: trained, without low-rank changes; it is not modified.
      config: of the Trainer; `export` says what to do.
      score: of a model on `eval`: accuracy, or minus the loss where it predicts numbers
        or tokens.

    Returns:
      The model, and a record with the score of each form (`float32`, then `pruned` and
      `int8` where asked for), `bytes` of its weights by form, and `zeros`, the share of
      all weights that pruning set to 0. The same model and {} where nothing is asked.

    Raises:
      RefusedError: the score fell by more than `export.drop_at_most`.
    """
    export = config["export"]
    if not export["prune"] and export["quantize"] == "none":
        return model, {}
    small = _copy(model, config)
    record: dict[str, Any] = {"float32": score(model)}
    record["bytes"] = {"float32": num_bytes(model)}
    if export["prune"]:
        record["zeros"] = prune(small, export["prune"])
        record["pruned"] = score(small)
    if export["quantize"] == "int8":
        quantize(small)
        record["int8"] = score(small)
        record["bytes"]["int8"] = num_bytes(small)
    _check(record, config)
    return small, record


def prune(model: keras.Model, share: float) -> float:
    """Set the smallest weights of each kernel to 0; return the share of all weights.

    Args:
      model: changed in place.
      share: of each kernel, 0 to 1, rounded down to whole weights.
    """
    zeros = 0
    for variable in model.trainable_variables:
        if not variable.name.endswith("kernel"):
            continue
        values = np.array(variable)
        smallest = np.argsort(np.abs(values), axis=None)[: int(share * values.size)]
        values.flat[smallest] = 0
        variable.assign(values)
        zeros += len(smallest)
    return zeros / model.count_params()


def quantize(model: keras.Model) -> None:
    """Store the kernels of the layers that can do it as int8, in place."""
    model.quantize("int8", filters=_has_int8)


def num_bytes(model: keras.Model) -> int:
    """Return the size of all weights in memory."""
    return sum(v.numpy().nbytes for v in model.weights)


def _has_int8(layer: keras.layers.Layer) -> bool:
    # Keras warns of each layer that it asks in vain, such as a Reshape.
    return type(layer).quantize is not keras.layers.Layer.quantize


def _copy(model: keras.Model, config: Mapping[str, Any]) -> keras.Model:
    transform, section = config["transform"], config["model"]
    copy = models.build(
        section["family"],
        inputs.input_shape(transform),
        inputs.num_outputs(transform),
        **section["arguments"],
    )
    copy.set_weights(model.get_weights())
    return copy


def _check(record: Mapping[str, Any], config: Mapping[str, Any]) -> None:
    before, limit = record["float32"], config["export"]["drop_at_most"]
    form = "int8" if "int8" in record else "pruned"
    after = record[form]
    drop = before - after
    of = "the accuracy fell"
    if kind(config["transform"]) in _LOSSES:
        drop, before, after = drop / abs(before), -before, -after
        of = "the loss rose"
    # NaN is no drop that is small enough either.
    if not drop <= limit:
        raise RefusedError(
            f"The {form} model is not good enough: {of} from {before:.4f} to "
            f"{after:.4f}, by {drop:.4f}. Expected at most export.drop_at_most="
            f"{limit}. Raise it, prune less, or leave `quantize` out."
        )
