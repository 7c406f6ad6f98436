"""The examples of a training: how many updates they make, and the batches of each."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import tensorflow as tf
import tensorflow_transform as tft
from tfx.components.trainer.fn_args_utils import FnArgs

from components import inputs, reweigh
from recipes.errors import BadInputError

Config = Mapping[str, Any]  # `custom_config` of the Trainer


@dataclass(frozen=True)
class Data:
    """Transformed examples: gzipped TFRecord files, and how to parse them."""

    train: list[str]
    eval: list[str]
    spec: inputs.Spec

    @cached_property
    def num_examples(self) -> int:
        """How many there are to learn from; reads the files."""
        return inputs.count(self.train)


def read(fn_args: FnArgs, transform_output: tft.TFTransformOutput) -> Data:
    """Return the examples that TFX hands to a Trainer or Tuner."""
    return Data(
        train=_files(fn_args.train_files),
        eval=_files(fn_args.eval_files),
        spec=transform_output.transformed_feature_spec(),
    )


def length(num_examples: int, train: Mapping[str, Any]) -> tuple[int, int]:
    """Return (updates in an epoch, epochs).

    Raises:
      BadInputError: the examples do not fill one batch, or one call of the graph.
    """
    steps = num_examples // train["global_batch_size"]
    if not steps:
        raise BadInputError(
            f"The train split has {num_examples} examples, less than one batch of "
            f"{train['global_batch_size']}. Lower train.global_batch_size."
        )
    if train["max_steps"]:
        steps = min(steps, train["max_steps"])
    at_once = train["steps_per_execution"]
    if steps < at_once:
        raise BadInputError(
            f"Expected at most the {steps} updates of an epoch as "
            f"train.steps_per_execution. Received: {at_once}"
        )
    steps -= steps % at_once  # Keras would run beyond the last update of an epoch
    if train["max_steps"]:
        return steps, min(train["epochs"], train["max_steps"] // steps)
    return steps, train["epochs"]


def training_batches(data: Data, config: Config, first_step: int) -> tf.data.Dataset:
    """Return (inputs, labels) batches without end, from an update on, from 0.

    With `train.reweigh` they are (inputs, labels, weights).
    """
    train = config["train"]
    steps, _ = length(data.num_examples, train)
    num_classes = max(2, inputs.num_outputs(config["transform"]))
    return inputs.training_batches(
        data.train,
        data.spec,
        config["transform"],
        global_batch_size=train["global_batch_size"],
        steps_per_epoch=steps,
        first_step=first_step,
        seed=train["seed"],
        weigh=reweigh.weigher(data.train, data.spec, config, num_classes),
    )


def evaluation_batches(data: Data, config: Config) -> tf.data.Dataset:
    """Return (inputs, labels) batches of the `eval` split, once."""
    transform = config["transform"]
    return inputs.batches(
        data.eval,
        data.spec,
        transform,
        config["train"]["global_batch_size"],
        soft=inputs.soft_labels(transform),
    )


def _files(patterns: list[str]) -> list[str]:
    return sorted(
        file for pattern in patterns for file in tf.io.gfile.glob(str(pattern))
    )
