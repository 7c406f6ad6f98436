import numpy as np
import pytest

from models import Series, Tokens, rnn

SHAPE = Tokens(length=5, num_ids=9)
IDS = np.array([[3, 5, 0, 0, 0], [1, 8, 4, 4, 7]])
every_cell = pytest.mark.parametrize("cell", rnn.CELLS)


def build(input_shape=SHAPE, **arguments):
    tiny = {"num_outputs": 2, "units": (4,)}
    if isinstance(input_shape, Tokens):
        tiny["embedding_dim"] = 3
    return rnn.build(**{"input_shape": input_shape, **tiny, **arguments})


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def test_a_simple_cell_matches_hand_computed_values():
    model = build(Series(2, 1, 1, (0,)), cell="simple", units=(1,), bidirectional=False)
    weights = [[2.0]], [[0.5]], [0.1], [[3.0, 1.0]], [0.0, 1.0]
    model.set_weights([np.array(values) for values in weights])
    first = np.tanh(2.0 * 0.3 + 0.1)
    second = np.tanh(2.0 * -0.4 + 0.5 * first + 0.1)
    got = model(np.array([[[0.3], [-0.4]]], "float32"))
    np.testing.assert_allclose(got, [[3 * second, second + 1]], rtol=1e-5)


def test_an_lstm_matches_hand_computed_values():
    model = build(Series(2, 1, 1, (0,)), units=(1,), bidirectional=False)
    kernel, recurrent = np.array([0.5, -1.0, 2.0, 1.5]), np.array([0.2, 0.3, 0.4, 0.6])
    bias = np.array([0.0, 1.0, 0.1, -0.2])  # input, forget, cell, output
    model.set_weights(
        [kernel[None], recurrent[None], bias, np.array([[1.0, 2.0]]), np.zeros(2)]
    )
    h = c = 0.0
    for x in (0.3, -0.4):
        i, f, g, o = kernel * x + recurrent * h + bias
        c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
        h = sigmoid(o) * np.tanh(c)
    got = model(np.array([[[0.3], [-0.4]]], "float32"))
    np.testing.assert_allclose(got, [[h, 2 * h]], rtol=1e-5)


@every_cell
def test_padding_does_not_change_logits(cell):
    long = build(cell=cell, units=(4, 3))
    short = build(Tokens(length=2, num_ids=9), cell=cell, units=(4, 3))
    short.set_weights(long.get_weights())
    np.testing.assert_allclose(long(IDS[:1]), short(IDS[:1, :2]), atol=1e-6)


def test_a_text_without_tokens_is_read_as_one_of_padding():
    model = build()
    short = build(Tokens(length=1, num_ids=9))
    short.set_weights(model.get_weights())
    empty = np.zeros((1, 5), "int64")
    np.testing.assert_allclose(model(empty), short(empty[:, :1]), atol=1e-6)


def test_each_way_alone_sees_both_ends():
    layer, model = build().get_layer("lstm_1"), build()
    changed = IDS[[1, 1, 1]]
    changed[1, 0], changed[2, -1] = 2, 2
    states = layer(model.get_layer("embedding")(changed)).numpy()
    for way in (states[:, :4], states[:, 4:]):
        assert (np.abs(way[1:] - way[0]) > 1e-5).any(axis=1).all()


def test_reading_both_ways_sees_a_text_and_its_reverse_alike():
    model = build()
    layer = model.get_layer("lstm_1")
    for one, other in zip(
        layer.forward_layer.weights, layer.backward_layer.weights, strict=True
    ):
        other.assign(one)
    states = layer(model.get_layer("embedding")(IDS[1:])).numpy()
    backwards = layer(model.get_layer("embedding")(IDS[1:, ::-1])).numpy()
    np.testing.assert_allclose(backwards, np.roll(states, 4, axis=-1), atol=1e-6)


def test_the_two_ways_start_different():
    layer = build().get_layer("lstm_1")
    forward, backward = layer.forward_layer.weights, layer.backward_layer.weights
    assert not np.allclose(forward[0], backward[0])
    assert not np.allclose(forward[1], backward[1])


def test_frames_do_not_depend_on_how_loud_they_are():
    frames = np.random.default_rng(0).normal(size=(2, 6, 3)).astype("float32")
    flat, with_channel = build((6, 3)), build((6, 3, 1))
    want = flat(frames)
    np.testing.assert_allclose(flat(frames * 50 - 13.8), want, atol=1e-2)
    np.testing.assert_allclose(with_channel(frames[..., None]), want, atol=1e-6)


def test_a_series_is_read_as_it_is():
    model = build(Series(context=6, channels=3, horizon=1, targets=(0, 1)))
    series = np.random.default_rng(0).normal(size=(2, 6, 3)).astype("float32")
    assert np.abs(model(series) - model(series * 2)).max() > 1e-4


def test_dropout_acts_in_training_only():
    model = build(Tokens(2, 9), cell="simple", bidirectional=False, dropout=0.5)
    ids = IDS[:, :2]
    np.testing.assert_array_equal(model(ids), model(ids))
    assert (model(ids, training=True).numpy() != model(ids).numpy()).any()


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"cell": "lstmm"}, r"`cell` must be one of .*cell='lstmm'"),
        ({"units": ()}, r"`units` must name a layer.*units=\(\)"),
        ({"units": 8}, r"`units` must .*units=8"),
        ({"embedding_dim": 0}, r"`embedding_dim` must .*embedding_dim=0"),
        (
            {"input_shape": (6, 3), "embedding_dim": 3},
            r"`embedding_dim` must be left out .*embedding_dim=3, input_shape=\(6, 3\)",
        ),
        ({"input_shape": (6,)}, r"`input_shape` must .*input_shape=\(6,\)"),
        ({"input_shape": (6, 3, 2)}, r"`input_shape` must .*\(6, 3, 2\)"),
        ({"input_shape": Tokens(0, 9)}, r"`length` must .*length=0"),
    ],
)
def test_a_value_out_of_range_is_named(wrong, message):
    with pytest.raises(ValueError, match=message):
        build(**wrong)
