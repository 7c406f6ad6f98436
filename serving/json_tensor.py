"""JSON to numpy and back, by a signature and by TensorFlow Serving's rules.

A request holds either `instances`, a list with one entry per example (row format), or
`inputs`, whole tensors (column format). Conversion works on whole lists; only when a
list does not fit are its elements walked one by one, which finds the error to report.
"""

import binascii
from collections.abc import Mapping, Sequence
from itertools import chain
from typing import TYPE_CHECKING, Any

import numpy as np

from serving.errors import ServingError, invalid
from serving.json_text import pretty

if TYPE_CHECKING:
    from serving.saved_model import TensorSpec

Specs = Mapping[str, "TensorSpec"]
Tensors = dict[str, np.ndarray]

_FLOATS = {"float": np.float32, "double": np.float64}
# The narrow types take any 32 bit integer and wrap, as the real server does.
_INTEGERS = {
    "int8": (np.int8, -(2**31), 2**31),
    "int16": (np.int16, -(2**31), 2**31),
    "int32": (np.int32, -(2**31), 2**31),
    "int64": (np.int64, -(2**63), 2**63),
    "uint8": (np.uint8, -(2**31), 2**31),
    "uint32": (np.uint32, 0, 2**32),
    "uint64": (np.uint64, 0, 2**64),
}
_MAX_RANK = 63  # numpy takes 64, and rows are stacked
_TYPE_NAMES = {
    type(None): "Null",
    dict: "Object",
    list: "Array",
    str: "String",
    int: "Number",
    float: "Number",
}


def signature_name(document: Any) -> str:
    """Return the signature a predict request asks for."""
    if not isinstance(document, dict):
        raise invalid(f"JSON Value: {pretty(document)} Is not object")
    name = document.get("signature_name", "")
    if not isinstance(name, str):
        raise invalid(
            f"JSON Value: {pretty(document)} not formatted correctly. "
            "'signature_name' key must be a string value."
        )
    return name or "serving_default"


def decode(document: dict[str, Any], specs: Specs) -> tuple[Tensors, bool]:
    """Turn a predict request into tensors.

    Args:
      document: the parsed body.
      specs: the inputs of the signature.

    Returns:
      {input name: array}, strings as object arrays of bytes, and whether the request
      is in row format, which the reply has to be in too.

    Raises:
      ServingError: INVALID_ARGUMENT, or UNIMPLEMENTED for a dtype JSON cannot carry.
    """
    if "instances" in document and "inputs" in document:
        raise invalid(
            f"JSON Value: {pretty(document)} Not formatted correctly expecting only "
            "one of 'inputs' or 'instances' keys to exist "
        )
    if "instances" in document:
        return _from_rows(document, specs), True
    if "inputs" in document:
        return _from_columns(document["inputs"], specs), False
    raise invalid("Missing 'inputs' or 'instances' key")


def _from_columns(inputs: Any, specs: Specs) -> Tensors:
    if not isinstance(inputs, dict) or _is_base64(inputs):
        if len(specs) > 1:
            raise invalid(
                "inputs is a plain value/list, but expecting an object as multiple "
                "input tensors required as per tensorinfo_map"
            )
        inputs = dict.fromkeys(specs, inputs)
    for name in specs:
        if name not in inputs:
            raise invalid(f"Missing named input: {name} in 'inputs' object.")
    return {name: _tensor(inputs[name], spec.dtype) for name, spec in specs.items()}


def _from_rows(document: dict[str, Any], specs: Specs) -> Tensors:
    rows = document["instances"]
    if not isinstance(rows, list):
        text = "Expecting 'instances' to be an list/array"
        raise invalid(f"JSON Value: {pretty(document)} {text}")
    if not rows:
        text = "No values in 'instances' array"
        raise invalid(f"JSON Value: {pretty(document)} {text}")
    if _is_named(rows[0]):
        return _from_named_rows(rows, specs)
    if len(specs) > 1:
        raise invalid(
            "instances is a plain list, but expecting list of objects as multiple "
            "input tensors required as per tensorinfo_map"
        )
    ((name, spec),) = specs.items()
    column = _dense(rows, spec.dtype)
    return {name: _stack_rows(rows, spec.dtype) if column is None else column}


def _from_named_rows(rows: list[Any], specs: Specs) -> Tensors:
    expected = specs.keys()
    if all(isinstance(row, dict) and row.keys() == expected for row in rows):
        columns = {
            name: _dense([row[name] for row in rows], spec.dtype)
            for name, spec in specs.items()
        }
        dense = {name: array for name, array in columns.items() if array is not None}
        if len(dense) == len(columns):
            return dense
    return _stack_named_rows(rows, specs)


def _stack_rows(rows: list[Any], dtype: str) -> np.ndarray:
    tensors: list[np.ndarray] = []
    for index, row in enumerate(rows):
        if _is_named(row):
            text = f"Expecting value/list but got object at item {index} of input list"
            raise invalid(text)
        _append(tensors, row, dtype, f"Failed to process element: {index}")
    return np.stack(tensors)


def _stack_named_rows(rows: list[Any], specs: Specs) -> Tensors:
    tensors: dict[str, list[np.ndarray]] = {name: [] for name in specs}
    for index, row in enumerate(rows):
        if not _is_named(row):
            text = f"Expecting object but got list at item {index} of input list"
            raise invalid(text)
        for name, value in row.items():
            where = f"Failed to process element: {index} key: {name}"
            if name not in specs:
                text = f"JSON object: does not have named input: {name}"
                raise _in_row(where, invalid(text))
            _append(tensors[name], value, specs[name].dtype, where)
        if row.keys() != specs.keys():
            raise invalid(
                f"Failed to process element: {index} of 'instances' list. JSON object: "
                f"{pretty(row)} keys must be equal to: {','.join(sorted(specs))}"
            )
    return {name: np.stack(column) for name, column in tensors.items()}


