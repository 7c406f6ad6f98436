"""The recipe's `examine.behaviour`: what must hold whatever the data say.

Three kinds of tests: a change that must not change the answer, a number that moves a
probability one way, and cases that must be answered right.
"""

import re
from collections.abc import Iterable
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from recipes.section import Section
from recipes.transform import WHOLE, Transform

Share = Annotated[float, Field(ge=0, le=1)]
Value = int | float | str

# Kind of input -> what can happen to it; see components/corruptions.
CORRUPTIONS = {
    "image": (
        "gaussian_noise",
        "shot_noise",
        "impulse_noise",
        "gaussian_blur",
        "motion_blur",
        "brightness",
        "contrast",
        "jpeg",
    ),
    "text": ("typos", "dropped_words", "case"),
    "audio": ("white_noise", "gain", "time_shift", "band_limit"),
    "table": ("jitter", "missing", "swapped"),
}


class Invariance(Section):
    """A change that must not change the answer: exactly one of four."""

    name: str | None = Field(None, description="As a refusal calls it.")
    column: str | None = Field(
        None, description="Of a table: every row is asked with each of `values` in it."
    )
    values: tuple[Value, ...] = ()
    replace: tuple[tuple[str, str], ...] = Field(
        (),
        description="Of a text: regular expressions, and what stands for what they "
        "find. Only texts that change are asked.",
    )
    corruption: str | None = Field(
        None, description="One of `components/corruptions`, at `strength`."
    )
    strength: Annotated[int, Field(ge=1, le=5)] = 1
    flip: Literal["horizontal", "vertical"] | None = None
    changes_at_most: Share = Field(description="Of the answers, as they were counted.")

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        given = [self.column, self.replace, self.corruption, self.flip]
        if sum(bool(one) for one in given) != 1:
            raise ValueError(
                "Expected exactly one of `column`, `replace`, `corruption` and `flip`."
            )
        if bool(self.column) != bool(self.values) or len(self.values) == 1:
            raise ValueError("`column` needs at least two `values`, and they need it.")
        for pattern, replacement in self.replace:
            try:
                re.sub(pattern, replacement, "")
            except (re.error, IndexError) as error:
                raise ValueError(
                    f"`replace` must hold regular expressions. Received: {pattern!r}, "
                    f"{replacement!r}: {error}"
                ) from error
        return self

    def check(self, transform: Transform) -> None:
        """Refuse what does not fit the recipe's inputs."""
        of = _kind(transform)
        if self.column:
            _check_columns([self.column], transform)
            if of != "table":
                raise ValueError(
                    f"`column` needs a table. Received: a recipe of kind {of}"
                )
        if self.replace and of != "text":
            raise ValueError(f"`replace` needs texts. Received: a recipe of kind {of}")
        if self.flip and of != "image":
            raise ValueError(f"`flip` needs images. Received: a recipe of kind {of}")
        fitting = CORRUPTIONS.get(of, ())
        if self.corruption and self.corruption not in fitting:
            raise ValueError(
                f"`corruption` of kind {of}: expected one of {', '.join(fitting)}. "
                f"Received: {self.corruption!r}"
            )


class Direction(Section):
    """A number that, made greater, must not make a class less probable."""

    name: str | None = None
    column: str
    by: float = Field(description="What is added to it; below 0 it is made less.")
    label: Value = Field(
        description="The class; of a label with `above` it is `no` or `yes`."
    )
    holds_at_least: Share = Field(description="Of rows that have the number.")

    @model_validator(mode="after")
    def _moves(self) -> Self:
        if self.by == 0:
            raise ValueError("`by` must change the number. Received: by=0")
        return self

    def check(self, transform: Transform) -> None:
        """Refuse what does not fit the recipe's inputs."""
        numbers = [*transform.numeric, *transform.scale, *transform.buckets]
        if self.column not in numbers:
            raise ValueError(
                "column: expected one in `numeric`, `scale` or `buckets` of "
                f"[transform]: {', '.join(numbers) or 'it has none'}. Received: "
                f"{self.column!r}"
            )
        _check_label(self.label, transform)


class Literally(Section):
    """A case and its answer."""

    inputs: dict[str, Value | None] = Field(
        description="Raw columns; others are empty."
    )
    label: Value


class Minimum(Section):
    """Cases that must be answered right."""

    name: str | None = None
    cases: tuple[Literally, ...] = Field(min_length=1)
    accuracy_at_least: Share = 1.0

    def check(self, transform: Transform) -> None:
        """Refuse what does not fit the recipe's inputs."""
        of = _kind(transform)
        if of not in ("table", "text"):
            raise ValueError(
                "cases can be written of tables and texts. Received: a recipe of kind "
                f"{of}"
            )
        for case in self.cases:
            _check_columns(case.inputs, transform)
            _check_label(case.label, transform)


class Behaviour(Section):
    """Does it behave as it must, whatever the data say?"""

    invariance: tuple[Invariance, ...] = ()
    direction: tuple[Direction, ...] = ()
    minimum: tuple[Minimum, ...] = ()

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if not (self.invariance or self.direction or self.minimum):
            raise ValueError(
                "Expected tests under `invariance`, `direction` or `minimum`."
            )
        return self

    def check(self, transform: Transform) -> None:
        """Refuse tests that could not be done on a recipe's inputs.

        Raises:
          ValueError: an unknown column or class, or another kind of input.
        """
        if transform.label is None:
            raise ValueError(
                "[examine.behaviour] needs a `label`. Received: a recipe without."
            )
        for kind in ("invariance", "direction", "minimum"):
            for number, test in enumerate(getattr(self, kind), 1):
                try:
                    test.check(transform)
                except ValueError as error:
                    where = f"[examine.behaviour] {kind}, test {number}"
                    raise ValueError(f"{where}: {error}") from error


def _kind(transform: Transform) -> str:
    return next((name for name in WHOLE if getattr(transform, name)), "table")


def _check_columns(names: Iterable[str], transform: Transform) -> None:
    known = transform.used_features()
    for name in names:
        if name not in known:
            raise ValueError(
                f"column: expected one of {', '.join(known)}. Received: {name!r}"
            )


def _check_label(label: Value, transform: Transform) -> None:
    known = (transform.label and transform.label.classes) or ("no", "yes")
    if label not in known:
        raise ValueError(
            f"label: expected one of {', '.join(map(str, known))}. Received: {label!r}"
        )
