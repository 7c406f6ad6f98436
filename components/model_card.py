"""The card of a model: what is known about it, each fact with where it is recorded.

Made of recorded facts only. One that is not recorded is said to be missing, and why;
none is made up. `model_card.json` has the same facts as `model_card.html`:

    {"format": 1, "name", "run", "written", "headline",
     "facts": {section: {fact: {"value", "source", "missing"}}}}

`SECTIONS` are the sections; `source` is a path, or None; `missing` is the reason why
`value` is None, else None. A fact may be added under the same number of the format;
none is renamed or left out.
"""

import html
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from itertools import groupby
from pathlib import Path
from typing import Any

from components import report, strict_json
from components.report import elements
from components.report.line import metric_names
from components.report.record import Facts, Record, bounds, in_words, number

FORMAT = 1
JSON_NAME, HTML_NAME = "model_card.json", "model_card.html"
SECTIONS = ("use", "model", "data", "metrics", "exams", "limits", "energy", "origin")


@dataclass(frozen=True)
class Fact:
    """Something that is recorded, or that is not, and then why.

    Attributes:
      value: as JSON; None if it is missing.
      source: the file or folder that it is from.
      missing: why there is no value; None if there is one.
    """

    value: Any
    source: str | None
    missing: str | None = None


Section = Mapping[str, Fact]


def write(
    folder: Path, facts: Facts, environment: Mapping[str, Any], *, now: float
) -> None:
    """Write the card twice, each whole or not at all.

    Args:
      folder: of the run.
      facts: see `components.report.record.Record`.
      environment: see `components/report/environment.py`.
      now: seconds since the epoch.
    """
    record = Record(facts, folder)
    found = collect(record, environment)
    card = {
        "format": FORMAT,
        "name": facts["pipeline"],
        "run": facts["run"],
        "written": datetime.fromtimestamp(now, UTC).isoformat(timespec="seconds"),
        "headline": report.headline(record),
        "facts": {
            name: {fact: asdict(one) for fact, one in section.items()}
            for name, section in found.items()
        },
    }
    text = strict_json.dumps(card, indent=2, ensure_ascii=False) + "\n"
    elements.write(folder / JSON_NAME, text)
    elements.write(folder / HTML_NAME, _page(record, found))


def collect(record: Record, environment: Mapping[str, Any]) -> dict[str, Section]:
    """Return the facts of each section."""
    found = (
        _use(record),
        _model(record),
        _data(record),
        _metrics(record),
        _exams(record),
        _limits(record),
        _energy(record),
        _origin(record, environment),
    )
    return dict(zip(SECTIONS, found, strict=True))


def _use(record: Record) -> Section:
    origin = record.facts["origin"]
    path = Path(origin["recipe_path"]) if origin else None
    said, missing = "", "where the recipe lies was not recorded"
    if path:
        missing = f"{path} has no comment at its head"
        lines = path.read_text("utf-8").splitlines() if path.is_file() else []
        for line in lines:
            if not line.startswith("#"):
                break
            said += line.lstrip("#").strip() + "\n"
    return {
        "intended_use": _fact(said.strip() or None, path, missing),
        "kind_of_answer": _fact(_answer(record), _recipe(record), "no label is named"),
    }


def _answer(record: Record) -> Any:
    transform = record.recipe.get("transform") or {}
    kinds = ("label", "series", "language", "pairs")
    return {kind: transform[kind] for kind in kinds if transform.get(kind)} or None


def _model(record: Record) -> Section:
    path, trained = record.artifact("train", "model_run"), record.figures("train")
    model, recipe = record.recipe.get("model") or {}, _recipe(record)
    untrained = "no model was trained"
    keys = ("parameters", "updates", "precision", "strategy", "replicas", "seconds")
    return {
        "family": _fact(model.get("family"), recipe, "the recipe has no model"),
        "arguments": _fact(model.get("arguments"), recipe, "the recipe has no model"),
        **{key: _fact(trained.get(key), path, untrained) for key in keys},
        "artifact": _fact(
            str(record.artifact("train", "model") or "") or None, path, untrained
        ),
        "pushed": _fact(
            (record.facts["pushed"] or {}).get("version"),
            (record.facts["pushed"] or {}).get("path"),
            "it was not pushed",
        ),
        "override": _fact(
            (record.facts["pushed"] or {}).get("override"),
            None,
            "nobody overrode a verdict",
        ),
    }


def _data(record: Record) -> Section:
    taken, path = record.figures("ingest"), record.artifact("ingest", "examples")
    validated, audit = record.figures("validate"), record.figures("label_audit")
    checked = record.artifact("validate", "verdict")
    suspects = audit.get("suspects") if audit.get("applicable") else None
    unknown = "the data were not read"
    return {
        "source": _fact(taken.get("source"), path, unknown),
        "records": _fact(taken.get("records"), path, unknown),
        "unreadable_records": _fact(taken.get("bad_rows"), path, unknown),
        "spans": _fact(taken.get("spans") or None, path, "the data have no spans"),
        "features": _fact(
            record.figures("schema").get("features"),
            record.artifact("schema", "schema"),
            "there is no schema",
        ),
        "classes": _fact(
            validated.get("classes"), checked, "the label has no classes to count"
        ),
        "hints": _fact(validated.get("hints"), checked, "the data were not checked"),
        "suspect_labels": _fact(
            suspects,
            record.artifact("label_audit", "report"),
            "labels were not audited",
        ),
    }


