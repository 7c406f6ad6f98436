"""Wide and deep: a linear model and a network over the same table, added up.

Use it for tables of numbers and categories: the wide part remembers what single values
say, the deep part generalises over their combinations.

Cheng et al. 2016, "Wide & Deep Learning for Recommender Systems", section 3.
Differences: the wide part gets no cross products (add them as features of their own),
one optimizer trains both parts (the paper uses FTRL and AdaGrad), and the defaults are
sized for tens of features, not for an app store.
"""

from collections.abc import Mapping

import keras

from models import _layers, _tables

TINY = {
    "input_shape": {"fare": None, "miles": None, "payment": 3, "hour": 4},
    "num_outputs": 2,
    "units": (16,),
    "embedding_dim": 4,
}


def build(
    input_shape: Mapping[str, int | None],
    num_outputs: int,
    *,
    units: tuple[int, ...] = (64, 32),
    embedding_dim: int = 8,
    dropout: float = 0.0,
    seed: int = 0,
) -> keras.Model:
    """Build the model: a dict of (B, 1) in, (B, num_outputs) float32 logits out.

    Args:
      input_shape: per feature, None for one float32 number, already standardised, or
        the number n of ids for one int64 id, 0 to n - 1. The order does not matter.
      num_outputs: number of logits.
      units: width of each hidden layer, first to last.
      embedding_dim: width of the vector learned for each id.
      dropout: share of hidden outputs to drop while training, 0 to 1.
      seed: decides the initial weights and the dropout.

    Raises:
      ValueError: an argument is out of range.
    """
    _tables.check_features(input_shape)
    _layers.check_count(num_outputs=num_outputs, embedding_dim=embedding_dim)
    _layers.check_counts(units=units)
    _layers.check_dropout(dropout)
    seeds = _layers.seeds(seed)
    inputs = _tables.inputs(input_shape)
    numbers = _tables.numbers(inputs, input_shape)
    wide = _wide(inputs, input_shape, numbers, num_outputs)
    vectors = _tables.embedded(inputs, input_shape, embedding_dim, seeds, name="deep")
    deep = keras.layers.Concatenate(name="deep_inputs")(vectors + numbers)  # (B, D)
    deep = _layers.hidden_stack(deep, units, seeds, activation="relu", dropout=dropout)
    deep = _layers.logits_layer(num_outputs, next(seeds), name="deep")(deep)
    logits = keras.layers.Add(name="logits", dtype="float32")([wide, deep])
    return keras.Model(inputs, logits, name="wide_deep")


def _wide(inputs, input_shape, numbers, num_outputs: int):
    """Add up one weight per id and per number, (B, num_outputs) float32.

    All weights start at zero, and the bias is that of the deep part.
    """
    terms = [
        _tables.row(x, f"wide_{name}", num_ids, num_outputs, "zeros", dtype="float32")
        for name, x in inputs.items()
        if (num_ids := input_shape[name])
    ]
    linear = keras.layers.Dense(
        num_outputs,
        use_bias=False,
        kernel_initializer="zeros",
        dtype="float32",
        name="linear",
    )
    terms += map(linear, numbers)
    return keras.layers.Add(dtype="float32", name="wide")(terms)
