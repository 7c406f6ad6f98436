import ml_dtypes
import numpy as np
import pytest
from tensorflow.core.framework import tensor_pb2

from serving.tensor_proto import cast, fill, to_array

DTYPES = ["float16", "float32", "float64", "complex64", "complex128"]
DTYPES += ["int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64"]


@pytest.mark.parametrize("dtype", [*DTYPES, ml_dtypes.bfloat16])
def test_numbers_survive_a_round_trip(dtype):
    array = np.array([[0, 1, 100], [7, 0, 1]]).astype(dtype)
    proto = tensor_pb2.TensorProto()
    fill(proto, array)
    np.testing.assert_array_equal(to_array(proto), array)
    assert to_array(proto).dtype == array.dtype


def test_strings_and_truth_values_survive_a_round_trip():
    for array in (np.array([b"a\0", b""], object), np.array([True, False])):
        proto = tensor_pb2.TensorProto()
        fill(proto, array)
        assert to_array(proto).tolist() == array.tolist()


@pytest.mark.parametrize(
    ("values", "want"),
    [([1, 2], [1, 2, 2]), ([1, 2, 3, 4], [1, 2, 3]), ([], [0, 0, 0])],
)
def test_a_wrong_number_of_values_is_filled_or_cut(values, want):
    proto = tensor_pb2.TensorProto(dtype=1, float_val=values)
    proto.tensor_shape.dim.add().size = 3
    assert to_array(proto).tolist() == want


def test_a_short_message_cannot_ask_for_a_huge_tensor():
    proto = tensor_pb2.TensorProto(dtype=1, float_val=[1.0])
    proto.tensor_shape.dim.add().size = 2**40
    with pytest.raises(ValueError, match="1 values for"):
        to_array(proto)


def test_cast_refuses_what_would_be_lost():
    assert cast([1.0, 2.0], 3).dtype == np.int32
    with pytest.raises(ValueError, match="fit int32"):
        cast([1.5], 3)
    with pytest.raises(ValueError, match="fit int32"):
        cast([2**40], 3)
