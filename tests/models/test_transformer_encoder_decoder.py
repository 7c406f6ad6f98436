"""The transformer encoder-decoder: what it sees, and writing token by token."""

import dataclasses
import functools

import keras
import numpy as np
import pytest
import tensorflow as tf

from models import transformer_encoder_decoder as family
from tests.models.families import (
    example_inputs,
    products_with_and_without_remat,
    tiny_model,
)

NAME = "transformer_encoder_decoder"
SHAPE = family.TINY["input_shape"]


def full_texts(batch_size):
    draw = np.random.default_rng(0)
    sizes = {"source": SHAPE.source.length, "target": SHAPE.target.length}
    return {
        name: draw.integers(1, 50, size=(batch_size, length))
        for name, length in sizes.items()
    }


def with_another(ids, place):
    changed = ids.copy()
    changed[:, place] = 1 + ids[:, place] % 49
    return changed


def test_a_place_sees_all_of_the_source_and_no_target_that_follows():
    model, texts = tiny_model(NAME), full_texts(2)
    logits = model(texts).numpy()
    for place in range(SHAPE.source.length):
        source = with_another(texts["source"], place)
        changes = np.abs(model({**texts, "source": source}) - logits)
        assert changes.max(axis=(0, 2)).all()
    for place in range(SHAPE.target.length):
        target = with_another(texts["target"], place)
        changes = np.abs(model({**texts, "target": target}) - logits).max(axis=(0, 2))
        assert changes[:place].max(initial=0) < 1e-6
        assert changes[place:].all()


def test_padding_of_the_source_is_not_seen():
    texts = full_texts(2)
    short = {**texts, "source": texts["source"][:, :3]}
    padded = {**texts, "source": np.pad(short["source"], [(0, 0), (0, 2)])}
    shape = family.Pair(family.Tokens(3, 50), SHAPE.target)
    narrow, wide = tiny_model(NAME, input_shape=shape), tiny_model(NAME)
    for layer in narrow.layers:
        if layer.name != "source_positions":
            layer.set_weights(wide.get_layer(layer.name).get_weights())
    (places,) = wide.get_layer("source_positions").get_weights()
    narrow.get_layer("source_positions").set_weights([places[:3]])
    np.testing.assert_allclose(wide(padded), narrow(short), rtol=1e-5, atol=1e-6)


def test_writing_token_by_token_is_the_model():
    model, texts = tiny_model(NAME, num_blocks=2), example_inputs(NAME, 3)
    want = model(texts).numpy()
    cache = family.read(model, texts["source"])
    assert len(cache["blocks"]) == 2
    for place in range(SHAPE.target.length):
        ids = texts["target"][:, place]
        got, cache = family.step(model, ids, np.full(3, place), cache)
        np.testing.assert_allclose(got, want[:, place], rtol=1e-5, atol=1e-6)


def test_a_model_that_was_saved_writes_in_a_graph(tmp_path):
    model, texts = tiny_model(NAME), full_texts(2)
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")

    @tf.function
    def first(source, target):
        cache = family.read(loaded, source)
        return family.step(loaded, target[:, 0], tf.zeros([2], tf.int32), cache)[0]

    got = first(tf.constant(texts["source"]), tf.constant(texts["target"]))
    np.testing.assert_allclose(got, model(texts)[:, 0], rtol=1e-5, atol=1e-6)


@pytest.mark.slow
def test_recomputing_changes_no_gradient():
    build = functools.partial(tiny_model, NAME)
    kept, recomputed = products_with_and_without_remat(build, full_texts(2))
    assert recomputed >= kept + 3 * 4 + 2 * 2


def test_dropout_acts_in_training_alone():
    model, texts = tiny_model(NAME, dropout=0.5), full_texts(2)
    np.testing.assert_array_equal(model(texts), model(texts))
    assert np.abs(model(texts, training=True) - model(texts)).max() > 0.01


@pytest.mark.parametrize("wrong", [{"dim": 10, "num_heads": 3}, {"num_blocks": 0}])
def test_values_that_do_not_fit_are_named(wrong):
    with pytest.raises(ValueError, match=rf"`{next(iter(wrong))}` must .*Received"):
        tiny_model(NAME, **wrong)


@pytest.mark.parametrize("wrong", ["source", "target"])
def test_texts_of_no_length_are_named(wrong):
    shape = dataclasses.replace(SHAPE, **{wrong: family.Tokens(0, 50)})
    with pytest.raises(ValueError, match=r"`length` must .*length=0"):
        tiny_model(NAME, input_shape=shape)
