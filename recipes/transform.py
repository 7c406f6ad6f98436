"""The section `transform`: how raw features become what the model reads."""

import keyword
import re
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from recipes.section import Positive, Section

_FEATURE_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]*")


class Label(Section):
    """What is predicted: one of `classes`, or whether a number is `above` a bound."""

    feature: str
    classes: tuple[int | str, ...] | None = Field(
        None,
        min_length=2,
        description="Every value the label may have, in output order. Of two, the "
        "second is the one whose probability is predicted.",
    )
    above: float | None = Field(
        None, description="Predict whether the feature is greater than this."
    )
    divide_by: str | None = Field(
        None, description="With `above`: compare the feature divided by this one."
    )

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if (self.classes is None) == (self.above is None):
            raise ValueError("Expected exactly one of `classes` and `above`.")
        if self.divide_by and self.above is None:
            raise ValueError("`divide_by` needs `above`.")
        if self.classes and len({type(c) for c in self.classes}) > 1:
            raise ValueError("`classes` must be all whole numbers or all texts.")
        if self.classes and len(set(self.classes)) < len(self.classes):
            raise ValueError("`classes` names a value twice.")
        numbers = sorted(c for c in self.classes or () if isinstance(c, int))
        if numbers and numbers[-1] - numbers[0] >= len(numbers):
            # The schema of whole numbers is a range: a gap could not be validated.
            raise ValueError("`classes` of whole numbers must leave none out.")
        return self


class Image(Section):
    """An encoded (PNG, JPEG) image feature, decoded in the model's input path."""

    feature: str = "image"
    shape: tuple[Positive, Positive, Positive] = Field(
        description="Height, width, channels, in pixels."
    )
    resize: Literal["stretch", "pad", "crop"] = Field(
        "stretch",
        description="Images of another size: stretched to `shape`, or scaled evenly "
        "and padded with zeros, or scaled evenly and cut at the edges.",
    )
    normalize: Literal["none", "unit", "signed", "standard"] = Field(
        "none",
        description="What the model gets: 0..255; 0..1; -1..1; or each image at mean 0 "
        "and standard deviation 1.",
    )


class TextInput(Section):
    """A text feature, made into numbers by a vocabulary learned from `train`."""

    feature: str = "text"
    tokens: Literal["words", "bytes", "bpe"] = "words"
    vocabulary: Annotated[int, Field(ge=4)] = Field(
        10_000,
        description="Tokens kept, with those for padding and the unknown. `bytes` has "
        "258 whatever stands here.",
    )
    output: Literal["ids", "counts", "tfidf"] = Field(
        "ids",
        description="(length,) ids, 0 is padding; or a bag: (vocabulary,) counts, or "
        "counts weighted by how rare a token is.",
    )
    length: Positive = Field(128, description="Tokens kept of each text, with `ids`.")
    lower: bool = True

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.tokens == "bpe" and self.vocabulary <= 258:
            raise ValueError(
                "`vocabulary` must be above 258 with `bpe`, where every byte has an id."
            )
        return self


class AudioInput(Section):
    """An encoded WAV feature, decoded in the model's input path."""

    feature: str = "audio"
    sample_rate: Positive = Field(description="In Hz.")
    seconds: float = Field(gt=0, description="Cut or padded with silence to this.")
    output: Literal["samples", "log_mel", "mfcc"] = "log_mel"
    frame_seconds: float = Field(0.025, gt=0)
    hop_seconds: float = Field(0.010, gt=0)
    num_mels: Positive = 40
    num_coefficients: Positive = Field(13, description="With `mfcc`.")


