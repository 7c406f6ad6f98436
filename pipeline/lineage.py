"""Follow a version of a model back: run, candidate, recipe, code, data, verdicts."""

import hashlib
import json
import sys
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, TextIO

from components import strict_json, versions
from pipeline import provenance, runs
from pipeline.history import History, StepRecord
from pipeline.show import verdict_lines
from pipeline.workspace import Workspace, open_workspace

_ORIGIN = "origin "  # of a part's name, see pipeline/plan.py
_MOST_FILES = 10  # shown in text; JSON has all


def main(text: str, *, as_json: bool = False, stream: TextIO = sys.stdout) -> int:
    """Print where a version, NAME@VERSION or the live one of NAME, comes from.

    Raises:
      BadInputError: it is not there, or came from elsewhere.
    """
    workspace = open_workspace()
    history = History(workspace.history)
    version = runs.find_version(history, text, workspace)
    facts = of_version(history, version, workspace)
    shown = strict_json.dumps(facts, indent=2) if as_json else "\n".join(_lines(facts))
    stream.write(shown + "\n")
    return 0


def of_version(
    history: History, version: runs.Version, workspace: Workspace
) -> dict[str, Any]:
    """Return all that a version rests on, as JSON values."""
    steps = runs.standing(history, version.run)
    origin = provenance.of_run(history, version.run.id)
    override = version.override
    return {
        "name": version.name,
        "version": version.number,
        "path": str(version.path),
        "live": version.is_live,
        "on_disk": version.is_on_disk,
        "files": _manifest(version.path),
        "pushed": {
            "run": version.run.id,
            "at": override.at if override else version.run.ended,
            "override": asdict(override) if override else None,
            "override_text": runs.override_in_words(override) if override else None,
        },
        "candidate": _candidate(history, version, steps),
        "recipe": {
            "path": origin.recipe_path if origin else None,
            "overrides": list(origin.recipe_overrides) if origin else [],
            "resolved": version.run.recipe,
        },
        "code": dict(origin.code) if origin else None,
        "packages": packages(steps),
        "data": data(history, steps),
        "schema": _schema(steps),
        "verdict": runs.verdict_of(steps),
        "origins": [
            {"use": use, "path": path, **_made_by(history, path, workspace)}
            for use, path in _origins(steps)
        ],
        "steps": {
            name: {"run": record.run_id, "seconds": record.seconds, "key": record.key}
            for name, record in steps.items()
        },
    }


def packages(steps: Mapping[str, StepRecord]) -> dict[str, str]:
    """Return the versions of Python and of every package that steps depend on."""
    parts = {k: v for record in steps.values() for k, v in record.parts.items()}
    found = {
        name.removeprefix("package "): value
        for name, value in parts.items()
        if name.startswith("package ")
    }
    python = {"python": parts["python"]} if "python" in parts else {}
    return {**python, **dict(sorted(found.items()))}


def data(history: History, steps: Mapping[str, StepRecord]) -> dict[str, Any]:
    """Return the digest of the data, the files where they were recorded, the rows."""
    ingest = steps.get("ingest")
    if ingest is None:
        return {"digest": None, "source": None, "files": None, "rows": {}}
    digest = ingest.parts.get("data")
    return {
        "digest": digest,
        "source": ingest.figures.get("source"),
        "files": provenance.data_files(history, digest) if digest else None,
        "rows": ingest.figures.get("records", {}),
    }


def schema_file(steps: Mapping[str, StepRecord]) -> Path | None:
    """Return the schema that the examples were held against, if it is still there."""
    record = steps.get("schema")
    path = Path(record.outputs.get("schema", "")) / "schema.pbtxt" if record else None
    return path if path and path.is_file() else None


def _manifest(path: Path) -> dict[str, Any]:
    """Return number, size and digest of the files that a push wrote."""
    manifest = path / versions.MANIFEST
    if not manifest.is_file():
        return {}
    entries = json.loads(manifest.read_text("utf-8"))["files"]
    record = json.loads((path / versions.ORIGIN).read_text("utf-8"))
    return {
        "manifest": str(manifest),
        "count": len(entries),
        "size_bytes": sum(entry["size_bytes"] for entry in entries.values()),
        "sha256": record["sha256"],
    }


def _candidate(
    history: History, version: runs.Version, steps: Mapping[str, StepRecord]
) -> dict[str, Any]:
    trained = steps.get("train") or history.maker_of("train", "model", version.model)
    origin = provenance.of_run(history, trained.run_id) if trained else None
    return {
        "model": version.model,
        "exists": Path(version.model).is_dir(),
        "run": trained.run_id if trained else None,
        "summary": trained.figures.get("summary") if trained else None,
        "seconds": trained.seconds if trained else None,
        "weights_sha256": trained.figures.get("weights_sha256") if trained else None,
        "code": dict(origin.code) if origin else None,
    }


