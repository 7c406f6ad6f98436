"""Optimizers: one update by hand, schedules, and what decays and what does not."""

import keras
import numpy as np
import pytest

from components import optimizers
from tests.components.trainings import train_section


def variables(*names, value=2.0):
    return [keras.Variable([value], name=name) for name in names]


def updated(trained, gradient=1.0, steps=1, factors=None, **changes):
    """Return the values after some updates with equal gradients."""
    optimizer = optimizers.create(
        train_section(**changes), num_steps=100, factors=factors
    )
    for _ in range(steps):
        optimizer.apply([np.array([gradient], "float32") for _ in trained], trained)
    return [float(variable[0]) for variable in trained]


@pytest.mark.parametrize(
    ("name", "steps", "want"),
    [
        ("sgd", 1, 2 - 0.1),
        ("sgd", 2, 2 - 0.2),
        ("momentum", 2, 2 - 0.1 - 0.19),  # the second is 0.9 of the first and its own
        ("adam", 2, 2 - 0.2),  # Adam's updates are as large as its rate
        ("rmsprop", 1, 2 - 0.1 / 0.1**0.5),  # 0.1 of the square is remembered
    ],
)
def test_updates_by_hand(name, steps, want):
    got = updated(variables("kernel"), steps=steps, optimizer=name, learning_rate=0.1)
    assert got == [pytest.approx(want, abs=1e-4)]


def test_weights_decay_and_biases_and_norms_do_not():
    names = ("kernel", "recurrent_kernel", "embeddings", "bias", "gamma")
    got = updated(
        variables(*names), 0.0, optimizer="sgd", learning_rate=0.1, weight_decay=0.5
    )
    assert got == pytest.approx([2 * 0.95] * 3 + [2.0] * 2)


@pytest.mark.parametrize("name", ["sgd", "adam"])
def test_a_factor_is_on_the_update(name):
    trained = variables("kernel", "other_kernel")
    factors = {trained[1].path: 0.1}
    fast, slow = updated(trained, factors=factors, optimizer=name, learning_rate=0.1)
    assert (2 - slow) == pytest.approx(0.1 * (2 - fast), rel=1e-3)


def test_what_learns_slowly_decays_slowly():
    trained = variables("kernel")
    got = updated(
        trained,
        0.0,
        factors={trained[0].path: 0.1},
        optimizer="sgd",
        learning_rate=0.1,
        weight_decay=0.5,
    )
    assert got == [pytest.approx(2 * 0.995)]


def test_gradients_are_clipped_together():
    got = updated(
        variables("a", "b"), 30.0, optimizer="sgd", learning_rate=1.0, clip_norm=1.0
    )
    assert got == pytest.approx([2 - 0.5**0.5] * 2, rel=1e-5)


def rates(schedule, warmup_steps, steps, num_steps=10):
    made = optimizers.Schedule(
        schedule, 0.8, num_steps=num_steps, warmup_steps=warmup_steps
    )
    return [float(made(step)) for step in steps]


@pytest.mark.parametrize(
    ("schedule", "want"),
    [
        ("constant", [0.4, 0.8, 0.8, 0.8, 0.8]),
        ("linear", [0.4, 0.8, 0.8, 0.4, 0.0]),
        ("cosine", [0.4, 0.8, 0.8, 0.4, 0.0]),
    ],
)
def test_the_rate_rises_then_falls_to_0_after_the_last_update(schedule, want):
    assert rates(schedule, 2, [0, 1, 2, 6, 10]) == pytest.approx(want, abs=1e-6)


def test_a_schedule_is_as_far_as_the_time():
    made = optimizers.Schedule("linear", 0.8, num_steps=10, warmup_steps=0)
    made.share_of_time.assign(0.75)
    assert [float(made(step)) for step in (0, 9)] == pytest.approx([0.2, 0.08])


def test_averages_are_of_all_updates():
    (trained,) = variables("kernel")
    optimizer = optimizers.create(
        train_section(optimizer="sgd", learning_rate=1.0, ema=0.75), num_steps=2
    )
    for _ in range(2):
        optimizer.apply([np.array([1.0], "float32")], [trained])
    (average,) = optimizers.averages(optimizer).values()
    assert float(average[0]) == pytest.approx(0.75 * 1.0 + 0.25 * 0.0)
    optimizer.finalize_variable_values([trained])
    assert float(trained[0]) == 0.0  # `fit` may go on in another
