"""Many small files: read some at a time, labelled by the folder they lie in."""

import os
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import pyarrow as pa

from components.sources import BATCH_BYTES, BadRow, Batch, Piece, files
from recipes.errors import BadInputError

PIECE_FILES = 256  # enough to keep workers busy, few enough to spread


def pieces(
    found: Sequence[files.File], options: Mapping[str, Any], notes: Sequence[str] = ()
) -> list[Piece]:
    """Return pieces of at most PIECE_FILES files or about BATCH_BYTES, of one part.

    A piece lists its files in `options["files"]` as (path, relative); `notes` go with
    the first.
    """
    made = []
    for group in _groups(found):
        listed = [[file.path, file.relative] for file in group]
        size = sum(file.size_bytes for file in group)
        extra = {"notes": list(notes)} if notes and not made else {}
        made.append(
            Piece("", group[0].part, size, {**options, **extra, "files": listed})
        )
    return made


def _groups(found: Sequence[files.File]) -> Iterator[list[files.File]]:
    group: list[files.File] = []
    total = 0
    for file in found:
        full = len(group) == PIECE_FILES or total + file.size_bytes > BATCH_BYTES
        if group and (full or file.part != group[0].part):
            yield group
            group, total = [], 0
        group.append(file)
        total += file.size_bytes
    if group:
        yield group


def label(relative: str) -> str:
    """Return the name of the folder that a file lies in; "" at the top."""
    return relative.rpartition("/")[0].rpartition("/")[2]


def check_labels(found: Sequence[files.File], what: str, instead: str) -> None:
    """Refuse files that lie in no folder below the source's path.

    Args:
      found: files of the source.
      what: of what they are files, such as `image`.
      instead: the other way to label them, for the message.

    Raises:
      BadInputError: a file would have no label.
    """
    bare = [file for file in found if not label(file.relative)]
    if bare:
        raise BadInputError(
            f"{bare[0].path}: {len(bare)} of {len(found)} {what} files lie in no class "
            f"folder. Expected `<path>/<label>/<file>`, or {instead}."
        )


def empty_folders(found: Sequence[files.File]) -> list[str]:
    """Return the folders beside class folders that hold none of the files, sorted.

    Only on this machine; what lies in archives is not looked at.
    """
    full: set[str] = set()  # folders with a file in them, at whatever depth
    beside: set[str] = set()  # where class folders lie
    for path in {os.path.dirname(f.path) for f in found if os.path.isfile(f.path)}:
        beside.add(os.path.dirname(path))
        while path not in full and path != os.path.dirname(path):
            full.add(path)
            path = os.path.dirname(path)
    return sorted(
        entry.path
        for folder in beside
        for entry in os.scandir(folder)
        if entry.is_dir() and entry.path not in full and entry.name[0] != "."
    )


def read_whole(path: str, largest_bytes: int) -> bytes:
    """Return the content of a file.

    Raises:
      ValueError: it cannot be read, is empty, or is larger than that.
    """
    try:
        with files.open_binary(path) as file:
            data = file.read(largest_bytes + 1)
    except BadInputError as error:  # of a table it ends the run; here it is one record
        raise ValueError(str(error)) from error
    if not data:
        raise ValueError("the file is empty")
    if len(data) > largest_bytes:
        raise ValueError(f"larger than {largest_bytes >> 20} MB")
    return data


def batch(
    rows: Sequence[Mapping[str, Any]],
    types: Mapping[str, pa.DataType],
    bad: Sequence[BadRow],
    notes: Sequence[str],
) -> Batch:
    """Return a batch of rows that are named after their `file`."""
    columns = {
        name: pa.array([row[name] for row in rows], kind)
        for name, kind in types.items()
    }
    table = pa.RecordBatch.from_pydict(columns)
    names = [row["file"] for row in rows]
    return Batch(names, table, bad=tuple(bad), notes=tuple(notes))
