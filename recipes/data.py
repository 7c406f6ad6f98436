"""The section `data`: where the examples come from, and how they are split."""

from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import Field, GetJsonSchemaHandler, model_validator
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema

from recipes.section import Positive, Section

Split = Literal["train", "eval", "test"]
SPLITS: tuple[Split, ...] = ("train", "eval", "test")
PartName = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*$", max_length=64)]
# Not strict: pydantic forgets that it reads JSON, which has lists only, where a
# validator comes before a section.
Texts = Annotated[tuple[str, ...], Field(strict=False)]


class Source(Section):
    """A section whose most important key may stand for all of it: `csv: a.csv`."""

    _key: ClassVar[str] = "path"

    @model_validator(mode="before")
    @classmethod
    def _from_text(cls, value: Any) -> Any:
        return {cls._key: value} if isinstance(value, str) else value

    @classmethod
    def __get_pydantic_json_schema__(
        cls, core_schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        schema = handler.resolve_ref_schema(handler(core_schema))
        return {"anyOf": [{"type": "string"}, schema]}


class Files(Source):
    """Files of a source: all of them, or by part (`{train: a.csv, test: b.csv}`)."""

    path: str | dict[PartName, str] = Field(
        description="A file, folder or glob pattern. Relative to the recipe's folder; "
        "`gs://...`; `package:NAME/PATH` for what an installed package ships; or "
        "`data:PATH` below the folder that STRATA_DATA names (default: ./data). May "
        "hold {SPAN}, {VERSION}, {YYYY}, {MM}, {DD}. By part: one for each; `serving` "
        "is what was served, compared with `train`, never learned from.",
    )


class Csv(Files):
    """Rows of text: CSV, TSV or any other delimiter; .gz, .bz2 and .zip are read."""

    delimiter: str | None = Field(
        None,
        min_length=1,
        max_length=10,
        description="One character, or `whitespace`. Default: found by looking. Blanks "
        "after it need no naming.",
    )
    quotes: bool = Field(True, description='Whether `"` encloses a cell.')
    columns: Texts | None = Field(
        None, description="Names, for a file without a header line."
    )
    skip_lines: Annotated[int, Field(ge=0)] = Field(
        0, description="Lines to skip at the head of each file."
    )
    encoding: str = "utf-8"
    missing: Texts = Field(
        ("", "NA", "N/A", "NaN", "nan", "null", "NULL"),
        description="Cells that say that there is no value.",
    )
    types: dict[str, Literal["int", "float", "text"]] = Field(
        {}, description="Types of columns, where the ones found are not the ones meant."
    )
    strip: str = Field(
        "", description="Characters to take off the ends of every text cell."
    )


class Parquet(Files):
    columns: Texts | None = Field(None, description="Default: all of them.")


class Jsonl(Files):
    """One JSON object a line; nested keys become `outer.inner`."""


class Tfrecord(Files):
    """TFRecord files of tf.Example, or of tf.SequenceExample."""

    sequence: bool = Field(
        False,
        description="Records are SequenceExamples: their context becomes features, and "
        "each feature list one list, with `<name>.lengths` where steps differ.",
    )


class Images(Files):
    """Image files (JPEG, PNG, GIF, BMP); a .zip counts as the folder in it."""

    table: str | None = Field(
        None,
        description="CSV with a row per image. Without one the folder of an image is "
        "its `label`.",
    )
    file_column: str = Field(
        "file", description="Column of `table` with the path below `path`."
    )


class Voc(Files):
    """Pascal VOC: a folder (or .zip) with JPEGImages, Annotations, ImageSets/Main."""

    classes: Texts | None = Field(
        None,
        description="Names of the objects, in id order. Default: as found, sorted.",
    )


class Masks(Files):
    """Images and class masks: PNGs whose pixels are class ids, matched by name."""

    masks: str = Field(description="Folder or pattern of the masks.")


class Audio(Files):
    """WAV files; a .zip counts as the folder in it."""

    name: str | None = Field(
        None,
        description="How file names are made, such as `{label}_{speaker}_{take}`. "
        "Without it the folder of a file is its `label`.",
    )
    sample_rate: Positive | None = Field(
        None, description="In Hz, of every file. Default: that of the first."
    )


class Text(Files):
    """Plain text, UTF-8: an example per line, per file, or per window of characters."""

    per: Literal["line", "file", "window"] = "line"
    label: Literal["folder", "none"] = Field(
        "none", description="`folder`: the folder of a file is its `label`."
    )
    window: Positive = Field(
        256, description="With `per: window`: characters of each example."
    )
    encoding: str = "utf-8"


class Series(Files):
    """A time series in a CSV: an example per window of context and horizon."""

    time: str = Field(description="Column with the time, in rising order.")
    context: Positive = Field(description="Steps the model sees.")
    horizon: Positive = Field(description="Steps that follow and are to be predicted.")
    stride: Positive = Field(1, description="Steps between two windows.")
    rows: Positive | None = Field(
        None, description="Read only the first so many rows of each file."
    )
    columns: Texts | None = Field(
        None, description="Channels. Default: every number but the time."
    )
    targets: Texts | None = Field(
        None, description="Channels to predict. Default: all."
    )
    key: str | None = Field(None, description="Column that tells several series apart.")

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        for name in self.targets or ():
            if self.columns and name not in self.columns:
                raise ValueError(f"`targets`: {name!r} is none of `columns`.")
        return self


class Graph(Files):
    """A graph: an example per node, with its sampled neighbourhood.

    `path` is an .npz (`edges` (E, 2), `labels` (N,), `features` (N, D) or CSR parts as
    `feat_data`, `feat_indices`, `feat_indptr`, `feat_shape`; optionally `train_idx`,
    `val_idx`, `test_idx`: parts of that name), or a CSV of edges beside `nodes`, whose
    column `label` is the label.
    """

    nodes: str | None = Field(None, description="CSV of nodes, where `path` is edges.")
    id_column: str = Field("id", description="Column of `nodes` that edges refer to.")
    fanout: Annotated[tuple[Positive, ...], Field(strict=False)] = Field(
        (10, 5), description="Neighbours sampled at each hop."
    )


class Tfds(Source):
    """A TensorFlow Datasets builder."""

    _key: ClassVar[str] = "name"

    name: str = Field(description="`name` or `name/config`; `digits` is one of ours.")
    download_dir: str | None = Field(
        None,
        description="Where downloads are kept. Default: in the workspace; so too where "
        "a `data:PATH` is not there.",
    )
    manual_dir: str | None = Field(
        None, description="Files you fetched yourself, for builders that want that."
    )


class SplitBy(Section):
    """What decides about shares, where that is not a hash of the whole record."""

    key: tuple[str, ...] | None = Field(
        None,
        min_length=1,
        description="Records with equal values in these columns stay together (a user, "
        "a speaker, a patient), whatever is added later.",
    )
    time: str | None = Field(
        None, description="Oldest to `train`, newest to `test`, by this column."
    )
    stratify: str | None = Field(
        None, description="The same shares of every value of this column."
    )

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if len([v for v in (self.key, self.time, self.stratify) if v]) != 1:
            raise ValueError("Expected exactly one of `key`, `time` and `stratify`.")
        return self


class Spans(Section):
    """Which of the spans in `path` are read; of each, the newest version."""

    last: Positive | None = Field(None, description="The newest so many (rolling).")
    first: int | str | None = Field(
        None, description="The oldest: a number, or YYYY-MM-DD."
    )
    until: int | str | None = Field(None, description="The newest, likewise.")


SOURCES = (
    "csv",
    "tfds",
    "parquet",
    "jsonl",
    "tfrecord",
    "images",
    "voc",
    "masks",
    "audio",
    "text",
    "series",
    "graph",
)


class Data(Section):
    """Where the examples come from: exactly one source, and how it is split."""

    csv: Csv | None = None
    tfds: Tfds | None = None
    parquet: Parquet | None = None
    jsonl: Jsonl | None = None
    tfrecord: Tfrecord | None = None
    images: Images | None = None
    voc: Voc | None = None
    masks: Masks | None = None
    audio: Audio | None = None
    text: Text | None = None
    series: Series | None = None
    graph: Graph | None = None
    splits: dict[Split, Positive | str] = Field(
        {"train": 8, "eval": 1, "test": 1},
        description="Either shares, which split all records by a seeded hash of their "
        "content (equal records stay together), or parts of the source by name or "
        "slice (`train[:80%]`). Trained on `train`, watched on `eval`, judged on "
        "`test`.",
    )
    split_by: SplitBy | None = None
    seed: int = Field(0, description="Changes which record falls into which share.")
    spans: Spans | None = Field(
        None, description="With {SPAN} or {YYYY}-{MM}-{DD} in `path`. Default: newest."
    )
    max_bad_rows: float = Field(
        0.0,
        ge=0,
        lt=1,
        description="Share of records that may be left out because they cannot be "
        "read. They are counted, and some are shown.",
    )

    @property
    def source(self) -> str:
        """The key of the source, such as `csv`."""
        return next(name for name in SOURCES if getattr(self, name) is not None)

    @property
    def files(self) -> Files | None:
        """The section of the source, or None for a TFDS builder."""
        section = getattr(self, self.source)
        return section if isinstance(section, Files) else None

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        given = [name for name in SOURCES if getattr(self, name) is not None]
        if len(given) != 1:
            raise ValueError(
                f"Expected exactly one of {', '.join(SOURCES)}. "
                f"Received: {', '.join(given) or 'none'}"
            )
        if set(self.splits) != set(SPLITS):
            missing = ", ".join(s for s in SPLITS if s not in self.splits)
            raise ValueError(
                f"`splits` must name train, eval and test. Missing: {missing}"
            )
        if len({type(value) for value in self.splits.values()}) > 1:
            raise ValueError("`splits` must be all shares or all names, not both.")
        if self.split_by and self.series:
            raise ValueError("`split_by` does not fit a series: shares go by its time.")
        if self.split_by and str in map(type, self.splits.values()):
            raise ValueError("`split_by` needs `splits` that are shares.")
        return self
