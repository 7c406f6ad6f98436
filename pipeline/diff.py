"""Say what differs between two runs: recipe, data, schema, code, metrics, verdicts."""

import difflib
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, TextIO

from components import strict_json
from pipeline import lineage, provenance, runs
from pipeline.history import History, RunRecord, StepRecord
from pipeline.workspace import Workspace, open_workspace

_MOST_LINES = 20  # of files and of the schema, in text; JSON has all

Pair = dict[str, Any]  # what it is about, and its value in `a` and `b`


@dataclass(frozen=True)
class _Side:
    text: str
    run: RunRecord
    steps: Mapping[str, StepRecord]
    data: Mapping[str, Any]
    code: Mapping[str, Any]


def main(
    first: str, second: str, *, as_json: bool = False, stream: TextIO = sys.stdout
) -> int:
    """Print what differs between two runs: numbers, names of recipes, NAME@VERSION.

    Raises:
      BadInputError: one of them is not there.
    """
    workspace = open_workspace()
    history = History(workspace.history)
    a, b = (_side(history, text, workspace) for text in (first, second))
    facts = _compared(a, b)
    shown = strict_json.dumps(facts, indent=2) if as_json else "\n".join(_lines(facts))
    stream.write(shown + "\n")
    return 0


def _side(history: History, text: str, workspace: Workspace) -> _Side:
    run = runs.find(history, text, workspace)
    steps = runs.standing(history, run)
    origin = provenance.of_run(history, run.id)
    code = origin.code if origin else {}
    return _Side(text, run, steps, lineage.data(history, steps), code)


def _compared(a: _Side, b: _Side) -> dict[str, Any]:
    commits = [provenance.code_in_words(s.code) if s.code else None for s in (a, b)]
    return {
        "a": {"run": a.run.id, "headline": runs.headline(a.run)},
        "b": {"run": b.run.id, "headline": runs.headline(b.run)},
        "recipe": _differing(_leaves(a.run.recipe), _leaves(b.run.recipe)),
        "data": _data(a.data, b.data),
        "schema": _schema(a, b),
        "code": {
            "commit": commits,
            "files": _differing(_parts(a.steps, "code "), _parts(b.steps, "code ")),
        },
        "packages": _differing(lineage.packages(a.steps), lineage.packages(b.steps)),
        "metrics": _metrics(a.steps, b.steps),
        "verdicts": _differing(_verdicts(a), _verdicts(b)),
    }


def _differing(a: Mapping[str, Any], b: Mapping[str, Any]) -> list[Pair]:
    return [
        {"name": name, "a": a.get(name), "b": b.get(name)}
        for name in dict.fromkeys((*a, *b))
        if a.get(name) != b.get(name)
    ]


def _leaves(value: Any, name: str = "") -> dict[str, Any]:
    """Return the values of nested sections by their dotted names."""
    if not isinstance(value, dict) or not value:
        return {name: value}
    found: dict[str, Any] = {}
    for key, below in value.items():
        found |= _leaves(below, f"{name}.{key}" if name else key)
    return found


def _parts(steps: Mapping[str, StepRecord], prefix: str) -> dict[str, str]:
    return {
        name.removeprefix(prefix): value
        for record in steps.values()
        for name, value in record.parts.items()
        if name.startswith(prefix)
    }


def _data(a: Mapping[str, Any], b: Mapping[str, Any]) -> dict[str, Any]:
    if a["files"] is None or b["files"] is None:
        files: list[Pair] | None = None if a["digest"] != b["digest"] else []
    else:
        before, after = (
            {file["path"]: file["sha256"] or file["size_bytes"] for file in x["files"]}
            for x in (a, b)
        )
        files = _differing(before, after)
    return {
        "digest": [a["digest"], b["digest"]],
        "source": [a["source"], b["source"]],
        "files": files,
        "rows": _differing(a["rows"], b["rows"]),
    }


def _schema(a: _Side, b: _Side) -> dict[str, Any]:
    """Return whether the schemas are the same, and the lines that differ."""
    frozen = [s.steps["schema"].parts if "schema" in s.steps else {} for s in (a, b)]
    paths = [lineage.schema_file(side.steps) for side in (a, b)]
    texts = [path.read_text("utf-8").splitlines() if path else None for path in paths]
    if texts[0] is None or texts[1] is None:
        is_same = frozen[0].get("frozen") == frozen[1].get("frozen")
        return {"same": is_same, "lines": None}
    found = difflib.unified_diff(texts[0], texts[1], lineterm="", n=1)
    lines = [line for line in found if not line.startswith(("---", "+++"))]
    return {"same": not lines, "lines": lines}


