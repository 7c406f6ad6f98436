"""Begin with the weights of another training: load, freeze, slow down, or LoRA.

The trainer calls `check` first, `prepare` after it has built the model and before it
compiles it, and `merge` after the last update, before anything is exported.

LoRA: Hu et al. 2021, "LoRA: Low-Rank Adaptation of Large Language Models". Keras stores
a kernel with its low-rank change added and reads it back with both factors zero, from
where they never learn: a checkpoint has to hold the variables as they are.
"""

import logging
from collections.abc import Mapping
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf
import tensorflow_transform as tft

from components import same_inputs
from components.columns import LABEL, transformed_name
from components.input_checks import kind
from recipes.errors import BadInputError

_log = logging.getLogger(__name__)
_SEED = "seed_generator_state"  # Keras's name for the state of a random generator
_KEY = "weights/{}/.ATTRIBUTES/VARIABLE_VALUE"  # of `components.export.Exported`


def check(config: Mapping[str, Any], transform_output: tft.TFTransformOutput) -> None:
    """Compare the inputs that the stored weights were trained on with this recipe's.

    Labels may differ, and how inputs vary. Other data give other scales, which is said
    in the log, and other vocabularies, whose ids mean something else: refused. A
    SavedModel that does not say what it was trained with is taken.

    Args:
      config: of the Trainer.
      transform_output: the graph that this training's examples went through.

    Raises:
      BadInputError: the weights were trained on other inputs.
    """
    if not config["train"]["start_from"]:
        return
    ours, directory = config["transform"], config["start_from_dir"]
    theirs = same_inputs.section(directory)
    if not theirs:
        return
    if keys := same_inputs.differing_keys(ours, theirs, {"augment", "label"}):
        raise BadInputError(
            f"The weights in {directory} were trained on other inputs: `transform` "
            f"differs in {', '.join(keys)}. Use the same values as there, or leave out "
            "`train.start_from`."
        )
    try:
        loaded = tf.saved_model.load(directory)
        columns = set(same_inputs.differing_columns(loaded, transform_output)) - {LABEL}
    except tf.errors.OpError as error:  # the label stands elsewhere, say
        said = str(error).partition("\n")[0]
        _log.warning(
            "could not compare the inputs with those of %s: %s", directory, said
        )
        return
    if numbered := sorted(columns & _numbered(ours, columns)):
        raise BadInputError(
            f"The weights in {directory} were trained with another vocabulary: "
            f"{', '.join(numbered)} is numbered otherwise. Train on the data that it "
            "was learned from, or leave out `train.start_from`."
        )
    if columns:
        names = ", ".join(sorted(columns))
        _log.warning("%s is scaled otherwise than in %s", names, directory)


def _numbered(transform: Mapping[str, Any], columns: set[str]) -> set[str]:
    """Return which of the columns hold places in a vocabulary."""
    if kind(transform) in ("text", "language", "pairs"):
        return columns
    return {transformed_name(name) for name in transform["vocabulary"] or ()}


def prepare(model: keras.Model, config: Mapping[str, Any]) -> None:
    """Load weights, freeze layers and add low-rank changes, as `train.start_from` says.

    Changes nothing where a recipe has no such section. Call it inside the scope of the
    strategy.

    Args:
      model: built, not yet compiled.
      config: of the Trainer; `start_from_dir` is the SavedModel to begin with, written
        by `components.export`.

    Raises:
      BadInputError: the SavedModel is of another model, or a pattern matches no layer.
    """
    section = config["train"]["start_from"]
    if not section:
        return
    fresh = _load(model, Path(config["start_from_dir"]))
    for layer in _matching(model, section["freeze"], "train.start_from.freeze"):
        layer.trainable = False
    if section["lora_rank"]:
        _add_low_rank(model, fresh, section["lora_rank"], config["train"]["seed"])


def factors(model: keras.Model, train: Mapping[str, Any]) -> dict[str, float]:
    """Return path of a trainable variable -> factor on its learning rate, if not 1.

    Where two patterns match a layer, the later one counts; a layer's pattern holds for
    the layers inside it.

    Raises:
      BadInputError: a pattern matches no layer.
    """
    section = train["start_from"]
    found: dict[str, float] = {}
    for pattern, factor in (section or {}).get("learning_rate_factors", {}).items():
        where = "train.start_from.learning_rate_factors"
        for layer in _matching(model, [pattern], where):
            found |= {v.path: factor for v in layer.trainable_variables}
    return {path: factor for path, factor in found.items() if factor != 1}