class SeriesInput(Section):
    """Windows of a series, standardised by channel: the past, and what follows it."""

    context: Positive = Field(description="Steps the model sees.")
    horizon: Positive = Field(description="Steps it predicts.")
    channels: Positive
    targets: tuple[Annotated[int, Field(ge=0)], ...] | None = Field(
        None, description="Places of the channels it predicts. Default: all."
    )

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.targets is not None and not self.targets:
            raise ValueError(
                "`targets` must name at least one channel, or be left out."
            )
        if any(place >= self.channels for place in self.targets or ()):
            raise ValueError(f"`targets` must be below `channels` ({self.channels}).")
        return self


class GraphInput(Section):
    """The sampled neighbourhood of a node, as the source `graph` makes it."""

    num_features: Positive = Field(description="Columns of a node's features.")
    max_nodes: Positive = Field(
        description="Of a neighbourhood; what is sampled beyond is left out, the "
        "farthest first."
    )
    normalize: Literal["none", "rows"] = Field(
        "rows", description="`rows`: each node's features add up to 1."
    )


class Written(Section):
    """What texts that a model writes are made of."""

    tokens: Literal["characters", "bytes", "bpe"] = "characters"
    vocabulary: Annotated[int, Field(ge=5)] = Field(
        256,
        description="Tokens kept, with those for padding, the unknown, start and end. "
        "`bytes` has 260 whatever stands here.",
    )

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.tokens == "bpe" and self.vocabulary <= 260:
            raise ValueError(
                "`vocabulary` must be above 260 with `bpe`, where every byte has an id."
            )
        return self


class LanguageInput(Written):
    """A text whose every next token is to be predicted."""

    feature: str = "text"
    length: Annotated[int, Field(ge=2)] = Field(description="Tokens the model sees.")


class PairsInput(Written):
    """Two texts: the second is to be written, having read the first."""

    source: str = "source"
    target: str = "target"
    source_length: Positive
    target_length: Positive


class Cross(Section):
    """Two or more columns as one: every combination gets an id, by a hash.

    A feature of `buckets` takes part by its bucket; missing is a value of its own.
    """

    features: tuple[str, ...] = Field(min_length=2)
    ids: Annotated[int, Field(ge=2)]


CalendarPart = Literal["hour", "weekday", "day", "month", "day_of_year", "weekend"]


class Augment(Section):
    """Random changes of the examples trained on, drawn anew each epoch; never served.

    Images: `flip` to `cutout`. Texts: `word_dropout`. Audio: `noise`, `spec_time`,
    `spec_frequency`. Tables: `noise`, `missing`. `mixup` for all but texts.
    """

    flip: Literal["none", "horizontal", "vertical", "both"] = "none"
    crop: float = Field(0, ge=0, lt=1, description="Largest share cut off a side.")
    rotate: float = Field(0, ge=0, le=180, description="Largest angle, in degrees.")
    brightness: float = Field(0, ge=0, le=1)
    contrast: float = Field(0, ge=0, le=1)
    cutout: float = Field(0, ge=0, lt=1, description="Side of the blank square.")
    mixup: float = Field(0, ge=0, description="Alpha of the Beta distribution.")
    noise: float = Field(
        0, ge=0, description="Standard deviation, in those of the input."
    )
    missing: float = Field(0, ge=0, lt=1, description="Share of cells emptied.")
    word_dropout: float = Field(0, ge=0, lt=1, description="Share of tokens removed.")
    spec_time: Annotated[int, Field(ge=0)] = Field(0, description="Frames masked.")
    spec_frequency: Annotated[int, Field(ge=0)] = Field(0, description="Bands masked.")


# Kinds of input that are not the columns of a table.
WHOLE = ("image", "text", "audio", "series", "graph", "language", "pairs")
# Of these what the source has; see components/sources/graph.py.
GRAPH_FEATURES = ("nodes", "senders", "receivers")
GRAPH_NUMBERS = ("node_features", "feature_ids", "feature_counts", "feature_values")
UNLABELED = ("series", "language", "pairs")  # what follows is the label


