"""Draw plots as inline SVG in the colours of the page, light or dark.

Matplotlib draws; its colours are then replaced by the page's CSS variables and its text
takes the page's font, so that one picture serves both schemes.
"""

import html
import io
import re
from collections.abc import Mapping, Sequence

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

from components.report.record import number

WIDTH, HEIGHT = 400, 250  # CSS pixels
_PIXELS_PER_INCH = 72  # an SVG of Matplotlib counts in points
_INK, _FAINT = "#010101", "#010102"
_SERIES = ("#010201", "#010202", "#010203", "#010204", "#010205", "#010206")
_LONG_NAME = 24  # characters; it leaves too little room beside it
_MOST_MARKED = 12  # points of a line that are marked
MOST_SERIES = len(_SERIES)
_VARIABLES = {_INK: "var(--ink)", _FAINT: "var(--faint)"} | {
    color: f"var(--series-{place})" for place, color in enumerate(_SERIES, 1)
}
_STYLE = {
    "svg.fonttype": "none",  # text stays text
    "font.size": 11,
    "axes.edgecolor": _FAINT,
    "axes.labelcolor": _INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "xtick.major.size": 0,
    "ytick.major.size": 0,
    "grid.color": _FAINT,
    "grid.alpha": 0.35,
    "grid.linewidth": 0.6,
    "xtick.color": _INK,
    "ytick.color": _INK,
    "text.color": _INK,
    "text.parse_math": False,  # a name may hold a dollar
    "legend.frameon": False,
    "lines.linewidth": 2,
    "lines.markersize": 4,
}
Points = tuple[Sequence[float], Sequence[float]]  # x, y


def lines(series: Mapping[str, Points], *, label: str, x: str = "", y: str = "") -> str:
    """Draw a line for each series; of many, only the first have colours of their own.

    Args:
      series: points by name, x rising whole numbers.
      label: what is drawn, for those who cannot see it.
      x: what the axis says.
      y: likewise.
    """
    with mpl.rc_context(_STYLE):
        figure, axes = _axes(x, y)
        for place, (name, (xs, ys)) in enumerate(series.items()):
            color = _SERIES[place % MOST_SERIES]
            dashes = ("-", "--", ":")[place // MOST_SERIES % 3]
            mark = "o" if len(xs) <= _MOST_MARKED else None
            axes.plot(xs, ys, color=color, label=name, marker=mark, linestyle=dashes)
        axes.xaxis.get_major_locator().set_params(integer=True)
        if len(series) > 1:
            axes.legend(ncols=2 if len(series) > 4 else 1, fontsize=9)
        return _svg(figure, label)


def bars(
    values: Mapping[str, float],
    *,
    label: str,
    x: str = "",
    other: str | None = None,
) -> str:
    """Draw a lying bar for each value, the first on top.

    Args:
      values: by name.
      label: what is drawn, for those who cannot see it.
      x: what the axis says.
      other: the name whose bar has another colour.
    """
    names = list(values)
    with mpl.rc_context(_STYLE):
        figure, axes = _axes(x, "", height=_height(names))
        colors = [_SERIES[1] if name == other else _SERIES[0] for name in names]
        lengths = list(values.values())
        drawn = axes.barh(range(len(names)), lengths, color=colors, height=0.65)
        axes.bar_label(drawn, list(map(number, lengths)), padding=3, fontsize=10)
        axes.margins(x=0.16)
        _name_rows(axes, names)
        return _svg(figure, label)


def intervals(
    values: Mapping[str, tuple[float, float, float]],
    *,
    label: str,
    x: str = "",
    marks: Mapping[str, float] | None = None,
) -> str:
    """Draw values with their intervals, the first on top, and lines to compare with.

    Args:
      values: value, low end and high end by name.
      label: what is drawn, for those who cannot see it.
      x: what the axis says.
      marks: places on the axis by name; unnamed ones are "".
    """
    names = list(values)
    with mpl.rc_context(_STYLE):
        figure, axes = _axes(x, "", height=_height(names) + 18)
        for place, (value, low, high) in enumerate(values.values()):
            axes.plot([low, high], [place, place], color=_SERIES[0], linewidth=2)
            axes.plot([value], [place], color=_SERIES[0], marker="o", markersize=6)
        for name, mark in (marks or {}).items():
            axes.axvline(mark, color=_SERIES[1], linewidth=1.2, linestyle="--")
            _mark(axes, name, mark)
        axes.margins(x=0.06, y=0.5 / len(names))
        _name_rows(axes, names)
        return _svg(figure, label)


def grouped_bars(
    values: Mapping[str, Mapping[str, float | None]], *, label: str, x: str = ""
) -> str:
    """Draw lying bars, a group for each name and a colour for each kind of value."""
    names = list(values)
    kinds = list(dict.fromkeys(kind for by in values.values() for kind in by))
    width = 0.8 / max(1, len(kinds))
    height = 70 + len(names) * (12 + 12 * len(kinds))
    with mpl.rc_context(_STYLE):
        figure, axes = _axes(x, "", height=height)
        for place, kind in enumerate(kinds):
            shift = (place - (len(kinds) - 1) / 2) * width
            places = [row + shift for row in range(len(names))]
            lengths = [values[name].get(kind) or 0.0 for name in names]
            axes.barh(places, lengths, width, color=_SERIES[place % 6], label=kind)
        _name_rows(axes, names)
        figure.legend(ncols=3, fontsize=9, loc="outside upper center")
        return _svg(figure, label)


def reliability(bins: Sequence[Mapping[str, float]], *, label: str) -> str:
    """Draw how often answers were right against how sure they were.

    Args:
      bins: `confidence`, `accuracy` and `count` of each.
      label: what is drawn, for those who cannot see it.
    """
    xs = [one["confidence"] for one in bins]
    ys = [one["accuracy"] for one in bins]
    most = max(one["count"] for one in bins)
    with mpl.rc_context(_STYLE):
        figure, axes = _axes("how sure", "how often right", height=300)
        low = max(0.0, min(*xs, *ys) - 0.05)
        axes.plot([low, 1], [low, 1], color=_FAINT, linestyle="--", linewidth=1.2)
        axes.vlines(xs, ys, xs, color=_SERIES[1], linewidth=2, alpha=0.5)
        sizes = [12 + 40 * one["count"] / most for one in bins]
        axes.scatter(xs, ys, sizes, color=_SERIES[0], zorder=3)
        axes.set_xlim(low, 1.01)
        axes.set_ylim(low, 1.02)
        return _svg(figure, label)


def histogram(
    values: Sequence[float],
    *,
    label: str,
    x: str = "",
    marks: Mapping[str, float] | None = None,
) -> str:
    """Draw how often positive values occur, and name some places among them.

    The axis is logarithmic: times have a few that are many times the others.
    """
    with mpl.rc_context(_STYLE):
        figure, axes = _axes(x, "")
        edges = np.geomspace(min(values), max(values) * 1.001, 31)
        axes.hist(values, bins=edges, color=_SERIES[0])
        axes.set_xscale("log")
        axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: number(value)))
        axes.xaxis.set_minor_locator(NullLocator())
        for name, value in (marks or {}).items():
            axes.axvline(value, color=_INK, linewidth=1, linestyle="--")
            _mark(axes, name, value)
        return _svg(figure, label)


