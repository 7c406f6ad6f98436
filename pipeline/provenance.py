"""What a run was started from: the commit, the recipe's file, every step's key, data.

The resolved recipe is with the run already; this is what it does not say.
"""

import json
import os
import subprocess
import tomllib
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from components.sources import archives, files, remote
from components.sources.files import File
from components.sources.locate import Located
from pipeline.history import History, RunRecord
from pipeline.workspace import Workspace
from recipes.errors import BadInputError

if TYPE_CHECKING:  # what reads the history is to start without the recipes' schema
    from pipeline.plan import StepPlan

REPOSITORY = Path(__file__).parent.parent
# What decides on a run, `git add`ed or not.
_CODE = ("components", "models", "pipeline", "recipes", "serving")


@dataclass(frozen=True)
class Provenance:
    """What a run was started from.

    Attributes:
      code: `commit` and `changed`, the files that differ from it; where there is no
        git, `version`.
      recipe_path: the YAML file.
      recipe_overrides: as they stood on the command line.
      keys: fingerprint of every step of the line, in its order.
    """

    code: Mapping[str, Any]
    recipe_path: str
    recipe_overrides: Sequence[str]
    keys: Mapping[str, str]


def record(
    history: History,
    run_id: int,
    *,
    plans: "Sequence[StepPlan]",
    located: Located,
    recipe_path: Path,
    recipe_overrides: Sequence[str],
) -> None:
    """Keep what a run starts from, and which files its data are."""
    keys = {planned.step.name: planned.key for planned in plans}
    code = code_of(REPOSITORY)
    with history.connection() as db:
        db.execute(
            "INSERT INTO provenance VALUES (?, ?, ?, ?, ?)",
            (
                run_id,
                json.dumps(code),
                str(recipe_path.absolute()),
                json.dumps(list(recipe_overrides)),
                json.dumps(keys),
            ),
        )
    digest = next((p.parts["data"] for p in plans if "data" in p.parts), None)
    if digest and data_files(history, digest) is None:
        content = json.dumps(_described(located.all_files(), history)).encode()
        with history.connection() as db:
            db.execute(
                "INSERT OR REPLACE INTO data_files VALUES (?, ?)",
                (digest, zlib.compress(content, level=1)),
            )


def of_run(history: History, run_id: int) -> Provenance | None:
    """Return what a run was started from; None if that was not recorded."""
    with history.connection() as db:
        row = db.execute(
            "SELECT code, recipe_path, recipe_overrides, keys FROM provenance "
            "WHERE run_id = ?",
            (run_id,),
        ).fetchone()
    if row is None:
        return None
    code, path, overrides, keys = row
    return Provenance(json.loads(code), path, json.loads(overrides), json.loads(keys))


def base_path(history: History, run: RunRecord, workspace: Workspace) -> Path:
    """Return where the versions of a run's model lie.

    Raises:
      BadInputError: that depends on where its recipe lay, which was not recorded.
    """
    stated = run.recipe["push"]["base_path"]
    if not stated:
        return workspace.models(run.pipeline)
    origin = of_run(history, run.id)
    if origin is None:
        raise BadInputError(
            f"Run {run.id} is too old: where {stated} lies was not recorded."
        )
    return (Path(origin.recipe_path).parent / stated).resolve()


def data_files(history: History, digest: str) -> list[dict[str, Any]] | None:
    """Return the files whose content had a digest; None if they were not recorded.

    Each has path, part, size_bytes and sha256, which is None for a file elsewhere
    (`gs://...`); an archive counts as one file.
    """
    with history.connection() as db:
        row = db.execute(
            "SELECT files FROM data_files WHERE digest = ?", (digest,)
        ).fetchone()
    return list(json.loads(zlib.decompress(row[0]))) if row else None


def code_of(repository: Path) -> dict[str, Any]:
    """Return the commit of a repository and what differs from it, or its version."""
    top, commit, changed = (
        _git(repository, *arguments)
        for arguments in (
            ("rev-parse", "--show-toplevel"),
            ("rev-parse", "HEAD"),
            ("status", "--porcelain", "--untracked-files=no"),
        )
    )
    # A recipe in the user's own folder is not the code's; one among ours is.
    untracked = _git(
        repository, "ls-files", "--others", "--exclude-standard", "--", *_CODE
    )
    # Unpacked inside another repository, whose commit says nothing about this code.
    if not commit or Path(top).resolve() != repository.resolve():
        project = tomllib.loads((repository / "pyproject.toml").read_text("utf-8"))
        return {"version": project["project"]["version"]}
    names = [line[3:] for line in changed.splitlines()]
    return {"commit": commit, "changed": names + untracked.splitlines()}


def code_in_words(code: Mapping[str, Any]) -> str:
    """Return in a line which code ran."""
    if "version" in code:
        return f"version {code['version']}, not in git"
    changed = code["changed"]
    if not changed:
        return f"commit {code['commit']}"
    more = f" and {len(changed) - 3} more" if len(changed) > 3 else ""
    return f"commit {code['commit']}, dirty: {', '.join(changed[:3])}{more}"


def _git(repository: Path, *arguments: str) -> str:
    try:
        found = subprocess.run(
            ["git", "-C", str(repository), *arguments],
            env={**os.environ, "GIT_OPTIONAL_LOCKS": "0"},
            capture_output=True,
            text=True,
            check=False,
        )
    except FileNotFoundError:  # there is no git
        return ""
    return found.stdout.rstrip() if found.returncode == 0 else ""


def _described(found: Sequence[File], history: History) -> list[dict[str, Any]]:
    described: dict[str, dict[str, Any]] = {}
    for file in found:
        member = archives.split(file.path)
        path = member[0] if member else file.path
        if path not in described:
            described[path] = _describe(path, file, history)
    return list(described.values())


def _describe(path: str, file: File, history: History) -> dict[str, Any]:
    if remote.is_remote(path):
        size_bytes, sha256 = file.size_bytes, None
    else:
        size_bytes = os.path.getsize(path)
        # The plan has read it: of a large file the digest is remembered.
        sha256 = files.content(
            path,
            file,
            known=lambda key: history.digest(Path(key), 0, 0),
            remember=lambda key, found: history.remember_digest(Path(key), 0, 0, found),
        )
    return {
        "path": path,
        "part": file.part,
        "size_bytes": size_bytes,
        "sha256": sha256,
    }