def _metrics(
    a: Mapping[str, StepRecord], b: Mapping[str, StepRecord]
) -> list[dict[str, Any]]:
    """Return the numbers of the examination in both, changed or not, and `b - a`."""
    before, after = _numbers(a), _numbers(b)
    return [
        {
            "name": name,
            "a": before.get(name),
            "b": after.get(name),
            "difference": after[name] - before[name]
            if name in before and name in after
            else None,
        }
        for name in dict.fromkeys((*before, *after))
    ]


def _numbers(steps: Mapping[str, StepRecord]) -> dict[str, float]:
    """Return TFMA's metrics over all examples, and the exams' figures by their name."""
    found: dict[str, Any] = {}
    if "evaluate" in steps:
        found |= steps["evaluate"].figures.get("metrics", {})
    verdict = runs.verdict_of(steps) or {}
    for exam, one in verdict.get("verdicts", {}).items():
        figures = one.get("figures", {})
        if exam != "metrics":  # those of `evaluate` again, with every slice
            found |= {f"{exam}.{name}": value for name, value in figures.items()}
    return {n: v for n, v in found.items() if type(v) in (int, float)}


def _verdicts(side: _Side) -> dict[str, str]:
    verdict = runs.verdict_of(side.steps)
    if verdict is None:
        return {"blessed": "not judged"}
    exams = verdict.get("verdicts", {})
    return {
        "blessed": "yes" if verdict["blessed"] else "no",
        **{exam: one["status"] for exam, one in exams.items()},
    }


def _lines(facts: Mapping[str, Any]) -> Iterator[str]:
    yield f"a  {facts['a']['headline']}"
    yield f"b  {facts['b']['headline']}"
    yield from _pairs("recipe", facts["recipe"])
    yield from _data_lines(facts["data"])
    schema = facts["schema"]
    yield f"schema    {'same' if schema['same'] else 'differs'}"
    yield from _some([f" {line}" for line in schema["lines"] or ()])
    yield from _code_lines(facts["code"])
    yield from _pairs("packages", facts["packages"])
    yield from _metric_lines(facts["metrics"])
    yield from _pairs("verdicts", facts["verdicts"])


def _pairs(title: str, pairs: list[Pair]) -> Iterator[str]:
    yield f"{title:<10}{f'{len(pairs)} differ' if pairs else 'same'}"
    for pair in pairs:
        a, b = (runs.in_short(pair[side], width=60) for side in ("a", "b"))
        yield f" {pair['name']}: {a} -> {b}"


def _data_lines(data: Mapping[str, Any]) -> Iterator[str]:
    (before, after), sources = data["digest"], data["source"]
    if not (before and after):
        yield f"data      {_without_files(before or after, sources)}"
    elif before == after:
        yield f"data      same, sha256 {before[:12]}"
    elif data["files"] is None:
        yield "data      differs; which files were not recorded"
    else:
        yield f"data      {len(data['files'])} files differ"
        yield from _some([_file_line(pair) for pair in data["files"]])
    for pair in data["rows"]:
        yield f" rows of {pair['name']}: {pair['a']} -> {pair['b']}"


def _without_files(digest: str | None, sources: list[str | None]) -> str:
    if None in sources:
        return "not recorded"
    if digest or sources[0] != sources[1]:
        return f"differ: {sources[0]} -> {sources[1]}"
    return "same source, no files"


def _file_line(pair: Pair) -> str:
    if pair["a"] is None:
        return f" added    {pair['name']}"
    return f" {'removed' if pair['b'] is None else 'changed':<8} {pair['name']}"


def _code_lines(code: Mapping[str, Any]) -> Iterator[str]:
    files = code["files"]
    yield f"code      {f'{len(files)} files differ' if files else 'same'}"
    a, b = code["commit"]
    if a or b:
        yield f" a: {a or 'not recorded'}"
        yield f" b: {b or 'not recorded'}"
    yield from _some([_file_line(pair) for pair in files])


def _metric_lines(metrics: list[dict[str, Any]]) -> Iterator[str]:
    yield "metrics" if metrics else "metrics   none"
    for one in metrics:
        a, b = ("-" if one[side] is None else f"{one[side]:.6g}" for side in "ab")
        change = "" if one["difference"] is None else f"{one['difference']:+.4g}"
        yield f" {one['name']:<40} {a:>12} {b:>12} {change:>11}".rstrip()


def _some(lines: list[str]) -> Iterator[str]:
    yield from lines[:_MOST_LINES]
    if len(lines) > _MOST_LINES:
        yield f" and {len(lines) - _MOST_LINES:,} more: --json has all"
