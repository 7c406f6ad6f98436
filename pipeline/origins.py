"""Where a training gets weights or a teacher from: models of this workspace."""

from pathlib import Path

from components import versions
from pipeline.history import History
from pipeline.workspace import Workspace
from recipes.errors import BadInputError
from recipes.schema import DataRecipe, Recipe


def find(recipe: DataRecipe, history: History, workspace: Workspace) -> dict[str, str]:
    """Return the directories that a recipe's training starts from, by their use.

    Raises:
      BadInputError: one is not there.
    """
    if not isinstance(recipe, Recipe):
        return {}
    found: dict[str, str] = {}
    start, distill = recipe.train.start_from, recipe.train.distill
    if start and recipe.name in (start.run, start.version):
        raise BadInputError(
            f"[train.start_from] {recipe.name!r} would start from itself, and would "
            "never be up to date. Name a version, such as "
            f"`version: {recipe.name}/1`."
        )
    if start and start.run:
        found["start_from_dir"] = str(_of_run(start.run, history))
    if start and start.version:
        path = _of_version("[train.start_from] version", start.version, workspace)
        found["start_from_dir"] = str(path)
    if distill:
        path = _of_version("[train.distill] teacher", distill.teacher, workspace)
        found["teacher_dir"] = str(path)
    return found


def _of_run(name: str, history: History) -> Path:
    for record in history.done_steps(name, "train", limit=1):
        path = Path(record.outputs["model"]) / "Format-Serving"
        if path.is_dir():
            return path
    raise BadInputError(
        f"[train.start_from] run: {name!r} has not been trained in this workspace. "
        f"First: ./strata run {name}"
    )


def _of_version(key: str, text: str, workspace: Workspace) -> Path:
    name, _, number = text.partition("/")
    base_path = workspace.models(name)
    found = versions.versions(base_path) if base_path.is_dir() else []
    if not found:
        return _existing(key, text)
    if not number:
        return base_path / str(found[-1])
    if number.isdecimal() and int(number) in found:
        return base_path / number
    raise BadInputError(
        f"{key}: {name!r} has the versions {', '.join(map(str, found))}. "
        f"Received: {text!r}"
    )


def _existing(key: str, text: str) -> Path:
    path = Path(text).expanduser().absolute()
    if not path.is_dir():
        raise BadInputError(
            f"{key}: expected the name of a pushed model, NAME/VERSION, or a "
            f"directory. Received: {text!r}"
        )
    return path
