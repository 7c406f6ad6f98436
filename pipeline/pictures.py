"""Draw small grey images in a terminal."""

from collections.abc import Sequence
from itertools import zip_longest

Image = Sequence[Sequence[float]]  # (H, W), 0 to 255
_SHADES = " .:-=+*#%@"


def draw(image: Image) -> list[str]:
    """Draw an image, two characters a pixel."""
    return [
        "".join(_SHADES[int(value) * 9 // 255] * 2 for value in row) for row in image
    ]


def beside(pictures: Sequence[Sequence[str]], *, gap: str = "  ") -> list[str]:
    """Put texts side by side; each is as wide as its widest line."""
    widths = [max(map(len, lines)) for lines in pictures]
    return [
        gap.join(
            part.ljust(width) for part, width in zip(parts, widths, strict=True)
        ).rstrip()
        for parts in zip_longest(*pictures, fillvalue="")
    ]
