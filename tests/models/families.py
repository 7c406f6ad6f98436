"""Inputs for any family, made from what its model says it reads."""

import numpy as np

import models


def tiny_model(name, **arguments):
    family = models.load(name)
    return family.build(**{**family.TINY, **arguments})


def example_inputs(name, batch_size, seed=0):
    """Return a random batch that fits `tiny_model(name)`."""
    shape = models.load(name).TINY["input_shape"]
    draw = np.random.default_rng(seed)
    if isinstance(shape, tuple):
        return draw.normal(size=(batch_size, *shape)).astype("float32")
    return {
        feature: draw.normal(size=(batch_size, 1)).astype("float32")
        if num_ids is None
        else draw.integers(num_ids, size=(batch_size, 1))
        for feature, num_ids in shape.items()
    }


def example_labels(name, batch_size, seed=0):
    num_outputs = models.load(name).TINY["num_outputs"]
    return np.random.default_rng(seed).integers(num_outputs, size=batch_size)
