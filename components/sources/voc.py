"""Pascal VOC: images with the boxes and classes of the objects in them.

Features: `image` (bytes), `boxes` (floats, four an object: ymin, xmin, ymax, xmax as
shares of height and width), `labels` (class ids, one an object), `num_objects`,
`height`, `width` (in pixels) and `file`.

Parts are the lists in ImageSets/Main (`train`, `val`, `trainval`, `test`). With shares,
or where `path` itself has parts, every annotated image is read, whatever lists say.
"""

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import pyarrow as pa

from components.sources import (
    BadRow,
    Batch,
    Piece,
    files,
    images,
    small_files,
    voc_annotation,
    voc_folders,
)
from recipes.errors import BadInputError

SUFFIXES = voc_folders.SUFFIXES
_TYPES = {
    "image": pa.large_binary(),
    "boxes": pa.list_(pa.float32()),
    "labels": pa.list_(pa.int64()),
    "num_objects": pa.int64(),
    "height": pa.int64(),
    "width": pa.int64(),
    "file": pa.string(),
}


def pieces(
    source: Mapping[str, Any],
    found: Sequence[files.File],
    splits: Mapping[str, int | str],
) -> list[Piece]:
    """Return some images each, with their annotations.

    Without `classes`, reads all annotations to number the classes found.

    Raises:
      BadInputError: no image has an annotation, a list that `splits` names is not
        there, or an image stands in two of them.
    """
    folders = voc_folders.find(found)
    pairs, bad = voc_folders.pairs(folders, splits)
    if not pairs:
        raise BadInputError(f"[data.voc] path: {bad[0].where}: {bad[0].why}.")
    classes = list(source["classes"] or _classes(folders))
    grouped = small_files.pieces([i for i, _ in pairs], {}, _notes(folders, classes))
    made, start = [], 0
    for piece in grouped:
        count = len(piece.options["files"])
        paths = [annotation.path for _, annotation in pairs[start : start + count]]
        extra: dict[str, Any] = {"annotations": paths, "classes": classes}
        extra["bad"] = [] if made else [[b.where, b.why] for b in bad]
        made.append(replace(piece, options={**piece.options, **extra}))
        start += count
    return made


def read(piece: Piece) -> Iterator[Batch]:
    """Read images with their boxes; what does not fit together is left out."""
    options = piece.options
    records = _Records(options["classes"], notes=list(options.get("notes", ())))
    records.bad += [BadRow(*values) for values in options["bad"]]
    for (path, relative), annotation in zip(
        options["files"], options["annotations"], strict=True
    ):
        records.add(path, relative, annotation)
    yield small_files.batch(records.rows, _TYPES, records.bad, records.notes)


@dataclass
class _Records:
    classes: Sequence[str]
    rows: list[dict[str, Any]] = field(default_factory=list)
    bad: list[BadRow] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def add(self, path: str, relative: str, annotation: str) -> None:
        try:
            row, notes = self._row(path, annotation)
        except ValueError as error:
            self.bad.append(BadRow(relative, str(error)))
            return
        self.rows.append({**row, "file": relative})
        self.notes += notes

    def _row(self, path: str, annotation: str) -> tuple[dict[str, Any], list[str]]:
        told = _parse(annotation)
        data = small_files.read_whole(path, images.LARGEST_BYTES)
        encoded, notes = images.usable(data)
        with images.opened(encoded) as image:
            width, height = image.size
        if told.height and told.width and (told.height, told.width) != (height, width):
            raise ValueError(
                f"the annotation is of {told.width} x {told.height} pixels, the image "
                f"has {width} x {height}"
            )
        boxes, clipped = voc_annotation.boxes(told, height, width)
        row = {
            "image": encoded,
            "boxes": boxes,
            "labels": self._labels(told),
            "num_objects": len(told.names),
            "height": height,
            "width": width,
        }
        return row, [*notes, *clipped]

    def _labels(self, told: voc_annotation.Annotation) -> list[int]:
        for number, name in enumerate(told.names, 1):
            if name not in self.classes:
                raise ValueError(
                    f"object {number}: {name!r} is no class. Expected one of "
                    f"{', '.join(self.classes)}."
                )
        return [self.classes.index(name) for name in told.names]


def _classes(folders: Sequence[voc_folders.Folder]) -> list[str]:
    """Return the classes of all annotations: ids do not depend on what is read."""
    found: set[str] = set()
    for folder in folders:
        for annotation in folder.annotations.values():
            with contextlib.suppress(ValueError):  # `read` says which, and why
                found.update(_parse(annotation.path).names)
    return sorted(found)


def _notes(folders: Sequence[voc_folders.Folder], classes: Sequence[str]) -> list[str]:
    bare = sum(len(f.images.keys() - f.annotations.keys()) for f in folders)
    left_out = [f"{bare} images without an annotation in Annotations"] if bare else []
    numbered = ", ".join(f"{i} {name}" for i, name in enumerate(classes))
    return [f"classes: {numbered}", *left_out]


def _parse(path: str) -> voc_annotation.Annotation:
    try:
        data = small_files.read_whole(path, voc_annotation.LARGEST_BYTES)
        return voc_annotation.parse(data)
    except ValueError as error:
        raise ValueError(f"annotation: {error}") from error
