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


def test_log_loss_and_prior_are_least_there():
    """The prior is that of Gamma(5, rate 4): b^4 e^(-4 b) of b = 1 / T."""
    logits = RNG.normal(size=(50, 3)).astype("float32")
    labels = RNG.integers(0, 3, 50)
    labels[:40] = logits[:40].argmax(axis=1)
    best = temperature.fit(logits, labels)

    def total(value):
        log_loss = 50 * temperature.log_loss(logits, labels, value)
        return log_loss + 4 * np.log(value) + 4 / value

    assert best != pytest.approx(1, abs=0.1)
    for near in (0.99, 1.01):
        assert total(near * best) > total(best)


def test_few_examples_that_are_all_right_do_not_make_a_model_sure():
    """34 margins of 5: 34 * 5 / (1 + e^(5 b)) = 4 (1 - 1 / b) at b = 1.1531."""
    labels = RNG.integers(0, 3, 34)
    logits = 5.0 * np.eye(3)[labels]
    logits[np.arange(34), (labels + 2) % 3] = -100.0  # of two classes, in effect
    assert temperature.fit(logits, labels) == pytest.approx(1 / 1.1531, rel=1e-4)


def test_the_log_loss_by_hand():
    """ln(1 + e^-2) and ln(1 + e^1): the second is answered wrongly."""
    want = (np.log1p(np.exp(-2)) + np.log1p(np.exp(1))) / 2
    labels = np.array([1, 0])
    one = temperature.log_loss(np.array([[2.0], [1.0]]), labels)
    two = temperature.log_loss(np.array([[3.0, 5.0], [-1.0, 0.0]]), labels)
    assert (one, two) == pytest.approx((want, want))


def test_what_no_temperature_mends_gets_a_bound():
    right = np.tile([[5.0, 0.0], [0.0, 5.0]], (1000, 1))
    assert temperature.fit(right / 50, np.tile([0, 1], 1000)) == pytest.approx(0.05)
    assert temperature.fit(right, np.tile([1, 0], 1000)) == pytest.approx(20.0)
    huge = np.array([[1e4, -1e4], [-1e4, 1e4]])
    assert np.isfinite(temperature.figures(huge, np.array([0, 0]))["scaled_log_loss"])
