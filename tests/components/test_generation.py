"""Texts written token by token: which tokens may be drawn, and when it ends."""

import numpy as np
import pytest
import tensorflow as tf

import models
from components import generation
from components.text_codec import END, START
from tests.models.families import tiny_model

LENGTH, NUM_IDS = 6, 50  # of the tiny decoder


def sampling(temperature=1.0, top_k=0, top_p=1.0, seed=0):
    return generation.Sampling(
        tf.constant(temperature),
        tf.constant(top_k),
        tf.constant(top_p),
        tf.constant(seed, tf.int64),
    )


@pytest.fixture(scope="module")
def decoder():
    return tiny_model("transformer_decoder")


@pytest.fixture(scope="module")
def write(decoder):
    """Return a function that goes on from rows of ids, as a graph does."""

    @tf.function(autograph=False)
    def generate(ids, max_tokens, *options):
        return generation.generate(
            decoder, ids, max_tokens, generation.Sampling(*options)
        )

    def write(prompts, max_tokens=10, **options):
        rows = [
            [START, *prompt] + [0] * (LENGTH - 1 - len(prompt)) for prompt in prompts
        ]
        chosen = sampling(**options)
        written = generate(
            tf.constant(rows, tf.int64), tf.constant(max_tokens), *chosen
        ).numpy()
        assert written.shape[1] <= max_tokens
        return np.pad(written, [(0, 0), (0, max_tokens - written.shape[1])])

    return write


