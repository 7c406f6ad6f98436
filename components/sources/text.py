"""Plain text: an example per line, per file, or per window of characters.

Features: `text`; with `per: window` the `window`, its number in the file from 1; with
`label: folder` the `label`, the name of the folder a file lies in. Texts stay as they
are, but for the end of a line; lines and files of blanks are left out and counted. A
window is `window` characters (code points) of one file, the last one what is left:
windows joined are the file.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa

from components.sources import (
    BATCH_BYTES,
    BATCH_ROWS,
    BadRow,
    Batch,
    Piece,
    files,
    small_files,
    utf8,
)

SUFFIXES = ()
LARGEST_BYTES = 16 << 20  # of one example

_MARK = utf8.MARK.encode()
_BLANK = {"line": "empty line left out", "file": "empty file left out"}
_SHOWN = 80  # characters of a text that is left out


def pieces(
    source: Mapping[str, Any],
    found: Sequence[files.File],
    splits: Mapping[str, int | str],
) -> list[Piece]:
    """Return some small files each, or a large one.

    Raises:
      BadInputError: an encoding that Python does not know, or files without a folder
        that labels them.
    """
    del splits
    utf8.check_encoding(source["encoding"])
    notes = []
    if source["label"] == "folder":
        small_files.check_labels(found, "text", "`label: none`")
        notes = [
            f"class folder {folder!r} holds no text that is read"
            for folder in small_files.empty_folders(found)
        ]
    kept = ("per", "label", "window", "encoding")
    return small_files.pieces(found, {key: source[key] for key in kept}, notes)


def read(piece: Piece) -> Iterator[Batch]:
    """Read texts; what is not of the encoding, or too long, is left out."""
    texts = _Texts(piece.options, notes=list(piece.options.get("notes", ())))
    split = _SPLITS[piece.options["per"]]
    for path, relative in piece.options["files"]:
        with files.open_decompressed(path) as file:
            chunks = utf8.transcoded(file, piece.options["encoding"])
            for number, text in split(chunks, piece.options["window"]):
                texts.add(relative, number, text)
                if texts.is_full():
                    yield texts.batch()
                    texts = _Texts(piece.options)
    yield texts.batch()


@dataclass
class _Texts:
    """What has been read of a batch."""

    options: Mapping[str, Any]
    names: list[str] = field(default_factory=list)
    texts: list[bytes] = field(default_factory=list)
    labels: list[str] = field(default_factory=list)
    numbers: list[int] = field(default_factory=list)
    bad: list[BadRow] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    size_bytes: int = 0

    def add(self, relative: str, number: int, text: bytes) -> None:
        """Take a text in; `number` says which of its file it is, 0 for all of it."""
        per = self.options["per"]
        name = f"{relative} {per} {number}" if number else relative
        if per in _BLANK and not text.strip():
            self.notes.append(_BLANK[per])
            return
        why = self._fault(text)
        if why:
            shown = text[: 4 * _SHOWN].decode(errors="ignore")[:_SHOWN]
            shown = shown.replace(utf8.MARK, "\N{REPLACEMENT CHARACTER}")
            self.bad.append(BadRow(name, why, shown))
            return
        self.names.append(name)
        self.texts.append(text)
        self.labels.append(small_files.label(relative))
        self.numbers.append(number)
        self.size_bytes += len(text)

    def _fault(self, text: bytes) -> str:
        if len(text) > LARGEST_BYTES:
            return (
                f"longer than {LARGEST_BYTES >> 20} MB; read it with another `per`, "
                "such as `window`"
            )
        encoding = self.options["encoding"]
        if _MARK in text:
            other = "latin-1" if encoding.startswith("utf") else "utf-8"
            return f"not {encoding}; is it `encoding: {other}`?"
        if b"\0" in text:
            return f"holds the character 0: no text, or not {encoding} but UTF-16"
        return ""

    def is_full(self) -> bool:
        told = len(self.names) + len(self.bad) + len(self.notes)
        return told >= BATCH_ROWS or self.size_bytes >= BATCH_BYTES

    def batch(self) -> Batch:
        # As binary first: the cast checks in C++ that it is UTF-8.
        columns = {"text": pa.array(self.texts, pa.binary()).cast(pa.string())}
        if self.options["per"] == "window":
            columns["window"] = pa.array(self.numbers, pa.int64())
        if self.options["label"] == "folder":
            columns["label"] = pa.array(self.labels, pa.string())
        table = pa.RecordBatch.from_pydict(columns)
        return Batch(self.names, table, bad=tuple(self.bad), notes=tuple(self.notes))


def _lines(chunks: Iterator[bytes], window: int) -> Iterator[tuple[int, bytes]]:
    """Yield lines without their ends, counted from 1.

    Of a line that is too long, only so much is kept that one sees that it is.
    """
    del window
    number, rest = 0, b""
    for chunk in chunks:
        *lines, rest = (rest + chunk).split(b"\n")
        rest = rest[: LARGEST_BYTES + 1]
        for line in lines:
            number += 1
            yield number, line.removesuffix(b"\r")
    if rest:
        yield number + 1, rest.removesuffix(b"\r")


def _whole(chunks: Iterator[bytes], window: int) -> Iterator[tuple[int, bytes]]:
    del window
    text = bytearray()
    for chunk in chunks:
        text += chunk
        if len(text) > LARGEST_BYTES:
            break
    yield 0, bytes(text)


def _windows(chunks: Iterator[bytes], window: int) -> Iterator[tuple[int, bytes]]:
    """Yield windows, counted from 1; a chunk ends between two characters."""
    number, rest = 0, ""
    for chunk in chunks:
        text = rest + chunk.decode()
        ends = len(text) - len(text) % window
        for start in range(0, ends, window):
            number += 1
            yield number, text[start : start + window].encode()
        rest = text[ends:]
    if rest:
        yield number + 1, rest.encode()


_Split = Callable[[Iterator[bytes], int], Iterator[tuple[int, bytes]]]
_SPLITS: Mapping[str, _Split] = {"line": _lines, "file": _whole, "window": _windows}
