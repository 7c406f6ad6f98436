"""Find images and texts of `eval` and `test` that are almost those of `train`.

Large sets are sampled, evenly over all records; what is found is scaled up.
"""

from collections.abc import Mapping, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from components import near_images, near_texts, shards
from components.duplicates import Found
from recipes.transform import Transform

MAX_TRAIN, MAX_JUDGED = 100_000, 10_000
_MIN_WORDS = 5  # on average, of a column that is read as text rather than as names


def kind_of(head: pa.RecordBatch, transform: Transform | None) -> tuple[str, str]:
    """Return `image`, `text`, `audio` or `table`, and the feature that is one.

    Without a transform section the first records tell.
    """
    if transform is None:
        return _looks_like(head)
    for kind in ("image", "text", "audio"):
        if section := getattr(transform, kind):
            return kind, section.feature
    return "table", ""


def find(
    uri: str, kind: str, feature: str, num_records: Mapping[str, int]
) -> dict[str, Found]:
    """Return for each split but `train` which of its images or texts have twins there.

    Args:
      uri: of the examples.
      kind: `image` or `text`.
      feature: its name.
      num_records: of each split, `train` among them.
    """
    rows = {
        split: shards.spread(count, _cap(split)) for split, count in num_records.items()
    }
    match = _images if kind == "image" else _texts
    scale = num_records["train"] / max(1, len(rows["train"]))
    result = {}
    for split, pairs in match(uri, feature, rows).items():
        mine = np.flatnonzero(pairs >= 0)
        share = min(1.0, scale * len(mine) / max(1, len(rows[split])))
        theirs = rows["train"][pairs[mine]]
        result[split] = Found(rows[split][mine], theirs, share)
    return result


def sampled(kind: str, num_records: Mapping[str, int]) -> str:
    """Return a line that says which splits are too large to compare whole, or ""."""
    if kind not in ("image", "text"):
        return ""
    parts = [
        f"{_cap(split):,} of {count:,} {split}"
        for split, count in num_records.items()
        if count > _cap(split)
    ]
    return f"Near duplicates were looked for in {', '.join(parts)}." if parts else ""


def _cap(split: str) -> int:
    return MAX_TRAIN if split == "train" else MAX_JUDGED


def _images(
    uri: str, feature: str, rows: Mapping[str, Sequence[int]]
) -> dict[str, np.ndarray]:
    small = {split: _thumbnails(uri, split, feature, r) for split, r in rows.items()}
    train = small.pop("train")
    return {split: near_images.nearest(train, other) for split, other in small.items()}


def _thumbnails(uri: str, split: str, feature: str, rows: Sequence[int]) -> np.ndarray:
    parts = [
        near_images.thumbnails(_first(table, feature))
        for table in shards.select(uri, split, rows)
    ]
    return np.concatenate(parts or [near_images.thumbnails([])])


def _texts(
    uri: str, feature: str, rows: Mapping[str, Sequence[int]]
) -> dict[str, np.ndarray]:
    keys = {split: _bands(uri, split, feature, r) for split, r in rows.items()}
    train = keys.pop("train")
    return {
        split: _verified(uri, split, feature, rows, near_texts.candidates(train, other))
        for split, other in keys.items()
    }


def _bands(uri: str, split: str, feature: str, rows: Sequence[int]) -> np.ndarray:
    parts = [
        near_texts.bands(*near_texts.runs(_first(table, feature)))
        for table in shards.select(uri, split, rows)
    ]
    return np.concatenate(parts or [near_texts.bands(*near_texts.runs([]))])


def _verified(
    uri: str,
    split: str,
    feature: str,
    rows: Mapping[str, Sequence[int]],
    pairs: Sequence[tuple[int, int]],
) -> np.ndarray:
    """Return for each sampled row of the split its similar one of `train`, or -1."""
    mine = sorted({pair[0] for pair in pairs})
    theirs = sorted({pair[1] for pair in pairs})
    ours = _runs_of(uri, split, feature, rows[split], mine)
    trains = _runs_of(uri, "train", feature, rows["train"], theirs)
    result = np.full(len(rows[split]), -1)
    for number, twin in near_texts.similar(pairs, trains, ours).items():
        result[number] = twin
    return result


def _runs_of(
    uri: str,
    split: str,
    feature: str,
    rows: Sequence[int],
    numbers: Sequence[int],
) -> dict[int, np.ndarray]:
    parts: list[np.ndarray] = []
    for table in shards.select(uri, split, np.asarray(rows)[numbers]):
        values, lengths = near_texts.runs(_first(table, feature))
        parts += np.split(values, np.cumsum(lengths)[:-1])
    return dict(zip(numbers, parts, strict=True))


def _first(table: pa.RecordBatch, feature: str) -> list[bytes | None]:
    """Return the first value of a feature in each record; None where there is none."""
    if feature not in table.schema.names:
        return [None] * table.num_rows
    column = table.column(feature)
    if pa.types.is_null(column.type):
        return [None] * table.num_rows
    lengths = pc.fill_null(pc.list_value_length(column), 0).to_numpy(
        zero_copy_only=False
    )
    result: list[bytes | None] = [None] * table.num_rows
    values = column.flatten()
    starts = np.cumsum(lengths) - lengths
    for row in np.flatnonzero(lengths):
        result[row] = values[starts[row]].as_py()
    return result


def _looks_like(head: pa.RecordBatch) -> tuple[str, str]:
    texts = {}
    for name in head.schema.names:
        values = [v for v in _bytes(head, name)[:100] if v]
        if not values:
            continue
        if all(map(near_images.is_image, values)):
            return "image", name
        if all(v[:4] == b"RIFF" and v[8:12] == b"WAVE" for v in values):
            return "audio", name
        texts[name] = sum(len(value.split()) for value in values) / len(values)
    longest = max(texts, key=texts.__getitem__, default="")
    return ("text", longest) if texts.get(longest, 0) >= _MIN_WORDS else ("table", "")


def _bytes(head: pa.RecordBatch, name: str) -> list[bytes | None]:
    kind = head.column(name).type
    if pa.types.is_null(kind) or not pa.types.is_large_binary(kind.value_type):
        return []
    return _first(head.slice(0, 100), name)
