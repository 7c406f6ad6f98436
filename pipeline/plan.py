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
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

from components import datasets, frozen, versions
from components.sources import files
from components.sources.locate import Located
from pipeline.checks import parse
from pipeline.history import History, StepRecord
from pipeline.steps import Step, steps_of
from recipes.data import Data
from recipes.schema import DataRecipe, Recipe

REPOSITORY = Path(__file__).parent.parent
_ORIGIN = "origin "  # of a part's name
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
    recipe: DataRecipe,
    history: History,
    *,
    located: Located,
    base_path: Path,
    frozen_schema: str = "",
    origins: Mapping[str, str] | None = None,
) -> list[StepPlan]:
    """Return the plan of every step, in the order of the line.

    Args:
      recipe: what to run.
      history: what ran.
      located: its data.
      base_path: where versions of the model are pushed.
      frozen_schema: text of the schema file beside the recipe; "": none yet.
      origins: what the training starts from, see `pipeline/origins.py`.
    """
    serving = live(history, recipe.name, base_path)
    plans: dict[str, StepPlan] = {}
    for step in steps_of(recipe):
        parts = _own_parts(step, recipe)
        if step.name == "ingest" and located.patterns:
            parts["data"] = _data_digest(located, history)
        parts |= {f"after {name}": plans[name].key for name in step.after}
        if step.name in ("tune", "train"):
            parts |= {_ORIGIN + name: path for name, path in (origins or {}).items()}
        if step.name == "schema":
            # What was frozen from the schema inferred here changes nothing.
            parts["frozen"] = frozen.part(frozen_schema, plans["infer_schema"].key)
        if step.name == "find_anomalies":
            parts["previous"] = _previous(
                recipe.name, parts, plans["statistics"].key, history
            )
        if step.name in ("evaluate", "examine"):
            parts["live"] = _compared_with(
                step.name, recipe.name, parts, serving, plans["train"].key, history
            )
        if step.name == "push":
            parts["base_path"] = str(base_path)
        plans[step.name] = _plan(step, parts, recipe.name, history)
    push = plans.get("push")
    if push is None:
        return list(plans.values())
    candidate_is_live = serving and serving.train_key == plans["train"].key
    if push.earlier and not candidate_is_live:
        reason = "another version is live now" if serving else "no version is live"
        plans["push"] = StepPlan(push.step, push.key, push.parts, None, (reason,))
    return list(plans.values())


def previous_statistics(
    plans: Sequence[StepPlan], pipeline: str, history: History
) -> str:
    """Return the URI of the statistics that drift is measured from; "": none."""
    (key,) = (p.parts["previous"] for p in plans if p.step.name == "find_anomalies")
    found = history.done_steps(pipeline, "statistics", key=key, limit=1)
    uris = [record.outputs["statistics"] for record in found]
    return next((uri for uri in uris if Path(uri).exists()), "")


def origins(plans: Sequence[StepPlan]) -> dict[str, str]:
    """Return what the training starts from, as `make` was told."""
    return {
        name.removeprefix(_ORIGIN): path
        for planned in plans
        if planned.step.name == "train"
        for name, path in planned.parts.items()
        if name.startswith(_ORIGIN)
    }


def _previous(
    pipeline: str, parts: Mapping[str, str], statistics_key: str, history: History
) -> str:
    """Return the key of the statistics to measure drift from; "": nothing ran before.

    It is those of the last data that passed; data that were compared before stay
    compared with the same.
    """
    for record in history.done_steps(pipeline, "find_anomalies"):
        others = {n: v for n, v in record.parts.items() if n != "previous"}
        if others == parts:
            return record.parts["previous"]
    for record in history.done_steps(pipeline, "validate"):
        key = record.parts["after statistics"]
        if key != statistics_key:
            return key
    return ""


def _data_digest(located: Located, history: History) -> str:
    """Return the sha256 of all files, read again only where one was written."""
    return files.digest(
        located.all_files(),
        known=lambda key: history.digest(Path(key), 0, 0),
        remember=lambda key, sha256: history.remember_digest(Path(key), 0, 0, sha256),
    )


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
        if name.startswith(("code ", "after ", "data", "live", "frozen", "previous")):
            reasons.append(f"{name.removeprefix('after ')} changed")
        else:
            reasons.append(f"{name.removeprefix('recipe ')} {old} -> {new}")
    return tuple(reasons)


def _section(values: Mapping[str, Any], name: str) -> Any:
    """Return a section, or a key in one by its dotted name; None if it is not there."""
    found: Any = values
    for part in name.split("."):
        found = found.get(part)
        if found is None:
            break
    return found


def _own_parts(step: Step, recipe: DataRecipe) -> dict[str, str]:
    values = recipe.model_dump(mode="json")
    parts = {"python": ".".join(map(str, sys.version_info[:2]))}
    for section in step.recipe:
        for name, value in _leaves(section, _section(values, section)):
            parts[f"recipe {name}"] = json.dumps(value)
    for package in step.packages:
        parts[f"package {package}"] = _version(package)
    modules = ["pipeline.graph"]
    if step.module:
        modules.append(step.module)
    if step.name in ("tune", "train") and isinstance(recipe, Recipe):
        modules.append(f"models.{recipe.model.family}")
    if step.name == "ingest":
        modules += _readers(recipe.data)
    if step.name == "examine":
        wanted = _section(values, "examine") or {}
        exams = (name for name, one in wanted.items() if isinstance(one, dict))
        modules += [f"components.exams.{name}" for name in exams]
    for path in sorted(_sources(tuple(modules), own_only="pipeline.graph")):
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        parts[f"code {path.relative_to(REPOSITORY)}"] = digest
    return parts


def _readers(data: Data) -> list[str]:
    """Return the modules that read a source; they are found by name, not imported."""
    modules = [f"components.sources.{data.source}"]
    builder = data.tfds.name.split("/")[0] if data.tfds else ""
    if builder in datasets.names():
        modules.append(f"components.datasets.{builder}")
    return modules


def _compared_with(
    step: str,
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
    for record in history.done_steps(pipeline, step):
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
            waiting.extend(_imports(path, path.read_bytes()))
    return frozenset(found)


def _source(module: str) -> Path | None:
    if module.split(".")[0] not in _PACKAGES:
        return None
    path = REPOSITORY.joinpath(*module.split("."))
    candidates = (path.with_suffix(".py"), path / "__init__.py")
    return next((c for c in candidates if c.is_file()), None)


@cache
def _imports(path: Path, content: bytes) -> tuple[str, ...]:
    """Return what a file may import, by dotted name; steps share most of them."""
    del content  # says whether the file has changed
    return tuple(_imported(path))


def _imported(path: Path) -> Iterator[str]:
    package = path.relative_to(REPOSITORY).parts[:-1]
    for node in ast.walk(parse(path)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = package[: len(package) + 1 - node.level] if node.level else ()
            module = ".".join((*above, *filter(None, [node.module])))
            yield module
            yield from (f"{module}.{alias.name}" for alias in node.names)
