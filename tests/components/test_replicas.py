"""What is mended in Keras: several replicas do what one does, and draw on their own."""

import json
import os
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf

from components import replicas
from recipes.errors import MissingError

ROOT = Path(__file__).parents[2]
RUN = """
import json, sys
import keras
import numpy as np
import tensorflow as tf
from components import strategies

strategy = strategies.create("mirrored", 2)
before = keras.random.SeedGenerator.next
strategies.mend()
assert keras.random.SeedGenerator.next is before, "mended twice"

with strategy.scope():
    dropout = keras.layers.Dropout(0.5, seed=7)
    generator = keras.random.SeedGenerator(7)
    dropout.build((100,))

@tf.function
def draw():
    ones = tf.ones((100,))
    return [
        strategy.experimental_local_results(strategy.run(one))
        for one in (
            lambda: dropout(ones, training=True),
            lambda: keras.random.normal((100,), seed=generator),
        )
    ]

drawn = [[[value.numpy().tolist() for value in kind] for kind in draw()]
         for _ in range(2)]

random = np.random.default_rng(0)
x = random.normal(size=(17, 3)).astype("float32")
y = x.sum(axis=1, keepdims=True)

def history(scope):
    with scope:
        keras.utils.set_random_seed(0)
        model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(1)])
        model.compile(keras.optimizers.SGD(0.1), "mse", jit_compile=False)
    one_batch = tf.data.Dataset.from_tensor_slices((x, y)).batch(17)
    uneven = tf.data.Dataset.from_tensor_slices((x, y)).batch(8)  # 8, 8 and 1
    model.fit(one_batch, epochs=2, shuffle=False, verbose=0)
    return model.evaluate(uneven, verbose=0), model.predict(uneven, verbose=0).tolist()

import contextlib
json.dump({
    "drawn": drawn,
    "two": history(strategy.scope()),
    "one": history(contextlib.nullcontext()),
}, open(sys.argv[1], "w"))
"""


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """Logical devices must be made before TensorFlow is used."""
    path = tmp_path_factory.mktemp("replicas") / "run.json"
    done = subprocess.run(
        [sys.executable, "-c", RUN, path],
        cwd=ROOT,
        env={**os.environ, "CUDA_VISIBLE_DEVICES": "-1", "TF_CPP_MIN_LOG_LEVEL": "2"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(path.read_text())


@pytest.mark.slow
def test_replicas_draw_different_masks_and_noise_in_every_step(run):
    for kind in range(2):
        draws = [tuple(run["drawn"][step][kind][r]) for step in (0, 1) for r in (0, 1)]
        assert len(set(draws)) == 4
    kept = np.array([[run["drawn"][s][0][r] for r in (0, 1)] for s in (0, 1)]) > 0
    for one, other in ((kept[0, 0], kept[0, 1]), (kept[0, 0], kept[1, 1])):
        assert 30 < np.sum(one != other) < 70  # of 100; independent ones: 50


@pytest.mark.slow
def test_the_first_replica_draws_what_one_device_draws(run):
    dropout, generator = (
        keras.layers.Dropout(0.5, seed=7),
        keras.random.SeedGenerator(7),
    )
    for step in run["drawn"]:
        want = dropout(tf.ones((100,)), training=True)
        np.testing.assert_array_equal(step[0][0], want)
        noise = keras.random.normal((100,), seed=generator)
        np.testing.assert_allclose(step[1][0], noise, rtol=1e-6)


@pytest.mark.slow
def test_batches_that_replicas_cannot_share_evenly_are_judged_as_by_one(run):
    (one_loss, one), (two_loss, two) = run["one"], run["two"]
    # In `fit` a replica with 8 of 17 examples counts as one with 9: so much is close.
    np.testing.assert_allclose(two, one, atol=0.05)
    want = np.mean(np.square(np.ravel(two) - _sums()))
    assert two_loss == pytest.approx(want, rel=1e-5)
    assert one_loss == pytest.approx(np.mean(np.square(np.ravel(one) - _sums())), 1e-5)


def _sums():
    x = np.random.default_rng(0).normal(size=(17, 3)).astype("float32")
    return x.sum(axis=1)


def test_a_keras_that_was_not_looked_at_is_refused(monkeypatch):
    monkeypatch.setattr(keras, "__version__", "3.16.0")
    with pytest.raises(MissingError, match=r"Keras 3\.15, .* Found: 3\.16\.0"):
        replicas.mend()
