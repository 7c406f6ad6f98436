"""Write texts token by token, as a graph: the model, its cache and the draws.

A model sees `length` tokens. When a text is longer, the newer half of what it saw is
read anew behind a start, and it goes on from there: so it sees between half of `length`
and all of it, and a token costs the same however long the text becomes.

The draws depend on the seed, the place of the row in the batch and the number of the
token alone. So the same request gives the same text, a row does not depend on those
beside it, and a prompt that is sent twice in one request is gone on with in two ways.
"""

from typing import Any, NamedTuple

import keras
import tensorflow as tf

import models
from components.text_codec import END, NUM_SPECIAL, PADDING, START

MAX_TOKENS = 4096  # of a request: it could keep a server busy for hours
_NEVER = -1e30


class Sampling(NamedTuple):
    """How the next token is drawn; scalar tensors.

    Attributes:
      temperature: float32; below 1 the probable becomes more so, 0 is the most
        probable token always.
      top_k: int32, draw from the so many most probable; 0: from all.
      top_p: float32, draw from the fewest that have this probability together; 1: all.
      seed: int64.
    """

    temperature: tf.Tensor
    top_k: tf.Tensor
    top_p: tf.Tensor
    seed: tf.Tensor


def generate(
    model: keras.Model, ids: tf.Tensor, max_tokens: tf.Tensor, sampling: Sampling
) -> tf.Tensor:
    """Go on from prompts.

    Args:
      model: a language model, named after its family, which has `read` and `step`.
      ids: (batch, length) int64 with padding behind, each row at least one token.
      max_tokens: () int32 from 0 to `MAX_TOKENS`, after which a text is left as it is.
      sampling: how tokens are drawn.

    Returns:
      (batch, up to `max_tokens`) int64, padding where a text has ended.

    Raises:
      InvalidArgumentError: an option is out of range.
    """
    _check(max_tokens, sampling)
    family = models.load(model.name)
    num_used = tf.math.count_nonzero(ids, axis=1, dtype=tf.int32)
    logits, cache = family.read(model, ids)
    logits = tf.gather(logits, num_used - 1, batch_dims=1)

    def write(number, text, going, logits, window, num_used, cache):
        drawn = sample(_allowed(logits), number, sampling)
        drawn = tf.where(going, drawn, tf.constant(PADDING, tf.int64))
        text = text.write(number + 1, drawn)
        window, num_used, cache = _make_room(model, window, num_used, cache)
        window = _put(window, num_used, drawn)
        logits, cache = family.step(model, drawn, num_used, cache)
        going &= drawn != END
        num_used += tf.cast(going, tf.int32)  # a text that has ended fills no window
        return number + 1, text, going, logits, window, num_used, cache

    text = tf.TensorArray(tf.int64, 1, dynamic_size=True, element_shape=[None])
    # An array without any element has no shape, and `max_tokens` may be 0.
    text = text.write(0, tf.zeros_like(num_used, tf.int64))
    _, text, *_ = tf.while_loop(
        lambda number, text, going, *_: (number < max_tokens) & tf.reduce_any(going),
        write,
        (
            tf.constant(0),
            text,
            tf.fill(tf.shape(num_used), True),
            logits,
            ids,
            num_used,
            cache,
        ),
    )
    written = tf.transpose(text.stack()[1:])
    return tf.where(written == END, tf.constant(PADDING, tf.int64), written)


def answer(model: keras.Model, source: tf.Tensor, length: int) -> tf.Tensor:
    """Write the most probable next token until a text ends.

    Args:
      model: of a family of `models.Pair`, named after it, with `read` and `step`.
      source: (batch, source length) int64.
      length: tokens to write at most, no more than the model's target has places.

    Returns:
      (batch, length) int64: the text, its end, and padding.
    """
    family = models.load(model.name)
    batch_size = tf.shape(source)[0]
    text = tf.TensorArray(tf.int64, 0, dynamic_size=True, element_shape=[None])

    def go_on(number, text, token, cache):
        del text, cache
        # Once at least: an array without any element has no shape.
        return (number < length) & ((number == 0) | ~tf.reduce_all(_is_over(token)))

    def write(number, text, token, cache):
        positions = tf.fill([batch_size], number)
        logits, cache = family.step(model, token, positions, cache)
        best = tf.argmax(_allowed(logits), axis=-1)
        token = tf.where(_is_over(token), tf.constant(PADDING, tf.int64), best)
        return number + 1, text.write(number, token), token, cache

    start = tf.fill([batch_size], tf.constant(START, tf.int64))
    state = tf.constant(0), text, start, family.read(model, source)
    num_written, text, *_ = tf.while_loop(go_on, write, state)
    padding = [[0, 0], [0, length - num_written]]
    return tf.ensure_shape(tf.pad(tf.transpose(text.stack()), padding), [None, length])