def _schema(steps: Mapping[str, StepRecord]) -> dict[str, Any] | None:
    record = steps.get("schema")
    if record is None:
        return None
    path = schema_file(steps)
    digest = hashlib.sha256(path.read_bytes()).hexdigest() if path else None
    return {
        "path": str(path) if path else None,
        "sha256": digest,
        "frozen": record.parts.get("frozen"),
        "summary": record.figures.get("summary"),
    }


def _origins(steps: Mapping[str, StepRecord]) -> Iterator[tuple[str, str]]:
    """Yield what the training started from: its use, and the directory."""
    trained = steps.get("train")
    for part, path in trained.parts.items() if trained else ():
        if part.startswith(_ORIGIN):
            yield part.removeprefix(_ORIGIN).removesuffix("_dir"), path


def _made_by(history: History, text: str, workspace: Workspace) -> dict[str, Any]:
    """Return the version or the run that a directory of a model belongs to."""
    path = Path(text)
    pushed = history.push_of(path)
    is_version = (
        path.name.isdecimal() and path.parent.parent == workspace.models("x").parent
    )
    if pushed or is_version:
        name = path.parent.name
        return {
            "version": f"{name}@{path.name}",
            "run": pushed.run_id if pushed else None,
        }
    made = history.maker_of("train", "model", str(path.parent))
    return {"version": None, "run": made.run_id if made else None}


def _lines(facts: Mapping[str, Any]) -> Iterator[str]:
    where = "" if facts["on_disk"] else "  not on disk any more"
    live = "  live" if facts["live"] else ""
    yield f"{facts['name']}@{facts['version']}{live}{where}  {facts['path']}"
    yield from _push_lines(facts)
    yield from _candidate_lines(facts["candidate"])
    yield from _recipe_lines(facts["recipe"])
    code = facts["code"]
    yield f" code        {provenance.code_in_words(code) if code else 'not recorded'}"
    listed = (f"{name} {number}" for name, number in facts["packages"].items())
    yield f" packages    {', '.join(listed)}"
    yield from _data_lines(facts["data"])
    yield from _schema_lines(facts["schema"])
    yield from verdict_lines(facts["verdict"])
    for origin in facts["origins"]:
        of = origin["version"] or (f"run {origin['run']}" if origin["run"] else "")
        yield f" {origin['use']:<11} {of} {origin['path']}"
        if origin["version"]:
            yield f"             ./strata lineage {origin['version']}"


def _push_lines(facts: Mapping[str, Any]) -> Iterator[str]:
    pushed, files = facts["pushed"], facts["files"]
    at = runs.moment(pushed["at"]) if pushed["at"] else "time not recorded"
    yield f" pushed      run {pushed['run']}, {at}"
    if pushed["override_text"]:
        yield f" override    {pushed['override_text']}"
    if files:
        yield (
            f" files       {files['count']}, {files['size_bytes']:,} bytes, "
            f"sha256 {files['sha256']}"
        )


def _candidate_lines(candidate: Mapping[str, Any]) -> Iterator[str]:
    gone = "" if candidate["exists"] else "  (gone)"
    yield f" candidate   {candidate['model']}{gone}"
    if candidate["run"]:
        yield (
            f"             trained in run {candidate['run']}, "
            f"{candidate['seconds']:.1f} s: {candidate['summary']}"
        )


def _recipe_lines(recipe: Mapping[str, Any]) -> Iterator[str]:
    overrides = " ".join(recipe["overrides"]) or "no overrides"
    yield f" recipe      {recipe['path'] or 'file not recorded'}  {overrides}"
    for section, values in _stated(recipe["resolved"]).items():
        yield f"     {section}: {runs.in_short(values, width=400)}"


def _stated(value: Any) -> Any:
    """Return a section without its keys that hold nothing."""
    if not isinstance(value, dict):
        return value
    found = {key: _stated(below) for key, below in value.items()}
    return {k: below for k, below in found.items() if below not in (None, [], {})}


def _data_lines(found: Mapping[str, Any]) -> Iterator[str]:
    rows = ", ".join(f"{count:,} {split}" for split, count in found["rows"].items())
    yield f" data        {found['source'] or ''}  {rows}".rstrip()
    if found["digest"]:
        yield f"     sha256 of names and contents {found['digest']}"
    for file in (found["files"] or ())[:_MOST_FILES]:
        digest = file["sha256"] or "elsewhere"
        yield f"     {digest}  {file['size_bytes']:,} bytes  {file['path']}"
    more = len(found["files"] or ()) - _MOST_FILES
    if more > 0:
        yield f"     and {more:,} more: --json has all"


def _schema_lines(schema: Mapping[str, Any] | None) -> Iterator[str]:
    if schema:
        yield f" schema      {schema['path'] or 'file gone'}  {schema['summary']}"
        yield f"     sha256 {schema['sha256']}, {schema['frozen']}"
