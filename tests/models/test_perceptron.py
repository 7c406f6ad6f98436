import keras
import numpy as np

from models import mlp, perceptron

INPUTS = np.array([[0, 0], [0, 1], [1, 0], [1, 1]], "float32")
XOR = np.array([[0], [1], [1], [0]])
AND = np.array([[0], [0], [0], [1]])


def accuracy(model, labels):
    return np.mean((model(INPUTS).numpy() > 0) == labels)


def trained(model, labels, steps=60):
    model.compile(
        keras.optimizers.Adam(0.3), keras.losses.BinaryCrossentropy(from_logits=True)
    )
    for _ in range(steps):
        model.train_on_batch(INPUTS, labels)
    return model


def test_outputs_match_hand_computed_values():
    model = perceptron.build((1, 2), 2, scale=0.5)
    model.set_weights([np.array([[1.0, -1.0], [2.0, 3.0]]), np.array([0.5, 0.0])])
    # (2, 4) -> scaled (1, 2) -> (1 + 4 + 0.5, -1 + 6)
    got = model(np.array([[[2.0, 4.0]]], "float32"))
    np.testing.assert_allclose(got, [[5.5, 5.0]], rtol=1e-6)


def test_no_weights_give_the_exclusive_or():
    # Minsky and Papert 1969: f(0, 0) + f(1, 1) = f(0, 1) + f(1, 0) for f linear, so
    # the signs that XOR asks for, - + + -, cannot all be right.
    model, draw = perceptron.build((2,), 1), np.random.default_rng(0)
    accuracies = set()
    for _ in range(50):
        model.set_weights([draw.normal(size=(2, 1)), draw.normal(size=1)])
        logits = model(INPUTS).numpy().ravel()
        np.testing.assert_allclose(logits[0] + logits[3], logits[1] + logits[2], 1e-4)
        accuracies.add(accuracy(model, XOR))
    assert max(accuracies) == 0.75


def test_training_finds_a_linear_rule_but_not_the_exclusive_or():
    assert accuracy(trained(perceptron.build((2,), 1), AND), AND) == 1.0
    assert accuracy(trained(perceptron.build((2,), 1), XOR), XOR) <= 0.75


def test_a_hidden_layer_learns_the_exclusive_or():
    assert accuracy(trained(mlp.build((2,), 1, units=(8,)), XOR), XOR) == 1.0
