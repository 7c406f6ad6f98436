"""How a table of text is written, where the reader's defaults would not do.

Only what is seen is said: an encoding, quotes that enclose nothing, words for missing
values, lines that are no rows, a character at the end of one part's labels.
"""

import codecs
import csv
import io
import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import Any

from pipeline.new_source import Source, list_files
from recipes.data import Csv

_SAMPLE_BYTES = 1 << 20  # of each file
_MAX_FILES = 3  # of a folder
_NUM_LINES = 1_000  # enough to tell how cells are cut, and whether a header is there
_MISSING = ("?", "\\N", "#N/A", "#NA", "<NA>", "n/a", "(null)")
_MISSING_NUMBERS = ("-", "--", ".", "None", "none")  # in a column of numbers only
_STRIPPED = ".;'"
_MAX_SKIPPED = 5
_EVEN = 0.9  # share of lines with equally many cells, in a table
_NUMBERS_AT_LEAST = 0.5  # share of cells, for a column of numbers


@dataclass(frozen=True)
class _File:
    name: str
    part: str
    rows: list[list[str]]  # without blanks around cells
    share: float  # of the file, that was looked at


def look(source: Source, paths: Mapping[str, str]) -> Source:
    """Return a CSV source with the options that its files ask for.

    Args:
      source: with a path, or one by part.
      paths: the same, absolute, by part; "" where there are none.
    """
    samples = _samples(paths)
    encoding = _encoding([data for _, _, data, _ in samples])
    texts = [data.decode(encoding, "replace") for _, _, data, _ in samples]
    delimiter = _dialect(texts[0]).delimiter
    quotes = not any(_ordinary_quotes(text, delimiter) for text in texts)
    files = [
        _File(name, part, list(_rows(text, delimiter, quotes)), share)
        for (name, part, _, share), text in zip(samples, texts, strict=True)
    ]
    if encoding != "utf-8":
        why = "the bytes are not UTF-8"
        source = source.also({"encoding": encoding}, {"encoding": why})
    if not quotes:
        why = 'cells begin with a `"` that does not end them: an ordinary character'
        source = source.also({"quotes": False}, {"quotes": why})
    lines = texts[0].splitlines()[_head_lines(files[0].rows) :]
    source = _unnamed(source, _dialect("\n".join(lines), quotes=quotes))
    return _stripped(_missing(_no_rows(source, files), files), files)


def is_table(path: str) -> bool:
    """Tell whether the lines of a text are cut into equally many cells."""
    ((_, _, data, _),) = _samples({"": path})
    text = data.decode("utf-8", "replace")
    found = _dialect(text)
    widths = [len(row) for row in _rows(text, found.delimiter, quotes=True)]
    return found.width > 1 and widths.count(found.width) >= _EVEN * len(widths) > 0


def _dialect(text: str, *, quotes: bool = True) -> Any:
    dialects = import_module("components.sources.dialect")
    head = "\n".join(text.splitlines()[:_NUM_LINES])
    return dialects.look(head or "\n", quotes=quotes, missing=Csv(path="").missing)


def _unnamed(source: Source, found: Any) -> Source:
    """Name the columns of a table without a header line."""
    if found.header or found.width < 2:
        return source
    names = [f"column_{i + 1}" for i in range(found.width)]
    why = "there is no header line; give them names, here and below"
    return source.also({"columns": names}, {"columns": why})


def _samples(paths: Mapping[str, str]) -> list[tuple[str, str, bytes, float]]:
    """Return name, part, first bytes (whole lines), and their share, of files."""
    files = import_module("components.sources.files")
    suffixes = import_module("components.sources.csv").SUFFIXES
    found = []
    for part, path in paths.items():
        listed = list_files(path)
        tables = [f for f in listed if f.path == path or f.path.endswith(suffixes)]
        for file in tables[:_MAX_FILES]:
            with files.open_decompressed(file.path) as stream:
                data = stream.read(_SAMPLE_BYTES)
            share = 1.0
            if len(data) == _SAMPLE_BYTES:
                data = data.rpartition(b"\n")[0] or data
                share = min(1.0, len(data) / max(1, file.size_bytes))
            found.append((file.relative, part, data, share))
    return found


def _encoding(samples: Iterable[bytes]) -> str:
    """Return the first encoding that all samples can be read in."""
    samples = list(samples)
    if any(s[:2] in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE) for s in samples):
        return "utf-16"
    for encoding in ("utf-8", "cp1252"):
        try:
            for sample in samples:
                sample.decode(encoding)
        except UnicodeDecodeError:
            continue
        return encoding
    return "latin-1"


