"""Show the data of a run on one page: an HTML file that needs no network, no script.

Written by the process that forks the steps, so nothing here may run a TensorFlow
operation: records are read in plain Python.
"""

import html
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tensorflow_metadata.proto.v0 import schema_pb2

from components import (
    anomalies,
    ingest,
    label_audit,
    leakage,
    page_records,
    schema,
    statistics,
    validate,
)
from components.page_features import (
    Datasets,
    Found,
    classes,
    features,
    num_examples,
    table,
)

NUM_SAMPLES = 8  # records shown of each split
NUM_SUSPECTS = 40
TWINS = ("duplicates", "near_duplicates")

Outputs = Mapping[str, Mapping[str, str]]
Report = Mapping[str, Any]
Records = Mapping[str, Mapping[int, page_records.Record]]  # by split and number

_STYLE = """
:root{color-scheme:light dark}
body{font:15px/1.5 system-ui,sans-serif;max-width:1100px;margin:2rem auto;
padding:0 1rem;overflow-wrap:anywhere}
table{border-collapse:collapse}th,td{text-align:left;padding:.2rem .8rem .2rem 0;
vertical-align:top;border-bottom:1px solid #8884}
.bad{color:#c00}.good{color:#080}.box{border:2px solid;padding:.5rem 1rem;margin:1rem 0}
svg polyline{fill:none;stroke-width:1.5}img{image-rendering:pixelated;margin:2px}
svg .train{stroke:#2a78d6}svg .eval{stroke:#d67d1e}svg .test{stroke:#2a9d4a}
svg .serving{stroke:#a040a0}svg rect{stroke:none}
svg text{font-size:10px;fill:currentColor}
svg rect.train{fill:#2a78d6}svg rect.eval{fill:#d67d1e}
svg rect.test{fill:#2a9d4a}svg rect.serving{fill:#a040a0}
.key.train{color:#2a78d6}.key.eval{color:#d67d1e}.key.test{color:#2a9d4a}
.key.serving{color:#a040a0}
figure{display:inline-block;margin:.3rem .6rem .3rem 0;max-width:30rem;
vertical-align:top;font-size:.9em}
@media(prefers-color-scheme:dark){.bad{color:#ff7070}.good{color:#6c6}}
"""


def write(path: Path, name: str, outputs: Outputs) -> None:
    """Write the page, whole or not at all.

    Args:
      path: file to write.
      name: of the recipe.
      outputs: URIs by step and key, of the steps that were done; `ingest` and
        `statistics` are among them.
    """
    uri = outputs["statistics"]["statistics"]
    datasets = {s: statistics.load(uri, s) for s in statistics.num_examples(uri)}
    checked = outputs.get("find_anomalies")
    found = anomalies.load(checked["anomalies"]) if checked else {}
    examples = Path(outputs["ingest"]["examples"])
    taken = _json(outputs, "ingest", "examples", ingest.FILE_NAME)
    leaks = _json(outputs, "leakage", "report", leakage.FILE_NAME)
    audit = _json(outputs, "label_audit", "report", label_audit.FILE_NAME)
    verdict = _json(outputs, "validate", "verdict", validate.FILE_NAME)
    curated = _schema(outputs)
    records = _wanted(examples, audit, leaks)
    parts = [
        _head(name, datasets, taken),
        _verdict(datasets, found if checked else None, leaks),
        _section("Hints", _list(_hints(verdict, leaks))),
        classes(datasets, curated),
        features(datasets, curated, found),
        _samples(examples, datasets, _channels(taken)),
        _suspects(audit, records),
        _leakage(leaks, records),
    ]
    page = (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8">'
        f"<title>Data of {html.escape(name)}</title><style>{_STYLE}</style></head>"
        f"<body>{''.join(parts)}</body></html>\n"
    )
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    draft.write_text(page, "utf-8", "xmlcharrefreplace")
    os.replace(draft, path)


def _json(outputs: Outputs, step: str, key: str, name: str) -> Report:
    """Return the report of a step; {} where there is none."""
    uri = outputs.get(step, {}).get(key)
    return json.loads(Path(uri, name).read_text("utf-8")) if uri else {}


def _schema(outputs: Outputs) -> schema_pb2.Schema:
    uri = outputs.get("schema", {}).get("schema")
    if uri is None:
        return schema_pb2.Schema()
    return schema.parse(Path(uri, schema.FILE_NAME).read_text("utf-8"))


def _wanted(examples: Path, audit: Report, leaks: Report) -> Records:
    """Return the records that reports name, each split read once."""
    wanted: dict[str, set[int]] = {}
    for suspect in audit.get("worst", ())[:NUM_SUSPECTS]:
        wanted.setdefault("train", set()).add(suspect["index"])
    for section in TWINS:
        for split, twins in leaks.get(section, {}).items():
            for pair in twins["pairs"]:
                wanted.setdefault(split, set()).add(pair["index"])
                wanted.setdefault("train", set()).add(pair["of"])
    return {
        split: page_records.pick(examples, split, numbers)
        for split, numbers in wanted.items()
    }


