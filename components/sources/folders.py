"""Files on this machine: what a path or pattern means, folder by folder."""

import difflib
import os
import re
import stat
from collections.abc import Iterator, Sequence

from components.sources import patterns
from components.sources.patterns import Entry
from recipes.errors import BadInputError


def find(text: str) -> list[Entry]:
    """Return the file of that name, all files below the folder, or what matches.

    Links are followed; a folder that is reached twice is read once, so that links in a
    circle end. Hidden files are left out unless the pattern says a dot.

    Raises:
      BadInputError: nothing there, or something that is no file.
    """
    base, rest = _literal_part(text)
    if not rest:
        if os.path.isdir(base):
            return list(_below(base, base))
        return [_entry(base, os.path.dirname(base), named=True)]
    seen: set[str] = set()
    found = []
    for path in _matches(base, rest):
        if os.path.isdir(path):
            entries = list(_below(path, base))
        else:
            entries = [_entry(path, base, named=True)]
        found += [entry for entry in entries if entry.path not in seen]
        seen.update(entry.path for entry in entries)
    return found


def names(pattern: str) -> list[str]:
    """Return the folders and files that a pattern matches, sorted."""
    base, rest = _literal_part(pattern)
    return sorted(_matches(base, rest))


def _literal_part(text: str) -> tuple[str, list[str]]:
    """Cut a path where what is there by literal name ends.

    Raises:
      BadInputError: the next name is no pattern either.
    """
    base, rest = "/", [name for name in text.split("/") if name]
    while rest and os.path.lexists(os.path.join(base, rest[0])):
        base = os.path.join(base, rest.pop(0))
    if rest and not patterns.is_magic(rest[0]):
        there = _names_in(base) if os.path.isdir(base) else []
        close = difflib.get_close_matches(rest[0], there, n=1)
        hint = f" Did you mean {close[0]!r}?" if close else ""
        raise BadInputError(f"[data] path: no {rest[0]!r} in {base}.{hint}")
    return base, rest


def _matches(base: str, components: Sequence[str]) -> Iterator[str]:
    if not components:
        yield base
        return
    first, rest = components[0], components[1:]
    if first == "**":
        for folder, _ in _walk(base):
            yield from _matches(folder, rest)
        return
    if not patterns.is_magic(first):
        path = os.path.join(base, first)
        if os.path.lexists(path):
            yield from _matches(path, rest)
        return
    expression = re.compile(patterns.to_regex(first), re.DOTALL)
    for name in _names_in(base) if os.path.isdir(base) else []:
        hidden = patterns.is_hidden(name) and not first.startswith(".")
        if not hidden and expression.fullmatch(name):
            yield from _matches(os.path.join(base, name), rest)


def _below(folder: str, base: str) -> Iterator[Entry]:
    for _, entries in _walk(folder):
        for entry in entries:
            if not _is_folder(entry):
                yield _entry(entry.path, base, named=False)


def _walk(folder: str) -> Iterator[tuple[str, list[os.DirEntry[str]]]]:
    """Yield a folder and all below it, each once, with what it holds; links last."""
    waiting, links = [folder], []
    seen: set[tuple[int, int]] = set()
    while waiting or links:
        path = waiting.pop() if waiting else links.pop()
        status = os.stat(path)
        if (status.st_dev, status.st_ino) in seen:
            continue
        seen.add((status.st_dev, status.st_ino))
        entries = _scan(path)
        yield path, entries
        folders = [entry for entry in reversed(entries) if _is_folder(entry)]
        waiting += [entry.path for entry in folders if not entry.is_symlink()]
        links += [entry.path for entry in folders if entry.is_symlink()]


def _is_folder(entry: os.DirEntry[str]) -> bool:
    """Return whether it is one; a link to itself is none, and told as a file."""
    try:
        return entry.is_dir()
    except OSError:
        return False


def _names_in(folder: str) -> list[str]:
    try:
        return sorted(os.listdir(folder))
    except OSError as error:
        raise BadInputError(f"[data] path: {folder}: {error.strerror}") from error


def _scan(folder: str) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as entries:
            shown = [entry for entry in entries if not patterns.is_hidden(entry.name)]
    except OSError as error:
        raise BadInputError(f"[data] path: {folder}: {error.strerror}") from error
    return sorted(shown, key=lambda entry: entry.name)


def _entry(path: str, base: str, *, named: bool) -> Entry:
    try:
        status = os.stat(path)
    except OSError as error:
        raise BadInputError(f"[data] path: {path}: {error.strerror}") from error
    if not stat.S_ISREG(status.st_mode):
        raise BadInputError(f"[data] path: {path} is neither a file nor a folder.")
    relative = path[len(base.rstrip("/")) + 1 :]
    return Entry(path, relative, status.st_size, status.st_mtime_ns, named)