def merge(model: keras.Model) -> None:
    """Add each low-rank change to its kernel; the model then has its usual variables.

    What the model answers stays the same up to rounding.
    """
    for layer in _layers(model):
        if not getattr(layer, "lora_enabled", False):
            continue
        stored: dict[str, Any] = {}
        layer.save_own_variables(stored)  # kernels with their changes added
        values = {name: np.array(value) for name, value in stored.items()}
        layer.lora_enabled, layer.lora_rank = False, None
        for name in ("kernel", "embeddings"):
            for factor in "ab":
                variable = getattr(layer, f"lora_{name}_{factor}", None)
                if variable is not None:
                    layer._untrack_variable(variable)
        layer.load_own_variables(values)


def _load(model: keras.Model, directory: Path) -> keras.layers.Layer | None:
    """Assign the stored weights; return the last layer if it was kept as it is."""
    stored = _stored(directory)
    variables = [v for v in model.variables if v.name != _SEED]
    last = [layer for layer in model.layers if layer.variables][-1]
    last_ids = {id(v) for v in last.variables}
    differ = [
        (variable, value)
        for variable, value in zip(variables, stored, strict=False)
        if tuple(variable.shape) != value.shape
    ]
    other = [
        (variable, value)
        for variable, value in differ
        if id(variable) not in last_ids or variable.shape[:-1] != value.shape[:-1]
    ]
    if other or len(variables) != len(stored):
        message = _mismatch(variables, stored, other or differ)
        raise BadInputError(
            f"The weights in {directory} are of another model than `model` builds: "
            f"{message}. Use the family and arguments that it was trained with."
        )
    for variable, value in zip(variables, stored, strict=True):
        if not (differ and id(variable) in last_ids):
            variable.assign(value)
    _log.info(
        "started from %d weights of %s%s",
        sum(value.size for value in stored),
        directory,
        f"; layer {last.name} starts anew: it had other outputs" if differ else "",
    )
    return last if differ else None


def _stored(directory: Path) -> list[np.ndarray]:
    """Return the weights of a SavedModel in order, without random generators' state."""
    checkpoint = directory / "variables" / "variables"
    try:
        reader = tf.train.load_checkpoint(str(checkpoint))
    except (tf.errors.OpError, ValueError) as error:
        raise BadInputError(
            f"No weights in {directory}. Expected a SavedModel of a run or a version."
        ) from error
    dtypes = reader.get_variable_to_dtype_map()
    if tf.int8 in dtypes.values():
        raise BadInputError(
            f"The weights in {directory} were quantized to int8, which cannot be "
            "trained further. Start from a version with `export.quantize: none`."
        )
    keys = [_KEY.format(number) for number in range(len(dtypes))]
    return [
        reader.get_tensor(key)
        for key in keys
        if key in dtypes and dtypes[key] != tf.int64
    ]


def _mismatch(
    variables: list[keras.Variable],
    stored: list[np.ndarray],
    differ: list[tuple[keras.Variable, np.ndarray]],
) -> str:
    """Return what to say of the first variable that is not as it was stored."""
    if differ:
        variable, value = differ[0]
        return f"here {variable.path} {tuple(variable.shape)}, there {value.shape}"
    if len(variables) > len(stored):
        variable = variables[len(stored)]
        return f"here {variable.path} {tuple(variable.shape)}, there no more weights"
    value = stored[len(variables)]
    return f"here nothing after {variables[-1].path}, there {value.shape}"


def _add_low_rank(
    model: keras.Model, fresh: keras.layers.Layer | None, rank: int, seed: int
) -> None:
    """Train low-rank changes in place of the kernels of layers that are not frozen.

    A last layer that starts anew is trained as a whole: its kernel is random.
    """
    kept = set() if fresh is None else {id(layer) for layer in _layers(fresh, own=True)}
    able = [
        layer
        for layer in _layers(model)
        if hasattr(layer, "enable_lora")
        and layer.trainable_variables
        and id(layer) not in kept
    ]
    if not able:
        raise BadInputError(
            "`train.start_from.lora_rank` needs a dense, convolution or embedding "
            "layer that is not frozen. Leave it out, or freeze less."
        )
    for number, layer in enumerate(able):
        initializer = keras.initializers.HeUniform(seed + number)
        layer.enable_lora(rank, a_initializer=initializer)


def _matching(
    model: keras.Model, patterns: list[str], where: str
) -> list[keras.layers.Layer]:
    """Return the layers, also inside others, whose name is like one of the patterns."""
    layers = _layers(model)
    names = list(dict.fromkeys(layer.name for layer in layers if layer.variables))
    for pattern in patterns:
        if not any(fnmatchcase(layer.name, pattern) for layer in layers):
            raise BadInputError(
                f"`{where}` names no layer of the model. Expected names or patterns of "
                f"{', '.join(names)}. Received: {pattern!r}"
            )
    return [
        layer
        for layer in layers
        if any(fnmatchcase(layer.name, pattern) for pattern in patterns)
    ]


def _layers(layer: keras.layers.Layer, *, own: bool = False) -> list:
    """Return the layers inside a layer, at any depth; itself first with `own`."""
    return layer._flatten_layers(include_self=own)