def _rows(text: str, delimiter: str, quotes: bool) -> Iterable[list[str]]:
    if delimiter == "whitespace":
        return (line.split() for line in text.splitlines() if line.strip())
    rows = csv.reader(
        io.StringIO(text, newline=""),
        delimiter=delimiter,
        quoting=csv.QUOTE_MINIMAL if quotes else csv.QUOTE_NONE,
        skipinitialspace=quotes,  # blanks may stand before a quote
    )
    try:
        return [[cell.strip() for cell in row] for row in rows if row]
    except csv.Error:  # a cell too long: the reader will say so
        return []


def _ordinary_quotes(text: str, delimiter: str) -> bool:
    """Tell whether a cell begins with `"` or ends with it, but not both."""
    if delimiter == "whitespace" or '"' not in text:
        return False
    rows = list(_rows(text, delimiter, quotes=False))
    if len({len(row) for row in rows}) != 1:
        return False  # cut wrongly: quotes enclose delimiters
    return any(_is_open(cell) for row in rows for cell in row)


def _is_open(cell: str) -> bool:
    if not cell.startswith('"'):
        return False
    return len(cell) == 1 or cell.count('"') % 2 == 1


def _no_rows(source: Source, files: Sequence[_File]) -> Source:
    """Skip lines at the head of all files; allow for those at the head of some."""
    heads = [_head_lines(file.rows) for file in files]
    if not any(heads):
        return source
    first = next(
        f.rows[0][0] for f, skipped in zip(files, heads, strict=True) if skipped
    )
    if len({*heads}) == 1:
        why = f"the first line is no row: {first[:40]}"
        return source.also({"skip_lines": heads[0]}, {"skip_lines": why})
    name = next(f.name for f, skipped in zip(files, heads, strict=True) if skipped)
    rows = sum(len(file.rows) / file.share for file in files)
    share = max(0.001, math.ceil(2000 * sum(heads) / rows) / 1000)
    why = f"line 1 of {name} is no row: {first[:40]}"
    return source.also({}, {"max_bad_rows": why}, max_bad_rows=share)


def _head_lines(rows: Sequence[Sequence[str]]) -> int:
    """Return how many lines of a single cell stand before rows of several."""
    widths = Counter(map(len, rows))
    if not widths or widths.most_common(1)[0][0] < 3:
        return 0
    head = [len(row) for row in rows[: _MAX_SKIPPED + 1]]
    return next((i for i, width in enumerate(head) if width > 1), 0)


def _missing(source: Source, files: Sequence[_File]) -> Source:
    """Add words that stand where there is no value."""
    counts: Counter[str] = Counter()
    for file in files:
        width = max(map(len, file.rows), default=0)
        rows = [row for row in file.rows if len(row) == width]
        for column in zip(*rows, strict=True):
            counts += _missing_in(column)
    if not counts:
        return source
    said = ", ".join(f"{count:,} cells are {w!r}" for w, count in counts.items())
    words = [*Csv(path="").missing, *counts]
    return source.also({"missing": words}, {"missing": said})


def _missing_in(column: Sequence[str]) -> Counter[str]:
    found = Counter(c for c in column if c in _MISSING or c in _MISSING_NUMBERS)
    if not found:
        return found
    others = [c for c in column[1:] if c and c not in found]  # [0] may be the name
    cells = import_module("components.sources.cells")
    numbers = sum(map(cells.is_number, others))
    if others and numbers > _NUMBERS_AT_LEAST * len(others):
        return found
    return Counter({c: count for c, count in found.items() if c in _MISSING})


def _stripped(source: Source, files: Sequence[_File]) -> Source:
    """Take off the character by which the texts of two parts differ."""
    columns = {
        part: [{*column} for column in zip(*_even(files, part), strict=True)]
        for part in ("train", "test")
    }
    for train, test in zip(columns["train"], columns["test"], strict=False):
        for character in _STRIPPED:
            bare = {text.strip(character) for text in test}
            if len(test) < _MAX_TEXTS and test != bare and bare <= train:
                both = f"{min(test)!r} in `test` is {min(test).strip(character)!r}"
                return source.also(
                    {"strip": character}, {"strip": f"{both} in `train`"}
                )
    return source


_MAX_TEXTS = 100  # different ones, of a column of classes


def _even(files: Sequence[_File], part: str) -> list[Any]:
    rows = [row for file in files if file.part == part for row in file.rows]
    width = max(map(len, rows), default=0)
    return [row for row in rows if len(row) == width]
