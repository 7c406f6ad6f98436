"""The line as the report shows it: data, training, metrics, steps, and what ran it."""

import html
import json
from collections.abc import Mapping, Sequence
from typing import Any

from components.report import plots
from components.report.elements import (
    badge,
    bullets,
    cell,
    figures,
    folded,
    named,
    paragraph,
    table,
)
from components.report.elements import plots as side_by_side
from components.report.record import Record, bounds, in_words, number

MOST_SLICES = 60
DATA_PAGE = "data.html"
_DIFFERENCE = "_diff"  # TFMA's, from the live model
_METRIC_PREFIXES = ("sparse_categorical_", "binary_")


def data(record: Record) -> str:
    """Return how many records each split has, and what is worth knowing of them."""
    taken = record.figures("ingest")
    if not taken:
        return ""
    counts = taken["records"]
    validated = record.figures("validate")
    audit = record.figures("label_audit")
    lines = [
        *validated.get("hints", ()),
        *record.figures("leakage").get("warnings", ()),
    ]
    if audit.get("applicable"):
        lines.append(f"label audit: {audit['summary']}")
    drawn = [plots.bars(counts, label="records of each split", x="records")]
    classes = validated.get("classes", {})
    if 1 < len(classes) <= 40:
        drawn.append(
            plots.bars(classes, label="train records of each class", x="train records")
        )
    page = ""
    if (record.folder / DATA_PAGE).is_file():
        page = (
            f'<p><a href="{DATA_PAGE}">All about the data, on a page of its own</a></p>'
        )
    words = f"{taken['source']}: {taken['summary']}"
    return (
        f"{paragraph(words)}{side_by_side(*drawn)}{bullets(lines, 'soft')}{page}"
        f"{record.source(record.artifact('ingest', 'examples'))}"
    )


def training(record: Record) -> str:
    """Return the curves of a training and what it was."""
    trained = record.figures("train")
    epochs = trained.get("epochs", [])
    if not trained:
        return ""
    measures = [m for m in epochs[0] if not m.startswith("val_")] if epochs else []
    measures.sort(key=lambda name: (name != "loss", name))
    drawn = [_curve(epochs, measure) for measure in measures[:4]]
    model = record.recipe["model"]
    facts = {
        "family": model["family"],
        **{name: _text(value) for name, value in model["arguments"].items()},
        "weights": trained["parameters"],
        "updates": trained["updates"],
        "exported epoch": trained["exported_epoch"],
        "stopped": trained["stopped"] or "at its end",
        "seconds": trained["seconds"],
        "examples a second": trained["examples_per_second"],
        "strategy": f"{trained['strategy']}, {trained['replicas']} replicas, "
        f"{trained['precision']}",
    }
    return (
        f"{side_by_side(*drawn)}{folded('The model and its training', named(facts))}"
        f"{record.source(record.artifact('train', 'model_run'))}"
    )


def _curve(epochs: list[Mapping[str, float]], measure: str) -> str:
    numbers = list(range(1, len(epochs) + 1))
    series = {"train": (numbers, [epoch.get(measure) for epoch in epochs])}
    if f"val_{measure}" in epochs[0]:
        held = [epoch.get(f"val_{measure}") for epoch in epochs]
        series["eval"] = (numbers, held)
    said = in_words(measure)
    return plots.lines(series, label=f"{said} by epoch", x="epoch", y=said)


def metric_name(name: str) -> str:
    """Return the name of a metric without what says only how labels are written."""
    for prefix in _METRIC_PREFIXES:
        name = name.removeprefix(prefix)
    if name.endswith(_DIFFERENCE):
        return f"{in_words(name.removesuffix(_DIFFERENCE))} against live"
    return in_words(name)


def metric_names(metrics: Mapping[str, float]) -> list[str]:
    """Return what was measured, differences from the live model last."""
    names = [name for name in metrics if not name.startswith("example_count")]
    return sorted(names, key=lambda name: name.endswith(_DIFFERENCE))


def metrics(record: Record) -> str:
    """Return metrics on all test examples and on the slices of the recipe."""
    measured = record.figures("evaluate")
    if not measured:
        return ""
    overall, slices = measured["metrics"], measured["slices"]
    names = metric_names(overall)
    lead = next((name for name in names if "accuracy" in name), names[0])
    higher_is_better = "loss" not in lead and "entropy" not in lead
    order = sorted(
        slices,
        key=lambda s: slices[s].get(lead, 0.0) * (1 if higher_is_better else -1),
    )
    rows = [_metric_row("all of test", overall, names)]
    rows += [_metric_row(s, slices[s], names) for s in order[:MOST_SLICES]]
    head = ["examples", "count", *map(metric_name, names)]
    more = len(slices) - MOST_SLICES
    told = paragraph(f"and {more:,} more slices", "soft") if more > 0 else ""
    worst = "" if not slices else paragraph("Slices, the worst first.", "soft")
    return (
        f"{worst}{table(head, rows)}{told}{_metric_bounds(record)}"
        f"{record.source(record.artifact('evaluate', 'evaluation'))}"
    )


def _metric_row(
    name: str, values: Mapping[str, float], names: Sequence[str]
) -> list[str]:
    first = f'<th scope="row">{html.escape(name)}</th>'
    return [first, *(cell(values.get(n)) for n in ("example_count", *names))]


def _metric_bounds(record: Record) -> str:
    lines = [
        f"{name}: {in_words(bound)} {value:g}"
        for name, options in record.options("metrics").items()
        for bound, value in bounds(options).items()
    ]
    return paragraph(f"Bounds: {' · '.join(lines)}" if lines else "", "bounds")


def steps(record: Record) -> str:
    """Return what each step came to, how long it took, and where its outputs are."""
    rows = "".join(
        f"<li>{_took(step)} <b>{html.escape(in_words(name))}</b> "
        f"<span>{_came_to(step, record)}</span></li>"
        for name, step in record.facts["steps"].items()
    )
    return f'<ul class="overview">{rows}</ul>'


def _took(step: Mapping[str, Any]) -> str:
    if step["error"]:
        return badge("failed")
    seconds = f"{step['seconds']:.1f} s"
    return badge(f"run {step['run']}: {seconds}" if step["reused"] else seconds)


def _came_to(step: Mapping[str, Any], record: Record) -> str:
    said = step["error"] or step["figures"].get("summary", "")
    links = "".join(record.source(uri) for uri in step["outputs"].values())
    return html.escape(said) + links


def recipe(record: Record) -> str:
    """Return the resolved recipe."""
    shown = json.dumps(record.recipe, indent=2, ensure_ascii=False)
    where = record.folder / "recipe.json"
    return folded(
        "The recipe, with all its defaults", f"<pre>{html.escape(shown)}</pre>"
    ) + record.source(where if where.is_file() else None)


def environment(record: Record, found: Mapping[str, Any]) -> str:
    """Return the code, the machine and the packages."""
    origin = record.facts["origin"]
    code = _code(origin["code"]) if origin else "not recorded"
    shown = {"code": code, **{n: _text(v) for n, v in found.items() if n != "packages"}}
    return named(shown) + folded("Packages", figures(found["packages"]))


def _code(code: Mapping[str, Any]) -> str:
    if "version" in code:
        return f"version {code['version']}, not in git"
    changed = len(code["changed"])
    return f"commit {code['commit']}" + (
        f", {changed} files changed" if changed else ""
    )


def _text(value: Any) -> str:
    if isinstance(value, list):
        return ", ".join(map(str, value)) or "none"
    return number(value)
