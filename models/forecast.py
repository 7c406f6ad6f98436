"""Forecasts of a series over a fixed horizon, by the name of a method.

`dlinear` and `nlinear` are the ones to start with, trained in seconds and hard to beat;
`patch` can learn what is not linear, and takes many times longer. These three look at
each channel by itself, with the same weights, and ignore channels that are not
predicted. `lstm` and `tcn` see all channels together: for series in which one tells
about another. Each gives all steps of the horizon at once.

dlinear, nlinear: Zeng, Chen, Zhang and Xu 2023, "Are transformers effective for time
series forecasting?", section 4.
patch: Nie, Nguyen, Sinthong and Kalagnanam 2023, "A time series is worth 64 words",
section 3.1 (PatchTST, supervised). Differences: layers are normalised instead of
batches, before each part and not at the end; the normalisation of the window has no
weights (Kim et al. 2022, "Reversible instance normalization").
lstm: Hochreiter and Schmidhuber 1997, with one dense layer for all steps.
tcn: Bai, Kolter and Koltun 2018, "An empirical evaluation of generic convolutional and
recurrent networks for sequence modeling", section 3. Differences: no weight
normalisation, but the last step's features are normalised; dropout of single numbers,
not of whole channels.
Differences of the last two: the last value of each channel is subtracted before and
added after, as nlinear does.

The last product and all after it are in float32 under a mixed policy, so that no
forecast is rounded; the linear methods are in float32 throughout.
"""

import keras

from models import _attention, _forecast_layers, _layers
from models._shapes import Series

TINY = {"input_shape": Series(8, 2, 3, (0, 1)), "num_outputs": 6}

METHODS = ("dlinear", "nlinear", "patch", "lstm", "tcn")
MOVING_AVERAGE = 25  # steps; of hours, about a day
PATCH_LENGTH, PATCH_STRIDE = 16, 8  # steps
NUM_HEADS = 4  # of `patch`
KERNEL_SIZE = 3  # of `tcn`
# The recommended `units` and `depth`; of `tcn` as many blocks as see the whole context.
_UNITS = {"patch": 16, "lstm": 64, "tcn": 32}
_DEPTH = {"patch": 2, "lstm": 1}


def build(
    input_shape: Series,
    num_outputs: int,
    *,
    method: str = "dlinear",
    individual: bool = False,
    units: int | None = None,
    depth: int | None = None,
    dropout: float = 0.0,
    seed: int = 0,
) -> keras.Model:
    """Build the model: (B, context, channels) in, (B, num_outputs) float32 out.

    Args:
      input_shape: what the series is like.
      num_outputs: horizon * number of targets.
      method: one of `METHODS`.
      individual: of `dlinear` and `nlinear`: weights of its own for each channel.
      units: width of the others: of `patch` a multiple of 4. Default: 16, 64 or 32.
      depth: encoder blocks, recurrent layers, or residual blocks. Default: 2, 1, or as
        many as it takes to see the whole context.
      dropout: share to drop while training, 0 to 1; not of `dlinear` and `nlinear`.
      seed: decides the initial weights and the dropout.

    Raises:
      ValueError: an argument is unknown, out of range, or not for this method.
    """
    _check_shape(input_shape, num_outputs)
    _check_method(method, individual, units, depth, dropout)
    seeds = _layers.seeds(seed)
    inputs = keras.Input((input_shape.context, input_shape.channels), name="inputs")
    if method == "dlinear":
        outputs = _dlinear(inputs, input_shape, seeds, individual)
    else:
        by = "window" if method == "patch" else "last"
        x, level, scale = _forecast_layers.Normalize(
            by, dtype="float32", name="normalize"
        )(inputs)  # (B, context, channels), (B, 1, channels) twice
        if method == "nlinear":
            outputs = _nlinear(x, input_shape, seeds, individual)
        else:
            options = (units or _UNITS[method], depth or _DEPTH.get(method), dropout)
            network = {"patch": _patch, "lstm": _lstm, "tcn": _tcn}[method]
            outputs = network(x, input_shape, seeds, *options)
        outputs = _forecast_layers.Denormalize(
            input_shape.targets, dtype="float32", name="denormalize"
        )([outputs, level, scale])  # (B, horizon, targets)
    outputs = keras.layers.Reshape((num_outputs,), dtype="float32", name="outputs")(
        outputs
    )  # (B, horizon * targets)
    return keras.Model(inputs, outputs, name=method)


