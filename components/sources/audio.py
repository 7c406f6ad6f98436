"""WAV files: 16-bit mono, of one sample rate, with a label or what their names say.

Features: `audio` (a WAV that `tf.audio.decode_wav` reads), and `label`, the name of the
folder a file lies in, or, as text, every part of the pattern `name`.

16-bit mono files stay as they are. Others are converted, and noted: other widths are
rounded to 16 bits, several channels become their mean, and a header with more than the
plain 44 bytes is written anew. Nothing is resampled: another sample rate is refused.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import pyarrow as pa

from components.sources import BadRow, Batch, Piece, files, small_files, wav
from recipes.errors import BadInputError

SUFFIXES = (".wav", ".wave")
LARGEST_BYTES = 256 << 20

_HEAD_BYTES = 4096  # the format stands in the first; some tags may stand before it


def pieces(
    source: Mapping[str, Any],
    found: Sequence[files.File],
    splits: Mapping[str, int | str],
) -> list[Piece]:
    """Return some files each, with the sample rate that all must have.

    Raises:
      BadInputError: files without a folder that labels them, or a `name` that no file
        goes by.
    """
    del splits
    notes = []
    if source["name"] is None:
        small_files.check_labels(
            found, "audio", "`name`: how file names are made, as in {label}_{take}"
        )
        notes = [
            f"class folder {folder!r} holds no WAV that is read"
            for folder in small_files.empty_folders(found)
        ]
    else:
        _check_name(source["name"], found)
    sample_rate = source["sample_rate"] or _first_rate(found)
    options = {"name": source["name"], "sample_rate": sample_rate}
    return small_files.pieces(found, options, notes)


def read(piece: Piece) -> Iterator[Batch]:
    """Read files; what is no WAV, or has another sample rate, is left out."""
    pattern = piece.options["name"] and name_pattern(piece.options["name"])
    notes, bad, names = list(piece.options.get("notes", ())), [], []
    audio: list[bytes] = []
    said: list[dict[str, str]] = []
    for path, relative in piece.options["files"]:
        try:
            data = small_files.read_whole(path, LARGEST_BYTES)
            encoded, note = usable(data, piece.options["sample_rate"])
            said.append(_said(relative, pattern))
        except ValueError as error:
            bad.append(BadRow(relative, str(error)))
            continue
        names.append(relative)
        audio.append(encoded)
        notes += [note] if note else []
    features = tuple(pattern.groupindex) if pattern else ("label",)
    columns = {"audio": pa.array(audio, pa.large_binary())}
    columns |= {f: pa.array([s[f] for s in said], pa.string()) for f in features}
    yield Batch(
        names, pa.RecordBatch.from_pydict(columns), bad=tuple(bad), notes=tuple(notes)
    )


def usable(data: bytes, sample_rate: int | None) -> tuple[bytes, str]:
    """Return a plain 16-bit mono WAV, and a note if that is not what came.

    Args:
      data: a whole file.
      sample_rate: the one that is expected, in Hz, or None for any.

    Raises:
      ValueError: no WAV that can be read, or of another sample rate.
    """
    parsed = wav.parse(data)
    if sample_rate and parsed.sample_rate != sample_rate:
        raise ValueError(
            f"sample rate is {parsed.sample_rate} Hz; expected {sample_rate}. Resample "
            "it, or say which files belong together."
        )
    note = _note(parsed)
    if not note and parsed.is_plain:
        return data, ""
    samples = wav.mono16(data, parsed)
    return wav.encode(samples, parsed.sample_rate), note or "WAV header written anew"


def _note(parsed: wav.Wav) -> str:
    kind = "float" if parsed.is_float else "bit"
    width = "" if parsed.bits == 16 else f"{parsed.bits}-{kind} samples to 16-bit"
    mono = "" if parsed.channels == 1 else f"{parsed.channels} channels to their mean"
    changes = [change for change in (width, mono) if change]
    return f"WAV converted: {', '.join(changes)}" if changes else ""


def name_pattern(name: str) -> re.Pattern[str]:
    """Return what `{label}_{take}` means; no part holds what stands between parts.

    Raises:
      BadInputError: no parts, a part twice, or nothing between two parts.
    """
    pieces = re.split(r"\{([A-Za-z]\w*)\}", name)
    fixed, parts = pieces[::2], pieces[1::2]
    between = fixed[1:-1]
    if not parts or len(set(parts)) < len(parts) or not all(between):
        raise BadInputError(
            "[data.audio] name: expected different parts in braces, with something "
            f"between them, such as {{label}}_{{take}}. Received: {name!r}"
        )
    if "audio" in parts:
        raise BadInputError("[data.audio] name: `audio` is the samples' feature.")
    stops = "|".join(re.escape(text) for text in set(between))
    held = f"(?:(?!{stops}).)+" if stops else ".+"
    text = "".join(
        f"{re.escape(before)}(?P<{part}>{held})"
        for before, part in zip(fixed, parts, strict=False)
    )
    return re.compile(text + re.escape(fixed[-1]))


def _said(relative: str, pattern: re.Pattern[str] | None) -> dict[str, str]:
    if pattern is None:
        return {"label": small_files.label(relative)}
    matched = pattern.fullmatch(_stem(relative))
    if not matched:
        raise ValueError(f"the name does not fit {pattern.pattern!r}")
    return matched.groupdict()


def _stem(relative: str) -> str:
    return relative.rpartition("/")[2].rpartition(".")[0]


def _check_name(name: str, found: Sequence[files.File]) -> None:
    pattern = name_pattern(name)
    if not any(pattern.fullmatch(_stem(file.relative)) for file in found):
        raise BadInputError(
            f"[data.audio] name: no file goes by {name!r}. The first is "
            f"{_stem(found[0].relative)!r}."
        )


def _first_rate(found: Sequence[files.File]) -> int | None:
    """Return the sample rate of the first file that has one."""
    for file in found:
        with files.open_binary(file.path) as opened:
            head = opened.read(_HEAD_BYTES)
        try:
            return wav.head(head)
        except ValueError:
            continue
    return None
