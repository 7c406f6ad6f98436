"""Attention and the blocks made of it, for encoders, decoders and image transformers.

Vaswani et al. 2017, "Attention is all you need", section 3.2 and 3.3, with the layer
normalisation before each part instead of after (Xiong et al. 2020, "On layer
normalization in the transformer architecture"): it trains without a long warm-up.

Masks are True where attention may look. `remat` recomputes what lies within a layer
when its gradient is needed, for less memory and more time; dropout stays outside, since
it would be drawn anew.
"""

import keras
from keras import ops

from models import _layers
from models._shapes import Tokens

_MASKED = -1e30  # finite: a row that may look nowhere must not become NaN
EPSILON = 1e-6


@keras.saving.register_keras_serializable(package="strata")
class Attention(keras.layers.Layer):
    """Multi-head attention: (B, Q, D) queries, (B, K, E) keys_values -> (B, Q, dim).

    Without `keys_values` the queries look at themselves. `attention_mask` broadcasts to
    (B, 1, Q, K). A query that may look nowhere gets the bias of the last projection.

    A decoder keeps what `project_keys_values` gives and calls `attend` with one query
    at a time.

    Args:
      dim: width of the projections, a multiple of `num_heads`.
      num_heads: parts that look each for themselves.
      causal: whether place i sees places 0 to i alone; `attend` leaves it to its mask.
      remat: see the module.
      seed: decides the initial weights.
    """

    def __init__(self, dim, num_heads, *, causal=False, remat=False, seed=0, **options):
        super().__init__(**options)
        check_heads(dim, num_heads)
        self.dim, self.num_heads, self.seed = dim, num_heads, seed
        self.causal, self.remat = causal, remat
        seeds = _layers.seeds(seed)
        # No bias of keys: softmax does not see what it adds to all scores of a query.
        self.query, self.key, self.value, self.output_projection = (
            _layers.dense(
                dim,
                next(seeds),
                use_bias=name != "key",
                name=name,
                dtype=self.dtype_policy,
            )
            for name in ("query", "key", "value", "output")
        )

    def build(self, queries_shape, keys_values_shape=None):
        keys_values_shape = keys_values_shape or queries_shape
        self.query.build(queries_shape)
        self.key.build(keys_values_shape)
        self.value.build(keys_values_shape)
        self.output_projection.build((*queries_shape[:-1], self.dim))

    def call(self, queries, keys_values=None, attention_mask=None):
        keys_values = queries if keys_values is None else keys_values
        if self.causal:
            num_queries, num_keys = ops.shape(queries)[1], ops.shape(keys_values)[1]
            attention_mask = _both(attention_mask, causal_mask(num_queries, num_keys))

        def compute(queries, keys_values):
            keys, values = self.project_keys_values(keys_values)
            return self.attend(queries, keys, values, attention_mask)

        return _maybe_remat(compute, self.remat)(queries, keys_values)

    def compute_output_shape(self, queries_shape, keys_values_shape=None):
        return (*queries_shape[:-1], self.dim)

    def project_keys_values(self, keys_values):
        """Return keys and values, (B, num_heads, K, head_dim) each."""
        return self._split(self.key(keys_values)), self._split(self.value(keys_values))

    def attend(self, queries, keys, values, attention_mask=None):
        """Look from (B, Q, D) queries at what `project_keys_values` has returned."""
        head_dim = self.dim // self.num_heads
        queries = self._split(self.query(queries)) * head_dim**-0.5
        scores = ops.matmul(queries, ops.swapaxes(keys, 2, 3))  # (B, heads, Q, K)
        weights = _softmax(scores, attention_mask)
        outputs = ops.matmul(weights, values)  # (B, heads, Q, head_dim)
        outputs = ops.swapaxes(outputs, 1, 2)  # (B, Q, heads, head_dim)
        outputs = ops.reshape(outputs, (-1, ops.shape(outputs)[1], self.dim))
        return self.output_projection(outputs)

    def _split(self, x):
        """Make (B, T, dim) into (B, num_heads, T, head_dim)."""
        head_dim = self.dim // self.num_heads
        x = ops.reshape(x, (-1, ops.shape(x)[1], self.num_heads, head_dim))
        return ops.swapaxes(x, 1, 2)

    def get_config(self):
        return {
            **super().get_config(),
            "dim": self.dim,
            "num_heads": self.num_heads,
            "causal": self.causal,
            "remat": self.remat,
            "seed": self.seed,
        }


@keras.saving.register_keras_serializable(package="strata")
class FeedForward(keras.layers.Layer):
    """Two dense layers on each place by itself: (B, T, D) -> (B, T, D)."""

    def __init__(self, hidden_dim, *, remat=False, seed=0, **options):
        super().__init__(**options)
        self.hidden_dim, self.remat, self.seed = hidden_dim, remat, seed

    def build(self, input_shape):
        seeds = _layers.seeds(self.seed)
        self.hidden = _layers.dense(
            self.hidden_dim,
            next(seeds),
            activation="gelu",
            name="hidden",
            dtype=self.dtype_policy,
        )
        self.output_projection = _layers.dense(
            input_shape[-1], next(seeds), name="output", dtype=self.dtype_policy
        )
        self.hidden.build(input_shape)
        self.output_projection.build((*input_shape[:-1], self.hidden_dim))

    def call(self, inputs):
        def compute(x):
            return self.output_projection(self.hidden(x))

        return _maybe_remat(compute, self.remat)(inputs)

    def compute_output_shape(self, input_shape):
        return input_shape

    def get_config(self):
        return {
            **super().get_config(),
            "hidden_dim": self.hidden_dim,
            "remat": self.remat,
            "seed": self.seed,
        }


