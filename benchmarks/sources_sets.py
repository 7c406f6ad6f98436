"""Real data sets of every kind of source, counted without any reader of ours.

Not a benchmark: `sources.py` runs it. What is counted here, by plain Python and NumPy
or after the file's own format, must come out of the examples again.
"""

import csv
import datetime
import gzip
import json
import re
import zipfile
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pyarrow as pa
from PIL import Image, ImageDraw
from pyarrow import parquet

SHARES = {"train": 8, "eval": 1, "test": 1}
TAXI = "examples/chicago_taxi_pipeline/data/simple/data.csv"
ADULT = (
    *("age", "workclass", "fnlwgt", "education", "education_num", "marital_status"),
    *("occupation", "relationship", "race", "sex", "capital_gain", "capital_loss"),
    *("hours_per_week", "native_country", "label"),
)
ETTH1 = "etth1/ETTh1.csv"
BLOOD = ("Platelets", "RBC", "WBC")
CONTEXT, HORIZON = 96, 24


@dataclass(frozen=True)
class Set:
    """A data set in its files.

    Attributes:
      source: the key of the section.
      section: what a recipe says of it.
      rows: examples that it must make.
      labels: how often each value stands in the files.
      feature: of the examples, that holds them.
      each: what is counted of it: each `value`, each `character` of a text, or each
        `pixel` of a PNG.
      splits: as in a recipe.
    """

    source: str
    section: dict[str, Any]
    rows: int
    labels: Mapping[Any, int]
    feature: str = "label"
    each: str = "value"
    splits: dict[str, Any] = field(default_factory=lambda: dict(SHARES))


def sets() -> dict[str, Callable[[Path, Path], Set]]:
    """Return, by name, what finds (in a folder) or makes (in another) a data set."""
    return {
        "csv taxi": taxi,
        "csv adult": adult,
        "csv german credit": german_credit,
        "tsv sms spam": sms_spam,
        "parquet adult": adult_parquet,
        "jsonl adult": adult_jsonl,
        "tfrecord adult": adult_tfrecord,
        "tfrecord etth1 days": etth1_days,
        "images sign digits": sign_digits,
        "images+csv sign digits": sign_digits_table,
        "voc bccd": bccd,
        "masks bccd": bccd_masks,
        "audio spoken digits": spoken_digits,
        "text shakespeare lines": shakespeare_lines,
        "text shakespeare windows": shakespeare_windows,
        "text sms spam files": sms_files,
        "series etth1": etth1,
        "graph cora": cora,
    }


def taxi(data: Path, made: Path) -> Set:
    del data, made
    package = find_spec("tfx").submodule_search_locations[0]
    rows = _rows(Path(package, TAXI))
    labels = Counter(row["payment_type"] for row in rows)
    section = {"path": f"package:tfx/{TAXI}"}
    return Set("csv", section, len(rows), labels, "payment_type")


def adult(data: Path, made: Path) -> Set:
    del made
    rows = _adult(data)
    section = {"path": str(data / "adult/adult.data"), "columns": ADULT}
    section |= {"missing": ["?"]}
    return Set("csv", section, len(rows), _labels(rows))


def german_credit(data: Path, made: Path) -> Set:
    del made
    path = data / "german-credit/german.data-numeric"
    rows = [line.split() for line in path.read_text().splitlines()]
    section = {"path": str(path), "delimiter": "whitespace"}
    labels = Counter(int(row[-1]) for row in rows)
    return Set("csv", section, len(rows), labels, f"column_{len(rows[0])}")


def sms_spam(data: Path, made: Path) -> Set:
    del made
    rows = _messages(data)
    section = {"path": str(data / "sms-spam/SMSSpamCollection"), "delimiter": "\t"}
    section |= {"quotes": False, "columns": ["label", "text"]}
    return Set("csv", section, len(rows), Counter(label for label, _ in rows))


def adult_parquet(data: Path, made: Path) -> Set:
    rows = _adult(data)
    path = made / "adult.parquet"
    parquet.write_table(pa.Table.from_pylist(rows), path, row_group_size=10_000)
    return Set("parquet", {"path": str(path)}, len(rows), _labels(rows))


