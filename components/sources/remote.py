"""Files that are not on this machine, such as `gs://...`, by Beam's file systems."""

import re
from collections.abc import Callable, Iterable
from typing import Any, BinaryIO

from components.sources import patterns
from components.sources.patterns import Entry
from recipes.errors import BadInputError

_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")


def is_remote(path: str) -> bool:
    return bool(_SCHEME.match(path))


def find(text: str) -> list[Entry]:
    """Return the file of that name, or what the pattern matches, or all files below.

    Raises:
      BadInputError: no file system of that scheme, or it does not answer.
    """
    if _ask(text, lambda: _file_systems().exists(text)):
        metadata = _ask(
            text, lambda: _file_systems().get_filesystem(text).metadata(text)
        )
        return _entries([metadata], text[: text.rfind("/") + 1], named=True)
    base = patterns.fixed_folder(text)
    named = _entries(_matches(text), base, named=True)
    if named:
        return named
    folder = text.rstrip("/") + "/"
    base = base if patterns.is_magic(text) else folder
    return _entries(_matches(folder + "**"), base, named=False)


def names(pattern: str) -> list[str]:
    """Return the folders and files that a pattern without `**` matches, sorted."""
    depth = pattern.count("/") + 1
    below = patterns.literal_head(pattern) + "**"
    cut = {"/".join(m.path.split("/")[:depth]) for m in _matches(below)}
    wanted = re.compile(patterns.to_regex(pattern))
    return sorted(name for name in cut if wanted.fullmatch(name))


def open_remote(path: str) -> BinaryIO:
    """Open a file as its raw bytes.

    Raises:
      BadInputError: it cannot be opened.
    """
    from apache_beam.io.filesystem import CompressionTypes

    kind = CompressionTypes.UNCOMPRESSED
    return _ask(path, lambda: _file_systems().open(path, compression_type=kind))


def _matches(pattern: str) -> list[Any]:
    if not patterns.is_magic(pattern):
        return []
    # Beam reads patterns by other rules: ask for all below, and choose.
    everything = patterns.literal_head(pattern) + "**"
    (result,) = _ask(pattern, lambda: _file_systems().match([everything]))
    wanted = re.compile(patterns.to_regex(pattern), re.DOTALL)
    return [m for m in result.metadata_list if wanted.fullmatch(m.path)]


def _entries(metadata: Iterable[Any], base: str, *, named: bool) -> list[Entry]:
    found = []
    for file in metadata:
        relative = file.path[len(base) :]
        if relative.endswith("/") or patterns.is_hidden(relative):
            continue
        modified_ns = int((file.last_updated_in_seconds or 0) * 1e9)
        found.append(Entry(file.path, relative, file.size_in_bytes, modified_ns, named))
    return sorted(found, key=lambda entry: entry.path)


def _ask(path: str, question: Callable[[], Any]) -> Any:
    """Return the answer of a file system."""
    from apache_beam.io.filesystem import BeamIOError

    try:
        return question()
    except (BeamIOError, OSError, ValueError) as error:
        # Beam's answer for a file system that is not installed is a ValueError.
        why = str(error).splitlines()[0]
        raise BadInputError(f"[data] path: {path} cannot be reached: {why}") from error


def _file_systems() -> Any:
    # Beam takes a second to import, and most data lie on disk.
    from apache_beam.io.filesystems import FileSystems

    return FileSystems
