"""What is recorded about a run, as the report and the model card read it."""

import html
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

Facts = Mapping[str, Any]


@dataclass(frozen=True)
class Record:
    """A run and where the page about it lies, from which its links lead.

    Attributes:
      facts: `run`, `pipeline`, `started`, `ended`, `status`, `recipe`, `origin`,
        `steps` (each with `figures`, `outputs`, `seconds`, `error`, `reused`, `run`),
        `verdict`, `pushed`: what `./strata show --json` prints.
      folder: of the page.
    """

    facts: Facts
    folder: Path

    @property
    def recipe(self) -> Facts:
        return self.facts["recipe"]

    @property
    def verdict(self) -> Facts:
        """The judge's; {} where nobody judged."""
        return self.facts["verdict"] or {}

    @property
    def verdicts(self) -> Facts:
        """Of each exam, TFMA's among them as `metrics`."""
        return self.verdict.get("verdicts", {})

    def figures(self, step: str) -> Facts:
        """Return what a step measured; {} if it has not been done, or has failed."""
        done = self.facts["steps"].get(step, {})
        return {} if done.get("error") else done.get("figures", {})

    def artifact(self, step: str, key: str) -> Path | None:
        """Return an output of a step; None if it has not been done."""
        uri = self.facts["steps"].get(step, {}).get("outputs", {}).get(key)
        return Path(uri) if uri else None

    def evidence(self, exam: str) -> Path | None:
        """Return where the evidence of an exam lies."""
        if exam == "metrics":
            return self.artifact("evaluate", "evaluation")
        examination = self.artifact("examine", "examination")
        return examination / exam if examination else None

    def options(self, exam: str) -> Facts:
        """Return the section of the recipe that an exam was given."""
        if exam == "metrics":
            return self.recipe.get("evaluate", {}).get("metrics") or {}
        return self.recipe.get("examine", {}).get(exam) or {}

    def source(self, path: Path | str | None) -> str:
        """Return where numbers come from, as a link that needs no network."""
        if path is None:
            return ""
        link = os.path.relpath(path, self.folder)
        shown = link.removeprefix("../../")
        shown = str(path) if shown.startswith("..") else shown
        return (
            f'<p class="source">from <a href="{html.escape(link, quote=True)}">'
            f"{html.escape(shown)}</a></p>"
        )


def bounds(options: Facts) -> dict[str, Any]:
    """Return what among the options of an exam can refuse a candidate.

    That of a part of them, such as one of several tests, begins with the part's name.
    """
    found = {}
    for name, value in options.items():
        is_bound = name.endswith(("at_most", "at_least", "within"))
        if is_bound and value is not None or name == "must_win" and value:
            found[name] = value
        for part, below in _parts(name, value):
            found |= {f"{part} {one}": bound for one, bound in bounds(below).items()}
    return found


def _parts(name: str, value: Any) -> Iterator[tuple[str, Facts]]:
    if isinstance(value, Mapping):
        yield name, value
    for place, part in enumerate(value if isinstance(value, list) else (), 1):
        if isinstance(part, Mapping):
            yield f"{name} {part.get('name') or place}", part


def in_words(name: str) -> str:
    """Return a name as it is read."""
    return name.replace("_", " ")


def number(value: Any) -> str:
    """Return a figure as it is read."""
    if isinstance(value, bool) or value is None:
        return {True: "yes", False: "no", None: "–"}[value]
    if isinstance(value, float):
        return f"{value:,.0f}" if value.is_integer() else f"{value:,.4g}"
    return f"{value:,}" if isinstance(value, int) else str(value)
