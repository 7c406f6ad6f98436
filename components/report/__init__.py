"""The report of a run: one HTML file that needs no network and no script.

Written by the process that forks the steps, so nothing here may run a TensorFlow
operation: what is shown was measured by the steps, and is read from what they left.
"""

import html
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from components.report import elements, exams, line
from components.report.record import Facts, Record, number

FILE_NAME = "report.html"
PAGES = {"model_card.html": "Model card", "data.html": "Data"}  # beside it


def write(path: Path, facts: Facts, environment: Mapping[str, Any]) -> None:
    """Write the report, whole or not at all.

    Args:
      path: file to write, in the folder of the run.
      facts: see `Record`.
      environment: see `components/report/environment.py`.
    """
    record = Record(facts, path.parent)
    found = line.environment(record, environment)
    parts = [
        _head(record),
        verdict(record),
        _tiles(record),
        elements.section("Exams", exams.overview(record), "exams"),
        elements.section("Data", line.data(record), "data"),
        elements.section("Training", line.training(record), "training"),
        elements.section("Metrics", line.metrics(record), "metrics"),
        elements.section("Evidence", exams.each(record), "evidence"),
        elements.section("Steps", line.steps(record), "steps"),
        elements.section("Recipe", line.recipe(record), "recipe"),
        elements.section("Environment", found, "environment"),
    ]
    title = f"{facts['pipeline']}, run {facts['run']}"
    elements.write(path, elements.document(title, "".join(parts)))


def _head(record: Record) -> str:
    facts = record.facts
    when = time.strftime("%Y-%m-%d %H:%M", time.localtime(facts["started"]))
    took = f", {facts['ended'] - facts['started']:.0f} s" if facts["ended"] else ""
    family = record.recipe.get("model", {}).get("family", "")
    words = f"run {facts['run']} · {when}{took}" + (f" · {family}" if family else "")
    links = "".join(
        f'<a href="{name}">{text}</a>'
        for name, text in PAGES.items()
        if (record.folder / name).is_file()
    )
    return (
        f"<h1>{html.escape(facts['pipeline'])}</h1>{elements.paragraph(words, 'soft')}"
        f"<nav>{links}</nav>"
    )


def verdict(record: Record) -> str:
    """Return in a box what became of the candidate, and why."""
    judged, pushed = record.verdict, record.facts["pushed"]
    kind = {True: "passed", False: "refused"}.get(judged.get("blessed"), "other")
    lines = list(judged.get("refusals", ()))
    lines += [
        f"{name} failed: {step['error']}"
        for name, step in record.facts["steps"].items()
        if step["error"]
    ]
    lines += record.figures("leakage").get("refusals", ())
    lines += record.figures("find_anomalies").get("anomalies", ())
    if pushed and pushed["override"]:
        lines.append(pushed["override"]["text"])
    return (
        f'<div class="verdict {kind}"><b>{html.escape(headline(record))}</b>'
        f"{elements.paragraph(judged.get('summary', ''))}"
        f"{elements.bullets(lines)}"
        f"{record.source(record.artifact('judge', 'blessing'))}</div>"
    )


def headline(record: Record) -> str:
    """Return in a few words what became of the candidate."""
    pushed, blessed = record.facts["pushed"], record.verdict.get("blessed")
    if blessed:
        version = f"pushed as version {pushed['version']}" if pushed else "not pushed"
        return f"Passed, {version}"
    if pushed and pushed["override"]:
        return f"Refused, and pushed as version {pushed['version']} by a person"
    if blessed is False:
        return "Refused: it does not go live"
    return f"Not judged: the run is {record.facts['status']}"


def _tiles(record: Record) -> str:
    """Return the figures that are asked for first."""
    metrics = record.figures("evaluate").get("metrics", {})
    tiles = {line.metric_name(n): metrics[n] for n in line.metric_names(metrics)}
    if "example_count" in metrics:
        tiles["test examples"] = metrics["example_count"]
    trained = record.figures("train")
    if trained:
        tiles["weights"] = trained["parameters"]
        tiles["seconds of training"] = trained["seconds"]
    shown = "".join(
        f'<div class="tile"><b>{html.escape(number(value))}</b>'
        f"<span>{html.escape(name)}</span></div>"
        for name, value in tiles.items()
    )
    return f'<div class="tiles">{shown}</div>' if shown else ""
