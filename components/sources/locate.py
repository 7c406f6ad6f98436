"""Where the data of a recipe lie now: patterns with spans resolved, absolute paths."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from components.sources import files
from components.sources.files import File, Pattern
from recipes.errors import BadInputError

# Keys of a source, beside `path`, that hold a path of their own.
_PATHS = {
    "images": ("table",),
    "masks": ("masks",),
    "graph": ("nodes",),
    "tfds": ("download_dir", "manual_dir"),
}
_WHOLE = ("series", "graph")  # no record of theirs can be left out
_JUDGED = ("eval", "test")


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
      BadInputError: nothing is there, shares would mix a part that is to be judged on
        with the others, or `max_bad_rows` does not apply.
    """
    kind = _kind(data)
    if kind in _WHOLE and data.get("max_bad_rows"):
        raise BadInputError(
            f"[data] max_bad_rows: expected none with {kind}, whose records need each "
            f"other: one that cannot be read ends the run. Received: "
            f"{data['max_bad_rows']}"
        )
    source = dict(data[kind])
    if kind == "tfds" and _is_absent(source["download_dir"] or ""):
        source["download_dir"] = None  # TFDS downloads into the workspace
    for key in _PATHS.get(kind, ()):
        if source.get(key):
            (found,) = files.resolve(source[key], None, folder)
            source[key] = found.glob
    if kind == "tfds":
        source["data_dir"] = str(tfds_dir)
        return Located({**data, kind: source})
    _check_parts(source["path"], data.get("splits") or {})
    patterns = files.resolve(source["path"], data.get("spans"), folder)
    return Located({**data, kind: source}, tuple(patterns))


def _is_absent(download_dir: str) -> bool:
    is_below = download_dir.startswith("data:")
    path = files.data_folder() / download_dir.removeprefix("data:")
    return is_below and not path.is_dir()


def _check_parts(
    path: str | Mapping[str, str], splits: Mapping[str, int | str]
) -> None:
    """Refuse shares of all parts together where one is called like a split.

    Raises:
      BadInputError: what is called `test` would be trained on.
    """
    shares = [share for share in splits.values() if isinstance(share, int)]
    parts = () if isinstance(path, str) else path
    judged = [part for part in _JUDGED if part in parts]
    if shares and judged:
        raise BadInputError(
            f"[data] splits: shares are of all parts together, so {judged[0]!r} would "
            'be trained on. Expected parts by name, such as splits: {train: "train'
            '[:90%]", eval: "train[90%:]", test: test}'
        )