def _metrics(record: Record) -> Section:
    measured = record.figures("evaluate")
    path = record.artifact("evaluate", "evaluation")
    overall = measured.get("metrics", {})
    unknown = "the model was not evaluated"
    return {
        "test": _fact(
            {n: overall[n] for n in metric_names(overall)} or None, path, unknown
        ),
        "num_test_examples": _fact(overall.get("example_count"), path, unknown),
        "slices": _fact(
            measured.get("slices") or None, path, "the recipe names no slice"
        ),
    }


def _exams(record: Record) -> Section:
    return {
        name: Fact(
            {
                "status": verdict["status"],
                "summary": verdict["summary"],
                "refusals": list(verdict["refusals"]),
                "bounds": bounds(record.options(name)),
            },
            str(record.evidence(name)),
        )
        for name, verdict in record.verdicts.items()
    }


def _limits(record: Record) -> Section:
    """Return what was found wanting, and what nobody looked at."""
    path = record.artifact("judge", "blessing")
    verdicts = record.verdicts
    unexamined = [n for n, v in verdicts.items() if v["status"] == "not applicable"]
    left_out = [n for n, v in (record.recipe.get("examine") or {}).items() if v is None]
    unbound = [
        name
        for name, verdict in verdicts.items()
        if verdict["status"] == "passed"
        and name != "metrics"
        and not bounds(record.options(name))
    ]
    unjudged = "no model was judged"
    slices = verdicts.get("slices", {}).get("figures", {}).get("slices")
    return {
        "refusals": _fact(record.verdict.get("refusals"), path, unjudged),
        "worst_slice": _fact(
            slices[0] if slices else None,
            record.evidence("slices"),
            "none was large enough, or none was looked for",
        ),
        "not_applicable": _fact(unexamined if verdicts else None, path, unjudged),
        "measured_without_a_bound": _fact(
            unbound if verdicts else None, path, unjudged
        ),
        "exams_left_out": _fact(left_out, _recipe(record), unjudged),
    }


def _energy(record: Record) -> Section:
    measured = record.verdicts.get("energy", {}).get("figures", {})
    path = record.evidence("energy")
    unknown = "the exam `energy` was not sat"
    return {
        key: _fact(measured.get(key), path, unknown)
        for key in ("kwh", "grams", "is_estimated")
    }


def _origin(record: Record, environment: Mapping[str, Any]) -> Section:
    origin = record.facts["origin"] or {}
    unknown = "it was not recorded"
    return {
        "code": _fact(origin.get("code"), None, unknown),
        "recipe": _fact(origin.get("recipe_path"), _recipe(record), unknown),
        "recipe_overrides": _fact(
            origin.get("recipe_overrides"), _recipe(record), unknown
        ),
        "environment": Fact(dict(environment), None),
    }


def _recipe(record: Record) -> Path:
    """Return where the resolved recipe of the run is."""
    return record.folder / "recipe.json"


def _fact(value: Any, source: Path | str | None, missing: str) -> Fact:
    if value is None:
        return Fact(None, None, missing)
    return Fact(value, str(source) if source else None)


def _page(record: Record, found: Mapping[str, Section]) -> str:
    facts = record.facts
    title = f"Model card of {facts['pipeline']}, run {facts['run']}"
    note = (
        "Only what was recorded stands here, each fact with where it is from; what was "
        "not recorded is said to be missing."
    )
    parts = [
        f"<h1>{html.escape(title)}</h1>",
        elements.paragraph(note, "soft"),
        report.verdict(record),
        *(
            elements.section(in_words(name).capitalize(), _list(section, record), name)
            for name, section in found.items()
        ),
    ]
    return elements.document(title, "".join(parts))


def _list(section: Section, record: Record) -> str:
    """Return facts in their order; those from one source, above its name."""
    shown = ""
    for source, facts in groupby(section.items(), lambda item: item[1].source):
        rows = "".join(
            f"<dt>{html.escape(in_words(name))}</dt><dd>{_shown(fact)}</dd>"
            for name, fact in facts
        )
        shown += f'<dl class="facts">{rows}</dl>{record.source(source)}'
    return shown or elements.paragraph("None.")


def _shown(fact: Fact) -> str:
    if fact.missing:
        return elements.paragraph(f"missing: {fact.missing}", "soft")
    if isinstance(fact.value, Mapping):
        return elements.figures(fact.value) or elements.paragraph("none")
    if isinstance(fact.value, list):
        return elements.paragraph(", ".join(map(str, fact.value)) or "none")
    lines = str(number(fact.value)).splitlines()
    return "".join(map(elements.paragraph, lines))
