"""Prove that every recipe works: a small run of each to a served, answered model.

A recipe is run as it stands, but for its length: two updates, a model as small as the
family's `TINY`, fewer records where the source can be told so, and no bound that so
little training could not reach.
"""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from components import model_process
from pipeline import sample_request
from pipeline.workspace import Workspace
from recipes import load
from recipes.errors import StrataError
from recipes.schema import METRICS, Recipe
from serving.client import Client, ServerError

_AT_ONCE = 2  # runs; each waits for its own steps now and then
_TIMEOUT_SECONDS = 600
_TOLERANCE = 1e-5
_HIGHEST = 1e9
# What a model that never says yes has none of; such a metric passes no bound.
_NAN_AT_FIRST = ("Precision", "Recall")
_NUM_TRAIN, _NUM_OTHERS = 256, 64
_EXAMINED = 64  # test examples
_STRIDE = 96  # steps between two windows of a series

Say = Callable[[str], None]


@dataclass(frozen=True)
class Checked:
    """What came of one recipe; `fault` is empty where all went well."""

    name: str
    seconds: float
    fault: str = ""


def check(names: Sequence[str], workspace: Workspace, say: Say) -> int:
    """Run, serve and ask each recipe; return 0, or 1 where one failed."""
    # A place of its own: what it pushes is no model to serve.
    workspace = Workspace(workspace.root / "zoo")
    workspace.root.mkdir(exist_ok=True)
    folder = workspace.root
    names = names or load.names()
    for name in names:  # a name that is not there ends this before anything runs
        small = smaller(load.load(load.find(name)))
        (folder / f"{name}.yaml").write_text(json.dumps(small), "utf-8")
    failed = 0
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        for done in pool.map(lambda name: _checked(name, folder, workspace), names):
            failed += bool(done.fault)
            mark = "✘" if done.fault else "✔"
            say(f" {done.name:<24} {mark} {done.seconds:6.1f} s  {done.fault}")
    say(f" {len(names) - failed} of {len(names)} recipes run, are served and answer")
    return 1 if failed else 0


def smaller(recipe: Recipe) -> dict[str, Any]:
    """Return the values of a recipe whose run takes seconds; JSON is YAML as well."""
    values: dict[str, Any] = recipe.model_dump(mode="json", exclude_unset=True)
    values["train"] |= {"epochs": 1, "max_steps": 2, "warmup_steps": 0}
    values["train"]["global_batch_size"] = min(16, recipe.train.global_batch_size)
    values["train"].pop("early_stopping", None)
    values.pop("push", None)
    # The check itself serves the model; a bound would refuse one that learned nothing.
    values["examine"] = {"examples": _EXAMINED, "served": None, "robustness": None}
    values["model"]["arguments"] = _tiny(recipe)
    for name, bound in values["evaluate"]["metrics"].items():
        bound.clear()
        if name in _NAN_AT_FIRST:
            continue
        bound["at_least" if METRICS[name] else "at_most"] = (
            -_HIGHEST if METRICS[name] else _HIGHEST
        )
    data = values["data"]
    if recipe.data.tfds and isinstance(recipe.data.splits["train"], str):
        data["splits"] = _slices(recipe.data.splits)
    if recipe.data.series:
        data["series"]["stride"] = _STRIDE
    return values


def _tiny(recipe: Recipe) -> dict[str, Any]:
    """Return the recipe's arguments, and of the family's `TINY` what makes it small."""
    # In a process of its own: a family imports Keras.
    code = (
        "import json, sys, models; tiny = dict(models.load(sys.argv[1]).TINY); "
        "del tiny['input_shape'], tiny['num_outputs']; print(json.dumps(tiny))"
    )
    found = subprocess.run(
        [sys.executable, "-c", code, recipe.model.family],
        stdout=subprocess.PIPE,
        check=True,
        text=True,
    )
    arguments = {**recipe.model.arguments, **json.loads(found.stdout.splitlines()[-1])}
    return arguments | {
        name: value
        for name, value in recipe.model.arguments.items()
        if isinstance(value, str)  # which kind of layer or architecture
    }


def _slices(splits: Any) -> dict[str, str]:
    """Return slices of the same parts that hold a few hundred records."""
    parts = {name: str(text).split("[")[0] for name, text in splits.items()}
    taken: dict[str, int] = {}
    found = {}
    for name, part in parts.items():
        start = taken.get(part, 0)
        stop = start + (_NUM_TRAIN if name == "train" else _NUM_OTHERS)
        found[name], taken[part] = f"{part}[{start}:{stop}]", stop
    return found


def _checked(name: str, folder: Path, workspace: Workspace) -> Checked:
    begin = time.monotonic()
    log = folder / f"{name}.log"
    command = [sys.executable, "-m", "pipeline.cli", "run", f"{folder / name}.yaml"]
    try:
        with log.open("wb") as output:
            subprocess.run(
                command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                timeout=_TIMEOUT_SECONDS,
                check=True,
                env={**os.environ, "STRATA_HOME": str(workspace.root)},
            )
        fault = _asked(name, folder, workspace)
    except subprocess.SubprocessError as error:
        last = log.read_text("utf-8", errors="replace").strip().splitlines()[-1:]
        fault = f"{error}: {''.join(last)} ({log})"
    except (ServerError, StrataError) as error:
        fault = str(error)
    return Checked(name, time.monotonic() - begin, fault)


def _asked(name: str, folder: Path, workspace: Workspace) -> str:
    """Ask every signature that takes plain tensors over both protocols."""
    recipe = load.load(folder / f"{name}.yaml")
    log = folder / f"{name}.server.log"
    base_path = workspace.models(recipe.name)
    with model_process.started(recipe.name, base_path, log) as server:
        address = f"{model_process.HOST}:{server.port}"
        url = f"http://{model_process.HOST}:{server.rest_port}"
        found = sample_request.signatures(recipe.name, address)
        with Client(url) as rest, Client(address) as grpc:
            for signature, definition in sorted(found.items()):
                # Those that take examples the server has run to warm up.
                if signature.startswith("__") or "examples" in definition.inputs:
                    continue
                inputs = sample_request.zeros(definition)
                first, second = (
                    client.predict(recipe.name, inputs, signature=signature)
                    for client in (rest, grpc)
                )
                if not _agree(first, second):
                    return f"{signature}: REST and gRPC differ"
    return ""


def _agree(first: Any, second: Any) -> bool:
    if not isinstance(first, dict):  # there is one output
        first, second = {"": first}, {"": second}
    return first.keys() == second.keys() and all(
        _close(np.asarray(first[name]), np.asarray(second[name])) for name in first
    )


def _close(one: np.ndarray, two: np.ndarray) -> bool:
    if one.dtype.kind in "OSU":
        return [*map(str, one.ravel())] == [*map(str, two.ravel())]
    return one.shape == two.shape and np.allclose(one, two, atol=_TOLERANCE)
