"""What a search may change in a recipe, and how Keras Tuner holds it."""

import copy
import inspect
import json
from collections.abc import Mapping
from typing import Any

import keras_tuner
from pydantic import ValidationError

import models
from components import train
from components.training_data import Config
from recipes.errors import BadInputError
from recipes.train import Train

Values = dict[str, Any]  # dotted key -> value


def space(config: Config) -> keras_tuner.HyperParameters:
    """Return the space to search, checked against the recipe.

    A range over a key that holds a whole number gives whole numbers. Choices are held
    as JSON, since Keras Tuner takes no lists.

    Raises:
      BadInputError: the recipe has no such key, or a value cannot be one of it.
    """
    found = keras_tuner.HyperParameters()
    for key, values in config["tune"]["space"].items():
        current = _current(config, key)
        if not isinstance(values, Mapping):
            _check(config, key, values)
            found.Choice(key, [json.dumps(value) for value in values])
            continue
        is_whole = isinstance(current, int) and not isinstance(current, bool)
        low, high = values["low"], values["high"]
        if is_whole and (low % 1 or high % 1):
            raise BadInputError(
                f"[tune.space] {key}: expected whole numbers as bounds, as its value "
                f"{current} is. Received: {low} and {high}"
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


def _current(config: Config, key: str) -> Any:
    """Return the value that a key has without the search."""
    part, _, rest = key.partition(".")
    if part == "train" and rest:
        section: Any = config["train"]
        for name in rest.split("."):
            if not isinstance(section, Mapping) or name not in section:
                raise BadInputError(f"[tune.space] The recipe has no {key!r}.")
            section = section[name]
        return section
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
    return config["model"]["arguments"].get(name, parameters[name].default)


def _check(config: Config, key: str, values: Any) -> None:
    """Refuse values that the `train` section cannot have, each on its own."""
    for value in values:
        changed = train.tuned(config, {"values": {key: value}})
        try:
            Train.model_validate_json(json.dumps(changed["train"]))
        except ValidationError as error:
            message = error.errors()[0]["msg"].removeprefix("Value error, ")
            raise BadInputError(
                f"[tune.space] {key}: {message}. Received: {value!r}"
            ) from error
