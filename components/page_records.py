"""Read records in plain Python, and show each as HTML: pictures, sounds, values.

No TensorFlow operation: the process that writes the data page forks others.
"""

import base64
import gzip
import html
import io
import re
import struct
import warnings
from collections.abc import Collection, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageOps

from components import charts, near_images
from components.sources import images, wav

LOOK_BYTES = 8 << 20  # of a split, among which samples are chosen
MAX_CELL = 200  # characters
THUMBNAIL = 120  # pixels
MAX_SAMPLES_OF_SOUND = 24_000  # that can be played on the page: 48 kB
MAX_LANES = 8  # channels of a time series that are drawn

_BLOCK_BYTES = 1 << 20
_LENGTH = struct.Struct("<Q")
_SOUND = re.compile(rb"RIFF.{4}WAVE", re.DOTALL)
_TOO_LARGE = (Image.DecompressionBombError, Image.DecompressionBombWarning)
_HEADER_BYTES = 64
_DIM = 32  # the brightest pixel of a class mask is darker

Record = dict[str, list[Any]]


def read(examples: Path, split: str) -> Iterator[Record]:
    """Yield the records of a split, in the order of its shards."""
    return (parse(r) for shard in _shards(examples, split) for r in frames(shard))


def pick(examples: Path, split: str, numbers: Collection[int]) -> dict[int, Record]:
    """Return the records of these numbers, counted from 0 in the order of `read`."""
    wanted, start, found = set(numbers), 0, {}
    for shard in _shards(examples, split):
        if len(found) == len(wanted):
            break
        number = start - 1
        for number, record in enumerate(frames(shard), start):
            if number in wanted:
                found[number] = parse(record)
        start = number + 1
    return found


