"""One temperature that makes probabilities honest."""

import numpy as np
import pytest

from components import temperature

RNG = np.random.default_rng(0)


def drawn(logits):
    """Return labels drawn with the probabilities that logits say, by Gumbel's rule."""
    wide = np.concatenate([0 * logits, logits], 1) if logits.shape[1] == 1 else logits
    return np.argmax(wide + RNG.gumbel(size=wide.shape), axis=1)


@pytest.mark.parametrize("classes", [1, 4])
@pytest.mark.parametrize("factor", [0.4, 1.0, 3.0])
def test_the_factor_that_logits_were_scaled_by_is_found(classes, factor):
    logits = RNG.normal(size=(40_000, classes)) * 2
    labels = drawn(logits)
    found = temperature.figures(logits * factor, labels)
    assert found["value"] == pytest.approx(factor, rel=0.05)
    honest = temperature.log_loss(logits, labels)
    assert found["scaled_log_loss"] == pytest.approx(honest, abs=1e-3)
    assert found["scaled_log_loss"] <= found["log_loss"]
    assert found["examples"] == 40_000


def test_the_slope_of_the_log_loss_is_zero_there():
    logits = RNG.normal(size=(500, 3)).astype("float32")
    labels = RNG.integers(0, 3, 500)
    labels[:300] = logits[:300].argmax(axis=1)
    best = temperature.fit(logits, labels)
    at_best = temperature.log_loss(logits, labels, best)
    for near in (0.99, 1.01):
        assert temperature.log_loss(logits, labels, near * best) > at_best


def test_the_log_loss_by_hand():
    """ln(1 + e^-2) and ln(1 + e^1): the second is answered wrongly."""
    want = (np.log1p(np.exp(-2)) + np.log1p(np.exp(1))) / 2
    labels = np.array([1, 0])
    one = temperature.log_loss(np.array([[2.0], [1.0]]), labels)
    two = temperature.log_loss(np.array([[3.0, 5.0], [-1.0, 0.0]]), labels)
    assert (one, two) == pytest.approx((want, want))


def test_what_no_temperature_mends_gets_a_bound():
    right = np.array([[5.0, 0.0], [0.0, 5.0]])
    assert temperature.fit(right, np.array([0, 1])) == pytest.approx(0.05)
    assert temperature.fit(right, np.array([1, 0])) == pytest.approx(20.0)
    huge = np.array([[1e4, -1e4], [-1e4, 1e4]])
    assert np.isfinite(temperature.figures(huge, np.array([0, 0]))["scaled_log_loss"])
