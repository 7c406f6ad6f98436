"""Images with class masks: PNGs of the same name whose pixels are class ids.

Features: `image` (bytes), `mask` (bytes: a PNG of one 8-bit channel, the class ids),
`height`, `width` (in pixels) and `file`.

A mask belongs to the image of the same file name; of several, to the one whose folders
are named most alike.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import PurePosixPath
from typing import Any

import pyarrow as pa

from components.sources import (
    BadRow,
    Batch,
    Piece,
    class_mask,
    files,
    images,
    small_files,
)
from recipes.errors import BadInputError

SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp")
_TYPES = {
    "image": pa.large_binary(),
    "mask": pa.large_binary(),
    "height": pa.int64(),
    "width": pa.int64(),
    "file": pa.string(),
}


def pieces(
    source: Mapping[str, Any],
    found: Sequence[files.File],
    splits: Mapping[str, int | str],
) -> list[Piece]:
    """Return some images each, with their masks.

    Raises:
      BadInputError: no mask is named like an image.
    """
    del splits
    masks = files.list_files([files.Pattern(source["masks"])], (".png",))
    paths = {mask.path for mask in masks}
    pairs, bad = _pairs([image for image in found if image.path not in paths], masks)
    if not pairs:
        raise BadInputError(
            f"[data.masks] masks: expected names as those of the images, such as "
            f"{found[0].relative}. Received: {masks[0].relative}"
        )
    made, start = [], 0
    for piece in small_files.pieces([image for image, _ in pairs], {}):
        count = len(piece.options["files"])
        listed = [[m.path, m.relative] for _, m in pairs[start : start + count]]
        extra = {"masks": listed, "bad": [] if made else bad}
        made.append(replace(piece, options={**piece.options, **extra}))
        start += count
    return made


def read(piece: Piece) -> Iterator[Batch]:
    """Read images with their masks; what does not fit together is left out."""
    options = piece.options
    records = _Records(bad=[BadRow(*values) for values in options["bad"]])
    for image, mask in zip(options["files"], options["masks"], strict=True):
        records.add(image, mask)
    yield small_files.batch(records.rows, _TYPES, records.bad, records.notes)


@dataclass
class _Records:
    bad: list[BadRow]
    rows: list[dict[str, Any]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def add(self, image: Sequence[str], mask: Sequence[str]) -> None:
        (path, relative), (mask_path, mask_relative) = image, mask
        try:
            data = small_files.read_whole(path, images.LARGEST_BYTES)
            encoded, notes = images.usable(data)
            with images.opened(encoded) as opened:
                width, height = opened.size
            try:
                data = small_files.read_whole(mask_path, images.LARGEST_BYTES)
                ids, mask_notes = class_mask.usable(data, height, width)
            except ValueError as error:
                raise ValueError(f"mask {mask_relative}: {error}") from error
        except ValueError as error:
            self.bad.append(BadRow(relative, str(error)))
            return
        row = {"image": encoded, "mask": ids, "height": height, "width": width}
        self.rows.append({**row, "file": relative})
        self.notes += [*notes, *mask_notes]


def _pairs(
    found: Sequence[files.File], masks: Sequence[files.File]
) -> tuple[list[tuple[files.File, files.File]], list[list[str]]]:
    """Return images with their masks, and what lacks its partner, as bad rows."""
    by_name: dict[str, list[files.File]] = {}
    for mask in masks:
        by_name.setdefault(PurePosixPath(mask.relative).stem, []).append(mask)
    pairs = []
    bad = []
    for image in found:
        same = by_name.get(PurePosixPath(image.relative).stem, [])
        if same:
            pairs.append((image, max(same, key=lambda m: _alike(image, m))))
        else:
            bad.append([image.relative, "there is no mask of its name"])
    used = {mask.path for _, mask in pairs}
    unused = [mask.relative for mask in masks if mask.path not in used]
    bad += [[name, "there is no image of this mask's name"] for name in unused]
    return pairs, bad


def _alike(image: files.File, mask: files.File) -> int:
    """Return how many of their folders have names in common."""
    ours, theirs = (set(PurePosixPath(f.path).parts[:-1]) for f in (image, mask))
    return len(ours & theirs)
