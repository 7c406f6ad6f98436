"""Members of zip archives, read in place: `/data/a.zip!/folder/name`."""

import os
import re
import zipfile
from collections.abc import Mapping
from functools import lru_cache
from typing import IO

from components.sources import patterns, remote
from components.sources.patterns import Entry
from recipes.errors import BadInputError

_MEMBER = re.compile(r"(.*?\.zip)!/(.*)", re.IGNORECASE | re.DOTALL)


def is_archive(path: str) -> bool:
    return path.lower().endswith(".zip")


def split(path: str) -> tuple[str, str] | None:
    """Return archive and member (or a pattern of members), or None for other paths."""
    found = _MEMBER.fullmatch(path)
    return (found[1], found[2]) if found else None


def find(archive: str, pattern: str) -> list[Entry]:
    """Return the member of that name, or those that match, or all in that folder.

    Args:
      archive: a zip file.
      pattern: of members; "" for all of them.

    Raises:
      BadInputError: no zip archive, cut short, or encrypted.
    """
    sizes = _members(archive)
    modified_ns = _modified_ns(archive)
    expression = re.escape(pattern) if pattern in sizes else patterns.to_regex(pattern)
    named = re.compile(expression, re.DOTALL)
    below = re.compile(f"{expression}/.*" if pattern else ".*", re.DOTALL)
    base = len(_base(pattern, sizes))
    found = []
    for name, size_bytes in sizes.items():
        is_named = bool(named.fullmatch(name))
        if is_named or below.fullmatch(name):
            path, relative = f"{archive}!/{name}", name[base:]
            found.append(Entry(path, relative, size_bytes, modified_ns, is_named))
    return found


def open_member(archive: str, name: str) -> IO[bytes]:
    """Open a member; its checksum is compared at its end (`zipfile.BadZipFile`).

    Raises:
      BadInputError: there is no such member, or it is packed in an unknown way.
    """
    try:
        return _open(archive).open(name)
    except (KeyError, NotImplementedError, RuntimeError, zipfile.BadZipFile) as error:
        raise BadInputError(f"{archive}: cannot read {name}: {error}") from error


def _base(pattern: str, sizes: Mapping[str, int]) -> str:
    """Return what the relative names of members leave out."""
    if pattern in sizes:
        return pattern[: pattern.rfind("/") + 1]
    if patterns.is_magic(pattern):
        return patterns.fixed_folder(pattern)
    return f"{pattern}/" if pattern else ""


def _modified_ns(archive: str) -> int:
    if remote.is_remote(archive):
        return remote.find(archive)[0].modified_ns
    return os.stat(archive).st_mtime_ns


def _members(archive: str) -> dict[str, int]:
    """Return the names of the files in an archive, with their sizes once unpacked."""
    found = {}
    for info in _open(archive).infolist():
        if info.is_dir() or patterns.is_hidden(info.filename):
            continue
        if info.flag_bits & 1:
            raise BadInputError(
                f"{archive}: {info.filename} is encrypted. Save it without a password."
            )
        found[info.filename] = info.file_size
    return found


def _open(archive: str) -> zipfile.ZipFile:
    if remote.is_remote(archive):
        return _opened(archive, 0, 0, os.getpid())
    try:
        stat = os.stat(archive)
    except OSError as error:
        raise BadInputError(f"{archive}: {error.strerror}") from error
    return _opened(archive, stat.st_size, stat.st_mtime_ns, os.getpid())


@lru_cache(maxsize=8)
def _opened(
    archive: str, size_bytes: int, modified_ns: int, process: int
) -> zipfile.ZipFile:
    """Open an archive once: its directory is read again at every opening.

    A changed archive is another; so is that of a forked process, because the two would
    share one position in the file.
    """
    del size_bytes, modified_ns, process
    try:
        if remote.is_remote(archive):
            return zipfile.ZipFile(remote.open_remote(archive))
        return zipfile.ZipFile(archive)
    except zipfile.BadZipFile as error:
        raise BadInputError(
            f"{archive}: not a zip archive, or cut short ({error}). Copy it again."
        ) from error
    except OSError as error:
        raise BadInputError(f"{archive}: {error.strerror}") from error