@keras.saving.register_keras_serializable(package="strata")
class PositionEmbedding(keras.layers.Layer):
    """Add a learned vector to each place of (B, T, D), T at most `length`.

    A decoder that has one place at a time adds `embed(position)` itself.
    """

    def __init__(self, length, *, seed=0, **options):
        super().__init__(**options)
        self.length, self.seed = length, seed

    def build(self, input_shape):
        self.table = self.add_weight(
            name="table",
            shape=(self.length, input_shape[-1]),
            initializer=keras.initializers.RandomNormal(stddev=0.02, seed=self.seed),
        )

    def call(self, inputs):
        table = ops.cast(self.table, self.compute_dtype)
        return inputs + table[: ops.shape(inputs)[1]]

    def embed(self, positions):
        """Return the vectors of (...,) int positions, (..., D)."""
        return ops.cast(ops.take(self.table, positions, axis=0), self.compute_dtype)

    def compute_output_shape(self, input_shape):
        return input_shape

    def get_config(self):
        return {**super().get_config(), "length": self.length, "seed": self.seed}


@keras.saving.register_keras_serializable(package="strata")
class PaddingMask(keras.layers.Layer):
    """Say of (B, T) ids which are tokens: (B, 1, 1, T) bool, False where id 0 is."""

    def call(self, ids):
        return ops.not_equal(ids, 0)[:, None, None, :]


def embed(ids, tokens: Tokens, dim: int, seeds, *, name: str, dropout: float):
    """Return a vector for each of (B, length) ids and its place: (B, length, D)."""
    x = keras.layers.Embedding(
        tokens.num_ids,
        dim,
        embeddings_initializer=keras.initializers.RandomNormal(
            stddev=0.02, seed=next(seeds)
        ),
        name=f"{name}_embedding",
    )(ids)
    x = PositionEmbedding(tokens.length, seed=next(seeds), name=f"{name}_positions")(x)
    if dropout:
        x = keras.layers.Dropout(dropout, seed=next(seeds), name=f"{name}_dropout")(x)
    return x


def causal_mask(num_queries: int, num_keys: int):
    """Return (1, 1, Q, K) bool: place i sees 0 to i; the last query sees every key."""
    ahead = num_keys - num_queries
    rows, columns = ops.arange(num_queries)[:, None], ops.arange(num_keys)[None]
    return (columns <= rows + ahead)[None, None]


def encoder_block(
    x,
    mask,
    seeds,
    *,
    num_heads,
    hidden_dim,
    name,
    dropout=0.0,
    causal=False,
    remat=False,
):
    """Apply attention, then a feed-forward part, each added to what it was given.

    Args:
      x: (B, T, D).
      mask: broadcasts to (B, 1, T, T) bool, or None.
      seeds: iterator from `_layers.seeds`.
      num_heads: parts of the attention; D is a multiple.
      hidden_dim: width within the feed-forward part, in general 4 * D.
      name: prefix of the names of the layers.
      dropout: share of what each part gives that is dropped while training.
      causal: whether a place sees only itself and those before.
      remat: see the module.

    Returns:
      (B, T, D), not normalised: the last block is to be followed by `norm`.
    """
    attention = Attention(
        x.shape[-1],
        num_heads,
        causal=causal,
        remat=remat,
        seed=next(seeds),
        name=f"{name}_attention",
    )
    y = attention(norm(x, f"{name}_attention_norm"), attention_mask=mask)
    x = residual(x, y, seeds, dropout=dropout, name=f"{name}_attention")
    return feed_forward_block(
        x, seeds, hidden_dim=hidden_dim, name=name, dropout=dropout, remat=remat
    )


def feed_forward_block(x, seeds, *, hidden_dim, name, dropout=0.0, remat=False):
    """Apply the second half of a block: (B, T, D) -> (B, T, D)."""
    layer = FeedForward(
        hidden_dim, remat=remat, seed=next(seeds), name=f"{name}_feed_forward"
    )
    y = layer(norm(x, f"{name}_feed_forward_norm"))
    return residual(x, y, seeds, dropout=dropout, name=f"{name}_feed_forward")


def residual(x, y, seeds, *, dropout, name):
    """Add what a part gave, after dropout, to what it was given."""
    if dropout:
        y = keras.layers.Dropout(dropout, seed=next(seeds), name=f"{name}_dropout")(y)
    return keras.layers.Add(name=f"{name}_add")([x, y])


def norm(x, name):
    """Normalise each place of (B, T, D) by itself."""
    return keras.layers.LayerNormalization(epsilon=EPSILON, name=name)(x)


def check_heads(dim: int, num_heads: int) -> None:
    """Raise ValueError unless the width is a multiple of the number of heads."""
    _layers.check_count(dim=dim)
    _layers.check_count(num_heads=num_heads)
    if dim % num_heads:
        raise ValueError(
            "`dim` must be a multiple of `num_heads`. "
            f"Received: dim={dim!r}, num_heads={num_heads!r}"
        )


def _softmax(scores, mask):
    """Return weights of (B, heads, Q, K) scores, all 0 where nothing may be seen."""
    dtype = scores.dtype
    scores = ops.cast(scores, "float32")  # half precision rounds small weights away
    if mask is not None:
        scores = ops.where(mask, scores, _MASKED)
    # Keras warns of a softmax over one key, which is 1.
    is_one = scores.shape[-1] == 1
    weights = ops.ones_like(scores) if is_one else ops.softmax(scores, axis=-1)
    if mask is not None:
        weights = ops.where(mask, weights, 0.0)
    return ops.cast(weights, dtype)


def _both(mask, other):
    return other if mask is None else ops.logical_and(mask, other)


def _maybe_remat(function, remat):
    return keras.remat(function) if remat else function
