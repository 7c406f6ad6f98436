"""The section `validation`: what the data must obey beside the schema."""

from typing import Annotated

from pydantic import Field

from recipes.section import Section

Distance = Annotated[float, Field(gt=0, le=1)]


class Leakage(Section):
    """How much of what is judged on may be known from elsewhere."""

    duplicates: float = Field(
        0.005,
        ge=0,
        le=1,
        description="Share of `eval` or `test` whose records also stand in `train`.",
    )
    near_duplicates: float = Field(
        0.05, ge=0, le=1, description="Likewise, almost the same (images, texts, rows)."
    )
    label_copy: float = Field(
        0.995,
        ge=0,
        le=1,
        description="Share of labels that one feature alone may tell.",
    )
    id_like: float = Field(
        0.95,
        ge=0,
        le=1,
        description="Share of different values a used text or whole number may have.",
    )
    allow: tuple[str, ...] = Field(
        (), description="Features that may copy the label or look like ids."
    )


class Validation(Section):
    """What the data must obey beside the schema, or the run is refused."""

    drift: Distance | None = Field(
        0.1,
        description="Largest Jensen-Shannon divergence of a used feature in `train` "
        "from the data of the run before. null: not checked.",
    )
    drift_of: dict[str, Distance | None] = Field(
        {}, description="Likewise, by feature; null: not checked."
    )
    skew: Distance | None = Field(
        0.1,
        description="Likewise between `train` and the part `serving`.",
    )
    skew_of: dict[str, Distance | None] = Field(
        {}, description="Likewise, by feature; null: not checked."
    )
    leakage: Leakage = Leakage()
    label_audit: bool = Field(
        True, description="List labels that are likely wrong. Never a refusal."
    )
