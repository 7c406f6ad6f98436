"""Inputs and labels for any family, made from what its model says it reads."""

import functools

import keras
import numpy as np
import tensorflow as tf

import models
from models import Graph, Pair, Series, Tokens


def tiny_model(name, **arguments):
    family = models.load(name)
    return family.build(**{**family.TINY, **arguments})


def example_inputs(name, batch_size, seed=0):
    """Return a random batch that fits `tiny_model(name)`."""
    shape = models.load(name).TINY["input_shape"]
    return _inputs(shape, batch_size, np.random.default_rng(seed))


def example_labels(name, batch_size, seed=0):
    """Return labels that fit the outputs of `tiny_model(name)`."""
    tiny = models.load(name).TINY
    draw = np.random.default_rng(seed)
    shape, num_outputs = tiny["input_shape"], tiny["num_outputs"]
    if isinstance(shape, Series):
        return draw.normal(size=(batch_size, num_outputs)).astype("float32")
    if is_language(name):
        length = shape.target.length if isinstance(shape, Pair) else shape.length
        return draw.integers(1, num_outputs, size=(batch_size, length))
    return draw.integers(num_outputs, size=batch_size)


def loss_of(name):
    """Return the loss that the outputs of a family are trained with."""
    if isinstance(models.load(name).TINY["input_shape"], Series):
        return keras.losses.MeanSquaredError()
    return keras.losses.SparseCategoricalCrossentropy(from_logits=True)


def is_language(name):
    """Say whether a family predicts tokens: a row of logits per place."""
    tiny = models.load(name).TINY
    shape = tiny["input_shape"]
    return isinstance(shape, Pair) or (
        isinstance(shape, Tokens) and shape.num_ids == tiny["num_outputs"]
    )


def computes_in_half_precision(model):
    """Say whether a layer, beside those of the inputs, computes in bfloat16."""
    computing = (x for x in model.layers if not isinstance(x, keras.layers.InputLayer))
    return "bfloat16" in {layer.compute_dtype for layer in computing}


def is_finer_than_half(values):
    """Say whether any of float32 values would be rounded in half precision."""
    rounded = tf.cast(tf.cast(values, tf.bfloat16), tf.float32)
    return bool((rounded.numpy() != np.array(values)).any())


def products_with_and_without_remat(build, inputs):
    """Check in a graph that `remat` of `build` changes neither loss nor gradients.

    Returns:
      How many products of matrices the graph has without recomputing, and with it.
    """
    results, counts = [], []
    for remat in (False, True):
        compute = functools.partial(_loss_and_gradients, build(remat=remat))
        inputs = keras.tree.map_structure(tf.constant, inputs)
        traced = tf.function(compute).get_concrete_function(inputs)
        results.append(traced(inputs))
        operations = traced.graph.get_operations()
        counts.append(sum("MatMul" in operation.type for operation in operations))
    for plain, recomputed in zip(*results, strict=True):
        np.testing.assert_allclose(recomputed, plain, rtol=1e-4, atol=1e-6)
    return counts


def _loss_and_gradients(model, inputs):
    with tf.GradientTape() as tape:
        loss = tf.reduce_mean(model(inputs, training=True) ** 2)
    gradients = tape.gradient(loss, model.trainable_variables)
    return [loss, *map(tf.convert_to_tensor, gradients)]


def _inputs(shape, batch_size, draw):
    if isinstance(shape, Tokens):
        return _ids(shape, batch_size, draw)
    if isinstance(shape, Pair):
        return {
            "source": _ids(shape.source, batch_size, draw),
            "target": _ids(shape.target, batch_size, draw),
        }
    if isinstance(shape, Series):
        shape = (shape.context, shape.channels)
    if isinstance(shape, Graph):
        return _neighbourhoods(shape, batch_size, draw)
    if isinstance(shape, tuple):
        return draw.normal(size=(batch_size, *shape)).astype("float32")
    return {
        feature: draw.normal(size=(batch_size, 1)).astype("float32")
        if num_ids is None
        else draw.integers(num_ids, size=(batch_size, 1))
        for feature, num_ids in shape.items()
    }


def _ids(shape, batch_size, draw):
    """Return texts of one token to the full length."""
    ids = draw.integers(1, shape.num_ids, size=(batch_size, shape.length))
    lengths = draw.integers(1, shape.length + 1, size=(batch_size, 1))
    return np.where(np.arange(shape.length) < lengths, ids, 0)


def _neighbourhoods(shape, batch_size, draw):
    num_nodes = draw.integers(1, shape.num_nodes + 1, size=(batch_size, 1))
    exists = np.arange(shape.num_nodes) < num_nodes
    both = exists[:, :, None] & exists[:, None, :]
    edges = draw.random(size=both.shape) < 0.5
    edges &= ~np.eye(shape.num_nodes, dtype=bool)
    features = draw.normal(size=(batch_size, shape.num_nodes, shape.num_features))
    return {
        "features": np.where(exists[..., None], features, 0).astype("float32"),
        "adjacency": (edges & both).astype("float32"),
    }
