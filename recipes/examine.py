"""The recipe's `examine` section: the exams that a candidate sits, and their bounds.

Every key but `examples` is an exam, a file of that name in `components/exams/`. Without
a bound an exam measures and passes; `null` leaves it out.
"""

from typing import Annotated, Literal

from pydantic import Field

from recipes.behaviour import Behaviour
from recipes.section import Positive, Section

Share = Annotated[float, Field(ge=0, le=1)]
Confidence = Annotated[float, Field(gt=0.5, lt=1)]
Crossed = Annotated[tuple[str, ...], Field(min_length=2)]


class AgainstLive(Section):
    """Is it worse than the live model, on the same examples, beyond chance?"""

    worse_at_most: float = Field(
        0.0,
        ge=0,
        description="Loss that is allowed: of accuracy where there are classes, else "
        "of the loss per example. Refused only if the whole interval lies beyond it.",
    )
    confidence: Confidence = 0.95


class SimpleModel(Section):
    """Is it worth more than the best simple model, on the same examples?"""

    must_win: bool = Field(
        False, description="Refuse what is worse than a simple model beyond chance."
    )
    confidence: Confidence = 0.95


class Calibration(Section):
    """Does it know how sure it is?"""

    error_at_most: Share | None = Field(
        None, description="Expected calibration error over bins of equal counts."
    )
    bins: Positive = 15


class Fairness(Section):
    """Does it treat groups of people alike?"""

    columns: tuple[str | Crossed, ...] = Field(
        min_length=1,
        description="Raw columns whose values are groups; a list crosses them.",
    )
    min_examples: Positive = Field(
        50, description="That a group's rate is counted of; smaller ones are named."
    )
    selection_gap_at_most: Share | None = Field(
        None, description="Between groups: of the share that is said yes to."
    )
    tpr_gap_at_most: Share | None = Field(
        None, description="Likewise, of those whose label is yes."
    )
    fpr_gap_at_most: Share | None = Field(
        None, description="Likewise, of those whose label is no."
    )
    accuracy_gap_at_most: Share | None = Field(
        None, description="Between groups: of the share of right answers."
    )
    confidence: Confidence = 0.95


class Slices(Section):
    """Where is it worst? Searched over all columns, and pairs of them."""

    worst_at_least: Share | None = Field(
        None,
        description="Accuracy of every slice. Refused only if the whole interval of "
        "one, widened for all that were looked at, lies below.",
    )
    min_examples: Positive = 30
    confidence: Confidence = 0.95


class Forgetting(Section):
    """Is it worse than the live model on examples of older spans, beyond chance?"""

    drop_at_most: float = Field(
        0.0,
        ge=0,
        description="Of accuracy where there are classes, else of minus the loss per "
        "example, on any older span. Refused only if the whole interval lies beyond.",
    )
    examples: Positive = Field(
        500, description="Of `test`, kept for good when a span is first seen."
    )
    confidence: Confidence = 0.95


class Served(Section):
    """Does the real server serve it: the same answers, how soon, at which cost?"""

    equal_within: float = Field(
        1e-5,
        ge=0,
        description="By how much an answer may differ from the SavedModel's own; of "
        "an output with values above 1, relative to the largest.",
    )
    p95_ms_at_most: float | None = Field(
        None,
        gt=0,
        description="95th percentile of the milliseconds that one example takes over "
        "REST. Refused only if its whole interval lies beyond.",
    )
    memory_mb_at_most: float | None = Field(
        None, gt=0, description="Resident memory of the server, in MB of 10^6 bytes."
    )
    size_mb_at_most: float | None = Field(
        None, gt=0, description="Of the version's directory, in MB of 10^6 bytes."
    )
    price_per_core_hour: float | None = Field(
        None, ge=0, description="Makes CPU seconds into a cost per 1,000 answers."
    )
    requests: Positive = Field(200, description="That are timed, for at most 10 s.")