def most_probable(decoder, prompt, max_tokens):
    """Go on from a prompt by whole passes over what the model is to see."""
    seen, written = [START, *prompt], []
    for _ in range(max_tokens):
        padded = np.array([seen + [0] * (LENGTH - len(seen))])
        logits = decoder(padded).numpy()[0, len(seen) - 1]
        best = max(range(END, NUM_IDS), key=lambda i: logits[i])
        if best == END:
            break
        if len(seen) == LENGTH:
            seen = [START, *seen[LENGTH - (LENGTH - 1) // 2 :]]
        seen.append(best)
        written.append(best)
    return written + [0] * (max_tokens - len(written))


@pytest.mark.slow
def test_without_temperature_the_most_probable_follows_also_beyond_the_window(
    decoder, write
):
    prompts = [[7], [9, 30, 12, 5, 44], [], [20, 21, 22]]
    got = write(prompts, max_tokens=15, temperature=0.0)
    assert got.tolist() == [most_probable(decoder, p, 15) for p in prompts]
    assert len({tuple(row) for row in got}) > 1


def test_the_same_seed_gives_the_same_text_and_another_another(write):
    first = write([[7]], seed=5)
    np.testing.assert_array_equal(write([[7]], seed=5), first)
    assert (write([[7]], seed=6) != first).any()
    assert (write([[7]], seed=2**40) != write([[7]], seed=2**40 + 2**32)).any()


@pytest.mark.slow
def test_a_row_does_not_depend_on_those_beside_it(write):
    together = write([[7], [9, 30], [8, 8, 8]], seed=3)
    for row, prompt in enumerate([[7], [9, 30], [8, 8, 8]]):
        others = [[11, 12]] * row + [prompt]
        np.testing.assert_array_equal(write(others, seed=3)[row], together[row])


@pytest.mark.slow
def test_the_same_prompt_twice_is_gone_on_with_in_two_ways(write):
    one, other = write([[7], [7]])
    assert (one != other).any()


@pytest.mark.slow
def test_special_ids_are_never_written_and_nothing_follows_an_end(write):
    written = write([[7]] * 64, max_tokens=40, temperature=5.0)
    assert set(written.ravel().tolist()) <= {0, *range(4, NUM_IDS)}
    ended = written == 0
    assert ended.any()
    assert (np.diff(ended.astype(int), axis=1) >= 0).all()


def test_nothing_is_written_where_nothing_is_asked_for(write):
    assert write([[7], [8]], max_tokens=0).size == 0


def test_nothing_is_written_either_by_a_graph_for_any_number_of_rows(decoder):
    @tf.function(
        autograph=False,
        input_signature=[
            tf.TensorSpec([None, LENGTH], tf.int64),
            tf.TensorSpec([], tf.int32),
        ],
    )
    def generate(ids, max_tokens):
        return generation.generate(decoder, ids, max_tokens, sampling())

    ids = tf.constant([[START, 7, 0, 0, 0, 0]] * 2, tf.int64)
    assert generate(ids, tf.constant(0)).shape == (2, 0)
    assert generate(ids, tf.constant(3)).shape == (2, 3)


@pytest.mark.parametrize(
    ("options", "name"),
    [
        ({"max_tokens": -1}, "max_tokens"),
        ({"max_tokens": 5000}, "max_tokens"),
        ({"temperature": -0.1}, "temperature"),
        ({"temperature": float("nan")}, "temperature"),
        ({"top_k": -1}, "top_k"),
        ({"top_p": 0.0}, "top_p"),
        ({"top_p": 1.1}, "top_p"),
    ],
)
def test_options_out_of_range_are_refused_by_name(write, options, name):
    with pytest.raises(tf.errors.InvalidArgumentError, match=rf"`{name}` must be"):
        write([[7]], **options)


LOGITS = np.log([0.1, 0.4, 0.2, 0.3])


def shares(**options):
    """Return how often each of four ids is drawn."""
    logits = tf.constant(np.tile(LOGITS, (20_000, 1)), tf.float32)
    drawn = generation.sample(logits, tf.constant(0), sampling(**options))
    return np.bincount(drawn, minlength=4) / 20_000


@pytest.mark.parametrize(
    ("options", "want"),
    [
        ({}, [0.1, 0.4, 0.2, 0.3]),
        ({"seed": 9}, [0.1, 0.4, 0.2, 0.3]),
        ({"temperature": 0.0}, [0, 1, 0, 0]),
        # squares, which add up to 0.3
        ({"temperature": 0.5}, [1 / 30, 16 / 30, 4 / 30, 9 / 30]),
        ({"top_k": 1}, [0, 1, 0, 0]),
        ({"top_k": 2}, [0, 4 / 7, 0, 3 / 7]),
        ({"top_k": 99}, [0.1, 0.4, 0.2, 0.3]),
        ({"top_p": 0.3}, [0, 1, 0, 0]),
        ({"top_p": 0.6}, [0, 4 / 7, 0, 3 / 7]),
        ({"top_p": 0.8}, [0, 4 / 9, 2 / 9, 3 / 9]),
        ({"top_k": 3, "top_p": 0.6}, [0, 4 / 7, 0, 3 / 7]),
    ],
)
def test_tokens_are_drawn_by_their_probability_among_those_kept(options, want):
    # Four standard deviations of a share of 20,000 draws are at most 0.0142.
    np.testing.assert_allclose(shares(**options), want, atol=0.0142)


def test_all_tokens_are_kept_of_a_share_of_1():
    # The first has a share of 1 - 3e-9, which is 1 in float32.
    ranked = tf.constant([[20.0, 0.0, -1.0]])
    assert generation._kept(ranked, sampling(top_p=1.0)).numpy().all()
    kept = generation._kept(ranked, sampling(top_p=0.999))
    assert kept.numpy().tolist() == [[True, False, False]]


def calls_of(monkeypatch, model, name):
    """Return a list that grows with each call of a function of a model's family."""
    family, calls = models.load(model.name), []
    original = getattr(family, name)

    def counted(*arguments):
        calls.append(name)
        return original(*arguments)

    monkeypatch.setattr(family, name, counted)
    return calls


def test_a_text_that_has_ended_fills_no_window(monkeypatch):
    model = tiny_model("transformer_decoder")
    kernel, bias = model.get_layer("logits").get_weights()
    bias[END] += 2.2  # so that the first text ends at once, and the second does not
    model.get_layer("logits").set_weights([kernel, bias])
    over, short = [35, 8, 9, 10], [13]
    want = [most_probable(model, prompt, 3) for prompt in (over, short)]
    assert want[0] == [0, 0, 0]
    assert 0 not in want[1]
    ids = [[START, *p, *[0] * (LENGTH - 1 - len(p))] for p in (over, short)]
    reads = calls_of(monkeypatch, model, "read")
    got = generation.generate(
        model, tf.constant(ids, tf.int64), tf.constant(3), sampling(temperature=0.0)
    )
    assert got.numpy().tolist() == want
    assert len(reads) == 1


def test_an_answer_is_padded_once_every_text_has_ended(monkeypatch):
    model = tiny_model("transformer_encoder_decoder")
    kernel, bias = model.get_layer("logits").get_weights()
    bias[END] += 100
    model.get_layer("logits").set_weights([kernel, bias])
    steps = calls_of(monkeypatch, model, "step")
    got = generation.answer(model, np.array([[5, 6, 7, 3, 0]] * 2), 6)
    assert got.numpy().tolist() == [[END, 0, 0, 0, 0, 0]] * 2
    assert len(steps) == 1


def test_each_token_of_a_text_is_drawn_anew():
    logits = tf.constant(np.tile(LOGITS, (200, 1)), tf.float32)
    one, other = (
        generation.sample(logits, tf.constant(n), sampling()).numpy() for n in (0, 1)
    )
    assert 0.1 < (one != other).mean() < 0.9


@pytest.mark.slow
def test_the_most_probable_answer_is_written_until_its_end():
    model = tiny_model("transformer_encoder_decoder")
    # Drawn so that texts end: else nearly none would within six tokens.
    kernel, bias = model.get_layer("logits").get_weights()
    bias[END] += 1.5
    model.get_layer("logits").set_weights([kernel, bias])
    source = np.random.default_rng(0).integers(1, 50, size=(16, 5))
    write = tf.function(generation.answer, autograph=False)
    got = write(model, source, 6)
    for row, written in zip(source, got.numpy().tolist(), strict=True):
        target = [START]
        while len(target) <= 6 and target[-1] != END:
            ids = {"source": row[None], "target": np.array([(target + [0] * 6)[:6]])}
            logits = model(ids).numpy()[0, len(target) - 1]
            target.append(max(range(END, NUM_IDS), key=lambda i: logits[i]))
        assert written == (target[1:] + [0] * 6)[:6]
    assert 0 < np.mean(np.any(got == END, axis=1)) < 1
