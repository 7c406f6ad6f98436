"""Which steps must run, and why: a comparison of fingerprints, without TensorFlow.

The fingerprint of a step has named parts: the values of its recipe sections, the source
of its code and of all it imports from this repository, the versions of its packages,
the content of its data, and the fingerprints of the steps before it. Equal parts mean
that the outputs of an earlier execution stand.
"""

import ast
import hashlib
import json
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

from components import datasets, versions
from pipeline.checks import parse
from pipeline.history import History, StepRecord
from pipeline.steps import STEPS, Step
from recipes.schema import Recipe

REPOSITORY = Path(__file__).parent.parent
_PACKAGES = ("components", "models", "pipeline", "recipes")


@dataclass(frozen=True)
class StepPlan:
    """What is to be done about a step.

    Attributes:
      step: which one.
      key: fingerprint of `parts`.
      parts: what it depends on, name -> value or digest.
      earlier: the execution whose outputs stand, or None if it must run.
      reasons: why it must run; empty if it need not.
    """

    step: Step
    key: str
    parts: Mapping[str, str]
    earlier: StepRecord | None
    reasons: tuple[str, ...]


@dataclass(frozen=True)
class Live:
    """The newest version on disk, which servers answer from."""

    version: int
    path: Path
    train_key: str


def live(history: History, pipeline: str, base_path: Path) -> Live | None:
    """Return the live version of a model, or None before the first push."""
    found = versions.versions(base_path)
    if not found:
        return None
    path = base_path / str(found[-1])
    origin = versions.origin_of(path)
    for record in history.done_steps(pipeline, "train"):
        if record.outputs.get("model") == origin:
            return Live(found[-1], path, record.key)
    return Live(found[-1], path, f"version {found[-1]}")


def make(
    recipe: Recipe, history: History, *, data_path: Path | None, base_path: Path
) -> list[StepPlan]:
    """Return the plan of every step, in the order of the line.

    Args:
      recipe: what to run.
      history: what ran.
      data_path: the CSV, or None for a TFDS builder.
      base_path: where versions of the model are pushed.
    """
    serving = live(history, recipe.name, base_path)
    plans: dict[str, StepPlan] = {}
    for step in STEPS:
        parts = _own_parts(step, recipe)
        if step.name == "ingest" and data_path:
            parts["data"] = content_digest(data_path, history)
        parts |= {f"after {name}": plans[name].key for name in step.after}
        if step.name == "evaluate":
            parts["live"] = _compared_with(
                recipe.name, parts, serving, plans["train"].key, history
            )
        if step.name == "push":
            parts["base_path"] = str(base_path)
        plans[step.name] = _plan(step, parts, recipe.name, history)
    push = plans["push"]
    candidate_is_live = serving and serving.train_key == plans["train"].key
    if push.earlier and not candidate_is_live:
        reason = "another version is live now" if serving else "no version is live"
        plans["push"] = StepPlan(push.step, push.key, push.parts, None, (reason,))
    return list(plans.values())


def content_digest(path: Path, history: History) -> str:
    """Return the sha256 of a file, read again only where size or time changed."""
    stat = path.stat()
    known = history.digest(path, stat.st_size, stat.st_mtime_ns)
    if known:
        return known
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    history.remember_digest(path, stat.st_size, stat.st_mtime_ns, digest)
    return digest


def _plan(
    step: Step, parts: Mapping[str, str], pipeline: str, history: History
) -> StepPlan:
    key = hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()
    same = history.done_steps(pipeline, step.name, key=key, limit=1)
    if not same:
        last = history.done_steps(pipeline, step.name, limit=1)
        reasons = _changes(last[0].parts, parts) if last else ("never ran",)
        return StepPlan(step, key, parts, None, reasons)
    reasons = tuple(
        f"its output {path} is gone"
        for path in same[0].outputs.values()
        if not Path(path).exists()
    )
    return StepPlan(step, key, parts, None if reasons else same[0], reasons)


def _changes(before: Mapping[str, str], after: Mapping[str, str]) -> tuple[str, ...]:
    reasons = []
    for name in sorted({*before, *after}):
        old, new = before.get(name), after.get(name)
        if old == new:
            continue
        if name.startswith(("code ", "after ", "data", "live")):
            reasons.append(f"{name.removeprefix('after ')} changed")
        else:
            reasons.append(f"{name.removeprefix('recipe ')} {old} -> {new}")
    return tuple(reasons)


def _own_parts(step: Step, recipe: Recipe) -> dict[str, str]:
    values = recipe.model_dump(mode="json")
    parts = {"python": ".".join(map(str, sys.version_info[:2]))}
    for section in step.recipe:
        for name, value in _leaves(section, values[section]):
            parts[f"recipe {name}"] = json.dumps(value)
    for package in step.packages:
        parts[f"package {package}"] = _version(package)
    modules = ["pipeline.graph"]
    if step.module:
        modules.append(step.module)
    if step.name == "train":
        modules.append(f"models.{recipe.model.family}")
    builder = (recipe.data.tfds or "").split("/")[0]
    if step.name == "ingest" and builder in datasets.names():
        modules.append(f"components.datasets.{builder}")
    for path in sorted(_sources(tuple(modules), own_only="pipeline.graph")):
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        parts[f"code {path.relative_to(REPOSITORY)}"] = digest
    return parts


def _compared_with(
    pipeline: str,
    parts: Mapping[str, str],
    serving: Live | None,
    train_key: str,
    history: History,
) -> str:
    """Return the training whose model the candidate is judged against.

    A candidate that is live already was judged against the one before it, and that
    verdict stands.
    """
    if serving is None:
        return "none"
    if serving.train_key != train_key:
        return serving.train_key
    for record in history.done_steps(pipeline, "evaluate"):
        others = {name: value for name, value in record.parts.items() if name != "live"}
        if others == parts:
            return record.parts["live"]
    return serving.train_key


def _leaves(name: str, value: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(value, dict) and value:
        for key, below in value.items():
            yield from _leaves(f"{name}.{key}", below)
    else:
        yield name, value


@cache
def _version(package: str) -> str:
    return version(package)


@cache
def _sources(modules: tuple[str, ...], *, own_only: str) -> frozenset[Path]:
    """Return the files of modules and of all they import from this repository.

    Args:
      modules: dotted names.
      own_only: a module whose imports are not followed: it imports every stage.
    """
    found: set[Path] = set()
    waiting = list(modules)
    while waiting:
        module = waiting.pop()
        path = _source(module)
        if path is None or path in found:
            continue
        found.add(path)
        if module != own_only:
            waiting.extend(_imports(path))
    return frozenset(found)


def _source(module: str) -> Path | None:
    if module.split(".")[0] not in _PACKAGES:
        return None
    path = REPOSITORY.joinpath(*module.split("."))
    candidates = (path.with_suffix(".py"), path / "__init__.py")
    return next((c for c in candidates if c.is_file()), None)


def _imports(path: Path) -> Iterator[str]:
    package = path.relative_to(REPOSITORY).parts[:-1]
    for node in ast.walk(parse(path)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = package[: len(package) + 1 - node.level] if node.level else ()
            module = ".".join((*above, *filter(None, [node.module])))
            yield module
            yield from (f"{module}.{alias.name}" for alias in node.names)
