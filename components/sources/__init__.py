"""Readers of data: one file per kind of source, named like its key in `[data]`.

A reader holds

- `SUFFIXES`: endings of the files it reads in a folder, lower case; empty: all files;
- `pieces(source, files, splits) -> list[Piece]`: what is to be read. It may look at the
  heads of files, and refuses early (`BadInputError`) what cannot be used;
- `read(piece) -> Iterator[Batch]`: reads one piece, streaming: a batch holds at most
  `BATCH_ROWS` records or about `BATCH_BYTES`.

`source` is the reader's section of the recipe as a dict, `files` what
`components.sources.files.list_files` found, `splits` the recipe's `data.splits`.
`pieces` runs once, `read` in Beam workers; both are plain functions of their arguments.
"""

import importlib
import keyword
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pyarrow as pa

BATCH_ROWS = 16_384
BATCH_BYTES = 16 << 20


@dataclass(frozen=True)
class Piece:
    """What is read in one go: a file, a range of one, or some small files.

    Attributes:
      path: the file, as `files.open_binary` takes it; "" where `options` says it all.
      part: the part of the source it belongs to; "" where the source has no parts.
      size_bytes: about how much there is to read; pieces are spread by it.
      options: what `read` has to know, plain JSON values.
    """

    path: str
    part: str = ""
    size_bytes: int = 0
    options: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class BadRow:
    """A record that cannot be read: where it stands, why, and its first characters."""

    where: str
    why: str
    text: str = ""


@dataclass(frozen=True)
class Batch:
    """Some records: as a table, or as serialized tf.Examples; exactly one is given.

    Attributes:
      names: where each record comes from, such as `trips.csv row 17`, for people.
      table: a row per record; columns are flat or lists. Null, NaN, "" in a column of
        text, and an empty list all say that there is no value.
      records: one serialized tf.Example per record.
      bad: records that were left out.
      notes: what people should know about the reading, such as `CMYK image converted`;
        equal notes are counted.
      split: the split they belong to, where the reader itself has decided.
    """

    names: Sequence[str]
    table: "pa.RecordBatch | None" = None
    records: list[bytes] | None = None
    bad: tuple[BadRow, ...] = ()
    notes: tuple[str, ...] = ()
    split: str | None = None


def feature_name(column: str) -> str:
    """Return the name of the feature that a column becomes.

    TensorFlow's signatures take letters, digits and `_`, a letter first: `fixed
    acidity` becomes `fixed_acidity`, `class` becomes `class_`.
    """
    name = re.sub(r"[^A-Za-z0-9]+", "_", column).strip("_")
    if not name[:1].isalpha():
        name = f"column_{name}".rstrip("_")
    return f"{name}_" if keyword.iskeyword(name) else name


def reader(kind: str) -> ModuleType:
    """Import the reader of a kind of source."""
    return importlib.import_module(f"components.sources.{kind}")
