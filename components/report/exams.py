"""Exams as the report shows them: status, bounds, figures, and a picture of each."""

import html
from collections.abc import Mapping
from typing import Any

from components.report.elements import badge, bullets, paragraph
from components.report.pictures import PICTURES, unknown
from components.report.record import Record, bounds, in_words, number

METRICS = "metrics"
NOT_APPLICABLE = "not applicable"
Verdict = Mapping[str, Any]


def overview(record: Record) -> str:
    """Return a line for each exam, which leads to its evidence."""
    rows = "".join(
        f"<li>{badge(verdict['status'])} {_link(name, verdict)} "
        f"<span>{html.escape(verdict['summary'])}</span></li>"
        for name, verdict in record.verdicts.items()
    )
    return f'<ul class="overview">{rows}</ul>' if rows else ""


def each(record: Record) -> str:
    """Return each exam that was sat; the metrics have a part of their own."""
    return "".join(
        _exam(name, verdict, record)
        for name, verdict in record.verdicts.items()
        if name != METRICS and verdict["status"] != NOT_APPLICABLE
    )


def _link(name: str, verdict: Verdict) -> str:
    said = html.escape(in_words(name))
    if verdict["status"] == NOT_APPLICABLE:
        return f"<b>{said}</b>"
    return f'<a href="#{_place(name)}">{said}</a>'


def _place(name: str) -> str:
    return name if name == METRICS else f"exam-{html.escape(name)}"


def _exam(name: str, verdict: Verdict, record: Record) -> str:
    measured = verdict["figures"]
    draw = PICTURES.get(name, unknown)
    shown = draw(measured, record) if measured else ""
    return (
        f'<section class="exam" id="{_place(name)}"><h3>'
        f"{html.escape(in_words(name))} {badge(verdict['status'])}</h3>"
        f"{paragraph(verdict['summary'])}{bullets(verdict['refusals'], 'refusals')}"
        f"{shown}{_bounds(name, record)}"
        f"{record.source(record.evidence(name))}</section>"
    )


def _bounds(name: str, record: Record) -> str:
    found = bounds(record.options(name))
    told = " · ".join(f"{in_words(n)} {number(v)}" for n, v in found.items())
    return paragraph(f"Bounds: {told}" if told else "No bound: it measures.", "bounds")
