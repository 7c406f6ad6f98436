"""Text files as streams of valid UTF-8, whatever they are encoded and compressed in.

What cannot be decoded becomes MARK, a code point that Unicode keeps out of texts: the
row that holds it can be found later, and the rows beside it are not lost.
"""

import codecs
import io
import re
from collections.abc import Iterator

from components.sources import files
from recipes.errors import BadInputError

MARK = "\ufdd0"
CHUNK_BYTES = 1 << 20
LONGEST_LINE_BYTES = 16 << 20  # lines above are not kept together: no reader takes them

# Python's names for notations, some of which yield halves of characters.
_NO_CHARSETS = ("idna", "punycode", "raw-unicode-escape", "unicode-escape", "utf-7")

_LINE_END = re.compile(rb"\r\n|\r|\n")
_BLANKS = re.compile(rb"[ \t]+")
_BLANKS_OR_QUOTED = re.compile(rb'"[^"]*"|[ \t]+')
_LINE_EDGES = re.compile(rb"^ | (?=\r?$)", re.MULTILINE)


class Utf8Stream(io.RawIOBase):
    """The lines of a file, readable, as UTF-8.

    Args:
      path: as `files.open_decompressed` takes it.
      encoding: of the file. A byte order mark is no part of its text.
      skip_lines: so many lines are left out, and empty lines after them; None: none
        is, not even an empty one.
      squeeze: whether runs of blanks become one, and none at the ends of lines; what
        stands in quotes stays.

    Attributes:
      marked: whether what has been read so far holds MARK.
      holds_nul: whether it holds the character 0.
      holds_quote: whether it holds `"`.
    """

    def __init__(
        self,
        path: str,
        encoding: str,
        *,
        skip_lines: int | None = None,
        squeeze: bool = False,
    ):
        self.marked = False
        self.holds_nul = False
        self.holds_quote = False
        self._file = files.open_decompressed(path)
        chunks = transcoded(self._file, encoding)
        if skip_lines is not None:
            chunks = _without_head(chunks, skip_lines)
        self._chunks = _squeezed(chunks) if squeeze else chunks
        self._rest = b""

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        """Return at most `size` bytes; none at the end only."""
        if size < 0:
            return b"".join(iter(lambda: self.read(CHUNK_BYTES), b""))
        while not self._rest:
            chunk = next(self._chunks, None)
            if chunk is None:
                return b""
            self.marked = self.marked or MARK.encode() in chunk
            self.holds_nul = self.holds_nul or b"\0" in chunk
            self.holds_quote = self.holds_quote or b'"' in chunk
            self._rest = chunk
        taken, self._rest = self._rest[:size], self._rest[size:]
        return taken

    def close(self) -> None:
        if not self.closed:
            self._file.close()
        super().close()


def check_encoding(encoding: str) -> None:
    """Refuse what is no encoding of text.

    Raises:
      BadInputError: it is named.
    """
    refusal = BadInputError(
        f"[data] encoding: expected one that Python knows, such as utf-8, utf-16, "
        f"latin-1 or cp1252. Received: {encoding!r}"
    )
    try:
        "".encode(encoding)
    except (LookupError, ValueError) as error:
        raise refusal from error
    if codecs.lookup(encoding).name in _NO_CHARSETS:
        raise refusal


def is_utf8(encoding: str) -> bool:
    """Return whether an encoding, under any of its names, is UTF-8."""
    return codecs.lookup(encoding).name in ("utf-8", "utf-8-sig")


def transcoded(file: io.BufferedIOBase, encoding: str) -> Iterator[bytes]:
    codecs.register_error("mark", lambda error: (MARK, error.end))
    may_pass = is_utf8(encoding)
    decoder = codecs.getincrementaldecoder(encoding)(errors="mark")
    is_start = True
    while chunk := file.read(CHUNK_BYTES):
        if may_pass and chunk.isascii() and not decoder.getstate()[0]:
            is_start = False
            yield chunk
            continue
        text = decoder.decode(chunk)
        if is_start and text:
            text = text.removeprefix("\ufeff")
            is_start = False
        yield text.encode()
    yield decoder.decode(b"", final=True).encode()


def _without_head(chunks: Iterator[bytes], num_lines: int) -> Iterator[bytes]:
    for chunk in chunks:
        if num_lines:
            ends = [m.end() for m in _LINE_END.finditer(chunk)][:num_lines]
            num_lines -= len(ends)
            chunk = b"" if num_lines else chunk[ends[-1] :]
        chunk = chunk.lstrip(b"\r\n")
        if chunk:
            yield chunk
            break
    yield from chunks


def _squeezed(chunks: Iterator[bytes]) -> Iterator[bytes]:
    rest = b""
    for chunk in chunks:
        lines, end, rest = (rest + chunk).rpartition(b"\n")
        if end:
            yield _squeeze(lines) + end
        elif len(rest) > LONGEST_LINE_BYTES:
            yield rest
            rest = b""
    if rest:
        yield _squeeze(rest)


def _squeeze(lines: bytes) -> bytes:
    if b'"' in lines:
        lines = _BLANKS_OR_QUOTED.sub(
            lambda m: m[0] if m[0].startswith(b'"') else b" ", lines
        )
    else:
        lines = _BLANKS.sub(b" ", lines)
    return _LINE_EDGES.sub(b"", lines)