def adult_jsonl(data: Path, made: Path) -> Set:
    rows = _adult(data)
    path = made / "adult.jsonl.gz"
    with gzip.open(path, "wt", encoding="utf-8") as file:
        file.writelines(json.dumps(row) + "\n" for row in rows)
    return Set("jsonl", {"path": str(path)}, len(rows), _labels(rows))


def adult_tfrecord(data: Path, made: Path) -> Set:
    import tensorflow as tf

    rows = _adult(data)
    path = made / "adult.tfrecord"
    with tf.io.TFRecordWriter(str(path)) as file:
        for row in rows:
            features = {name: _feature(value) for name, value in row.items()}
            example = tf.train.Example(features=tf.train.Features(feature=features))
            file.write(example.SerializeToString())
    return Set("tfrecord", {"path": str(path)}, len(rows), _labels(rows))


def etth1_days(data: Path, made: Path) -> Set:
    """A sequence of oil temperatures for each day, with its weekday."""
    import tensorflow as tf

    days: dict[str, list[float]] = {}
    for row in _rows(data / ETTH1):
        days.setdefault(row["date"][:10], []).append(float(row["OT"]))
    weekdays = [datetime.date.fromisoformat(day).weekday() for day in days]
    path = made / "days.tfrecord.gz"
    with tf.io.TFRecordWriter(str(path), "GZIP") as file:
        for weekday, values in zip(weekdays, days.values(), strict=True):
            steps = tf.train.FeatureList(feature=[_feature(value) for value in values])
            lists = tf.train.FeatureLists(feature_list={"OT": steps})
            context = tf.train.Features(feature={"weekday": _feature(weekday)})
            sequence = tf.train.SequenceExample(context=context, feature_lists=lists)
            file.write(sequence.SerializeToString())
    section = {"path": str(path), "sequence": True}
    return Set("tfrecord", section, len(days), Counter(weekdays), "weekday")


def sign_digits(data: Path, made: Path) -> Set:
    del made
    path = data / "sign-digits/sign_digits_100px.zip"
    labels = [name.split("/")[0] for name in _members(path, ".JPG")]
    return Set("images", {"path": str(path)}, len(labels), Counter(labels))


def sign_digits_table(data: Path, made: Path) -> Set:
    path = data / "sign-digits/sign_digits_100px.zip"
    names = _members(path, ".JPG")
    table = made / "digits.csv"
    rows = [f"{name},{name.split('/')[0]}" for name in names]
    table.write_text("\n".join(["file,digit", *rows, ""]), "utf-8")
    labels = Counter(int(name.split("/")[0]) for name in names)
    section = {"path": str(path), "table": str(table)}
    return Set("images", section, len(names), labels, "digit")


def bccd(data: Path, made: Path) -> Set:
    del made
    path = data / "bccd/bccd_voc.zip"
    with zipfile.ZipFile(path) as archive:
        texts = [archive.read(n).decode() for n in _members(path, ".xml")]
    names = Counter(name for text in texts for name in re.findall("<name>(.*?)<", text))
    labels = {BLOOD.index(name): count for name, count in names.items()}
    lists = {"train": "train", "eval": "val", "test": "test"}
    return Set("voc", {"path": str(path)}, len(texts), labels, "labels", splits=lists)


def bccd_masks(data: Path, made: Path) -> Set:
    """Draw the boxes of real annotations as masks: no set of masks is at hand."""
    path = data / "bccd/bccd_voc.zip"
    pixels: Counter = Counter()
    names = _members(path, ".xml")
    with zipfile.ZipFile(path) as archive:
        for name in names:
            mask = _mask(ElementTree.fromstring(archive.read(name)))
            mask.save(made / f"{Path(name).stem}.png")
            pixels.update(dict(enumerate(mask.histogram())))
    section = {"path": f"{path}!/BCCD/JPEGImages/*.jpg", "masks": str(made)}
    labels = {value: count for value, count in pixels.items() if count}
    return Set("masks", section, len(names), labels, "mask", "pixel")


