"""Served and trained columns are compared by their values, whatever their order."""

import numpy as np

from components.diagnosis.serving import accuracy, column_gaps


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


def test_values_are_compared_each_for_itself_and_missing_ones_are_equal():
    nan = np.nan
    served = [{"a": np.float32([[1, nan, 3, 4], [5, 6, 7, 8]])}]
    stored = [{"a": np.float64([[5, 6, 7, 8], [1, nan, 3, 0]])}]
    assert column_gaps(served, stored) == {"a": 0.125}
    # In another place a value is another.
    assert column_gaps([{"a": np.int64([[1, 2]])}], [{"a": np.int32([[2, 1]])}]) == {
        "a": 1
    }


def test_a_column_that_is_not_served_is_all_gap():
    assert column_gaps([], [{"a": np.float32([[1]])}]) == {"a": 1}


def test_right_is_the_most_probable_class_whatever_the_threshold():
    answers = {
        "probabilities": np.float32([[0.6], [0.4], [0.7], [0.2]]),
        "classes": np.array([0, 1, 0, 0]),  # by thresholds of groups
    }
    assert accuracy(answers, np.array([[1], [1], [1], [0]])) == 0.75
    answers = {"probabilities": np.float32([[0.2, 0.5, 0.3], [0.6, 0.2, 0.2]])}
    assert accuracy(answers, np.array([1, 2])) == 0.5


def test_rounding_is_no_gap():
    served, stored = np.float32([[0.1]]), np.float32([[0.1 + 1e-8]])
    assert column_gaps([{"a": served}], [{"a": stored}]) == {"a": 0}
