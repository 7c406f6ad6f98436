"""The model zoo: what each recipe reached, from the measurements that come with it."""

import csv
import statistics
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

from recipes.errors import BadInputError

RESULTS = Path(__file__).parents[1] / "benchmarks" / "results" / "zoo.csv"
_HEAD = (
    "recipe",
    "what it does",
    "weights",
    "minutes",
    "ours",
    "simple model",
    "published",
)
Row = Mapping[str, str]


def show(names: Sequence[str], say: Callable[[str], None]) -> int:
    """Print a line for each recipe that `benchmarks/zoo.py` measured; return 0.

    Args:
      names: of the recipes; none for all.
      say: prints a line.

    Raises:
      BadInputError: nothing, or not that, has been measured.
    """
    rows = _read()
    known = {row["recipe"] for row in rows}
    for name in names:
        if name not in known:
            raise BadInputError(
                f"{name!r} has not been measured. Expected some of "
                f"{', '.join(sorted(known))}."
            )
    rows = [row for row in rows if not names or row["recipe"] in names]
    lines = [_HEAD, *(_line(found) for found in _by_recipe(rows))]
    widths = [max(len(line[i]) for line in lines) for i in range(len(_HEAD))]
    for line in lines:
        cells = (cell.ljust(width) for cell, width in zip(line, widths, strict=True))
        say(f" {'  '.join(cells)}".rstrip())
    if any(row["note"] for row in rows):
        say(" * published figure of another split, data or protocol, or a remark:")
        for recipe, note in dict.fromkeys((r["recipe"], r["note"]) for r in rows):
            if note:
                say(f"   {recipe}: {note}")
    for commit, hardware in sorted({(row["commit"], row["hardware"]) for row in rows}):
        say(f" measured at {commit} on {hardware}")
    return 0


def _read() -> list[Row]:
    try:
        with RESULTS.open(newline="", encoding="utf-8") as file:
            return list(csv.DictReader(file))
    except FileNotFoundError as error:
        raise BadInputError(
            f"No measurements in {RESULTS}. Make them: python benchmarks/zoo.py"
        ) from error


def _by_recipe(rows: Iterable[Row]) -> list[list[Row]]:
    """Group the seeds of each recipe, in the order of the file."""
    found: dict[str, list[Row]] = {}
    for row in rows:
        found.setdefault(row["recipe"], []).append(row)
    return list(found.values())


def _line(rows: list[Row]) -> tuple[str, ...]:
    first = rows[0]
    values = [float(row["ours"]) for row in rows]
    ours = f"{statistics.mean(values):.4f}"
    if len(values) > 1:
        ours += f" ± {statistics.stdev(values):.4f} ({len(values)} seeds)"
    simple = "-"
    if first["baseline"]:
        simple = f"{first['baseline']} {float(first['baseline_value']):.4f}"
    minutes = statistics.median(float(row["train_minutes"]) for row in rows)
    return (
        first["recipe"],
        first["what"],
        f"{int(first['parameters']):,}",
        f"{minutes:.1f}",
        f"{first['metric']} {ours}",
        simple,
        (first["published"] or "-") + ("*" if first["note"] else ""),
    )
