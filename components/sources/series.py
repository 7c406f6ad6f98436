"""Time series in CSVs: an example per window of context and horizon.

Features: `context` (context x channels floats, step by step), `horizon` (horizon x
targets floats), `time` (text: ISO 8601 of the first step to be predicted; or a number,
as in the file) and, where several series are told apart, `key`.

Shares cut the time axis: the oldest rows are `train`, the newest `test`, all series at
the same times. A window belongs to the split in which its whole horizon lies; its
context may reach back over a cut, because that past is known when one predicts. Left
out, and counted, are windows whose horizon crosses a cut, that hold a missing value, or
that cross a gap. No window crosses from one file into another.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
import pyarrow as pa

from components.sources import (
    BATCH_BYTES,
    BATCH_ROWS,
    Batch,
    Piece,
    files,
    series_clock,
    series_windows,
)
from components.sources.series_csv import Layout, blocks, by_key, look
from components.sources.series_survey import Survey, cuts, merge, survey
from components.sources.series_windows import Stretch, Window
from components.split_slices import SERVING
from recipes.data import SPLITS  # from old to new
from recipes.errors import BadInputError

SUFFIXES = (".csv", ".tsv", ".txt", ".csv.gz", ".tsv.gz", ".csv.bz2", ".tsv.bz2")


def pieces(
    source: Mapping[str, Any],
    found: Sequence[files.File],
    splits: Mapping[str, int | str],
) -> list[Piece]:
    """Return one piece a file. Reads the times of all of them.

    Raises:
      BadInputError: a column is not there, time goes backwards, no series is as long as
        a window, or a split is a slice.
    """
    _refuse_slices(splits)
    layout = look(found[0], source)
    targets = _targets(found[0].relative, source, layout)
    surveys = [survey(file, layout) for file in found]
    _check_length(source, found, surveys)
    cut_at = _cuts(found, surveys, splits)
    made = []
    for file, known in zip(found, surveys, strict=True):
        window = Window(
            source["context"],
            source["horizon"],
            source["stride"],
            targets,
            layout.steps,
            None if file.part == SERVING else cut_at,
        )
        notes = [f"{file.relative}: {note}" for note in known.notes]
        if not made:
            notes.append(f"channels: {', '.join(layout.channels)}")
        options = {
            "relative": file.relative,
            "layout": asdict(layout),
            "window": asdict(window),
            "grouped": known.grouped,
            "notes": notes,
        }
        made.append(Piece(file.path, file.part, file.size_bytes, options))
    return made


def read(piece: Piece) -> Iterator[Batch]:
    """Read windows; keeps a block of rows, and of each series what a window needs."""
    options = piece.options
    yield Batch([], records=[], notes=tuple(options["notes"]))
    layout, window = Layout(**options["layout"]), Window(**options["window"])
    file = files.File(piece.path, options["relative"], piece.size_bytes)
    tails: dict[str, Stretch] = {}
    key = ""
    for block in blocks(file, layout):
        for key, rows in by_key(block.keys, len(block.times)):
            new = (block.first_row + rows, block.times[rows], block.values[rows])
            stretch = tails[key].then(*new) if key in tails else Stretch(0, *new)
            yield from _batches(file.relative, key, stretch, layout, window)
            tails[key] = stretch.last(window.context + window.horizon - 1)
        if options["grouped"]:  # a series that has ended does not come back
            tails = {key: tails[key]}


def _batches(
    relative: str, key: str, stretch: Stretch, layout: Layout, window: Window
) -> Iterator[Batch]:
    by_split, notes = series_windows.starts(stretch, window)
    if notes:
        yield Batch([], records=[], notes=tuple(notes))
    floats = window.context * len(layout.channels)
    floats += window.horizon * len(window.targets)
    size = max(1, min(BATCH_ROWS, BATCH_BYTES // (4 * floats)))
    for split, starts in zip(SPLITS, by_split, strict=False):
        for i in range(0, len(starts), size):
            some = starts[i : i + size]
            rows = stretch.rows[some + window.context]
            table = _table(key, stretch, some, layout, window)
            names = [f"{relative} row {row}" for row in rows]
            yield Batch(names, table, split=split if window.cuts is not None else None)


def _table(
    key: str, stretch: Stretch, starts: np.ndarray, layout: Layout, window: Window
) -> pa.RecordBatch:
    first = starts + window.context  # step to be predicted
    past = starts[:, None] + np.arange(window.context)
    future = first[:, None] + np.arange(window.horizon)
    context = stretch.values[past]  # (windows, context, channels)
    horizon = stretch.values[future[:, :, None], list(window.targets)]
    times = series_clock.write(stretch.times[first], layout.clock)
    columns = {
        "context": _lists(context),
        "horizon": _lists(horizon),
        "time": pa.array(times, pa.string()),
    }
    if layout.key:
        columns["key"] = pa.array([key] * len(starts), pa.string())
    return pa.RecordBatch.from_pydict(columns)


def _lists(values: np.ndarray) -> pa.Array:
    """Return (rows, ...) as a column of lists of equal length."""
    flat = np.ascontiguousarray(values).reshape(-1)
    return pa.FixedSizeListArray.from_arrays(pa.array(flat), values[0].size)


def _targets(relative: str, source: Mapping[str, Any], layout: Layout) -> list[int]:
    for name in source["targets"] or ():
        if name not in layout.channels:
            raise BadInputError(
                f"{relative}: [data.series] targets: {name!r} is no channel. "
                f"Expected some of {', '.join(map(repr, layout.channels))}."
            )
    return [
        layout.channels.index(name) for name in source["targets"] or layout.channels
    ]


def _check_length(
    source: Mapping[str, Any], found: Sequence[files.File], surveys: Sequence[Survey]
) -> None:
    needed = source["context"] + source["horizon"]
    longest = max(known.longest for known in surveys)
    if longest < needed:
        raise BadInputError(
            f"{found[0].relative}: a window of {source['context']} + "
            f"{source['horizon']} steps needs {needed} rows of one series. The longest "
            f"series has {longest}."
        )


def _cuts(
    found: Sequence[files.File],
    surveys: Sequence[Survey],
    splits: Mapping[str, int | str],
) -> list[float] | None:
    """Return where shares cut the time axis of all that is learned from."""
    shares = [share for s in SPLITS if isinstance(share := splits[s], int)]
    if not shares:
        return None
    learned = zip(found, surveys, strict=True)
    axes = [known.axis for file, known in learned if file.part != SERVING]
    return cuts(merge(axes), shares)


def _refuse_slices(splits: Mapping[str, int | str]) -> None:
    """Slices are drawn by a hash, and windows beside each other share their rows."""
    for split, part in splits.items():
        if isinstance(part, str) and "[" in part:
            raise BadInputError(
                f"[data] splits: {split} = {part!r}: a slice of a series would mix "
                "windows that overlap. Use shares, which cut at a time, or a file each."
            )
