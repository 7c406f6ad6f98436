"""The transformer decoder: what it sees, and reading token by token."""

import functools

import keras
import numpy as np
import pytest
import tensorflow as tf

from models import Tokens
from models import transformer_decoder as decoder
from tests.models.families import (
    example_inputs,
    products_with_and_without_remat,
    tiny_model,
)

NAME = "transformer_decoder"
LENGTH = decoder.TINY["input_shape"].length


def full_texts(batch_size):
    num_ids = decoder.TINY["input_shape"].num_ids
    draw = np.random.default_rng(0)
    return draw.integers(1, num_ids, size=(batch_size, LENGTH))


def test_a_place_does_not_see_what_follows():
    model, ids = tiny_model(NAME), full_texts(2)
    logits = model(ids).numpy()
    for place in range(LENGTH):
        changed = ids.copy()
        changed[:, place] = 1 + ids[:, place] % 49  # another token
        got = model(changed).numpy()
        np.testing.assert_allclose(got[:, :place], logits[:, :place], atol=1e-6)
        assert np.abs(got[:, place:] - logits[:, place:]).max(axis=(0, 2)).all()


def test_padding_does_not_change_the_logits_before_it():
    model, ids = tiny_model(NAME), full_texts(1)
    padded = np.where(np.arange(LENGTH) < 4, ids, 0)
    np.testing.assert_allclose(model(padded)[:, :4], model(ids)[:, :4], atol=1e-6)


def test_reading_all_at_once_is_the_model():
    model, ids = tiny_model(NAME, num_blocks=2), example_inputs(NAME, 3)
    logits, cache = decoder.read(model, ids)
    np.testing.assert_allclose(logits, model(ids), rtol=1e-5, atol=1e-6)
    assert len(cache) == 2


def test_reading_token_by_token_is_the_model():
    model, ids = tiny_model(NAME, num_blocks=2), full_texts(3)
    _, cache = decoder.read(model, np.zeros_like(ids))
    want = model(ids).numpy()
    for place in range(LENGTH):
        positions = np.full(3, place)
        got, cache = decoder.step(model, ids[:, place], positions, cache)
        np.testing.assert_allclose(got, want[:, place], rtol=1e-5, atol=1e-6)


def test_texts_of_unequal_length_go_on_each_from_its_end():
    model, ids = tiny_model(NAME), full_texts(3)
    lengths = np.array([1, 3, 5])
    known = np.where(np.arange(LENGTH) < lengths[:, None], ids, 0)
    _, cache = decoder.read(model, known)
    got, _ = decoder.step(model, ids[np.arange(3), lengths], lengths, cache)
    want = model(ids).numpy()[np.arange(3), lengths]
    np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-6)


def test_a_model_that_was_saved_reads_token_by_token(tmp_path):
    model, ids = tiny_model(NAME), full_texts(2)
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    _, cache = decoder.read(loaded, ids)
    got, _ = decoder.step(loaded, ids[:, 3], np.array([3, 3]), cache)
    np.testing.assert_allclose(got, model(ids)[:, 3], rtol=1e-5, atol=1e-6)


def test_steps_work_in_a_graph_and_in_half_precision():
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        model = tiny_model(NAME)
    finally:
        keras.config.set_dtype_policy("float32")
    ids = full_texts(2)

    @tf.function
    def last(ids):
        _, cache = decoder.read(model, ids)
        return decoder.step(model, ids[:, -1], tf.fill([2], LENGTH - 1), cache)[0]

    got = last(tf.constant(ids))
    assert got.dtype == tf.float32
    np.testing.assert_allclose(got, model(ids)[:, -1], atol=0.02)


def test_recomputing_changes_no_gradient():
    build = functools.partial(tiny_model, NAME)
    kept, recomputed = products_with_and_without_remat(build, full_texts(2))
    assert recomputed >= kept + 6  # two of the feed-forward part, four of the attention


def test_dropout_acts_in_training_alone():
    model, ids = tiny_model(NAME, dropout=0.5), full_texts(2)
    np.testing.assert_allclose(model(ids), decoder.read(model, ids)[0], atol=1e-6)
    assert np.abs(model(ids, training=True) - model(ids)).max() > 0.01


@pytest.mark.parametrize("wrong", [{"dim": 10, "num_heads": 3}, {"num_blocks": 0}])
def test_values_that_do_not_fit_are_named(wrong):
    with pytest.raises(ValueError, match=rf"`{next(iter(wrong))}` must .*Received"):
        tiny_model(NAME, **wrong)


def test_a_shape_that_is_no_text_is_refused():
    with pytest.raises(ValueError, match=r"`input_shape` must be Tokens.*\(3,\)"):
        decoder.build((3,), 4)
    assert decoder.build(Tokens(3, 5), 5).output_shape == (None, 3, 5)
    with pytest.raises(ValueError, match=r"`num_ids` must .*num_ids=0"):
        decoder.build(Tokens(3, 0), 5)