def _mark(axes: Axes, name: str, value: float) -> None:
    """Name a place on the axis, above the picture."""
    spot = (value, 1.0)
    axes.annotate(
        name, spot, xycoords=("data", "axes fraction"), ha="center", va="bottom"
    )


def _axes(x: str, y: str, *, height: int = HEIGHT) -> tuple[Figure, Axes]:
    inches = (WIDTH / _PIXELS_PER_INCH, height / _PIXELS_PER_INCH)
    figure = Figure(figsize=inches, layout="constrained")
    axes = figure.add_subplot()
    axes.set_xlabel(x)
    axes.set_ylabel(y)
    return figure, axes


def _height(names: Sequence[str]) -> int:
    return 60 + (40 if _are_long(names) else 26) * len(names)


def _are_long(names: Sequence[str]) -> bool:
    return max(map(len, names)) > _LONG_NAME


def _name_rows(axes: Axes, names: Sequence[str]) -> None:
    """Name rows from the top, beside the axis or above each row if names are long."""
    axes.set_yticks(range(len(names)), names)
    axes.grid(visible=False, axis="y")
    if _are_long(names):
        axes.tick_params(axis="y", labelleft=False)
        for place, name in enumerate(names):
            spot = (0.0, place - 0.22)
            axes.annotate(name, spot, xycoords=("axes fraction", "data"), fontsize=10)
        axes.set_ylim(len(names) - 0.6, -0.9)
    else:
        axes.invert_yaxis()


def _svg(figure: Figure, label: str) -> str:
    """Return a figure as an element of the page."""
    stored = io.StringIO()
    # Of the label: ids that are referred to differ between the pictures of a page.
    with mpl.rc_context({"svg.hashsalt": label}):
        figure.savefig(stored, format="svg", transparent=True, metadata={"Date": None})
    svg = stored.getvalue()
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>\s*", "", svg, flags=re.DOTALL)
    svg = re.sub(r"<style.*?</style>", "", svg, flags=re.DOTALL)  # for the whole page
    svg = re.sub(r' id="(?![mp][0-9a-f]{10}")[^"]*"', "", svg)  # nobody refers to these
    svg = re.sub(r" xmlns(:xlink)?=\"[^\"]*\"", "", svg).replace("xlink:href", "href")
    svg = re.sub(r"font: (\d+)[^;\"]*", r"font-size: \1px", svg)
    svg = re.sub(r"font-family: [^;\"]*;?", "", svg)
    svg = re.sub(r"\s+", " ", svg)
    for color, variable in _VARIABLES.items():
        svg = svg.replace(color, variable)
    width, height = (figure.get_size_inches() * _PIXELS_PER_INCH).round().astype(int)
    head = (
        f'<svg role="img" class="plot" viewBox="0 0 {width} {height}" '
        f'style="max-width:{width}px"><title>{html.escape(label)}</title>'
    )
    return re.sub(r"<svg[^>]*>", head, svg, count=1).strip()
