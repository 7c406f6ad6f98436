"""Explanations of networks that have learned: complete, and of the network itself."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from scipy.stats import spearmanr
from sklearn.datasets import load_digits

import models
from components.explanations import completeness_gap
from components.explanations.grad_cam import grad_cam, last_convolution
from components.explanations.gradients import integrated_gradients

pytestmark = pytest.mark.slow


def digits():
    data = load_digits()
    return (data.images[..., None] * 15.9375).astype("float32"), data.target


@pytest.fixture(scope="module")
def network():
    """A LeNet-5 that has learned digits, and some scans it has not seen."""
    images, labels = digits()
    keras.utils.set_random_seed(0)
    model = models.build("cnn", (8, 8, 1), 10, scale=1 / 255)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.Adam(0.003), loss, metrics=["accuracy"])
    model.fit(images[:1400], labels[:1400], epochs=5, batch_size=32, verbose=0)
    assert model.evaluate(images[1400:], labels[1400:], verbose=0)[1] > 0.9
    return model, tf.constant(images[1400:1450]), images[:1400].mean(axis=0)


def traced(model):
    return tf.function(
        lambda batch: model(batch, training=False),
        input_signature=[tf.TensorSpec([None, 8, 8, 1])],
        autograph=False,
    )


def test_the_gap_of_a_network_is_below_a_hundredth(network):
    model, images, baseline = network
    call = traced(model)
    classes = tf.argmax(call(images), axis=-1)
    values = integrated_gradients(call, images, baseline, classes, steps=64)
    gap = completeness_gap(call, images, baseline, classes, values)
    total = tf.reduce_sum(values, axis=[1, 2, 3])
    assert tf.reduce_sum(gap) < 0.01 * tf.reduce_sum(tf.abs(total))
    assert tf.reduce_mean(gap / tf.abs(total)) < 0.01


def test_a_network_that_has_learned_nothing_is_explained_otherwise(network):
    """Adebayo et al. 2018: else it is the picture that is drawn, not the model."""
    model, images, baseline = network
    other = models.build("cnn", (8, 8, 1), 10, scale=1 / 255, seed=7)
    classes = tf.argmax(model(images), axis=-1)
    same, trained, random = (
        integrated_gradients(traced(one), images, baseline, classes).numpy()
        for one in (model, model, other)
    )
    assert rank_correlation(trained, same) == pytest.approx(1)
    assert abs(rank_correlation(trained, random)) < 0.2
    heat, heat_of_random = (
        grad_cam(one, last_convolution(one), images, classes).numpy()
        for one in (model, other)
    )
    assert rank_correlation(heat, heat_of_random) < 0.5


def rank_correlation(one, other):
    """Return the mean over images, leaving out those that show nothing at all."""
    pairs = zip(one, other, strict=True)
    found = [
        spearmanr(a.ravel(), b.ravel())[0] for a, b in pairs if a.any() and b.any()
    ]
    return np.mean(found)


def test_the_last_convolution_is_one_that_tells_places_apart():
    lenet = models.build("cnn", (8, 8, 1), 3)
    assert last_convolution(lenet).name == "c3"
    residual = models.build("cnn", (16, 16, 3), 3, architecture="resnet")
    assert last_convolution(residual).output.shape[1] > 1
    of_patches = models.load("vit").TINY
    assert last_convolution(models.build("vit", **of_patches)) is None
