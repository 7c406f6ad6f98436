"""Recognise data: of which kind they are, which parts they have, how names label them.

Light: nothing here imports TensorFlow, and pyarrow comes with the first file opened.
"""

import os
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from importlib import import_module
from itertools import groupby
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from recipes.errors import BadInputError

if TYPE_CHECKING:
    from components.sources.files import File

BY_SUFFIX = {
    ".csv": "csv",
    ".tsv": "csv",
    ".data": "csv",
    ".parquet": "parquet",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".tfrecord": "tfrecord",
    ".tfrecords": "tfrecord",
    ".jpg": "images",
    ".jpeg": "images",
    ".png": "images",
    ".bmp": "images",
    ".gif": "images",
    ".wav": "audio",
    ".txt": "text",
}
_WORDS = {
    "csv": "a table of text",
    "parquet": "Parquet",
    "jsonl": "a JSON object a line",
    "tfrecord": "TFRecords",
    "images": "images",
    "audio": "sounds",
    "text": "text",
}
_PACKED = (".gz", ".bz2")
_EVAL_NAMES = ("eval", "validation", "valid", "val", "dev")
_MAX_CLASSES = 100


@dataclass(frozen=True)
class Source:
    """The section `data` of a recipe, and why it is what it is.

    Attributes:
      kind: key of the source, such as `csv`.
      options: of the source; `path` (or `name`, for TFDS) among them.
      beside: what stands beside the source: `splits`, `max_bad_rows`.
      why: reason of each option and of what stands beside, by key.
    """

    kind: str
    options: Mapping[str, Any]
    beside: Mapping[str, Any] = field(default_factory=dict)
    why: Mapping[str, str] = field(default_factory=dict)

    def section(self) -> dict[str, Any]:
        """Return the section as plain YAML values."""
        return {self.kind: dict(self.options), **self.beside}

    def also(
        self, options: Mapping[str, Any], why: Mapping[str, str], **beside: Any
    ) -> "Source":
        """Return it with more options, reasons, and values beside the source."""
        return replace(
            self,
            options={**self.options, **options},
            beside={**self.beside, **beside},
            why={**self.why, **why},
        )


def recognise(sources: Sequence[str], folder: Path) -> Source:
    """Return what the user named, as a section of a recipe.

    Args:
      sources: `FILE`, `DIR` or `tfds:NAME`, the last also with `download_dir=DIR`; or
        `train=FILE` and `test=FILE`.
      folder: where the recipe will lie; paths below it become relative to it.

    Raises:
      BadInputError: it is not there, or nothing says what it is.
    """
    named = dict(s.split("=", 1) for s in sources if re.match(r"[a-z_]+=", s))
    plain = [s for s in sources if not re.match(r"[a-z_]+=", s)]
    if (
        len(plain) == 1
        and plain[0].startswith("tfds:")
        and {"download_dir"} >= {*named}
    ):
        options = {"name": plain[0].removeprefix("tfds:")}
        options |= {key: relative(path, folder) for key, path in named.items()}
        return Source("tfds", options, why={"name": "a TFDS builder"})
    if len(plain) == 1 and not named:
        parts = _parts(_there(plain[0]))
        found = _of_path(_there(plain[0]), folder)
    elif not plain and {*named} == {"train", "test"}:
        parts = {part: str(_there(path)) for part, path in named.items()}
        found = _of_path(Path(parts["train"]), folder)
    else:
        raise BadInputError(
            "--from: expected one file, folder or tfds:NAME, or train=FILE and "
            f"test=FILE. Received: {' '.join(sources)}"
        )
    return _with_parts(found, parts, folder) if parts else found


def splits_of(parts: Sequence[str]) -> tuple[dict[str, str], str] | None:
    """Return the splits of a source that has parts of its own, and the reason."""
    evaluated = next((name for name in _EVAL_NAMES if name in parts), None)
    if not {"train", "test"} <= {*parts}:
        return None
    if evaluated:
        splits = {"train": "train", "eval": evaluated, "test": "test"}
        return splits, "the parts that the data come in"
    splits = {"train": "train[:90%]", "eval": "train[90%:]", "test": "test"}
    return splits, "`test` as the data have it; the last tenth of `train` is watched on"


def relative(path: str | Path, folder: Path) -> str:
    """Return a path relative to a folder where it lies below, else absolute."""
    absolute = Path(os.path.abspath(Path(path).expanduser()))
    below = absolute.is_relative_to(folder)
    return str(absolute.relative_to(folder)) if below else str(absolute)


def list_files(path: str) -> "list[File]":
    """Return the files of a path, as a recipe would find them."""
    files = import_module("components.sources.files")
    found: list[File] = files.list_files(files.resolve(path, None, Path.cwd()))
    return found


def _there(text: str) -> Path:
    path = Path(os.path.abspath(Path(text).expanduser()))
    if not path.exists():
        raise BadInputError(
            f"--from: no file or folder {path}. Expected one, or tfds:NAME."
        )
    return path


