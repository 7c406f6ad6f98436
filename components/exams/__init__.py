"""Exams: each answers one question about a candidate, and keeps its evidence.

An exam is a module named like its key in the recipe's `examine` section, with

    collect(case: Case, section, folder) -> None
        ask the models; write what they answered into the exam's empty folder, or raise
        `NotApplicableError` with the reason;
    judge(folder, section) -> Verdict
        decide, from that folder and the bounds of the section alone: whoever has the
        evidence comes to the same verdict.

`components/examine.py` runs them; `components/judge.py` makes one blessing of all.
"""

import importlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import ModuleType
from typing import Any, Literal

Status = Literal["passed", "refused", "not applicable"]


class NotApplicableError(Exception):
    """The exam has nothing to ask of this candidate; the message is the reason."""


@dataclass(frozen=True)
class Verdict:
    """What an exam decided.

    Attributes:
      status: whether the candidate passed.
      summary: one line: what was measured.
      refusals: a line for each bound that was missed.
      figures: what was measured, as JSON values.
    """

    status: Status
    summary: str
    refusals: tuple[str, ...] = ()
    figures: Mapping[str, Any] = field(default_factory=dict)


def judged(summary: str, refusals: tuple[str, ...] = (), **figures: Any) -> Verdict:
    """Return the verdict of an exam that was sat: refused where a bound was missed."""
    return Verdict("refused" if refusals else "passed", summary, refusals, figures)


def names(section: Mapping[str, Any]) -> list[str]:
    """Return the exams that a recipe's `examine` section asks for, in its order."""
    return [name for name, value in section.items() if isinstance(value, Mapping)]


def load(name: str) -> ModuleType:
    """Return the module of an exam."""
    return importlib.import_module(f"components.exams.{name}")
