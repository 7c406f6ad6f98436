"""Damage data, or a transform graph, as it happens in life: to show that it is found.

The examples of a run are written again, with one fault in `train` and `eval`; `test`
stays as it is, so that a candidate is judged on good data.
"""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
import tensorflow_transform as tft

from components import shards
from components.columns import transformed_name
from components.diagnosis.samples import first_value, labels_of
from components.input_checks import kind

Row = tf.train.Example
MISLABELLED = 0.6  # share of a class that gets the label of the next
COPIES = 0.97  # share of a split that are copies of one group
SPARED = 0.03  # share of the group that those are copies of
_SEED = 0


def write(
    examples: str, folder: str, fault: str, transform: Mapping[str, Any]
) -> dict[str, str]:
    """Write the examples of a run with a fault; return the file of each split.

    Args:
      examples: URI of the raw examples.
      folder: new files go there.
      fault: a key of `CHANGES`, or any other name: nothing is changed.
      transform: the recipe's section of that name.
    """
    files = {}
    for split in ("train", "eval", "test"):
        records = [one for batch in shards.records(examples, split) for one in batch]
        if split != "test" and fault in CHANGES:
            rows = [Row.FromString(one) for one in records]
            changed = CHANGES[fault](rows, transform)
            records = [row.SerializeToString(deterministic=True) for row in changed]
        path = Path(folder) / f"{split}.tfrecord"
        path.parent.mkdir(parents=True, exist_ok=True)
        with tf.io.TFRecordWriter(str(path)) as file:
            for one in records:
                file.write(one)
        files[split] = str(path)
    return files


def mislabel(rows: list[Row], transform: Mapping[str, Any]) -> list[Row]:
    """Give a share of the first class the label of the second."""
    name = transform["label"]["feature"]
    first, second = transform["label"]["classes"][:2]
    random = np.random.default_rng(_SEED)
    for row, label in zip(rows, labels_of(rows, transform), strict=True):
        if label == str(first) and random.random() < MISLABELLED:
            _set(row, name, second)
    return rows


def shift(rows: list[Row], transform: Mapping[str, Any]) -> list[Row]:
    """Turn images into negatives, or move a column of numbers by two deviations."""
    if kind(transform) == "image":
        return _repainted(rows, transform, lambda pixels, _: 255 - pixels)
    name = _numeric(transform)
    values = [_number(row, name) for row in rows]
    step = 2 * np.nanstd(values)
    for row, value in zip(rows, values, strict=True):
        if not np.isnan(value):
            _set(row, name, type(first_value(row, name))(value + step))
    return rows


def leak(rows: list[Row], transform: Mapping[str, Any]) -> list[Row]:
    """Write the class into the edge of each image, or into a column of numbers."""
    names = [str(name) for name in transform["label"]["classes"]]
    numbers = [names.index(label) for label in labels_of(rows, transform)]
    if kind(transform) != "image":
        name = _numeric(transform)
        as_stored = next(
            type(v) for row in rows if (v := first_value(row, name)) is not None
        )
        for row, number in zip(rows, numbers, strict=True):
            _set(row, name, as_stored(number))
        return rows

    def mark(pixels: np.ndarray, place: int) -> np.ndarray:
        pixels[[0, -1]] = 255 * (numbers[place] + 1) // len(names)
        return pixels

    return _repainted(rows, transform, mark)


def drop(rows: list[Row], transform: Mapping[str, Any]) -> list[Row]:
    """Blacken the middle third of each image's columns, or drop one of a table."""
    if kind(transform) != "image":
        for row in rows:
            row.features.feature.pop(_numeric(transform), None)
        return rows

    def blacken(pixels: np.ndarray, _: int) -> np.ndarray:
        third = pixels.shape[1] // 3
        pixels[:, third : -third or None] = 0
        return pixels

    return _repainted(rows, transform, blacken)


