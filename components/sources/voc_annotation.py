"""A Pascal VOC annotation: the objects in an image, from a small and plain XML file."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from xml.etree import ElementTree

LARGEST_BYTES = 4 << 20  # ten thousand objects
CLIPPED = "box reached a little out of its image and was clipped"
_SIDES = ("ymin", "xmin", "ymax", "xmax")


@dataclass(frozen=True)
class Annotation:
    """What the XML says.

    Attributes:
      height: of the image, in pixels; 0 where it says nothing.
      width: likewise.
      names: class of each object.
      corners: ymin, xmin, ymax, xmax of each, in pixels counted from 1.
    """

    height: int
    width: int
    names: tuple[str, ...]
    corners: tuple[tuple[float, ...], ...]


def parse(data: bytes) -> Annotation:
    """Read an annotation.

    Raises:
      ValueError: it is no XML, has a DOCTYPE, or an object lacks its class or its box.
    """
    parser = ElementTree.XMLParser(target=_PlainTree())
    try:
        parser.feed(data)
        root = parser.close()
    except ElementTree.ParseError as error:
        raise ValueError(f"broken XML: {error}") from error
    height, width = (root.findtext(f"size/{side}") for side in ("height", "width"))
    found = [_object(node, i) for i, node in enumerate(root.findall("object"), 1)]
    names, corners = zip(*found, strict=True) if found else ((), ())
    return Annotation(int(height or 0), int(width or 0), names, corners)


def boxes(
    annotation: Annotation, height: int, width: int
) -> tuple[list[float], list[str]]:
    """Return ymin, xmin, ymax, xmax of each object as shares of its image, and notes.

    VOC counts pixels from 1, and a box holds its last row and column: what fills the
    image from 1, 1 to height, width becomes 0, 0, 1, 1.

    Raises:
      ValueError: a box is upside down, or reaches out of the image by more than two
        pixels and a hundredth of its side.
    """
    sides = (height, width, height, width)
    shares: list[float] = []
    notes: list[str] = []
    for number, corners in enumerate(annotation.corners, 1):
        edges = _edges(corners)
        inside = [min(max(e, 0), side) for e, side in zip(edges, sides, strict=True)]
        out = [abs(e - i) for e, i in zip(edges, inside, strict=True)]
        if any(o > max(2, side / 100) for o, side in zip(out, sides, strict=True)):
            raise _unusable(annotation, number, f"within {width} x {height} pixels")
        if inside[0] >= inside[2] or inside[1] >= inside[3]:
            raise _unusable(annotation, number, "min before max")
        if any(out):
            notes.append(CLIPPED)
        shares += [i / side for i, side in zip(inside, sides, strict=True)]
    return shares, notes


class _PlainTree(ElementTree.TreeBuilder):
    """Refuses the one part of XML in which a small file can become a huge one."""

    def doctype(self, name: str, pubid: str | None, system: str | None) -> None:
        del pubid, system
        raise ValueError(f"expected XML without a DOCTYPE. Received: {name!r}")


def _object(node: ElementTree.Element, number: int) -> tuple[str, tuple[float, ...]]:
    name = (node.findtext("name") or "").strip()
    if not name:
        raise ValueError(f"object {number}: has no name")
    texts = [node.findtext(f"bndbox/{side}") for side in _SIDES]
    try:
        corners = tuple(float(text or "nan") for text in texts)
    except ValueError:
        corners = (math.nan,)
    if not all(map(math.isfinite, corners)):
        told = ", ".join(f"{s}={t!r}" for s, t in zip(_SIDES, texts, strict=True))
        raise ValueError(
            f"object {number} ({name}): expected numbers. Received: {told}"
        )
    return name, corners


def _edges(corners: Sequence[float]) -> tuple[float, ...]:
    ymin, xmin, ymax, xmax = corners
    return ymin - 1, xmin - 1, ymax, xmax


def _unusable(annotation: Annotation, number: int, expected: str) -> ValueError:
    name, corners = annotation.names[number - 1], annotation.corners[number - 1]
    told = ", ".join(f"{s} {c:g}" for s, c in zip(_SIDES, corners, strict=True))
    return ValueError(
        f"object {number} ({name}): expected a box {expected}. Received: {told}"
    )