def _dlinear(inputs, shape: Series, seeds, individual: bool):
    """Add linear forecasts of the moving average and of the rest."""
    x = _targets(inputs, shape)  # (B, context, targets)
    trend = _forecast_layers.MovingAverage(
        MOVING_AVERAGE, dtype="float32", name="trend"
    )(x)
    rest = keras.layers.Subtract(dtype="float32", name="rest")([x, trend])
    forecasts = [
        _linear(part, shape, next(seeds), individual, name)
        for part, name in ((trend, "trend"), (rest, "rest"))
    ]
    return keras.layers.Add(dtype="float32", name="add")(forecasts)


def _nlinear(x, shape: Series, seeds, individual: bool):
    return _linear(_targets(x, shape), shape, next(seeds), individual, "linear")


def _linear(x, shape: Series, seed: int, individual: bool, name: str):
    """Map the steps of each channel: (B, context, T) -> (B, horizon, T)."""
    x = keras.layers.Permute((2, 1), dtype="float32", name=f"{name}_by_channel")(
        x
    )  # (B, T, context)
    if individual:
        x = keras.layers.EinsumDense(
            "btc,tch->bth",
            output_shape=(len(shape.targets), shape.horizon),
            bias_axes="th",
            kernel_initializer=keras.initializers.GlorotUniform(seed),
            dtype="float32",
            name=f"{name}_steps",
        )(x)  # (B, T, horizon)
    else:
        x = _layers.logits_layer(shape.horizon, seed, f"{name}_steps")(x)
    return keras.layers.Permute((2, 1), dtype="float32", name=f"{name}_by_step")(x)


def _patch(x, shape: Series, seeds, units: int, depth: int, dropout: float):
    """Encode stretches of each channel as if they were words of a sentence."""
    x = _targets(x, shape)
    x = _forecast_layers.Patches(
        min(PATCH_LENGTH, shape.context), PATCH_STRIDE, name="patches"
    )(x)  # (B * T, patches, length)
    x = _layers.dense(units, next(seeds), name="embed")(x)  # (B * T, patches, units)
    x = _attention.PositionEmbedding(x.shape[1], seed=next(seeds), name="positions")(x)
    if dropout:
        x = keras.layers.Dropout(dropout, seed=next(seeds), name="embed_dropout")(x)
    for number in range(1, depth + 1):
        x = _attention.encoder_block(
            x,
            None,
            seeds,
            num_heads=NUM_HEADS,
            hidden_dim=8 * units,
            name=f"block_{number}",
            dropout=dropout,
        )
    # Not normalised: what is linear in the patches reaches the forecast as it is.
    x = keras.layers.Flatten(name="flatten")(x)  # (B * T, patches * units)
    x = _layers.logits_layer(shape.horizon, next(seeds), "steps")(x)  # (B * T, horizon)
    return _forecast_layers.Channels(
        len(shape.targets), dtype="float32", name="channels"
    )(x)


def _lstm(x, shape: Series, seeds, units: int, depth: int, dropout: float):
    for number in range(1, depth + 1):
        x = keras.layers.LSTM(
            units,
            return_sequences=number < depth,
            kernel_initializer=keras.initializers.GlorotUniform(next(seeds)),
            recurrent_initializer=keras.initializers.Orthogonal(seed=next(seeds)),
            name=f"lstm_{number}",
        )(x)  # (B, context, units), the last one (B, units)
        if dropout:
            name = f"dropout_{number}"
            x = keras.layers.Dropout(dropout, seed=next(seeds), name=name)(x)
    return _all_steps(x, shape, seeds)


