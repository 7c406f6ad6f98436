"""A picture of each exam that has one, drawn from its figures."""

import html
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from components.report import elements, plots
from components.report.explanations import explanations
from components.report.mistakes import confusion
from components.report.record import Record, in_words

MOST_INTERVALS = 8
MOST_TEXTS = 4
Figures = Mapping[str, Any]


def unknown(measured: Figures, record: Record) -> str:
    """Return the figures of an exam that has no picture."""
    del record
    return elements.figures(measured)


def against_live(measured: Figures, record: Record) -> str:
    allowed = record.options("against_live").get("worse_at_most")
    marks = {"live": 0.0} | ({"allowed": allowed} if allowed else {})
    interval = (measured["difference"], measured["low"], measured["high"])
    drawn = plots.intervals(
        {"candidate": interval},
        label="difference from the live model",
        x="more wrong than the live model, right of the line",
        marks=marks,
    )
    return elements.plots(drawn)


def simple_model(measured: Figures, record: Record) -> str:
    del record
    errors = {in_words(n): v for n, v in measured["errors"].items()}
    order = dict(sorted(errors.items(), key=lambda item: item[1]))
    drawn = plots.bars(order, label="error of each model", x="error", other="candidate")
    return elements.plots(drawn)


def calibration(measured: Figures, record: Record) -> str:
    del record
    surest = {
        f"the surest {share}": value
        for share, value in measured["accuracy_of_surest"].items()
    }
    return elements.plots(
        plots.reliability(
            measured["bins"], label="how often answers were right by how sure they were"
        ),
        plots.bars(
            surest, label="accuracy if the least sure are withheld", x="accuracy"
        ),
    )


def slices(measured: Figures, record: Record) -> str:
    found = measured["slices"][:MOST_INTERVALS]
    if not found:
        return ""
    values = {
        f"{one['name']} ({one['count']:,})": (one["accuracy"], one["low"], one["high"])
        for one in found
    }
    bound = record.options("slices").get("worst_at_least")
    marks = {"all": measured["accuracy"]} | ({"bound": bound} if bound else {})
    drawn = plots.intervals(
        values, label="accuracy of the worst slices", x="accuracy", marks=marks
    )
    listed = elements.figures({"slices": measured["slices"]})
    return elements.plots(drawn) + elements.folded("All that were kept", listed)


def fairness(measured: Figures, record: Record) -> str:
    del record
    shown = ""
    for name, found in measured["by"].items():
        gaps = {
            rate: (gap["gap"], gap["low"], gap["high"])
            for rate, gap in found["gaps"].items()
            if "gap" in gap
        }
        rates = {
            group: {r: v for r, v in row.items() if r in found["gaps"]}
            for group, row in found["groups"].items()
        }
        shown += f"<h4>by {html.escape(name)}</h4>" + elements.plots(
            plots.grouped_bars(rates, label=f"rates by {name}"),
            plots.intervals(gaps, label=f"gaps by {name}", x="gap") if gaps else "",
        )
    listed = {name: found["groups"] for name, found in measured["by"].items()}
    return shown + elements.folded("The groups", elements.figures(listed))


def served(measured: Figures, record: Record) -> str:
    if "p95_ms" not in measured:
        return ""
    folder = record.evidence("served")
    stored = folder / "served.json" if folder else Path()
    drawn = ""
    if stored.is_file():
        latencies = json.loads(stored.read_text("utf-8"))["latencies_ms"]
        marks = {"p50": measured["p50_ms"], "p95": measured["p95_ms"]}
        drawn = plots.histogram(
            latencies, label="latencies", x="milliseconds of an answer", marks=marks
        )
    return elements.plots(drawn, elements.figures(measured))


def forgetting(measured: Figures, record: Record) -> str:
    """Return the difference from the live model on each older span."""
    del record
    spans = measured.get("spans", {})
    if not spans:
        return elements.figures(measured)
    values = {f"span {n}": (s["mean"], s["low"], s["high"]) for n, s in spans.items()}
    drawn = plots.intervals(
        values,
        label="difference from the live model on older spans",
        x="more wrong than the live model, right of the line",
        marks={"live": 0.0},
    )
    return elements.plots(drawn, elements.figures(measured))


def robustness(measured: Figures, record: Record) -> str:
    """Return accuracy by strength, a line for each corruption."""
    del record
    series = {
        in_words(name): (list(range(len(right) + 1)), [measured["clean"], *right])
        for name, right in measured["corruptions"].items()
    }
    drawn = plots.lines(
        series, label="accuracy by strength of corruption", x="strength", y="accuracy"
    )
    plain = {n: v for n, v in measured.items() if n != "corruptions"}
    return elements.plots(drawn, elements.figures(plain))


def attack(measured: Figures, record: Record) -> str:
    """Return accuracy without and with an attack."""
    del record
    shown = {"clean": measured["clean"]} | {
        name.upper(): measured[name] for name in ("fgsm", "pgd") if name in measured
    }
    drawn = plots.bars(shown, label="accuracy under attack", x="accuracy")
    return elements.plots(drawn, elements.figures(measured))


def out_of_distribution(measured: Figures, record: Record) -> str:
    """Return how well each set from elsewhere is told from test, by each score."""
    by_set: dict[str, dict[str, float]] = {}
    for score, found in measured["sets"].items():
        for name, auroc in found.items():
            by_set.setdefault(in_words(name), {})[in_words(score)] = auroc
    drawn = plots.grouped_bars(
        by_set, label="AUROC of inputs from elsewhere", x="AUROC, 0.5 is chance"
    )
    del record
    return elements.plots(drawn)


def behaviour(measured: Figures, record: Record) -> str:
    """Return each test, and examples on which it failed."""
    del record
    tests = [
        {name: value for name, value in test.items() if name != "shown"}
        for test in measured["tests"]
    ]
    failed = "".join(
        f"<li>{html.escape(test['test'])}: <code>{html.escape(json.dumps(one))}</code>"
        for test in measured["tests"]
        for one in test["shown"]
    )
    shown = elements.folded("Examples that failed", f"<ul>{failed}</ul>")
    return elements.figures({"tests": tests}) + (shown if failed else "")


def generation(measured: Figures, record: Record) -> str:
    """Return what was written."""
    stored = (record.evidence("generation") or Path()) / "samples.json"
    shown = ""
    if stored.is_file():
        found = json.loads(stored.read_text("utf-8"))
        kinds = [kind for kind in found["texts"] if kind != "real"]
        for place, prompt in enumerate(found["prompts"][:MOST_TEXTS]):
            parts = "".join(
                f"<h4>{html.escape(kind)}</h4><pre><i>{html.escape(prompt)}</i>"
                f"{html.escape(found['texts'][kind][place])}</pre>"
                for kind in kinds
            )
            shown += f"<div>{parts}</div>"
    return elements.figures(measured) + shown


PICTURES: dict[str, Callable[[Figures, Record], str]] = {
    "against_live": against_live,
    "simple_model": simple_model,
    "calibration": calibration,
    "confusion": confusion,
    "explanations": explanations,
    "slices": slices,
    "fairness": fairness,
    "forgetting": forgetting,
    "robustness": robustness,
    "attack": attack,
    "out_of_distribution": out_of_distribution,
    "behaviour": behaviour,
    "served": served,
    "generation": generation,
}
