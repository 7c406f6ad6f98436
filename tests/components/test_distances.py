"""Distances of numbers, against values worked out by hand."""

import math

import numpy as np
import pandas as pd
import pytest
import tensorflow_data_validation as tfdv

from components.distances import by_chance, distance, jensen_shannon


def numbers(values):
    """Return the statistics of a column."""
    made = tfdv.generate_statistics_from_dataframe(pd.DataFrame({"x": values}))
    return made.datasets[0].features[0]


@pytest.mark.parametrize(
    ("left", "right", "bits"),
    [
        # H(3/4, 1/4) - (H(1/2, 1/2) + H(1, 0)) / 2 = 0.811278 - 0.5
        ([5, 5], [7, 0], 0.311278),
        # H(1/2, 1/2) - H(0.7, 0.3) = 1 - 0.881291
        ([7, 3], [3, 7], 0.118709),
        ([1, 0], [0, 1], 1.0),
        ([2, 1, 1], [4, 2, 2], 0.0),
    ],
)
def test_divergence_of_counts_matches_values_by_hand(left, right, bits):
    got = jensen_shannon(np.array(left), np.array(right))
    assert got == pytest.approx(bits, abs=1e-6)


def test_uniform_numbers_that_overlap_by_half_are_half_a_bit_apart():
    left = numbers(np.linspace(0.0, 1.0, 2001))
    right = numbers(np.linspace(0.5, 1.5, 2001))
    assert distance(left, right) == pytest.approx(0.5, abs=0.02)
    assert distance(right, left) == pytest.approx(0.5, abs=0.02)


def test_numbers_apart_are_almost_a_bit_apart_and_equal_ones_none():
    left, right = numbers(np.linspace(0.0, 1.0, 100)), numbers(np.linspace(2.0, 3.0, 9))
    assert distance(left, right) > 0.8
    assert distance(left, left) == 0.0


def test_one_outlier_moves_nothing():
    values = np.random.default_rng(0).lognormal(size=2000)
    with_outlier = np.append(values[1:], 1e6)
    assert distance(numbers(values), numbers(with_outlier)) < 0.001


def test_random_halves_of_skewed_numbers_are_close():
    values = np.random.default_rng(0).lognormal(sigma=2.0, size=4000)
    assert distance(numbers(values[:2000]), numbers(values[2000:])) < 0.02


def test_a_constant_is_a_third_of_a_bit_from_one_that_is_half_another():
    constant, halves = numbers([0.0] * 40), numbers([0.0, 1.0] * 20)
    assert distance(constant, halves) == pytest.approx(0.311278, abs=0.05)


def test_a_column_without_values_cannot_be_compared():
    assert distance(numbers([None, None]), numbers([1.0, 2.0])) is None


def test_what_samples_differ_by_chance_is_taken_off():
    random = np.random.default_rng(0)
    large, small = random.integers(0, 40, 5000), random.integers(0, 40, 50)
    assert by_chance(40, 5000, 50) == pytest.approx(39 / (8 * math.log(2)) * 0.0202)
    assert distance(numbers(large.tolist()), numbers(small.tolist())) < 0.08


def test_two_samples_with_nothing_in_common_are_one_apart():
    assert distance(numbers([1] * 30), numbers([2] * 30)) == pytest.approx(1.0)