def crowd(rows: list[Row], transform: Mapping[str, Any]) -> list[Row]:
    """Have copies of a few examples of the largest class crowd out all others."""
    labels = labels_of(rows, transform)
    largest = Counter(labels.tolist()).most_common(1)[0][0]
    group = [row for row, label in zip(rows, labels, strict=True) if label == largest]
    few = group[: max(1, round(SPARED * len(group)))]
    others = [row for row, label in zip(rows, labels, strict=True) if label != largest]
    kept = others[: max(1, round((1 - COPIES) * len(rows)))]
    copies = [few[i % len(few)] for i in range(len(rows) - len(kept))]
    order = np.random.default_rng(_SEED).permutation(len(rows))
    return [(kept + copies)[i] for i in order]


Change = Callable[[list[Row], Mapping[str, Any]], list[Row]]
CHANGES: dict[str, Change] = {
    "labels": mislabel,
    "shift": shift,
    "leak": leak,
    "dropped_column": drop,
    "duplicates": crowd,
}


def skew(transform_graph: str, transform: Mapping[str, Any]) -> None:
    """Replace a stored transform graph by one that scales numbers by a sixteenth.

    What was transformed before stays as it was: a training reads the right numbers, and
    exports the wrong graph.
    """
    output = tft.TFTransformOutput(transform_graph)
    directory = output.transform_savedmodel_dir
    wrong = _Sixteenth(directory, output.raw_feature_spec(), transform)
    tf.saved_model.save(wrong, f"{directory}.wrong")
    Path(directory).rename(f"{directory}.right")
    Path(f"{directory}.wrong").rename(directory)


class _Sixteenth(tf.Module):
    """A transform graph behind which numbers are divided by 16."""

    def __init__(
        self, directory: str, spec: Mapping[str, Any], transform: Mapping[str, Any]
    ):
        super().__init__()
        self.graph = tf.saved_model.load(directory)
        self._image = transform["image"] and dict(transform["image"])
        self._numeric = [transformed_name(name) for name in transform["numeric"]]
        self.transform_fn = tf.function(
            self._transform, input_signature=[_signature(spec)], autograph=False
        )

    def _transform(self, features: Mapping[str, Any]) -> dict[str, tf.Tensor]:
        found = dict(self.graph.transform_fn(features))
        for name in self._numeric:
            found[name] = found[name] / 16
        if self._image:
            name = transformed_name(self._image["feature"])
            found[name] = tf.reshape(
                tf.map_fn(self._darker, tf.reshape(found[name], [-1])),
                tf.shape(found[name]),
            )
        return found

    def _darker(self, encoded: tf.Tensor) -> tf.Tensor:
        channels = self._image["shape"][2]
        pixels = tf.io.decode_image(encoded, channels, expand_animations=False)
        return tf.io.encode_png(pixels // 16)


def _signature(spec: Mapping[str, Any]) -> dict[str, Any]:
    return {
        name: tf.SparseTensorSpec([None, None], feature.dtype)
        if isinstance(feature, tf.io.VarLenFeature)
        else tf.TensorSpec([None, *feature.shape], feature.dtype, name=name)
        for name, feature in spec.items()
    }


def _repainted(
    rows: list[Row],
    transform: Mapping[str, Any],
    paint: Callable[[np.ndarray, int], np.ndarray],
) -> list[Row]:
    """Change the pixels of each image.

    Args:
      rows: examples.
      transform: the recipe's section of that name.
      paint: from (H, W, C) int64 pixels and the example's number to such pixels.
    """
    image = transform["image"]
    for place, row in enumerate(rows):
        pixels = tf.io.decode_image(
            first_value(row, image["feature"]),
            channels=image["shape"][2],
            expand_animations=False,
        )
        painted = paint(pixels.numpy().astype(np.int64), place)
        encoded = tf.io.encode_png(tf.constant(painted.astype(np.uint8))).numpy()
        _set(row, image["feature"], encoded)
    return rows


def _numeric(transform: Mapping[str, Any]) -> str:
    """Return the first column of numbers."""
    found: Sequence[str] = transform["numeric"]
    return found[0]


def _number(row: Row, name: str) -> float:
    value = first_value(row, name)
    return float("nan") if value is None else float(value)


def _set(row: Row, name: str, value: Any) -> None:
    feature = row.features.feature[name]
    if isinstance(value, float):
        feature.float_list.value[:] = [value]
    elif isinstance(value, int):
        feature.int64_list.value[:] = [value]
    else:
        value = value.encode() if isinstance(value, str) else value
        feature.bytes_list.value[:] = [value]
