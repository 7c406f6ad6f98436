"""A mask of class ids: a PNG whose grey values, or palette indices, are the ids."""

import io
import struct

import numpy as np
from PIL import Image

# A PNG's first chunk: signature, length, name; then width, height, bits a channel, and
# what the channels are.
_HEADER = struct.Struct(">8s4x4sIIBB")
_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_GREY, _PALETTE = 0, 3


def usable(data: bytes, height: int, width: int) -> tuple[bytes, list[str]]:
    """Return a mask as a PNG of one 8-bit channel, and a note if it was another.

    Decoders show a palette's colours, and stretch grey of fewer than 8 bits: the ids
    would be lost. Such masks are written anew.

    Raises:
      ValueError: no PNG, broken, of another size, or not of class ids below 256.
    """
    if len(data) < _HEADER.size or not data.startswith(_SIGNATURE):
        raise ValueError("expected a PNG")
    *_, found_width, found_height, bits, kind = _HEADER.unpack_from(data)
    if (found_height, found_width) != (height, width):
        raise ValueError(
            f"expected {width} x {height} pixels, as its image has. "
            f"Received: {found_width} x {found_height}"
        )
    if kind not in (_GREY, _PALETTE):
        raise ValueError("expected one channel of class ids. Received: colours")
    try:
        Image.open(io.BytesIO(data), formats=("PNG",)).verify()
        if (kind, bits) == (_GREY, 8):
            return data, []
        ids = np.asarray(Image.open(io.BytesIO(data), formats=("PNG",)))
    except (OSError, SyntaxError) as error:  # the latter is PIL's word for a broken PNG
        raise ValueError(f"not a readable PNG: {error}") from error
    if kind == _GREY and bits in (2, 4):
        ids = ids // (255 // (2**bits - 1))  # PIL stretches them, too
    if ids.max() > 255:
        raise ValueError(f"expected class ids up to 255. Received: {ids.max()}")
    note = "palette mask: its indices are the ids" if kind else f"{bits}-bit mask"
    return _png(ids.astype(np.uint8)), [f"{note}; written as 8-bit PNG"]


def _png(ids: np.ndarray) -> bytes:
    encoded = io.BytesIO()
    Image.fromarray(ids).save(encoded, "PNG")
    return encoded.getvalue()