def sample(examples: Path, split: str, count: int) -> list[tuple[str, Record]]:
    """Return records from all over a split, each with the name of its origin.

    Looked at are the heads of at most `count` shards, LOOK_BYTES in all.
    """
    shards = _shards(examples, split)
    chosen = [shards[i] for i in _spread(len(shards), count)]
    found: list[tuple[str, Record]] = []
    for left, shard in zip(range(len(chosen), 0, -1), chosen, strict=True):
        heads = _head(shard, LOOK_BYTES // len(chosen))
        rows = _spread(len(heads), -(-(count - len(found)) // left))
        names = _origins(examples, shard, rows)
        found += [(names.get(row, ""), parse(heads[row])) for row in rows]
    return found


def frames(shard: Path) -> Iterator[bytes]:
    """Yield the serialized records of a gzipped TFRecord file."""
    # In blocks: a read for every record takes four times as long.
    with gzip.open(shard) as file:
        rest, size = b"", _BLOCK_BYTES
        while block := file.read(size):
            block, start, size = rest + block, 0, _BLOCK_BYTES
            # TFRecord: length (8 bytes), checksum (4), the record, checksum (4).
            while start + 12 <= len(block):
                end = start + 12 + _LENGTH.unpack_from(block, start)[0]
                if end + 4 > len(block):
                    size = max(size, end + 4 - len(block))
                    break
                yield block[start + 12 : end]
                start = end + 4
            rest = block[start:]


def parse(record: bytes) -> Record:
    """Return the values of a serialized tf.Example, its features in order of name."""
    from tensorflow.core.example import example_pb2

    example = example_pb2.Example.FromString(record)
    return {
        name: list(getattr(feature, kind).value)
        for name, feature in sorted(example.features.feature.items())
        if (kind := feature.WhichOneof("kind"))
    }


def shown(record: Record, name: str = "", *, channels: Sequence[str] = ()) -> str:
    """Return a record as HTML: its pictures and sounds, then its other values.

    Args:
      record: values by feature.
      name: where it came from.
      channels: names of those that the `context` of a time series has at each step.
    """
    media, lines = "", [f"<i>{html.escape(name)}</i>"] if name else []
    for feature, values in record.items():
        if feature == "context" and len(channels) > 1:
            drawn = _lanes(values, channels)
        else:
            drawn = _media(feature, values, record.get("boxes", ()))
        media += drawn
        # Boxes are drawn into the picture.
        if not drawn and not (feature == "boxes" and "image" in record):
            lines.append(f"<b>{html.escape(feature)}</b> {html.escape(_text(values))}")
    return f"<figure>{media}<figcaption>{'<br>'.join(lines)}</figcaption></figure>"


def _shards(examples: Path, split: str) -> list[Path]:
    return sorted((examples / f"Split-{split}").glob("*.gz"))


def _spread(total: int, count: int) -> list[int]:
    """Return at most `count` numbers below `total`, evenly spaced."""
    count = min(total, count)
    return [i * total // count for i in range(count)]


def _head(shard: Path, size_bytes: int) -> list[bytes]:
    found = []
    for record in frames(shard):
        found.append(record)
        size_bytes -= len(record)
        if size_bytes <= 0:
            break
    return found


def _origins(examples: Path, shard: Path, rows: Sequence[int]) -> dict[int, str]:
    stem = shard.name.removesuffix(".gz")
    path = examples / "origins" / shard.parent.name / f"{stem}.txt.gz"
    if not rows or not path.exists():
        return {}
    with gzip.open(path, "rt", encoding="utf-8") as lines:
        every = enumerate(islice(lines, max(rows) + 1))
        return {row: line.rstrip("\n") for row, line in every if row in rows}


def _lanes(values: Sequence[float], channels: Sequence[str]) -> str:
    """Draw each channel of a time series, whose values are given step by step."""
    return "".join(
        charts.wave(values[i :: len(channels)], name)
        for i, name in enumerate(channels[:MAX_LANES])
    )


def _media(feature: str, values: Sequence[Any], boxes: Sequence[float]) -> str:
    if feature == "boxes":
        return ""
    if len(values) > 8 and isinstance(values[0], float):
        return charts.wave(values, feature)
    if len(values) != 1 or not isinstance(values[0], bytes) or _is_text(values[0]):
        return ""
    if _SOUND.match(values[0]):
        return _sound(feature, values[0])
    if near_images.is_image(values[0]):
        return _thumbnail(feature, values[0], boxes)
    return ""


def _is_text(data: bytes) -> bool:
    """Tell whether bytes can be printed; the headers of pictures and sounds cannot."""
    try:
        text = data[:_HEADER_BYTES].decode("utf-8")
    except UnicodeDecodeError as error:
        cut = len(data) > _HEADER_BYTES and error.start > _HEADER_BYTES - 4
        text = data[: error.start].decode("utf-8") if cut else "\0"
    return all(c.isprintable() or c.isspace() for c in text)


def _thumbnail(feature: str, data: bytes, boxes: Sequence[float]) -> str:
    try:
        image = _decode(data)
    # What a broken picture raises depends on its format; the page is made all the same.
    except (OSError, ValueError, SyntaxError, struct.error, *_TOO_LARGE) as error:
        return f'<span class="bad">no picture: {html.escape(str(error))}</span>'
    image.thumbnail((THUMBNAIL, THUMBNAIL))
    _draw_boxes(image, boxes)
    packed, kind = io.BytesIO(), "jpeg" if max(image.size) > 48 else "png"
    image.save(packed, kind)
    shown = base64.b64encode(packed.getvalue()).decode()
    return (
        f'<img alt="{html.escape(feature, quote=True)}" width="{max(48, image.width)}" '
        f'src="data:image/{kind};base64,{shown}">'
    )


def _decode(data: bytes) -> Image.Image:
    with warnings.catch_warnings():
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        with images.opened(data) as opened:
            opened.draft("RGB", (THUMBNAIL, THUMBNAIL))  # a JPEG is decoded small
            return _visible(opened)


def _visible(image: Image.Image) -> Image.Image:
    """Return an image as RGB; 16-bit ones and class masks as bright as they can be."""
    if image.mode.startswith("I"):
        pixels = np.asarray(image, np.float64)
        scaled = np.clip(pixels * (255 / (pixels.max() or 1)), 0, 255)
        image = Image.fromarray(scaled.round().astype(np.uint8))
    elif image.mode == "L" and image.getextrema()[1] < _DIM:
        image = ImageOps.autocontrast(image)
    return image.convert("RGB")


def _draw_boxes(image: Image.Image, boxes: Sequence[float]) -> None:
    """Draw objects: ymin, xmin, ymax, xmax of each, as shares of height and width."""
    pen = ImageDraw.Draw(image)
    width, height = image.width - 1, image.height - 1
    for top, left, bottom, right in zip(*[iter(boxes)] * 4, strict=False):
        x, y = sorted((left * width, right * width)), sorted((top, bottom))
        pen.rectangle((x[0], y[0] * height, x[1], y[1] * height), outline="#d60000")


def _sound(feature: str, data: bytes) -> str:
    try:
        header = wav.parse(data)
        samples = wav.mono16(data, header)
    except ValueError as error:
        return f'<span class="bad">no sound: {html.escape(str(error))}</span>'
    drawn = charts.wave(samples.tolist(), f"waveform of {feature}")
    played = wav.encode(samples[:MAX_SAMPLES_OF_SOUND], header.sample_rate)
    packed = base64.b64encode(played).decode()
    return f'{drawn}<br><audio controls src="data:audio/wav;base64,{packed}"></audio>'


def _text(values: Sequence[Any]) -> str:
    plain = [
        v[: 4 * MAX_CELL].decode("utf-8", "replace")
        if isinstance(v, bytes)
        else f"{v:.6g}"
        if isinstance(v, float)
        else str(v)
        for v in values[:16]
    ]
    text = ", ".join(plain) + (f", ... ({len(values)})" if len(values) > 16 else "")
    return text[:MAX_CELL] + ("..." if len(text) > MAX_CELL else "")
