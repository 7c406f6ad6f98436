"""Choose what becomes of each feature of a table, or of its image, sound or text."""

import io
import wave
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd

from components.sources import images
from recipes.errors import BadInputError

FEW_VALUES = 10  # a whole number of so few values is a code
MAX_VOCABULARY = 1_000
MAX_PIXELS = 32  # of the longer side; the network chosen looks at no more
ID_SHARE = 0.95  # of different values: the column names the row
MOST_MISSING = 0.9
SKEWED = 5  # skewness; an exponential distribution has 2
WORDS_OF_TEXT = 3  # on average; fewer are a name
NUM_WORDS = 5_000  # of a vocabulary of words

_IMAGE_HEADS = (b"\x89PNG", b"\xff\xd8\xff", b"GIF8", b"BM")


@dataclass(frozen=True)
class Choice:
    """What becomes of a feature, and why."""

    feature: str
    does: str
    why: str


@dataclass
class Features:
    """The section `transform`, but for the label, and its reasons."""

    transform: dict[str, Any] = field(default_factory=dict)
    reasons: list[Choice] = field(default_factory=list)

    def add(self, key: str, feature: str, value: Any) -> None:
        """Add a column of a table: to a list, or with a value of its own."""
        if value is None:
            self.transform.setdefault(key, []).append(feature)
        else:
            self.transform.setdefault(key, {})[feature] = value

    def because(self, feature: str, does: str, why: str) -> None:
        self.reasons.append(Choice(feature, does, why))


def choose(features: pd.DataFrame) -> Features:
    """Choose how features are made into what a model reads.

    Args:
      features: without the label; bytes, numbers, lists; missing is None or NaN.

    Raises:
      BadInputError: none of them is of use.
    """
    found = Features()
    kinds = {
        name: "answer" if name.startswith("label") else kind(features[name])
        for name in features
    }
    for whole, choose_whole in (("image", _image), ("audio", _audio)):
        names = [name for name in kinds if kinds[name] == whole]
        if names:
            choose_whole(found, names[0], features[names[0]])
            _leave_others(found, features, names[0], f"the model reads the {whole}")
            return found
    texts = [name for name in kinds if kinds[name] == "text"]
    columns = {"number", "code", "category", "time"} & {*kinds.values()}
    if texts and not columns:
        longest = max(texts, key=lambda name: features[name].str.len().mean())
        _text(found, longest)
        _leave_others(found, features, longest, "the model reads the text")
        return found
    for name in features:
        _column(found, name, features[name], kinds[name])
    if not columns:
        left_out = "; ".join(f"{c.feature}: {c.why}" for c in found.reasons[:5])
        raise BadInputError(
            f"There is no feature to learn the label from. {left_out or 'No other'}."
        )
    return found


def kind(column: pd.Series) -> str:
    """Return what a column holds.

    One of `image`, `audio`, `text`, `time`, `category`, `code` (a whole number of few
    values), `number`, `id`, `empty`, `constant`, `lists`.
    """
    present = column.dropna()
    if len(present) < (1 - MOST_MISSING) * len(column) or present.empty:
        return "empty"
    if present.dtype == object and present.map(_is_list).any():
        return "lists"
    if isinstance(present.iloc[0], bytes):
        return _kind_of_bytes(present)
    if present.nunique() < 2:
        return "constant"
    is_whole = bool(np.all(present == np.round(present)))
    if is_whole and present.nunique() <= FEW_VALUES:
        return "code"
    return "id" if is_whole and _counts_through(present) else "number"


def _kind_of_bytes(present: pd.Series) -> str:
    first = present.iloc[0]
    if first.startswith(_IMAGE_HEADS):
        return "image"
    if first[:4] == b"RIFF":
        return "audio"
    num_values = present.nunique()
    if num_values < 2:
        return "constant"
    if _is_time(present):
        return "time"
    words = present.head(1000).map(lambda text: len(text.split())).mean()
    if words >= WORDS_OF_TEXT and num_values > 0.5 * len(present):
        return "text"
    names_rows = len(present) >= 50 and num_values > ID_SHARE * len(present)
    return "id" if names_rows else "category"


def _counts_through(present: pd.Series) -> bool:
    """Tell whether whole numbers number the rows: all differ, and few are left out."""
    num_values = present.nunique()
    span = present.max() - present.min()
    is_dense = span < 2 * num_values
    return len(present) >= 50 and num_values > ID_SHARE * len(present) and is_dense


