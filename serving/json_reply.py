"""Print the reply to a predict request as TensorFlow Serving does."""

import json
from base64 import b64encode
from collections.abc import Iterable
from math import prod

import numpy as np

from serving.errors import invalid

# Dtypes the real server cannot print, under the names its message gives them.
_UNPRINTABLE = {
    "float16": "half",
    "bfloat16": "bfloat16",
    "complex64": "complex64",
    "complex128": "complex128",
}


def encode(outputs: dict[str, np.ndarray], *, as_rows: bool) -> bytes:
    """Print `outputs` as the body of a reply.

    One output stands alone, several are an object; in row format there is one entry
    for each example. Strings of an output named `*_bytes` become {"b64": ...}.

    Raises:
      ServingError: INVALID_ARGUMENT, a dtype that JSON cannot carry, or row format
        for outputs that do not agree on a batch size.
    """
    if as_rows:
        text = f'{{"predictions": {_rows(outputs)}}}'
    else:
        text = f'{{"outputs": {_columns(outputs)}}}'
    return text.encode(errors="surrogateescape")


def _columns(outputs: dict[str, np.ndarray]) -> str:
    texts = {name: _nested(name, array, 0)[0] for name, array in outputs.items()}
    if len(texts) == 1:
        return next(iter(texts.values()))
    return "{" + _members(texts.keys(), texts.values()) + "}"


def _rows(outputs: dict[str, np.ndarray]) -> str:
    batch_size = None
    for name, array in outputs.items():
        if array.ndim == 0:
            raise invalid(f"Tensor name: {name} has no shape information ")
        if batch_size not in (None, len(array)):
            text = f"has inconsistent batch size: {len(array)} expecting: {batch_size}"
            raise invalid(f"Tensor name: {name} {text}")
        batch_size = len(array)
    columns = [_nested(name, array, 1) for name, array in outputs.items()]
    if len(columns) == 1:
        return "[" + ", ".join(columns[0]) + "]"
    rows = (_members(outputs, row) for row in zip(*columns, strict=True))
    return "[" + ", ".join(f"{{{row}}}" for row in rows) + "]"


def _members(names: Iterable[str], texts: Iterable[str]) -> str:
    pairs = zip(names, texts, strict=True)
    return ", ".join(f"{json.dumps(name)}: {text}" for name, text in pairs)


def _nested(name: str, array: np.ndarray, axis: int) -> list[str]:
    """Print the sub-arrays of `array` below its first `axis` dimensions."""
    texts = _leaves(name, array)
    for level in reversed(range(axis, array.ndim)):
        size, count = array.shape[level], prod(array.shape[:level])
        slices = (texts[size * i : size * (i + 1)] for i in range(count))
        texts = [f"[{', '.join(items)}]" for items in slices]
    return texts


def _leaves(name: str, array: np.ndarray) -> list[str]:
    if array.dtype.name in _UNPRINTABLE:
        type_name = _UNPRINTABLE[array.dtype.name]
        raise invalid(f"Failed to write JSON value for tensor type: {type_name}")
    if array.dtype.kind == "f":
        return _floats(array)
    values = array.ravel().tolist()
    if array.dtype.kind == "b":
        return ["true" if value else "false" for value in values]
    if array.dtype.kind != "O":
        return list(map(str, values))
    return [_string(value, as_base64=name.endswith("_bytes")) for value in values]


def _string(value: bytes, *, as_base64: bool) -> str:
    if as_base64:
        return f'{{"b64": "{b64encode(value).decode()}"}}'
    return json.dumps(value.decode(errors="surrogateescape"), ensure_ascii=False)


def _floats(array: np.ndarray) -> list[str]:
    """Print with six digits (doubles: 15) where they are exact, else nine (17)."""
    short, long = (6, 9) if array.dtype.itemsize == 4 else (15, 17)
    array = array.ravel()
    # Denormals come back as zero, like from the real server.
    is_denormal = np.abs(array) < np.finfo(array.dtype).tiny
    array = np.where(is_denormal, np.copysign(array.dtype.type(0), array), array)
    values = array.tolist()
    texts = [f"{value:.{short}g}" for value in values]
    with np.errstate(over="ignore"):  # six digits may round up beyond the largest
        exact = np.array([float(text) for text in texts]).astype(array.dtype) == array
    for index in np.flatnonzero(~exact).tolist():
        texts[index] = f"{values[index]:.{long}g}"
    return [_NAMES.get(text) or _with_point(text) for text in texts]


_NAMES = {"nan": "NaN", "inf": "Infinity", "-inf": "-Infinity"}


def _with_point(text: str) -> str:
    return text if "." in text or "e" in text else text + ".0"