def _tcn(x, shape: Series, seeds, units: int, depth: int | None, dropout: float):
    for number in range(1, (depth or _blocks_to_see(shape.context)) + 1):
        x = _residual_block(x, units, 2 ** (number - 1), seeds, dropout, number)
    x = keras.layers.Cropping1D((shape.context - 1, 0), name="last_step")(x)
    x = keras.layers.Flatten(name="flatten")(x)  # (B, units)
    # Each block adds to the one before: without this the first forecasts are huge.
    return _all_steps(_attention.norm(x, "norm"), shape, seeds)


def _residual_block(x, units: int, dilation: int, seeds, dropout: float, number: int):
    """Convolve twice, each step with those before it: (B, context, units)."""
    y = x
    for half in ("a", "b"):
        name = f"block_{number}_{half}"
        y = keras.layers.Conv1D(
            units,
            KERNEL_SIZE,
            padding="causal",
            dilation_rate=dilation,
            activation="relu",
            kernel_initializer=keras.initializers.HeNormal(next(seeds)),
            name=name,
        )(y)
        if dropout:
            name = f"{name}_dropout"
            y = keras.layers.Dropout(dropout, seed=next(seeds), name=name)(y)
    if x.shape[-1] != units:
        x = _layers.dense(units, next(seeds), name=f"block_{number}_skip")(x)
    x = keras.layers.Add(name=f"block_{number}_add")([x, y])
    return keras.layers.ReLU(name=f"block_{number}")(x)


def _blocks_to_see(context: int) -> int:
    """Return how many blocks it takes until the last step depends on the first."""
    blocks = 1
    while 1 + 2 * (KERNEL_SIZE - 1) * (2**blocks - 1) < context:
        blocks += 1
    return blocks


def _targets(x, shape: Series):
    """Leave out what is not predicted: (B, context, channels) -> (B, context, T)."""
    return _forecast_layers.Pick(shape.targets, dtype="float32", name="targets")(x)


def _all_steps(x, shape: Series, seeds):
    """Map (B, D) features to (B, horizon, T)."""
    size = shape.horizon * len(shape.targets)
    x = _layers.logits_layer(size, next(seeds), "steps")(x)
    return keras.layers.Reshape(
        (shape.horizon, len(shape.targets)), dtype="float32", name="by_step"
    )(x)


def _check_shape(shape, num_outputs: int) -> None:
    if not isinstance(shape, Series):
        raise ValueError(
            f"`input_shape` must be a Series. Received: input_shape={shape!r}"
        )
    for name in ("context", "channels", "horizon"):
        _layers.check_count(**{name: getattr(shape, name)})
    if not shape.targets or not set(shape.targets) <= set(range(shape.channels)):
        raise ValueError(
            "`input_shape` must have targets from 0 to channels - 1. "
            f"Received: input_shape={shape!r}"
        )
    wanted = shape.horizon * len(shape.targets)
    if isinstance(num_outputs, bool) or num_outputs != wanted:
        raise ValueError(
            f"`num_outputs` must be horizon * targets, {wanted}. "
            f"Received: num_outputs={num_outputs!r}"
        )


def _check_method(method: str, individual: bool, units, depth, dropout: float) -> None:
    if method not in METHODS:
        raise ValueError(
            f"Unknown method. Expected one of {METHODS}. Received: method={method!r}"
        )
    is_linear = method in ("dlinear", "nlinear")
    for name, value in {"units": units, "depth": depth}.items():
        if value is not None:
            _layers.check_count(**{name: value})
    _layers.check_dropout(dropout)
    if is_linear and (units or depth or dropout):
        raise ValueError(
            "`units`, `depth` and `dropout` must be left out of a linear method. "
            f"Received: method={method!r}"
        )
    if individual and not is_linear:
        raise ValueError(
            f"`individual` must be False unless the method is linear. "
            f"Received: individual={individual!r}, method={method!r}"
        )
