"""The sections `train`, `tune` and `export`: how a model is trained and written."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from recipes.section import Positive, Section

Share = Annotated[float, Field(ge=0, lt=1)]
Count = Annotated[int, Field(ge=0)]
STRATEGIES = Literal["default", "mirrored", "multiworker", "tpu"]


class EarlyStopping(Section):
    """End once `eval` has not improved for some epochs; keep the best weights."""

    metric: Literal["loss", "accuracy"] = Field(
        "loss", description="Of the `eval` split: the lowest loss, or best accuracy."
    )
    patience: Positive = Field(description="Epochs without an improvement.")


class StartFrom(Section):
    """Weights to begin with, from exactly one place, and how much they may change."""

    run: str | None = Field(
        None, description="Recipe whose last training is continued from."
    )
    version: str | None = Field(
        None,
        description="A pushed version: `NAME` for the live one, `NAME/3`, or a path.",
    )
    freeze: tuple[str, ...] = Field(
        (), description="Layers kept as they are, by name or pattern (`block_*`)."
    )
    learning_rate_factors: dict[str, Annotated[float, Field(gt=0)]] = Field(
        {}, description="Layer name or pattern -> factor on the learning rate."
    )
    lora_rank: Positive | None = Field(
        None, description="Train low-rank changes of the kernels instead of them."
    )

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if bool(self.run) == bool(self.version):
            raise ValueError("Expected exactly one of `run` and `version`.")
        return self


class Distill(Section):
    """Learn from the answers of a served model too."""

    teacher: str = Field(
        description="A pushed version: `NAME` for the live one, `NAME/3`, or a path."
    )
    temperature: float = Field(2.0, gt=0)
    weight: float = Field(0.5, gt=0, le=1, description="Share of the teacher's loss.")


class Adversarial(Section):
    """Learn from images changed so that the network errs."""

    epsilon: float = Field(
        0.031,
        gt=0,
        le=1,
        description="Most that a value is changed; black is 0, white 1.",
    )
    step_size: float | None = Field(
        None,
        gt=0,
        description="Of each step, likewise. Default: 2.5 `epsilon` in all steps "
        "together, and at most 1.25 in one.",
    )
    steps: Annotated[int, Field(ge=1, le=10)] = Field(
        1, description="Each costs about an update more, of the examples changed."
    )
    share: float = Field(
        0.5, ge=0.001, le=1, description="Of the examples; the others stay clean."
    )


class Train(Section):
    epochs: Positive
    global_batch_size: Positive = Field(
        64, description="Examples per update over all replicas together."
    )
    max_steps: Positive | None = Field(
        None,
        description="At most this many updates: one short epoch, or as many whole "
        "epochs as fit.",
    )
    minutes: float | None = Field(
        None, gt=0, description="End after so long, with the weights of that moment."
    )
    optimizer: Literal["adam", "sgd", "momentum", "rmsprop"] = "adam"
    learning_rate: float = Field(0.001, gt=0)
    weight_decay: float = Field(
        0.0, ge=0, description="Decoupled (AdamW); of kernels and embeddings alone."
    )
    schedule: Literal["constant", "cosine", "linear"] = Field(
        "constant", description="How the learning rate falls towards 0."
    )
    warmup_steps: Count = Field(0, description="Updates in which it first rises.")
    clip_norm: float | None = Field(
        None, gt=0, description="Largest norm of all gradients together."
    )
    accumulate: Positive = Field(
        1,
        description="Parts that a batch is computed in, to save memory; one update.",
    )
    precision: Literal["float32", "mixed_bfloat16", "mixed_float16"] = "float32"
    ema: float | None = Field(
        None, gt=0, lt=1, description="Export averaged weights, with this momentum."
    )
    label_smoothing: Share = 0.0
    class_weights: Literal["none", "balanced"] = "none"
    reweigh: tuple[str, ...] = Field(
        (),
        description="Columns of ids: weigh examples so that the label is independent "
        "of their values, all of them together.",
    )
    early_stopping: EarlyStopping | None = None
    strategy: STRATEGIES = "default"
    replicas: Positive | None = Field(
        None,
        description="With `mirrored`: how many. Default: every GPU. Without a GPU, so "
        "many logical CPU devices, which share the cores: to check, not to speed up.",
    )
    steps_per_execution: Positive = Field(
        1, description="Updates in one call of the graph; less overhead, fewer reports."
    )
    jit: bool = Field(False, description="Compile with XLA; gains nothing on CPUs.")
    checkpoint_steps: Positive | None = Field(
        None, description="Keep a checkpoint every so many updates, not only an epoch."
    )
    deterministic: bool = Field(
        False, description="The same bits every time on this machine, a little slower."
    )
    seed: int = Field(0, ge=0, lt=2**32)
    start_from: StartFrom | None = None
    distill: Distill | None = None
    adversarial: Adversarial | None = None

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.replicas and self.strategy != "mirrored":
            raise ValueError("`replicas` needs `strategy: mirrored`.")
        parts = (self.replicas or 1) * self.accumulate
        if self.global_batch_size % parts:
            raise ValueError(
                "`global_batch_size` must be a multiple of `replicas` times "
                f"`accumulate`. Received: {self.global_batch_size} and {parts}"
            )
        self._check_weights()
        self._check_share()
        self._check_strategy()
        return self

    def _check_weights(self) -> None:
        """Refuse what would weigh examples anew, or leave their weights out."""
        if not self.reweigh:
            return
        if len(set(self.reweigh)) < len(self.reweigh):
            raise ValueError("`reweigh` names a column twice.")
        if self.class_weights != "none":
            raise ValueError(
                "`reweigh` and `class_weights` both weigh examples by their label. "
                "Leave one out."
            )
        if self.distill:
            raise ValueError(
                "`reweigh` weighs labels, of which the loss of `distill` has only a "
                "share. Leave one out."
            )

    def _check_share(self) -> None:
        """Refuse attacks on less than one example of a batch: none would be made."""
        if not self.adversarial:
            return
        share = self.adversarial.share
        if self.global_batch_size * round(1000 * share) < 1000:
            raise ValueError(
                "`adversarial.share` must come to at least one example of a batch of "
                f"`global_batch_size` {self.global_batch_size}. Received: {share}"
            )

    def _check_strategy(self) -> None:
        """Refuse what Keras 3.15 accepts under a strategy and then crashes on."""
        if self.strategy == "default":
            return
        if self.steps_per_execution > 1:
            raise ValueError(
                f"`steps_per_execution` above 1 crashes Keras 3.15 under `strategy: "
                f"{self.strategy}`. Leave it out."
            )
        if self.jit and self.strategy != "tpu":
            raise ValueError(
                f"`jit` crashes Keras 3.15 under `strategy: {self.strategy}`. Leave it "
                "out."
            )


class Range(Section):
    """Numbers between two bounds."""

    low: float
    high: float
    log: bool = Field(False, description="Drawn evenly by order of magnitude.")

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if not self.low < self.high or (self.log and self.low <= 0):
            raise ValueError(
                "Expected low < high, and low > 0 with `log`. "
                f"Received: {self.low} and {self.high}"
            )
        return self


Choice = bool | int | float | str | tuple[int | float | str, ...]


class Tune(Section):
    """Search for better values of `model.arguments` and `train` before training."""

    method: Literal["random", "bayesian", "hyperband"] = "bayesian"
    space: dict[str, Range | tuple[Choice, ...]] = Field(
        min_length=1,
        description="Dotted key, such as `train.learning_rate` -> a range or choices.",
    )
    trials: Positive = Field(
        10, description="At most. Hyperband: as many epochs as so many whole ones."
    )
    minutes: float | None = Field(None, gt=0, description="No new trial after these.")
    epochs: Positive | None = Field(
        None, description="Of each trial, at most. Default: those of `train`."
    )


class Thresholds(Section):
    """When a yes-or-no answer is yes, by group; fitted on `eval`."""

    column: str = Field(description="A column of ids; each of its values is a group.")
    rule: Literal["equal_opportunity", "demographic_parity"] = Field(
        description="What groups share: the rate of yes among those whose label is "
        "yes, or among all."
    )


class Export(Section):
    """What is written beside or instead of float32 weights."""

    quantize: Literal["none", "int8"] = "none"
    prune: Share = Field(
        0.0, description="Share of each kernel's weights set to 0, the smallest."
    )
    litert: bool = Field(False, description="A LiteRT file beside the SavedModel.")
    explain: bool = Field(
        False,
        description="A signature `explain` that says what of a request led to its "
        "answer; of images, audio, tables and texts with a label.",
    )
    drop_at_most: float = Field(
        0.01,
        ge=0,
        description="Largest loss of accuracy on `eval` by `quantize` or `prune` (of "
        "a model that predicts numbers or tokens: of minus its loss).",
    )
    temperature: bool = Field(
        False,
        description="Divide the logits by the number that `eval` likes best: the "
        "probabilities become more honest, the classes stay.",
    )
    thresholds: Thresholds | None = None

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.litert and self.quantize == "int8":
            raise ValueError("`litert` cannot be written of `quantize: int8`.")
        return self
