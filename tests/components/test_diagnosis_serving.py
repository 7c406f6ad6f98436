"""Served and trained columns are compared by their values, whatever their order."""

import numpy as np

from components.diagnosis.serving import column_gaps


def test_columns_in_another_order_and_other_batches_are_the_same():
    one = [{"a": np.float32([[1], [2]])}, {"a": np.float32([[3]])}]
    other = [{"a": np.float32([[3], [1], [2]])}]
    assert column_gaps(one, other) == {"a": 0}


def test_a_gap_is_the_share_of_values_that_differ():
    served = [
        {"a": np.float32([[1], [2], [3], [3]]), "t": np.array([b"x"] * 4, object)}
    ]
    stored = [
        {"a": np.float32([[1], [2], [2], [3]]), "t": np.array([b"x"] * 4, object)}
    ]
    assert column_gaps(served, stored) == {"a": 0.25, "t": 0}


def test_rounding_is_no_gap():
    served, stored = np.float32([[0.1]]), np.float32([[0.1 + 1e-8]])
    assert column_gaps([{"a": served}], [{"a": stored}]) == {"a": 0}
