"""What a candidate takes for what, with the examples that it got wrong."""

import html
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from components import page_records
from components.report.elements import cell, table
from components.report.record import Record

MOST_HEATED = 20  # classes of which the whole matrix is drawn
_WRONG = "wrong.gz"


def confusion(measured: Mapping[str, Any], record: Record) -> str:
    matrix, classes = measured["matrix"], measured["classes"]
    drawn = ""
    if matrix and len(classes) <= MOST_HEATED:
        drawn = _heat(matrix, classes)
    elif measured["pairs"]:
        rows = [
            [cell(p["label"]), cell(p["answer"]), cell(p["count"])]
            for p in measured["pairs"]
        ]
        drawn = table(["label", "taken for", "times"], rows)
    return drawn + _wrong_answers(measured["wrong"], record)


def _heat(matrix: list[list[int]], classes: list[str]) -> str:
    """Return a matrix whose cells are the darker, the more of their row they are."""
    head = "".join(f'<th scope="col">{html.escape(name)}</th>' for name in classes)
    body = ""
    for place, (name, row) in enumerate(zip(classes, matrix, strict=True)):
        total = sum(row) or 1
        cells = "".join(
            _heat_cell(count, count / total, is_right=place == column)
            for column, count in enumerate(row)
        )
        body += f'<tr><th scope="row">{html.escape(name)}</th>{cells}</tr>'
    return (
        '<div class="scroll"><table class="heat"><caption>Rows are labels, columns are '
        f"answers.</caption><thead><tr><td></td>{head}</tr></thead>"
        f"<tbody>{body}</tbody></table></div>"
    )


def _heat_cell(count: int, share: float, *, is_right: bool) -> str:
    kind = "right" if is_right else "wrong" if count else "none"
    # A single mistake among hundreds is to be seen too.
    heat = 60 * share if is_right else min(75, 20 + 150 * share) if count else 0
    return f'<td class="{kind}" style="--heat:{heat:.0f}%">{count:,}</td>'


def _wrong_answers(wrong: Sequence[Mapping[str, Any]], record: Record) -> str:
    """Show the test examples whose wrong answers were the surest."""
    stored = (record.evidence("confusion") or Path()) / _WRONG
    if not wrong or not stored.is_file():
        return ""
    examples = [page_records.parse(each) for each in page_records.frames(stored)]
    label = record.recipe["transform"]["label"]["feature"]
    shown = "".join(
        _answer(example, found, label)
        for example, found in zip(examples, wrong, strict=True)
    )
    is_picture = any(
        record.recipe["transform"].get(kind) for kind in ("image", "audio")
    )
    kind = "gallery" if is_picture else "gallery rows"
    return f'<h4>Surest of its wrong answers</h4><div class="{kind}">{shown}</div>'


def _answer(example: page_records.Record, found: Mapping[str, Any], label: str) -> str:
    shown = page_records.shown({n: v for n, v in example.items() if n != label})
    said, right = html.escape(found["answer"]), html.escape(found["label"])
    return (
        f'<figure>{shown}<span class="answer">said <b>{said}</b> '
        f"({found['confidence']:.0%}), is {right}</span></figure>"
    )