def _append(tensors: list[np.ndarray], value: Any, dtype: str, where: str) -> None:
    """Add one element, which must have the shape of the first one."""
    try:
        tensor = _tensor(value, dtype)
    except ServingError as error:
        raise _in_row(where, error) from error
    first = tensors[0] if tensors else tensor
    if tensor.size != first.size:
        text = f"Expecting tensor size: {first.size} but got: {tensor.size}"
        raise _in_row(where, invalid(text))
    if tensor.shape != first.shape:
        shapes = [str(list(item.shape)).replace(" ", "") for item in (first, tensor)]
        text = f"Expecting shape {shapes[0]} but got: {shapes[1]}"
        raise _in_row(where, invalid(text))
    tensors.append(tensor)


def _in_row(where: str, error: ServingError) -> ServingError:
    return invalid(f"{where} of 'instances' list. Error: {error}")


def _tensor(value: Any, dtype: str) -> np.ndarray:
    array = _dense(value, dtype)
    if array is None:
        _explain(value, dtype)
        raise invalid(f"JSON Value cannot be turned into a tensor of type: {dtype}")
    return array


def _dense(value: Any, dtype: str) -> np.ndarray | None:
    """Turn nested lists of equal lengths into an array; None where they do not fit."""
    flat, shape = [value], list[int]()
    while flat and set(map(type, flat)) == {list}:
        sizes = set(map(len, flat))
        if len(sizes) > 1 or len(shape) == _MAX_RANK:
            return None
        shape.append(sizes.pop())
        flat = list(chain.from_iterable(flat))
    array = _flat_array(flat, dtype)
    return None if array is None else array.reshape(shape)


def _flat_array(flat: list[Any], dtype: str) -> np.ndarray | None:
    types = set(map(type, flat))
    if dtype in _FLOATS and types <= {float, int}:
        with np.errstate(over="ignore"):  # too big for the type: infinity
            return np.array(flat, np.float64).astype(_FLOATS[dtype])
    if dtype in _INTEGERS and types <= {int}:
        kind, low, high = _INTEGERS[dtype]
        if flat and not (low <= min(flat) and max(flat) < high):
            return None
        return np.array(flat, np.uint64 if low == 0 else np.int64).astype(kind)
    if dtype == "bool" and types <= {bool}:
        return np.array(flat, np.bool_)
    if dtype == "string" and types <= {str, dict}:
        return _strings(flat)
    return None


def _strings(flat: list[Any]) -> np.ndarray | None:
    array: np.ndarray = np.empty(len(flat), object)
    for index, item in enumerate(flat):
        if isinstance(item, str):
            array[index] = item.encode(errors="surrogateescape")
        elif not _is_base64(item) or (data := _base64(item["b64"])) is None:
            return None
        else:
            array[index] = data
    return array


def _base64(text: str) -> bytes | None:
    """Decode standard base64, with or without its padding; None when it is not."""
    text = "".join(text.split()).rstrip("=")
    try:
        return binascii.a2b_base64(text + "=" * (-len(text) % 4), strict_mode=True)
    except ValueError:
        return None


def _is_base64(value: Any) -> bool:
    return isinstance(value, dict) and len(value) == 1 and type(value.get("b64")) is str


def _is_named(value: Any) -> bool:
    return isinstance(value, dict) and not _is_base64(value)


def _explain(value: Any, dtype: str) -> None:
    """Raise for the first element of `value`, in reading order, that does not fit."""
    shape = _first_path(value)
    if len(shape) > _MAX_RANK:
        raise invalid(f"JSON Value has more than {_MAX_RANK} levels of lists")
    pending = [(value, 0)]
    while pending:
        item, level = pending.pop()
        if not isinstance(item, list):
            _check_leaf(item, dtype, level, len(shape))
            continue
        if level >= len(shape):
            text = f"Encountered list at unexpected level: {level} expected < "
            raise invalid(f"{text}{len(shape)}")
        if len(item) != shape[level]:
            raise invalid(
                f"Encountered list at unexpected size: {len(item)} at level: {level} "
                f"expected size: {shape[level]}"
            )
        pending.extend((child, level + 1) for child in reversed(item))


def _first_path(value: Any) -> Sequence[int]:
    shape = []
    while isinstance(value, list):
        shape.append(len(value))
        value = value[0] if value else None
    return shape


def _check_leaf(item: Any, dtype: str, level: int, rank: int) -> None:
    if level != rank:
        raise invalid(
            f"JSON Value: {pretty(item)} found at incorrect level: {level + 1} in the "
            f"JSON DOM. Expected at level: {rank}"
        )
    if dtype not in {*_FLOATS, *_INTEGERS, "bool", "string"}:
        text = f"Conversion of JSON Value: {pretty(item)} to type: {dtype}"
        raise ServingError("UNIMPLEMENTED", text)
    if dtype == "string" and _is_base64(item):
        if _base64(item["b64"]) is None:
            raise invalid("Unable to base64 decode")
    elif _flat_array([item], dtype) is None:
        name = str(item) if isinstance(item, bool) else _TYPE_NAMES[type(item)]
        text = f"Type: {name} is not of expected type: {dtype}"
        raise invalid(f"JSON Value: {pretty(item)} {text}")
