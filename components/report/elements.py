"""Parts of a page that needs no network and no script."""

import html
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from components.report.record import in_words, number

_STYLE = Path(__file__).with_name("style.css")
_MOST_ROWS = 60
_MOST_DEPTH = 3
_INTERVAL = ("mean", "low", "high")


def document(title: str, body: str) -> str:
    """Return a whole page; its `body` is HTML."""
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        '<link rel="icon" href="data:,">'  # else a browser asks the host for one
        f"<title>{html.escape(title)}</title><style>{_STYLE.read_text('utf-8')}</style>"
        f"</head><body>{body}</body></html>\n"
    )


def write(path: Path, text: str) -> None:
    """Write a file, whole or not at all."""
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    draft.write_text(text, "utf-8", "xmlcharrefreplace")
    os.replace(draft, path)


def section(title: str, content: str, name: str) -> str:
    """Return a part of the page under its title; nothing if it has no content."""
    if not content:
        return ""
    return f'<h2 id="{html.escape(name)}">{html.escape(title)}</h2>{content}'


def paragraph(text: str, kind: str = "") -> str:
    named = f' class="{kind}"' if kind else ""
    return f"<p{named}>{html.escape(text)}</p>" if text else ""


def badge(status: str) -> str:
    kind = status if status in ("passed", "refused", "failed") else "other"
    return f'<span class="badge {kind}">{html.escape(status)}</span>'


def bullets(lines: Sequence[str], kind: str = "") -> str:
    items = "".join(f"<li>{html.escape(line)}</li>" for line in lines)
    named = f' class="{kind}"' if kind else ""
    return f"<ul{named}>{items}</ul>" if items else ""


def plots(*drawn: str) -> str:
    """Return pictures side by side, where there is room."""
    shown = "".join(f"<figure>{one}</figure>" for one in drawn if one)
    return f'<div class="plots">{shown}</div>' if shown else ""


def folded(title: str, content: str) -> str:
    """Return what is seen only when it is asked for."""
    return f"<details><summary>{html.escape(title)}</summary>{content}</details>"


def cell(value: Any) -> str:
    """Return a cell of a table: numbers stand under one another."""
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    kind = ' class="number"' if is_number else ""
    return f"<td{kind}>{html.escape(number(value))}</td>"


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a table whose cells are whole `<td>` elements already."""
    top = "".join(f'<th scope="col">{html.escape(text)}</th>' for text in head)
    body = "".join(f"<tr>{''.join(row)}</tr>" for row in rows)
    return (
        f'<div class="scroll"><table><thead><tr>{top}</tr></thead>'
        f"<tbody>{body}</tbody></table></div>"
    )


def named(values: Mapping[str, Any]) -> str:
    """Return a table of a name and a value in each row."""
    rows = "".join(
        f'<tr><th scope="row">{html.escape(in_words(str(name)))}</th>{cell(value)}</tr>'
        for name, value in values.items()
    )
    return f'<div class="scroll"><table>{rows}</table></div>' if rows else ""


def figures(values: Mapping[str, Any], depth: int = 0) -> str:
    """Return figures of any shape as tables."""
    plain = {n: v for n, v in values.items() if not isinstance(v, Mapping | list)}
    plain |= {n: interval(v) for n, v in values.items() if _is_interval(v)}
    plain |= {
        n: ", ".join(map(number, v))
        for n, v in values.items()
        if isinstance(v, list) and v and not _is_rows(v) and len(v) <= _MOST_ROWS
    }
    shown = named(plain)
    for name, value in values.items():
        inner = ""
        if _is_rows(value):
            inner = _rows({str(place): row for place, row in enumerate(value)}, "")
        elif isinstance(value, Mapping) and _is_rows(list(value.values())):
            inner = _rows(value, name)
        elif (
            isinstance(value, Mapping)
            and not _is_interval(value)
            and depth < _MOST_DEPTH
        ):
            inner = figures(value, depth + 1)
        if inner:
            shown += f"<h4>{html.escape(in_words(str(name)))}</h4>{inner}"
    return shown


def interval(found: Mapping[str, float]) -> str:
    """Return a mean with its interval as it is read."""
    mean, low, high = (number(found[end]) for end in _INTERVAL)
    return f"{mean} ({low} to {high})"


def _is_interval(value: Any) -> bool:
    return isinstance(value, Mapping) and set(value) == set(_INTERVAL)


def _is_rows(value: Any) -> bool:
    """Tell whether a value is a list of mappings from names to plain values."""
    return (
        isinstance(value, list)
        and bool(value)
        and all(isinstance(row, Mapping) for row in value)
        and not any(
            isinstance(v, Mapping | list) for row in value for v in row.values()
        )
    )


def _rows(by_name: Mapping[str, Mapping[str, Any]], name: str) -> str:
    """Return a row for each mapping; `name` is what their names are, "" for none."""
    columns = list(dict.fromkeys(key for row in by_name.values() for key in row))
    rows = [
        [*([cell(key)] if name else []), *(cell(row.get(c)) for c in columns)]
        for key, row in list(by_name.items())[:_MOST_ROWS]
    ]
    more = len(by_name) - len(rows)
    head = [*([in_words(name)] if name else []), *map(in_words, columns)]
    return table(head, rows) + (paragraph(f"and {more:,} more", "soft") if more else "")
