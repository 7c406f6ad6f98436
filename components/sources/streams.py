"""Packed streams whose damage is told in words, wherever in the stream it shows."""

import contextlib
import gzip
import io
import zipfile
import zlib
from collections.abc import Iterator
from typing import Any, BinaryIO, cast

from recipes.errors import BadInputError

_BUFFER_BYTES = 1 << 20


def checked(packed: Any, path: str, packing: str, raw: BinaryIO | None) -> BinaryIO:
    """Return a buffered stream of what a packed one holds.

    Args:
      packed: such as `gzip.GzipFile`.
      path: the file, for messages.
      packing: such as `gzip`, for messages.
      raw: what `packed` reads from, closed with it.
    """
    stream = _Checked(packed, path, packing, raw)
    return cast("BinaryIO", io.BufferedReader(stream, _BUFFER_BYTES))


def ends_early(path: str, packing: str) -> BadInputError:
    return BadInputError(f"{path}: the {packing} stream ends too early; copy it again.")


class _Checked(io.RawIOBase):
    def __init__(self, packed: Any, path: str, packing: str, raw: BinaryIO | None):
        self._packed, self._raw = packed, raw
        self._path, self._packing = path, packing

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return self._packed.seekable()

    def readinto(self, buffer: Any) -> int:
        with self._in_words():
            return self._packed.readinto(buffer)

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        with self._in_words():
            return self._packed.seek(offset, whence)

    def tell(self) -> int:
        return self._packed.tell()

    def close(self) -> None:
        if not self.closed:
            self._packed.close()
            if self._raw:
                self._raw.close()
        super().close()

    @contextlib.contextmanager
    def _in_words(self) -> Iterator[None]:
        try:
            yield
        except EOFError as error:
            raise ends_early(self._path, self._packing) from error
        except (gzip.BadGzipFile, zlib.error, zipfile.BadZipFile, OSError) as error:
            raise BadInputError(
                f"{self._path}: the {self._packing} stream is damaged ({error}); copy "
                "it again."
            ) from error
