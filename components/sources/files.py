"""Files of a source: which ones a path means, and how they are opened.

A path is a file, a folder (all below it, links followed), a pattern, or any of them on
a file system that Beam knows (`gs://...`). A .zip counts as a folder; `a.zip!/b/*.csv`
means members of it. What stands there by its literal name is never read as a pattern.
"""

import bz2
import glob
import gzip
import hashlib
import json
import os
import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO

from components.sources import archives, folders, remote, spans, streams
from components.sources.patterns import Entry
from recipes.errors import BadInputError

_UNDECODABLE = re.compile("[\ud800-\udfff]")


@dataclass(frozen=True)
class File:
    """A file, or a member of an archive.

    Attributes:
      path: as `open_binary` takes it.
      relative: below the folder, or below the fixed part of the pattern, with `/`.
      size_bytes: of a member once unpacked; otherwise as it lies there.
      part: part of the source it belongs to; "" where the source has no parts.
      span: number of its span, or None.
      modified_ns: when it was changed, since 1970; of a member, when its archive was.
    """

    path: str
    relative: str
    size_bytes: int
    part: str = ""
    span: int | None = None
    modified_ns: int = 0


@dataclass(frozen=True)
class Pattern:
    """An absolute path or pattern, without placeholders."""

    glob: str
    part: str = ""
    span: int | None = None
    version: int | None = None


def resolve(
    path: str | Mapping[str, str], wanted: Mapping[str, Any] | None, folder: Path
) -> list[Pattern]:
    """Return what a `path` of a recipe means now, spans chosen.

    Args:
      path: of everything, or by part.
      wanted: `data.spans`: `last`, `first` and `until`, each a value or None.
      folder: where relative paths start.

    Raises:
      BadInputError: a span or a package that is not there, or spans ill named.
    """
    by_part = {"": path} if isinstance(path, str) else path
    texts = {part: _absolute(text, folder) for part, text in by_part.items()}
    spanned = {part: text for part, text in texts.items() if spans.has_spans(text)}
    if wanted and not spanned:
        raise BadInputError(
            "[data] spans: `path` holds neither {SPAN} nor {YYYY}-{MM}-{DD}."
        )
    fixed = [Pattern(text, part) for part, text in texts.items() if part not in spanned]
    learned = {part: text for part, text in spanned.items() if part != "serving"}
    served = {part: text for part, text in spanned.items() if part == "serving"}
    return [*fixed, *_spans_of(learned, wanted), *_spans_of(served, wanted)]


def data_folder() -> Path:
    """Return the folder that `data:PATH` is below."""
    return Path(os.environ.get("STRATA_DATA") or "data").absolute()


def list_files(found: Sequence[Pattern], suffixes: Sequence[str] = ()) -> list[File]:
    """Return the files that patterns match, sorted by part, span and path.

    Args:
      found: at least one file each is expected.
      suffixes: lower case; in folders and archives, other files are left out. Files
        that are named, or matched by a pattern, are taken whatever they are called.

    Raises:
      BadInputError: a pattern matches nothing, or a file stands in two parts.
    """
    files: dict[str, File] = {}
    for pattern in found:
        for file in _listed(pattern, tuple(suffixes)):
            other = files.setdefault(file.path, file)
            if other.part != file.part:
                raise BadInputError(
                    f"[data] path: {file.path} is in the parts {other.part!r} and "
                    f"{file.part!r}. Expected every file in one of them."
                )
    return sorted(files.values(), key=lambda f: (f.part, f.span or 0, f.path))


def open_binary(path: str) -> BinaryIO:
    """Open a file, or a member of an archive, as the bytes that `File` counts.

    Raises:
      BadInputError: it cannot be opened; while reading: a member is damaged.
    """
    member = archives.split(path)
    if member:
        return streams.checked(archives.open_member(*member), path, "zip", None)
    if remote.is_remote(path):
        return remote.open_remote(path)
    try:
        return open(path, "rb")
    except OSError as error:
        raise BadInputError(f"{path}: {error.strerror}") from error


def open_decompressed(path: str) -> BinaryIO:
    """Open a file like `open_binary`; .gz and .bz2 are unpacked while being read.

    Raises:
      BadInputError: it cannot be opened; while reading: cut short, or damaged.
    """
    raw = open_binary(path)
    if path.lower().endswith(".bz2"):
        return streams.checked(bz2.BZ2File(raw), path, "bzip2", raw)
    if not path.lower().endswith(".gz"):
        return raw
    if not raw.read(1):  # which `gzip` takes for a stream of nothing
        raw.close()
        raise streams.ends_early(path, "gzip")
    raw.seek(0)
    return streams.checked(gzip.GzipFile(fileobj=raw), path, "gzip", raw)


def digest(
    found: Sequence[File],
    *,
    known: Callable[[str], str | None],
    remember: Callable[[str, str], None],
) -> str:
    """Return the sha256 of the names, parts and contents of files.

    Files elsewhere (`gs://...`) count by size and time of change, archives as one file.

    Args:
      found: as `list_files` returns them.
      known: returns what was remembered under a key, or None. Keys are hashes of
        names, sizes and times of change: what did not change is not read again.
      remember: called with key and digest.
    """
    key = _hash([(f.part, f.relative, *_state(f)) for f in found])
    earlier = known(key)
    if earlier:
        return earlier
    contents: dict[str, str] = {}
    for file in found:
        member = archives.split(file.path)
        path = member[0] if member else file.path
        if path not in contents:
            contents[path] = content(path, file, known=known, remember=remember)
    by_name = [(f.part, f.relative, f.span) for f in found]
    total = _hash([*by_name, *contents.values()])
    remember(key, total)
    return total