class Generation(Section):
    """Does what it writes copy `train`, or itself?"""

    memorised_at_most: Share | None = Field(
        None,
        description="Share of the windows of 30 characters of its texts that stand in "
        "`train` word for word.",
    )
    repetition_at_most: Share | None = Field(
        None,
        description="Share of the windows of 20 characters of its texts, drawn at "
        "temperature 1, that stood earlier in the same text.",
    )


class Energy(Section):
    """How much energy and carbon did its training take?"""

    kwh_at_most: float | None = Field(None, gt=0, description="Of the training.")
    watts_per_core: float = Field(
        5.0,
        gt=0,
        description="Of a core at work, where the processor's energy cannot be read: "
        "its thermal design power over its cores. 280 W over 64 (AMD EPYC 7763) are "
        "4.4, 350 W over 56 (Intel Xeon 8480+) are 6.3.",
    )
    grams_per_kwh: float = Field(
        481.0,
        ge=0,
        description="Of CO2 equivalent, that the grid emits: the world's mean of 2023 "
        "(Ember, July 2024).",
    )


class Confusion(Section):
    """Which class does it take for which?"""

    shown: Positive = Field(
        24, description="Wrong answers that are kept to be looked at: the surest."
    )


class Robustness(Section):
    """Does it still answer right when inputs are spoiled, as the world spoils them?"""

    drop_at_most: Share | None = Field(
        None,
        description="Of accuracy against clean inputs, the mean over corruptions and "
        "strengths. This bound and the others refuse only if the whole interval lies "
        "beyond.",
    )
    worst_at_least: Share | None = Field(
        None, description="Accuracy under each corruption, the mean over strengths."
    )
    worse_at_most: Share | None = Field(
        None, description="Of accuracy on spoiled inputs against the live model's."
    )
    examples: Positive = Field(200, description="Each is asked up to 41 times.")
    confidence: Confidence = 0.95


class Attack(Section):
    """Does it still answer right when pixels are changed to make it err?"""

    epsilon: float = Field(
        8 / 255,
        gt=0,
        le=1,
        description="By how much a pixel may change, of the range from black to white.",
    )
    steps: Positive = Field(10, description="Of projected gradient descent.")
    accuracy_at_least: Share | None = Field(
        None,
        description="Share of examples on which no attack succeeds. Refused only if "
        "the whole interval lies below.",
    )
    worse_at_most: Share | None = Field(
        None, description="Of that share, against the live model under attack."
    )
    examples: Positive = 200
    confidence: Confidence = 0.95


class OutOfDistribution(Section):
    """Does it notice inputs that are none of its kind?"""

    auroc_at_least: Share | None = Field(
        None,
        description="Of the score, test examples against inputs from elsewhere: the "
        "mean over those sets. Refused only if the whole interval lies below.",
    )
    score: Literal["energy", "probability"] = Field(
        "energy", description="That the bound is for; both are measured."
    )
    examples: Positive = 500
    confidence: Confidence = 0.95


class Explanations(Section):
    """What speaks for its answers? Asked of the signature `explain`, if it has one."""

    examples: Positive = Field(8, description="Of `test`, that are explained.")
    gap_at_most: Share | None = Field(
        None,
        description="Share of what is explained that attributions do not add up to.",
    )


class Examine(Section):
    examples: Positive = Field(
        2000, description="Of the test split, evenly taken, where each is asked often."
    )
    against_live: AgainstLive | None = AgainstLive()
    simple_model: SimpleModel | None = SimpleModel()
    calibration: Calibration | None = Calibration()
    confusion: Confusion | None = Confusion()
    explanations: Explanations | None = Explanations()
    slices: Slices | None = Slices()
    fairness: Fairness | None = None
    forgetting: Forgetting | None = None
    served: Served | None = Served()
    generation: Generation | None = Generation()
    energy: Energy | None = Energy()
    robustness: Robustness | None = Robustness()
    attack: Attack | None = None
    out_of_distribution: OutOfDistribution | None = OutOfDistribution()
    behaviour: Behaviour | None = None