def _is_list(value: Any) -> bool:
    return isinstance(value, list | np.ndarray)


def _is_time(present: pd.Series) -> bool:
    texts = present.head(200).map(lambda value: value.decode("utf-8", "replace"))
    if not texts.str.match(r"\d{4}-\d{2}-\d{2}").all():
        return False
    return bool(pd.to_datetime(texts, errors="coerce", format="ISO8601").notna().all())


def _column(found: Features, name: str, column: pd.Series, held: str) -> None:
    """Choose what becomes of one column of a table."""
    if held == "number":
        _number(found, name, column.dropna().astype(float))
    elif held == "time":
        has_hour = column.dropna().iloc[0][10:].strip() != b""
        parts = ["month", "weekday", *(["hour"] if has_hour else [])]
        found.add("calendar", name, parts)
        found.because(name, ", ".join(parts), "dates")
    elif held in ("code", "category"):
        num_values = int(column.nunique())
        what = "whole numbers" if held == "code" else "texts"
        if num_values <= MAX_VOCABULARY:
            found.add("vocabulary", name, num_values)
            found.because(name, "vocabulary", f"{num_values:,} different {what}")
        else:
            found.add("hash", name, MAX_VOCABULARY)
            found.because(name, "hash", f"{num_values:,} different {what}")
    else:
        found.because(name, "left out", _LEFT_OUT[held])


def _number(found: Features, name: str, present: pd.Series) -> None:
    if abs(present.skew()) > SKEWED and present.quantile(0.1) < present.quantile(0.9):
        found.add("buckets", name, 10)
        found.because(name, "10 buckets", "a number, a few of them far from the rest")
        return
    found.add("numeric", name, None)
    found.because(name, "z-score", f"a number, {present.nunique():,} values")


_LEFT_OUT: Mapping[str, str] = {
    "id": "nearly every row has a value of its own: it names the row",
    "text": "free text beside columns: the model reads one or the other",
    "answer": "called like a label: an answer as well, unknown when the model is asked",
    "constant": "it never changes",
    "empty": f"more than {MOST_MISSING:.0%} missing",
    "lists": "lists of values",
}


def _leave_others(found: Features, table: pd.DataFrame, used: str, why: str) -> None:
    for name in table:
        if name != used:
            found.because(name, "left out", why)


def _image(found: Features, name: str, column: pd.Series) -> None:
    looked = [_picture(data) for data in column.dropna().head(200)]
    height, width = (int(np.median([size[i] for size in looked])) for i in (0, 1))
    shrink = max(1.0, max(height, width) / MAX_PIXELS)
    channels = 3 if any(size[2] for size in looked) else 1
    sides = [max(1, round(side / shrink)) for side in (height, width)]
    shape = [*sides, channels]
    found.transform["image"] = {"feature": name, "shape": shape, "normalize": "unit"}
    colour = "colour" if channels == 3 else "grey"
    why = f"images, {colour}, most of {width}x{height}"
    shrunk = f"; made smaller, to at most {MAX_PIXELS} pixels" if shrink > 1 else ""
    found.because(name, f"image {shape}", why + shrunk)


def _picture(data: bytes) -> tuple[int, int, bool]:
    """Return height, width, and whether there is colour."""
    with images.opened(data) as image:
        return image.height, image.width, image.mode not in ("1", "L", "I", "I;16")


def _audio(found: Features, name: str, column: pd.Series) -> None:
    seconds, rate = [], 0
    for data in column.dropna().head(500):
        with wave.open(io.BytesIO(data)) as file:
            rate = file.getframerate()
            seconds.append(file.getnframes() / rate)
    length = max(0.1, round(float(np.quantile(seconds, 0.95)), 2))
    found.transform["audio"] = {
        "feature": name,
        "sample_rate": rate,
        "seconds": length,
    }
    why = f"WAV, {rate} Hz; 95 of 100 last at most {length} s"
    found.because(name, "log-mel spectrogram", why)


def _text(found: Features, name: str) -> None:
    found.transform["text"] = {
        "feature": name,
        "output": "tfidf",
        "vocabulary": NUM_WORDS,
    }
    found.because(name, f"bag of {NUM_WORDS:,} words, tf-idf", "free text")