def _parts(path: Path) -> dict[str, str]:
    """Return the parts of a folder that holds `train` and `test`, by name."""
    if not path.is_dir():
        return {}
    named = {p.name.partition(".")[0].lower(): str(p) for p in sorted(path.iterdir())}
    known = {n: p for n, p in named.items() if n in ("train", "test", *_EVAL_NAMES)}
    return known if {"train", "test"} <= known.keys() else {}


def _with_parts(found: Source, parts: Mapping[str, str], folder: Path) -> Source:
    paths = {part: relative(path, folder) for part, path in parts.items()}
    chosen = splits_of(list(paths))
    if chosen is None:
        return found
    splits, why = chosen
    used = {part.partition("[")[0] for part in splits.values()}
    paths = {part: path for part, path in paths.items() if part in used}
    return found.also({"path": paths}, {"splits": why}, splits=splits)


def _of_path(path: Path, folder: Path) -> Source:
    """Return the source that one file or folder is.

    Raises:
      BadInputError: nothing says what it is.
    """
    named = {"path": relative(path, folder)}
    if path.is_file() and path.suffix.lower() != ".zip":
        kind = BY_SUFFIX.get(_suffix(path.name)) or _kind_of_text(path)
        return Source(kind, named, why={"path": f"{path.name}: {_WORDS[kind]}"})
    found = list_files(str(path))
    if any("JPEGImages/" in file.relative for file in found):
        raise BadInputError(
            f"--from: {path} is Pascal VOC (JPEGImages, Annotations), which has boxes. "
            "A label of one value per image is expected; write the recipe by hand."
        )
    suffixes = Counter(_suffix(file.relative) for file in found)
    known = [(count, s) for s, count in suffixes.items() if s in BY_SUFFIX]
    if not known:
        raise BadInputError(
            f"--from: {path} holds {', '.join(s or 'no ending' for s in suffixes)}. "
            f"Expected files ending in {', '.join(BY_SUFFIX)}."
        )
    count, suffix = max(known)
    kind = BY_SUFFIX[suffix]
    why = f"{count:,} of {len(found):,} files are {suffix}: {_WORDS[kind]}"
    source = Source(kind, named, why={"path": why})
    mine = [file for file in found if BY_SUFFIX.get(_suffix(file.relative)) == kind]
    if kind in ("images", "audio", "text"):
        return _labelled(source, [file.relative for file in mine], path)
    return source


def _suffix(name: str) -> str:
    """Return the ending of a name, that of packing aside."""
    path = PurePosixPath(name.lower())
    return (path.with_suffix("") if path.suffix in _PACKED else path).suffix


def _kind_of_text(path: Path) -> str:
    """Return `csv` for a file of text of an unknown ending.

    Raises:
      BadInputError: it is not text.
    """
    with path.open("rb") as file:
        head = file.read(65536)
    if b"\0" in head or not head:
        raise BadInputError(
            f"--from: {path} is {'no text' if head else 'empty'}, and its ending says "
            f"nothing. Expected one of {', '.join(BY_SUFFIX)}."
        )
    return "csv"


def _labelled(source: Source, names: Sequence[str], path: Path) -> Source:
    """Say what labels files: their folders, or the parts of their names."""
    folders = {PurePosixPath(name).parent.name for name in names}
    if len(folders) > 1:
        options = {"per": "file", "label": "folder"} if source.kind == "text" else {}
        why = f"{source.why['path']}; the folder of each is its label"
        return source.also(options, {"path": why})
    if source.kind == "text":
        return source.also({"per": "file"}, {"per": "each a text"})
    pattern = name_pattern([PurePosixPath(n).stem for n in names])
    if source.kind == "audio" and pattern:
        why = "one folder, but all names are made like this"
        return source.also({"name": pattern}, {"name": why})
    raise BadInputError(
        f"--from: all {source.kind} of {path} lie in one folder, and nothing says "
        "their labels. Expected a folder for each class"
        + (", or names such as 7_lucas_3.wav." if source.kind == "audio" else ".")
    )


def name_pattern(stems: Sequence[str]) -> str | None:
    """Return how names are made, such as `{label}_{part_2}`; None: not all alike.

    The label is the first part whose values come again and again.
    """
    for between in ("_", "-"):
        rows = [stem.split(between) for stem in stems]
        widths = {len(row) for row in rows}
        if len(widths) > 1 or widths == {1} or not all(map(all, rows)):
            continue
        columns = list(zip(*rows, strict=True))
        labels = [i for i, column in enumerate(columns) if _names_classes(column)]
        if labels:
            parts = [f"{{part_{i + 1}}}" for i in range(len(columns))]
            parts[labels[0]] = "{label}"
            return between.join(parts)
    return None


def _names_classes(values: Sequence[str]) -> bool:
    counts = [len(list(group)) for _, group in groupby(sorted(values))]
    return 2 <= len(counts) <= _MAX_CLASSES and min(counts) >= 2