class Transform(Section):
    """How raw features become model inputs; saved inside the exported model.

    Exactly one of `image`, `text`, `audio`, `series`, `graph`, `language`, `pairs`, or
    the columns of a table: all others.
    """

    label: Label | None = Field(
        None,
        description="Not with `series`, `language`, `pairs`: there it is what follows.",
    )
    image: Image | None = None
    text: TextInput | None = None
    audio: AudioInput | None = None
    series: SeriesInput | None = None
    graph: GraphInput | None = None
    language: LanguageInput | None = None
    pairs: PairsInput | None = None
    numeric: tuple[str, ...] = Field((), description="Numbers, scaled to z-scores.")
    scale: tuple[str, ...] = Field((), description="Numbers, scaled to 0..1.")
    buckets: dict[str, Annotated[int, Field(ge=2)]] = Field(
        {}, description="Numbers, cut into this many quantile buckets."
    )
    vocabulary: dict[str, Positive] = Field(
        {},
        description="Texts or ids, mapped to the index of the most frequent values; "
        "the number is how many are kept. Others share one index, missing has its own.",
    )
    hash: dict[str, Annotated[int, Field(ge=2)]] = Field(
        {}, description="Texts or ids, hashed into this many; missing has its own."
    )
    crosses: dict[str, Cross] = Field(
        {}, description="Combinations of columns, by a name of their own."
    )
    calendar: dict[str, tuple[CalendarPart, ...]] = Field(
        {},
        description="Times (ISO 8601 text, or seconds since 1970) as these parts, UTC.",
    )
    augment: Augment = Augment()

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        table = self.columns()
        self._check_kind(bool(table or self.crosses))
        for feature in {f for f in table if table.count(f) > 1}:
            raise ValueError(f"Feature {feature!r} is used twice.")
        for feature in {*self.used_features(), *self.crosses}:
            if not _FEATURE_NAME.fullmatch(feature) or keyword.iskeyword(feature):
                raise ValueError(
                    "A feature must be named with letters, digits and `_`, a letter "
                    f"first. Received: {feature!r}. Columns of files are called so "
                    "anyway: `fixed acidity` is fixed_acidity."
                )
        parts = [f"{f}_{part}" for f, found in self.calendar.items() for part in found]
        made = [*(c for c in table if c not in self.calendar), *self.crosses, *parts]
        for name in {name for name in made if made.count(name) > 1}:
            raise ValueError(
                f"Two inputs would be called {name!r}: a column, a cross, or a part of "
                "`calendar` (<feature>_<part>)."
            )
        if self.label and self.label.feature in self.used_features():
            raise ValueError(f"{self.label.feature!r} is the label: it would leak.")
        return self

    def _check_kind(self, has_columns: bool) -> None:
        given = [name for name in WHOLE if getattr(self, name)]
        given += ["table"] * has_columns
        if len(given) != 1:
            raise ValueError(
                f"Expected exactly one of {', '.join(f'`{k}`' for k in WHOLE)}, or "
                "columns of a table: some of `numeric`, `scale`, `buckets`, "
                "`vocabulary`, `hash`, `crosses`, `calendar`."
            )
        if (given[0] in UNLABELED) == (self.label is not None):
            needs = "takes no" if self.label else "needs a"
            raise ValueError(f"{given[0]} {needs} `label`.")

    def columns(self) -> list[str]:
        """Return the raw columns that become one input each, in order."""
        return [
            *self.numeric,
            *self.scale,
            *self.buckets,
            *self.vocabulary,
            *self.hash,
            *self.calendar,
        ]

    def used_features(self) -> tuple[str, ...]:
        """Return the raw features the model reads, without the label."""
        whole = self.image or self.text or self.audio or self.language
        if whole:
            return (whole.feature,)
        if self.pairs:
            return (self.pairs.source, self.pairs.target)
        if self.series:
            return ("context",)
        if self.graph:
            return GRAPH_FEATURES
        crossed = (f for cross in self.crosses.values() for f in cross.features)
        return tuple(dict.fromkeys([*self.columns(), *crossed]))