# Files this large are worth a key of their own: a new span costs one reading of it,
# not one of all spans.
_LARGE_BYTES = 1 << 20


def content(
    path: str,
    file: File,
    *,
    known: Callable[[str], str | None],
    remember: Callable[[str, str], None],
) -> str:
    """Return the sha256 of a file, or of the archive `path` that it is in.

    Of one elsewhere it is that of its name, size and time of change. `known` and
    `remember` are those of `digest`.
    """
    if remote.is_remote(path):
        return _hash([_state(file)])
    size_bytes = os.path.getsize(path)
    key = _hash([(path, size_bytes, file.modified_ns)])
    earlier = known(key) if size_bytes >= _LARGE_BYTES else None
    if earlier:
        return earlier
    with open_binary(path) as stream:
        found = hashlib.file_digest(stream, "sha256").hexdigest()
    if size_bytes >= _LARGE_BYTES:
        remember(key, found)
    return found


def _state(file: File) -> tuple[str, int, int]:
    return file.path, file.size_bytes, file.modified_ns


def _hash(values: Sequence[object]) -> str:
    return hashlib.sha256(json.dumps(values).encode()).hexdigest()


def _absolute(text: str, folder: Path) -> str:
    if remote.is_remote(text):
        return text
    if text.startswith("package:"):
        package, _, inside = text.removeprefix("package:").partition("/")
        spec = find_spec(package) if package.isidentifier() else None
        if spec is None or spec.origin is None:
            raise BadInputError(f"[data] path: package {package!r} is not installed.")
        return os.path.join(os.path.dirname(spec.origin), inside)
    if text.startswith("data:"):
        folder = data_folder()
        text = text.removeprefix("data:")
        if not folder.is_dir():
            raise BadInputError(
                f"[data] path: {text} is looked for in {folder}, which is not there. "
                "Set STRATA_DATA to the folder that holds it."
            )
    return os.path.abspath(os.path.join(folder, os.path.expanduser(text)))


def _spans_of(
    texts: Mapping[str, str], wanted: Mapping[str, Any] | None
) -> Iterator[Pattern]:
    """Yield the spans that are chosen; every part has to have them."""
    if not texts:
        return
    dated = {spans.is_dated(text) for text in texts.values()}
    if len(dated) > 1:
        raise BadInputError(
            "[data] path: expected {SPAN} in every part, or a date in every part."
        )
    there = {part: _spans_there(text) for part, text in texts.items()}
    common = set.intersection(*(set(by_number) for by_number in there.values()))
    if not common:
        raise BadInputError(
            f"[data] path: no span is in every part. Parts: {', '.join(texts)}."
        )
    for number in spans.choose(sorted(common), wanted, dated=dated.pop()):
        for part, text in texts.items():
            span = there[part][number]
            rest = spans.head_and_rest(text)[1]
            path = glob.escape(span.path) if remote.is_remote(text) else span.path
            full = f"{path}/{rest}" if rest else path
            yield Pattern(full, part, number, span.version)


def _spans_there(text: str) -> dict[int, spans.Span]:
    head, _ = spans.head_and_rest(text)
    pattern = spans.any_span(head)
    found = remote.names if remote.is_remote(text) else folders.names
    newest = spans.newest_versions(head, found(pattern))
    if not newest:
        raise BadInputError(f"[data] path: no span matches {head}.")
    return {span.number: span for span in newest}


def _listed(pattern: Pattern, suffixes: tuple[str, ...]) -> list[File]:
    there = _entries(pattern.glob)
    chosen = [
        entry
        for entry in there
        if entry.named or not suffixes or entry.relative.lower().endswith(suffixes)
    ]
    if not chosen:
        raise BadInputError(_nothing(pattern.glob, there, suffixes))
    return [
        File(
            e.path, e.relative, e.size_bytes, pattern.part, pattern.span, e.modified_ns
        )
        for e in map(_nameable, chosen)
    ]


def _entries(text: str) -> list[Entry]:
    """Return what a pattern matches, members in place of archives."""
    member = archives.split(text)
    if member:
        return archives.find(*member)
    there = remote.find(text) if remote.is_remote(text) else folders.find(text)
    found = []
    for entry in there:
        if not archives.is_archive(entry.path):
            found.append(entry)
            continue
        above = "" if entry.path == text else f"{entry.relative}/"
        for below in archives.find(entry.path, ""):
            found.append(replace(below, relative=above + below.relative, named=False))
    return found


def _nameable(entry: Entry) -> Entry:
    """Refuse names that no list of names, one in a line, can hold."""
    if "\n" in entry.path or _UNDECODABLE.search(entry.path):
        raise BadInputError(
            f"{entry.path!r}: the name of a file holds a line break or is not UTF-8. "
            "Rename it."
        )
    return entry


def _nothing(text: str, there: Sequence[Entry], suffixes: tuple[str, ...]) -> str:
    if not there:
        return f"[data] path: nothing matches {text}, or it is an empty folder."
    kinds = Counter(PurePosixPath(entry.relative).suffix for entry in there)
    shown = ", ".join(
        f"{n} {kind or 'without one'}" for kind, n in kinds.most_common(5)
    )
    return (
        f"[data] path: no file in {text} ends in {', '.join(suffixes)}. There: "
        f"{shown}. A pattern takes files of any name: {text.rstrip('/')}/*"
    )