def _head(name: str, datasets: Datasets, taken: Report) -> str:
    keys = " · ".join(
        f'<span class="key {split}">■</span> {num_examples(found):,} {split}'
        for split, found in datasets.items()
    )
    lines = [f"spans {', '.join(map(str, taken['spans']))}"] if taken["spans"] else []
    lines += [
        f"column {column!r} is the feature {feature!r}"
        for feature, column in taken["renamed"].items()
    ]
    lines += [
        f"{text} ({count:,} times)" if count > 1 else text
        for text, count in taken["notes"].items()
    ]
    bad = [
        f"{row['where']}: {row['why']} {row['text']}" for row in taken["bad_samples"]
    ]
    told = f", {taken['rows_in']:,} records"
    if taken["left_out"]:
        told += f", {taken['left_out']:,} in no split"
    if taken["bad_rows"]:
        told += f", {taken['bad_rows']:,} unreadable left out"
    return (
        f"<h1>Data of {html.escape(name)}</h1><p>{html.escape(taken['source'])}{told}: "
        f"{keys}</p>{_list(lines)}{_section('Unreadable', _list(bad))}"
    )


def _verdict(datasets: Datasets, found: Found | None, leaks: Report) -> str:
    """Return whether the data can be trusted; `found` is None if nobody looked."""
    lines = [f"{s}: no example" for s, d in datasets.items() if not num_examples(d)]
    lines += [*anomalies.list_anomalies(found or {}), *leaks.get("refusals", ())]
    if lines:
        count = f"{len(lines)} findings" if len(lines) > 1 else "1 finding"
        return f'<div class="box bad"><b>{count}</b>{_list(lines)}</div>'
    missing = [] if leaks else ["leakage"]
    missing += ["anomalies"] if found is None else []
    if missing:
        return f'<div class="box">Not looked for: {" and ".join(missing)}.</div>'
    return '<div class="box good">No anomaly, no drift, no leakage.</div>'


def _hints(verdict: Report, leaks: Report) -> list[str]:
    """Return what to know of data that passed; the warnings of leakage stand there."""
    warned = leaks.get("warnings", ())
    return [hint for hint in verdict.get("hints", ()) if hint not in warned]


def _channels(taken: Report) -> list[str]:
    """Return the names of the channels of a time series."""
    head = "channels: "
    told = [text for text in taken["notes"] if text.startswith(head)]
    is_series = taken["source"] == "series" and told
    return told[0].removeprefix(head).split(", ") if is_series else []


def _samples(examples: Path, datasets: Datasets, channels: Sequence[str]) -> str:
    parts = []
    for split in datasets:
        found = page_records.sample(examples, split, NUM_SAMPLES)
        if found:
            shown = "".join(
                page_records.shown(record, name, channels=channels)
                for name, record in found
            )
            parts.append(f"<h3>{split}</h3>{shown}")
    return _section("Samples", "".join(parts))


def _suspects(audit: Report, records: Records) -> str:
    if not audit.get("applicable"):
        return ""
    worst = audit["worst"][:NUM_SUSPECTS]
    told = (
        f"<p>{audit['suspects']:,} of {audit['examined']:,} labels of train; a cheap "
        f"model was right in {audit['accuracy']:.1%}. The least believed first.</p>"
    )
    rows = [
        [
            html.escape(found["name"]),
            html.escape(str(found["label"])),
            html.escape(str(found["likely"])),
            f"{found['score']:.3f}",
            page_records.shown(records["train"][found["index"]]),
        ]
        for found in worst
    ]
    columns = ["record", "label", "likely", "score", "what it is"]
    shown = table(columns, rows) if rows else ""
    return _section("Labels that look wrong", told + shown)


def _leakage(leaks: Report, records: Records) -> str:
    if not leaks:
        return ""
    pairs = [
        [
            section.replace("_", " "),
            split,
            html.escape(pair["row"])
            + page_records.shown(records[split][pair["index"]]),
            html.escape(pair["train"])
            + page_records.shown(records["train"][pair["of"]]),
        ]
        for section in TWINS
        for split, twins in leaks[section].items()
        for pair in twins["pairs"]
    ]
    lines = [*leaks["refusals"], *leaks["warnings"], *_allowed(leaks)]
    shown = table(["", "split", "record", "record of train"], pairs) if pairs else ""
    return _section("Leakage", (_list(lines) or "<p>None found.</p>") + shown)


def _allowed(leaks: Report) -> list[str]:
    told = {"label_copies": "of the labels told", "id_like": "of its values differ"}
    return [
        f"{found['feature']}: {found['share']:.1%} {words}, which is allowed"
        for section, words in told.items()
        for found in leaks[section]
        if found["allowed"]
    ]


def _section(title: str, content: str) -> str:
    return f"<h2>{title}</h2>{content}" if content else ""


def _list(lines: Sequence[str]) -> str:
    items = "".join(f"<li>{html.escape(line)}</li>" for line in lines)
    return f"<ul>{items}</ul>" if items else ""
