"""What a search may change in a recipe, and how Keras Tuner holds it."""

import copy
import inspect
import json
from collections.abc import Mapping
from types import UnionType
from typing import Annotated, Any, Union, get_args, get_origin

import keras_tuner
from pydantic import ValidationError

import models
from components import train
from components.training_data import Config
from recipes.errors import BadInputError
from recipes.train import Train

Values = dict[str, Any]  # dotted key -> value
_FIXED = {
    "train.epochs": "trials take `tune.epochs`",
    "train.strategy": "all trials train under one",
    "train.replicas": "all trials train under one strategy",
    "train.deterministic": "it holds for the whole process",
    "train.seed": "the best seed says nothing of other data",
    "train.start_from": "the weights are found before the search",
    "train.distill.teacher": "it is loaded before the search",
    "train.reweigh": "the score knows nothing of groups",
}


def space(config: Config) -> keras_tuner.HyperParameters:
    """Return the space to search, checked against the recipe.

    A range over a key that holds a whole number gives whole numbers. Choices are held
    as JSON, since Keras Tuner takes no lists.

    Raises:
      BadInputError: the recipe has no such key, or a value cannot be one of it.
    """
    found = keras_tuner.HyperParameters()
    for key, values in config["tune"]["space"].items():
        _refuse_fixed(key)
        is_whole = _is_whole(config, key)
        if not isinstance(values, Mapping):
            _check(config, key, values)
            found.Choice(key, [json.dumps(value) for value in values])
            continue
        low, high = values["low"], values["high"]
        if is_whole and (low % 1 or high % 1):
            raise BadInputError(
                f"[tune.space] {key}: expected whole numbers as bounds, as its values "
                f"are. Received: {low} and {high}"
            )
        low, high = (int(low), int(high)) if is_whole else (low, high)
        _check(config, key, (low, high))
        add = found.Int if is_whole else found.Float
        add(key, low, high, sampling="log" if values["log"] else "linear")
    return found


def chosen(values: Mapping[str, Any]) -> Values:
    """Return a trial's values as a recipe has them, without Keras Tuner's own."""
    return {
        key: json.loads(value) if isinstance(value, str) else value
        for key, value in values.items()
        if not key.startswith("tuner/")
    }


def changed_by(config: Config, values: Values, epochs: int) -> Config:
    """Return the config of one trial."""
    changed = train.tuned(config, {"values": values})
    changed = copy.deepcopy({key: changed[key] for key in changed if key != "tune"})
    changed["train"]["epochs"] = epochs
    return changed


def check(section: Mapping[str, Any]) -> None:
    """Check the values of a trial's `train` section against each other.

    Raises:
      BadInputError: they do not fit each other.
    """
    try:
        Train.model_validate_json(json.dumps(section))
    except ValidationError as error:
        raise BadInputError(f"[train] {_said(error.errors()[0])}") from error


def _refuse_fixed(key: str) -> None:
    """Refuse what trials do not take, or not in the same way as the training after."""
    for fixed, why in _FIXED.items():
        if key == fixed or key.startswith(f"{fixed}."):
            raise BadInputError(f"[tune.space] {key} cannot be searched: {why}.")


def _is_whole(config: Config, key: str) -> bool:
    """Say whether a key takes whole numbers alone."""
    part, _, rest = key.partition(".")
    if part == "train" and rest:
        section: Any = config["train"]
        for name in rest.split("."):
            if not isinstance(section, Mapping) or name not in section:
                raise BadInputError(f"[tune.space] The recipe has no {key!r}.")
            section = section[name]
        if section is None:
            return int in _types(Train.model_fields[rest].annotation)
        return isinstance(section, int) and not isinstance(section, bool)
    if not rest.startswith("arguments.") or part != "model":
        raise BadInputError(
            "[tune.space] Expected keys below `train` or `model.arguments`. "
            f"Received: {key!r}"
        )
    family, name = config["model"]["family"], rest.removeprefix("arguments.")
    parameters = inspect.signature(models.load(family).build).parameters
    known = [p.name for p in parameters.values() if p.kind is p.KEYWORD_ONLY]
    if name not in known:
        raise BadInputError(
            f"[tune.space] {key}: model family {family!r} has the arguments "
            f"{', '.join(known)}."
        )
    return int in _types(parameters[name].annotation)


def _types(annotation: Any) -> list[Any]:
    """Return the types that `X | None` and `Annotated` are made of."""
    if get_origin(annotation) not in (Union, UnionType, Annotated):
        return [annotation]
    return [kind for part in get_args(annotation) for kind in _types(part)]


def _check(config: Config, key: str, values: Any) -> None:
    """Refuse values that a key cannot have; how they fit others is seen in trials."""
    for value in values:
        changed = train.tuned(config, {"values": {key: value}})
        try:
            Train.model_validate_json(json.dumps(changed["train"]))
        except ValidationError as error:
            wrong = [one for one in error.errors() if one["loc"]]
            if wrong:
                raise BadInputError(
                    f"[tune.space] {key}: {_said(wrong[0])}. Received: {value!r}"
                ) from error


def _said(error: Mapping[str, Any]) -> str:
    return str(error["msg"]).removeprefix("Value error, ")