def sample(logits: tf.Tensor, number: tf.Tensor, sampling: Sampling) -> tf.Tensor:
    """Draw (batch,) int64 ids from (batch, ids) logits, as the `number`-th token."""
    num_ids = logits.shape[-1]
    ranked, ids = tf.math.top_k(logits, num_ids)  # the most probable first
    # Any number does where the temperature is 0: then the first one is taken.
    is_greedy = sampling.temperature == 0
    ranked /= tf.where(is_greedy, 1.0, sampling.temperature)
    draws = tf.random.stateless_uniform(
        tf.shape(ranked),
        tf.stack([sampling.seed, tf.cast(number, tf.int64)]),
        minval=1e-30,  # its logarithm is taken
        alg="philox",  # draws a row alike whatever follows it, on any device
    )
    # The largest of logits with Gumbel noise is a draw by their softmax.
    noisy = tf.where(
        _kept(ranked, sampling), ranked - tf.math.log(-tf.math.log(draws)), _NEVER
    )
    rank = tf.where(is_greedy, 0, tf.argmax(noisy, axis=-1, output_type=tf.int32))
    return tf.cast(tf.gather(ids, rank, batch_dims=1), tf.int64)


def _kept(ranked: tf.Tensor, sampling: Sampling) -> tf.Tensor:
    """Say of (batch, ids) logits, the largest first, which may be drawn."""
    num_ids = ranked.shape[-1]
    before = tf.cumsum(tf.nn.softmax(ranked), axis=1, exclusive=True)
    # Of 1 all are kept: rounding brings the sum there before the last.
    kept = (before < sampling.top_p) | (sampling.top_p >= 1)
    top_k = tf.where(sampling.top_k > 0, sampling.top_k, num_ids)
    return kept & (tf.range(num_ids) < top_k)


def _is_over(tokens: tf.Tensor) -> tf.Tensor:
    """Say of the last token of texts whether nothing follows."""
    return (tokens == END) | (tokens == PADDING)


def _check(max_tokens: tf.Tensor, sampling: Sampling) -> None:
    """Fail with INVALID_ARGUMENT, when the graph runs, on a value out of range."""
    text = f"`max_tokens` must be from 0 to {MAX_TOKENS}."
    tf.debugging.Assert((max_tokens >= 0) & (max_tokens <= MAX_TOKENS), [text])
    text = "`temperature` must be at least 0 (0: the most probable token always)."
    tf.debugging.Assert(sampling.temperature >= 0, [text])
    text = "`top_k` must be at least 0 (0: any token)."
    tf.debugging.Assert(sampling.top_k >= 0, [text])
    text = "`top_p` must be above 0 and at most 1."
    tf.debugging.Assert((sampling.top_p > 0) & (sampling.top_p <= 1), [text])


def _allowed(logits: tf.Tensor) -> tf.Tensor:
    """Leave tokens and the end of a text; the other special ids are never written."""
    ids = tf.range(logits.shape[-1])
    return tf.where((ids >= NUM_SPECIAL) | (ids == END), logits, _NEVER)


def _make_room(
    model: keras.Model, window: tf.Tensor, num_used: tf.Tensor, cache: Any
) -> tuple[tf.Tensor, tf.Tensor, Any]:
    """Read the newer half of those texts anew that fill the model's window."""
    length = window.shape[1]
    num_kept = (length - 1) // 2
    is_full = num_used == length

    def read_anew():
        newest = window[:, length - num_kept :]
        start = tf.fill([tf.shape(window)[0], 1], tf.constant(START, tf.int64))
        newer = tf.concat([start, newest], axis=1)
        newer = tf.pad(newer, [[0, 0], [0, length - 1 - num_kept]])  # with padding
        _, anew = models.load(model.name).read(model, newer)
        chosen = tf.nest.map_structure(
            lambda new, old: tf.where(is_full[:, None, None, None], new, old),
            anew,
            cache,
        )
        return (
            tf.where(is_full[:, None], newer, window),
            tf.where(is_full, 1 + num_kept, num_used),
            chosen,
        )

    return tf.cond(tf.reduce_any(is_full), read_anew, lambda: (window, num_used, cache))


def _put(window: tf.Tensor, places: tf.Tensor, ids: tf.Tensor) -> tf.Tensor:
    """Write (batch,) ids at (batch,) places of (batch, length) windows."""
    here = tf.range(window.shape[1])[None] == places[:, None]
    return tf.where(here, ids[:, None], window)