def spoken_digits(data: Path, made: Path) -> Set:
    del made
    path = data / "spoken-digits/recordings_3_speakers.zip"
    names = [Path(name).stem for name in _members(path, ".wav")]
    section = {"path": str(path), "name": "{label}_{speaker}_{take}"}
    labels = Counter(name.split("_")[0] for name in names)
    return Set("audio", section, len(names), labels)


def shakespeare_lines(data: Path, made: Path) -> Set:
    del made
    path = data / "tiny-shakespeare/input.txt"
    lines = [line for line in path.read_text("utf-8").split("\n") if line.strip()]
    characters = Counter("".join(lines))
    return Set("text", {"path": str(path)}, len(lines), characters, "text", "character")


def shakespeare_windows(data: Path, made: Path) -> Set:
    del made
    path = data / "tiny-shakespeare/input.txt"
    text = path.read_text("utf-8")
    section = {"path": str(path), "per": "window", "window": 256}
    rows = -(-len(text) // 256)
    return Set("text", section, rows, Counter(text), "text", "character")


def sms_files(data: Path, made: Path) -> Set:
    rows = _messages(data)
    for number, (label, text) in enumerate(rows):
        folder = made / "messages" / label
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{number:04}.txt").write_text(text, "utf-8")
    section = {"path": str(made / "messages"), "per": "file", "label": "folder"}
    return Set("text", section, len(rows), Counter(label for label, _ in rows))


def etth1(data: Path, made: Path) -> Set:
    """Count by hand: shares cut 17,420 rows, and no horizon crosses a cut."""
    del made
    times = [row["date"].replace(" ", "T") for row in _rows(data / ETTH1)]
    cuts = [0, len(times) * 8 // 10, len(times) * 9 // 10, len(times)]
    begins = [
        time
        for begin, end in zip(cuts, cuts[1:], strict=False)
        for time in times[max(begin, CONTEXT) : end - HORIZON + 1]
    ]
    section = {"path": str(data / ETTH1), "time": "date"}
    section |= {"context": CONTEXT, "horizon": HORIZON}
    return Set("series", section, len(begins), Counter(begins), "time")


def cora(data: Path, made: Path) -> Set:
    del made
    path = data / "cora/cora.npz"
    labels = Counter(np.load(path)["labels"].tolist())
    return Set("graph", {"path": str(path)}, sum(labels.values()), labels)


def _adult(data: Path) -> list[dict[str, Any]]:
    """Return rows with numbers as such; an unknown cell is left out."""
    lines = (data / "adult/adult.data").read_text().splitlines()
    cells = (line.split(", ") for line in lines if line)
    rows = (dict(zip(ADULT, row, strict=True)) for row in cells)
    return [
        {n: int(v) if v.isdigit() else v for n, v in row.items() if v != "?"}
        for row in rows
    ]


def _labels(rows: list[dict[str, Any]]) -> Counter:
    return Counter(row["label"] for row in rows)


def _messages(data: Path) -> list[list[str]]:
    text = (data / "sms-spam/SMSSpamCollection").read_text("utf-8")
    return [line.split("\t", 1) for line in text.split("\n") if line]


def _rows(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8") as file:
        return list(csv.DictReader(file))


def _members(archive: Path, suffix: str) -> list[str]:
    with zipfile.ZipFile(archive) as opened:
        return [name for name in opened.namelist() if name.endswith(suffix)]


def _mask(annotation: ElementTree.Element) -> Image.Image:
    width, height = (int(annotation.findtext(f"size/{s}")) for s in ("width", "height"))
    mask = Image.new("L", (width, height))
    draw = ImageDraw.Draw(mask)
    for thing in annotation.iter("object"):
        corners = [int(corner.text) for corner in thing.find("bndbox")]
        draw.rectangle(corners, fill=1 + BLOOD.index(thing.findtext("name")))
    return mask


def _feature(value: Any) -> Any:
    import tensorflow as tf

    if isinstance(value, int):
        return tf.train.Feature(int64_list=tf.train.Int64List(value=[value]))
    if isinstance(value, float):
        return tf.train.Feature(float_list=tf.train.FloatList(value=[value]))
    return tf.train.Feature(bytes_list=tf.train.BytesList(value=[value.encode()]))
