"""Draw small charts as inline SVG, for a page that loads nothing."""

import html
from collections.abc import Mapping, Sequence

WIDTH, HEIGHT = 260, 60
MARGIN = 14  # for the text below
MAX_POINTS = 512  # of a line; longer ones are drawn as lowest and highest by turns
_NARROW = 1 / 50  # of the axis: how wide a bar of one value is drawn

Bar = tuple[float, float, float]  # low, high, share of the examples
Bars = Sequence[Bar]


def histogram(by_split: Mapping[str, Bars], label: str) -> str:
    """Draw the histogram of each split over one axis, as outlines.

    Args:
      by_split: bars by split, in rising order, shares from 0 to 1. The area of a bar is
        its share.
      label: what is drawn, for those who cannot see it.
    """
    ends = [end for bars in by_split.values() for bar in bars for end in bar[:2]]
    if not ends:
        return ""
    low, high = min(ends), max(ends)
    placed = {
        split: [_placed(bar, low, high) for bar in bars if bar[2]]
        for split, bars in by_split.items()
    }
    first = min((bar[0] for bars in placed.values() for bar in bars), default=0.0)
    last = max((bar[1] for bars in placed.values() for bar in bars), default=1.0)
    densities = [_density(bar) for bars in placed.values() for bar in bars]
    tallest, scale = max(densities, default=1.0), WIDTH / (last - first)
    lines = []
    for split, bars in placed.items():
        points, end = [(0.0, float(HEIGHT))], first
        for bar in bars:
            left, right = (bar[0] - first) * scale, (bar[1] - first) * scale
            y = HEIGHT - HEIGHT * _density(bar) / tallest
            if bar[0] > end:  # between two bars there is nothing
                gap = (end - first) * scale
                points += [(gap, float(HEIGHT)), (left, float(HEIGHT))]
            points += [(left, y), (right, y)]
            end = bar[1]
        points.append((points[-1][0], float(HEIGHT)))
        lines.append(_line(points, split))
    ends = _said(f"{low:g}", 0, "start") + _said(f"{high:g}", WIDTH, "end")
    return _svg("".join(lines) + ends, f"histogram of {label}, {low:g} to {high:g}")


def bars(by_split: Mapping[str, Mapping[str, float]], label: str) -> str:
    """Draw a group of bars per value, one bar per split.

    Args:
      by_split: share of each value, by split.
      label: what is drawn, for those who cannot see it.
    """
    values = list(dict.fromkeys(v for shares in by_split.values() for v in shares))
    if not values:
        return ""
    tallest = max(max(shares.values(), default=0) for shares in by_split.values()) or 1
    width = WIDTH / (len(values) * (len(by_split) + 1))
    drawn = []
    for i, value in enumerate(values):
        center = (i + 0.5) * WIDTH / len(values)
        drawn.append(_said(_cut(value, WIDTH / len(values)), center, "middle"))
        for j, (split, shares) in enumerate(by_split.items()):
            height = HEIGHT * shares.get(value, 0.0) / tallest
            x = (i * (len(by_split) + 1) + j) * width
            said = f"{html.escape(value)}: {shares.get(value, 0.0):.1%} of {split}"
            drawn.append(
                f'<rect class="{split}" x="{x:.1f}" y="{HEIGHT - height:.1f}" '
                f'width="{width:.1f}" height="{height:.1f}">'
                f"<title>{said}</title></rect>"
            )
    return _svg("".join(drawn), f"shares of the values of {label}")


def wave(values: Sequence[float], label: str) -> str:
    """Draw a series of numbers as a line."""
    if len(values) < 2:
        return ""
    low, high = min(values), max(values)
    drawn = _envelope(values)
    step, scale = WIDTH / (len(drawn) - 1), HEIGHT / ((high - low) or 1.0)
    points = [(i * step, HEIGHT - (v - low) * scale) for i, v in enumerate(drawn)]
    said = f"{label}, {low:g} to {high:g}"
    return _svg(_line(points, "train") + _said(said, 0, "start"), said)


def _envelope(values: Sequence[float]) -> Sequence[float]:
    if len(values) <= MAX_POINTS:
        return values
    count = MAX_POINTS // 2
    cuts = [i * len(values) // count for i in range(count + 1)]
    parts = [values[a:b] for a, b in zip(cuts, cuts[1:], strict=False)]
    return [end for part in parts for end in (min(part), max(part))]


def _placed(bar: Bar, low: float, high: float) -> Bar:
    """Return a bar on an axis from 0 to 1, to be seen also where it is one value.

    Widened there: next to a value of 1e17, a double has no room for a narrow bar.
    """
    span = (high - low) or 1.0
    left, right, share = (bar[0] - low) / span, (bar[1] - low) / span, bar[2]
    if left == right:
        left, right = left - _NARROW / 2, right + _NARROW / 2
    return left, right, share


def _density(bar: Bar) -> float:
    low, high, share = bar
    return share / (high - low)


def _line(points: Sequence[tuple[float, float]], name: str) -> str:
    path = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
    return f'<polyline class="{html.escape(name)}" points="{path}"/>'


def _said(text: str, x: float, anchor: str) -> str:
    """Return text that stands below a chart."""
    return (
        f'<text x="{x:.1f}" y="{HEIGHT + MARGIN - 3}" text-anchor="{anchor}">'
        f"{html.escape(text)}</text>"
    )


def _cut(text: str, width: float) -> str:
    """Return what of a text fits into some pixels."""
    fits = int(width / 6)
    return text if len(text) <= fits else text[: fits - 1] + "…" if fits > 2 else ""


def _svg(content: str, label: str) -> str:
    height = HEIGHT + 2 + MARGIN
    return (
        f'<svg role="img" viewBox="0 -2 {WIDTH} {height}" width="{WIDTH}" '
        f'height="{height}"><title>{html.escape(label)}</title>{content}</svg>'
    )
