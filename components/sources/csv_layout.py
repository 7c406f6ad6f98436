"""How the files of a table of text are written: found, and made sure to agree."""

import codecs
from collections.abc import Mapping, Sequence
from contextlib import closing
from typing import Any

from components.sources import dialect, files
from components.sources.delimited import Layout
from components.sources.dialect import Dialect
from components.sources.files import File
from components.sources.utf8 import MARK, Utf8Stream, check_encoding, is_utf8
from recipes.errors import BadInputError

_HEAD_BYTES = 256 << 10  # looked at

# With more lines like this a file is in another encoding; with fewer some rows are bad.
_MOST_UNDECODABLE = 0.1
_MOST_NUL = 0.1  # share of characters: above, it is UTF-16 without a mark, or no text


def layouts(source: Mapping[str, Any], found: Sequence[File]) -> list[Layout]:
    """Return how each file is written: delimiter and header as in the first.

    Raises:
      BadInputError: a file is empty, in another encoding, or has other columns than
        the first. What was served (the part `serving`) may have others.
    """
    _check_options(source)
    first: Dialect | None = None
    made = []
    for file in found:
        look = _look(file, source, first)
        first = first or look
        made.append(_layout(file, look, source))
    _check_columns(found, made)
    return made


def _check_options(source: Mapping[str, Any]) -> None:
    check_encoding(source["encoding"])
    delimiter = source["delimiter"]
    if delimiter and len(delimiter) > 1 and delimiter != dialect.WHITESPACE:
        raise BadInputError(
            f"[data.csv] delimiter: expected one character or `whitespace`. Received: "
            f"{delimiter!r}. Blanks after delimiters need not be named."
        )


def _look(file: File, source: Mapping[str, Any], first: Dialect | None) -> Dialect:
    text = _head(file, source)
    delimiter = first.delimiter if first else source["delimiter"]
    header = first.header if first else (False if source["columns"] else None)
    found = dialect.look(
        text,
        delimiter=delimiter,
        quotes=source["quotes"],
        header=header,
        missing=source["missing"],
    )
    if found.header and not source["columns"] and "\n" not in text:
        # Arrow says here that a row is too long.
        raise BadInputError(
            f"{file.path}: expected rows after the header line. There is none."
        )
    names = source["columns"] or (found.first if found.header else ())
    if names and found.width != len(names):
        what = "`columns` names" if source["columns"] else "its first line has"
        raise BadInputError(
            f"{file.path}: {what} {len(names)}, but most lines have {found.width} "
            f"cells, cut at {found.delimiter!r}. Say another `delimiter`, `columns` or "
            "`skip_lines`."
        )
    if source["columns"] and [c.strip() for c in found.first] == [*names]:
        raise BadInputError(
            f"{file.path}: its first line names the columns, so `columns` would make "
            "it a row. Leave `columns` out."
        )
    return found


def _head(file: File, source: Mapping[str, Any]) -> str:
    """Return the first lines of a file, whole ones.

    Raises:
      BadInputError: there is none, or they are in another encoding.
    """
    encoding = source["encoding"]
    _check_byte_order(file, encoding)
    stream = Utf8Stream(file.path, encoding, skip_lines=source["skip_lines"])
    with closing(stream):
        text = b""
        while len(text) < _HEAD_BYTES and (more := stream.read(_HEAD_BYTES)):
            text += more
    if not text.strip():
        raise BadInputError(f"{file.path}: expected a table. It is empty.")
    if len(text) >= _HEAD_BYTES and b"\n" in text:
        text = text.rpartition(b"\n")[0]
    head = text.decode(errors="ignore")  # a character may be cut at the end
    _check_decoded(head, file, encoding)
    return head


def _check_byte_order(file: File, encoding: str) -> None:
    with files.open_decompressed(file.path) as raw:
        mark = raw.read(2)
    if mark in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE) and is_utf8(encoding):
        raise BadInputError(
            f"{file.path}: expected {encoding}, but it begins like UTF-16. Say "
            "`encoding: utf-16`."
        )


def _check_decoded(head: str, file: File, encoding: str) -> None:
    if head.count("\0") > _MOST_NUL * len(head):
        raise BadInputError(
            f"{file.path}: expected text, but it is full of zero bytes. If it is "
            "UTF-16, say `encoding: utf-16`."
        )
    lines = head.splitlines()
    bad = [number for number, line in enumerate(lines, 1) if MARK in line]
    if bad and (bad[0] == 1 or len(bad) > _MOST_UNDECODABLE * len(lines)):
        raise BadInputError(
            f"{file.path}: {len(bad)} of its first {len(lines)} lines are not "
            f"{encoding}, first line {bad[0]}. Say its `encoding`, such as latin-1 or "
            "cp1252."
        )


def _layout(file: File, look: Dialect, source: Mapping[str, Any]) -> Layout:
    numbered = tuple(f"column_{i + 1}" for i in range(look.width))
    names = numbered
    if source["columns"]:
        names = tuple(source["columns"])
    elif look.header:
        names = tuple(n or m for n, m in zip(look.first, numbered, strict=True))
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise BadInputError(
            f"{file.path}: the column {twice[0]!r} is there twice. Expected a name of "
            "its own for each."
        )
    return Layout(
        path=file.path,
        relative=file.relative,
        names=names,
        delimiter=look.delimiter,
        blanks=look.blanks,
        header=look.header,
        quotes=source["quotes"],
        encoding=source["encoding"],
        skip_lines=source["skip_lines"],
        missing=tuple(source["missing"]),
    )


def _check_columns(found: Sequence[File], made: Sequence[Layout]) -> None:
    by_group: dict[bool, Layout] = {}
    for file, layout in zip(found, made, strict=True):
        first = by_group.setdefault(file.part == "serving", layout)
        lacks = [n for n in first.names if n not in layout.names]
        more = [n for n in layout.names if n not in first.names]
        if lacks or more:
            differs = [f"lacks {n!r}" for n in lacks] + [
                f"also has {n!r}" for n in more
            ]
            raise BadInputError(
                f"{file.path}: expected the columns of {first.path}, in any order. It "
                f"{', '.join(differs[:3])}."
            )
