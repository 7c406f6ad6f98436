"""TensorProto to numpy and back, by the rules of the C++ `Tensor::FromProto`.

`tf.make_ndarray` is slower and stricter: too few values repeat the last one, too many
are cut off, none are zeros.
"""

from math import prod
from typing import Any

import ml_dtypes
import numpy as np

# number in TensorFlow's types.proto: (its name, numpy dtype, field with the values)
_KINDS: dict[int, tuple[str, np.dtype, str]] = {
    1: ("float", np.dtype(np.float32), "float_val"),
    2: ("double", np.dtype(np.float64), "double_val"),
    3: ("int32", np.dtype(np.int32), "int_val"),
    4: ("uint8", np.dtype(np.uint8), "int_val"),
    5: ("int16", np.dtype(np.int16), "int_val"),
    6: ("int8", np.dtype(np.int8), "int_val"),
    7: ("string", np.dtype(object), "string_val"),
    8: ("complex64", np.dtype(np.complex64), "scomplex_val"),
    9: ("int64", np.dtype(np.int64), "int64_val"),
    10: ("bool", np.dtype(np.bool_), "bool_val"),
    14: ("bfloat16", np.dtype(ml_dtypes.bfloat16), "half_val"),
    17: ("uint16", np.dtype(np.uint16), "int_val"),
    18: ("complex128", np.dtype(np.complex128), "dcomplex_val"),
    19: ("half", np.dtype(np.float16), "half_val"),
    22: ("uint32", np.dtype(np.uint32), "uint32_val"),
    23: ("uint64", np.dtype(np.uint64), "uint64_val"),
}
_NUMBERS = {dtype: number for number, (_, dtype, _) in _KINDS.items()}
# A short message can name a huge shape; what it repeats to fill it has this limit.
_MAX_FILLED_ELEMENTS = 2**28


def to_array(proto: Any) -> np.ndarray:
    """Return the tensor; strings are an object array of bytes.

    Raises:
      ValueError: unknown dtype, negative size, or content of the wrong length.
    """
    if proto.dtype not in _KINDS:
        raise ValueError(f"dtype {proto.dtype} is not supported")
    _, dtype, field = _KINDS[proto.dtype]
    shape = [dim.size for dim in proto.tensor_shape.dim]
    if min(shape, default=0) < 0:
        raise ValueError(f"shape {shape} has a negative size")
    if proto.tensor_content:
        if dtype.kind == "O":
            raise ValueError("strings in tensor_content are not supported")
        return np.frombuffer(proto.tensor_content, dtype).reshape(shape)
    values = _values(getattr(proto, field), dtype, field)
    return _filled(values, prod(shape)).reshape(shape)


def dtype_name(proto: Any) -> str:
    """Return TensorFlow's name of the dtype, as "float"; only after `to_array`."""
    return _KINDS[proto.dtype][0]


def _values(stored: Any, dtype: np.dtype, field: str) -> np.ndarray:
    if field == "half_val":  # the bits of each number
        return np.array(stored, np.uint16).view(dtype)
    if field in ("scomplex_val", "dcomplex_val"):  # real and imaginary parts in turn
        parts = np.array(stored, np.float32 if field[0] == "s" else np.float64)
        return parts[: len(parts) // 2 * 2].view(dtype)
    if field == "int_val":
        return np.array(stored, np.int32).astype(dtype)
    values = np.empty(len(stored), dtype)
    values[:] = stored
    return values


def _filled(values: np.ndarray, num_elements: int) -> np.ndarray:
    if len(values) >= num_elements:
        return values[:num_elements]
    if num_elements > _MAX_FILLED_ELEMENTS:
        raise ValueError(f"{len(values)} values for {num_elements} elements")
    last = values[-1] if len(values) else b"" if values.dtype.kind == "O" else 0
    filled = np.full(num_elements, last, values.dtype)
    filled[: len(values)] = values
    return filled


def fill(proto: Any, array: np.ndarray) -> None:
    """Write `array` into an empty TensorProto.

    Raises:
      TypeError: a dtype that TensorFlow does not have.
    """
    dtype = np.dtype(object) if array.dtype.kind in "SU" else array.dtype
    if dtype not in _NUMBERS:
        raise TypeError(f"Expected one of {list(_NUMBERS)}. Received: {array.dtype}")
    proto.dtype = _NUMBERS[dtype]
    proto.tensor_shape.SetInParent()  # a scalar has an empty shape, not none
    for size in array.shape:
        proto.tensor_shape.dim.add().size = size
    field = _KINDS[proto.dtype][2]
    getattr(proto, field).extend(_stored(array.ravel(), field))


def _stored(flat: np.ndarray, field: str) -> list[Any]:
    if field == "half_val":
        return flat.view(np.uint16).tolist()
    if field in ("scomplex_val", "dcomplex_val"):
        return flat.view(flat.real.dtype).tolist()
    values = flat.tolist()
    if field == "string_val":
        return [item.encode() if isinstance(item, str) else item for item in values]
    return values


def cast(values: Any, dtype_number: int | None) -> np.ndarray:
    """Turn what a caller passes into an array of a signature's dtype, if known.

    Raises:
      ValueError: numbers for an integer dtype that it cannot hold.
    """
    if dtype_number not in _KINDS:
        return np.asarray(values)
    dtype = _KINDS[dtype_number][1]
    array = np.array(values, object) if dtype.kind == "O" else np.asarray(values)
    converted = array.astype(dtype, copy=False)
    if dtype.kind in "iu" and not np.array_equal(converted, array):
        raise ValueError(f"Expected numbers that fit {dtype}. Received: {array}")
    return converted
