"""Where the data of a recipe lie now: patterns with spans resolved, absolute paths."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from components.sources import files
from components.sources.files import File, Pattern

# Keys of a source, beside `path`, that hold a path of their own.
_PATHS = {
    "images": ("table",),
    "masks": ("masks",),
    "graph": ("nodes",),
    "tfds": ("download_dir", "manual_dir"),
}


@dataclass(frozen=True)
class Located:
    """A recipe's data section whose paths are absolute.

    Attributes:
      data: the section as plain JSON values.
      patterns: what `path` comes to; none for a TFDS builder.
    """

    data: Mapping[str, Any]
    patterns: tuple[Pattern, ...] = ()

    @property
    def kind(self) -> str:
        """The key of the source, such as `csv`."""
        return _kind(self.data)

    @property
    def source(self) -> Mapping[str, Any]:
        section: Mapping[str, Any] = self.data[self.kind]
        return section

    def files(self, suffixes: Sequence[str] = ()) -> list[File]:
        """Return every file that the patterns match, those named beside `path` last.

        Raises:
          BadInputError: a pattern matches none.
        """
        return files.list_files(self.patterns, suffixes) if self.patterns else []

    def all_files(self) -> list[File]:
        """Return the files whose content decides about the examples."""
        beside = [
            Pattern(self.source[key])
            for key in _PATHS.get(self.kind, ())
            if self.kind != "tfds" and self.source.get(key)
        ]
        return [*self.files(), *(files.list_files(beside) if beside else [])]

    def to_json(self) -> str:
        return json.dumps(
            {"data": self.data, "patterns": [asdict(p) for p in self.patterns]}
        )

    @classmethod
    def from_json(cls, text: str) -> "Located":
        values = json.loads(text)
        return cls(values["data"], tuple(Pattern(**p) for p in values["patterns"]))


def _kind(data: Mapping[str, Any]) -> str:
    """Return the only key whose section is that of a source."""
    others = {"splits", "split_by", "spans"}
    return next(k for k, v in data.items() if isinstance(v, dict) and k not in others)


def locate(data: Mapping[str, Any], folder: Path, *, tfds_dir: Path) -> Located:
    """Find the data that a section names.

    Args:
      data: the section as plain JSON values.
      folder: where the recipe lies; relative paths start there.
      tfds_dir: where TFDS keeps prepared data sets.

    Raises:
      BadInputError: nothing is there.
    """
    kind = _kind(data)
    source = dict(data[kind])
    for key in _PATHS.get(kind, ()):
        if source.get(key):
            (found,) = files.resolve(source[key], None, folder)
            source[key] = found.glob
    if kind == "tfds":
        source["data_dir"] = str(tfds_dir)
        return Located({**data, kind: source})
    patterns = files.resolve(source["path"], data.get("spans"), folder)
    return Located({**data, kind: source}, tuple(patterns))
