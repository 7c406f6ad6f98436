"""Image files: the encoded bytes as they are, with a label or a row of a table.

Features: `image` (bytes), and `label`, the name of the folder an image lies in, or the
columns of `table`.

Every image is checked by its header. What `tf.io.decode_image` cannot read as 8-bit
pixels of any number of channels becomes a PNG, and is noted: CMYK, 16 bits a channel,
BMP, WebP, TIFF. Of 16 bits the upper eight stay, as that function does it.

The EXIF tag for orientation is noted, not obeyed: `tf.io.decode_image` does not obey it
in a served model either.
"""

import io
import struct
import warnings
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
from PIL import Image

from components.sources import BadRow, Batch, Piece, files, small_files, table_of_files

SUFFIXES = (".jpg", ".jpeg", ".png", ".gif", ".bmp", ".webp", ".tif", ".tiff")
LARGEST_BYTES = 256 << 20  # of a file; a tf.Example ends at 2 GB
LARGEST_PIXELS = 100_000_000

_JPEG = ("JPEG", "MPO")  # MPO: what phones and 3D cameras write, more images behind one
_KEPT = (*_JPEG, "PNG", "GIF")
# PIL knows more, and tries them by content: EPS, for one, would run Ghostscript.
_FORMATS = ("JPEG", "PNG", "GIF", "BMP", "WEBP", "TIFF")  # an MPO is found as a JPEG
_UNREADABLE = (
    OSError,  # also: PIL does not know the format
    ValueError,
    SyntaxError,  # PIL's word for a broken PNG
    EOFError,
    struct.error,
    zlib.error,
    Image.DecompressionBombError,
)
_ORIENTATION = 0x0112
_PNG_END = b"IEND\xaeB`\x82"  # the last chunk, with its checksum
_PNG_DEPTH = 24  # where a PNG says how many bits a channel has


def pieces(
    source: Mapping[str, Any],
    found: Sequence[files.File],
    splits: Mapping[str, int | str],
) -> list[Piece]:
    """Return some images each, with their labels or their rows of the table.

    Raises:
      BadInputError: images without a folder that labels them, or a table without the
        column that names files.
    """
    if source["table"] is not None:
        return table_of_files.pieces(source, found, splits, reserved=("image",))
    small_files.check_labels(found, "image", "`table`: a CSV with a row per image")
    notes = [
        f"class folder {folder!r} holds no image that is read"
        for folder in small_files.empty_folders(found)
    ]
    return small_files.pieces(found, {}, notes)


def read(piece: Piece) -> Iterator[Batch]:
    """Read images; what a decoder would stumble over is converted or left out."""
    images = _Images(notes=list(piece.options.get("notes", ())))
    for index, (path, relative) in enumerate(piece.options["files"]):
        images.add(index, path, relative)
    columns = {"image": pa.array(images.encoded, pa.large_binary())}
    rows = table_of_files.rows(piece)
    if rows is None:
        labels = map(small_files.label, images.names)
        columns["label"] = pa.array(labels, pa.string())
    else:
        kept = rows.take(pa.array(images.kept, pa.int64()))
        columns |= {name: kept.column(name) for name in kept.schema.names}
    yield Batch(
        images.names,
        pa.RecordBatch.from_pydict(columns),
        bad=(*table_of_files.bad_rows(piece), *images.bad),
        notes=tuple(images.notes),
    )


@dataclass
class _Images:
    """Images that can be used, and what is to be said about them and the others."""

    kept: list[int] = field(default_factory=list)
    names: list[str] = field(default_factory=list)
    encoded: list[bytes] = field(default_factory=list)
    bad: list[BadRow] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def add(self, index: int, path: str, relative: str) -> None:
        try:
            encoded, notes = usable(small_files.read_whole(path, LARGEST_BYTES))
        except ValueError as error:
            self.bad.append(BadRow(relative, str(error)))
            return
        self.kept.append(index)
        self.names.append(relative)
        self.encoded.append(encoded)
        self.notes += notes


def usable(data: bytes) -> tuple[bytes, list[str]]:
    """Return an encoded image that any decoder reads, and notes on what was done to it.

    Raises:
      ValueError: it is no image, or broken, or too large.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # PIL's, of damaged tags and large images
            image = opened(data)
            if image.width * image.height <= LARGEST_PIXELS:
                return _usable(data, image)
    except _UNREADABLE as error:
        raise ValueError(f"not a readable image: {_first_line(error)}") from error
    raise ValueError(
        f"declares {image.width} x {image.height} pixels; expected at most "
        f"{LARGEST_PIXELS / 1e6:.0f} million"
    )


def opened(data: bytes) -> Image.Image:
    """Return an image of the formats that are read, its header parsed.

    Raises:
      PIL.UnidentifiedImageError: it is none of them.
    """
    return Image.open(io.BytesIO(data), formats=_FORMATS)


def _usable(data: bytes, image: Image.Image) -> tuple[bytes, list[str]]:
    notes = []
    if "exif" in image.info and image.getexif().get(_ORIENTATION, 1) != 1:
        notes.append("EXIF orientation not obeyed: images stay as they are stored")
    reason = _why_convert(data, image)
    if reason:
        return _png(image), [*notes, f"{reason} converted to 8-bit PNG"]
    if image.format == "PNG":
        image.verify()  # checksums of all chunks; costs a fiftieth of decoding
        if _PNG_END not in data:
            raise ValueError("the PNG has no end: cut short")
    elif image.format not in _JPEG or not _ends(data):
        image.load()
    return data, notes


def _why_convert(data: bytes, image: Image.Image) -> str:
    if image.format not in _KEPT:
        return f"{image.format} image"
    if image.format in _JPEG and image.mode == "CMYK":
        return "CMYK image"
    if image.format == "PNG" and data[_PNG_DEPTH] == 16:
        return "16-bit image"
    return ""


def _png(image: Image.Image) -> bytes:
    if image.mode in ("I", "F"):
        raise ValueError("32 bits a channel; expected 8 or 16")
    if image.mode.startswith("I;16"):  # PIL would clip at 255 instead of scaling
        image = Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))
    elif image.mode not in ("L", "LA", "RGB", "RGBA"):
        has_alpha = "transparency" in image.info or image.mode == "PA"
        image = image.convert("RGBA" if has_alpha else "RGB")
    encoded = io.BytesIO()
    image.save(encoded, "PNG", icc_profile=None)
    return encoded.getvalue()


def _ends(data: bytes) -> bool:
    """Whether a JPEG ends with its end marker; padding with zeros is common."""
    return data[-2:] == b"\xff\xd9" or data.rstrip(b"\0")[-2:] == b"\xff\xd9"


def _first_line(error: Exception) -> str:
    """Without the address of the buffer that PIL names."""
    if isinstance(error, Image.UnidentifiedImageError):
        return "unknown format, or the header is broken"
    return str(error).splitlines()[0] if str(error) else type(error).__name__
