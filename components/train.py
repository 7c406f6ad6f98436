"""`run_fn` for the TFX Trainer: fit a family of `models/` and export it.

Training is cut into epochs. After each, the weights (with the optimizer's) are written
to a directory that outlives the execution, under a name that says how many epochs they
have seen; a training that died goes on from there and sees the batches it would have
seen.
"""

import json
import logging
import math
import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import keras
import tensorflow as tf
import tensorflow_transform as tft
from tfx.components.trainer.fn_args_utils import FnArgs

import models
from components import export, inputs, strategies
from recipes.errors import BadInputError

# One JSON object a line; the local runner shows them while the step runs.
progress = logging.getLogger("strata.progress")


def run_fn(fn_args: FnArgs) -> None:
    """Train, evaluate after every epoch, export; called by the Trainer.

    `fn_args.custom_config` holds the recipe's `transform`, `model` and `train` sections
    and `checkpoint_dir`.
    """
    config = fn_args.custom_config
    train, transform = config["train"], config["transform"]
    strategy = strategies.create(train["strategy"], train["replicas"])
    keras.utils.set_random_seed(train["seed"])
    with strategy.scope():
        model = build(config)
    output = tft.TFTransformOutput(fn_args.transform_output)
    spec = output.transformed_feature_spec()
    files = {"train": _files(fn_args.train_files), "eval": _files(fn_args.eval_files)}
    checkpoints = EpochCheckpoints(Path(config["checkpoint_dir"]))
    started = time.monotonic()
    history = fit(model, files, spec, config, checkpoints)
    export.write(model, output, transform, fn_args.serving_model_dir)
    record = {
        "parameters": model.count_params(),
        "replicas": strategy.num_replicas_in_sync,
        "resumed_after_epoch": checkpoints.restored_epoch,
        "seconds": round(time.monotonic() - started, 2),
        "epochs": history,
    }
    Path(fn_args.model_run_dir).mkdir(parents=True, exist_ok=True)
    (Path(fn_args.model_run_dir) / "training.json").write_text(json.dumps(record))


def build(config: Mapping[str, Any]) -> keras.Model:
    """Return the compiled model that the recipe describes."""
    train, transform = config["train"], config["transform"]
    num_outputs = inputs.num_outputs(transform)
    try:
        model = models.build(
            config["model"]["family"],
            inputs.input_shape(transform),
            num_outputs,
            **config["model"]["arguments"],
        )
    except ValueError as error:
        raise BadInputError(f"[model] {error}") from error
    optimizer = {"adam": keras.optimizers.Adam, "sgd": keras.optimizers.SGD}
    loss, metric = _loss(num_outputs, soft=inputs.soft_labels(transform))
    model.compile(
        optimizer=optimizer[train["optimizer"]](train["learning_rate"]),
        loss=loss,
        metrics=[metric],
        jit_compile=False,  # crashes under MirroredStrategy, gains nothing on CPUs
    )
    return model


def _loss(num_outputs: int, *, soft: bool) -> tuple[keras.Loss, keras.Metric]:
    """Return the loss on logits, and the accuracy that is shown."""
    if num_outputs == 1:
        return (
            keras.losses.BinaryCrossentropy(from_logits=True),
            keras.metrics.MeanMetricWrapper(_binary_accuracy, name="accuracy"),
        )
    if soft:
        return (
            keras.losses.CategoricalCrossentropy(from_logits=True),
            keras.metrics.CategoricalAccuracy("accuracy"),
        )
    return (
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        keras.metrics.SparseCategoricalAccuracy("accuracy"),
    )


def _binary_accuracy(labels: tf.Tensor, logits: tf.Tensor) -> tf.Tensor:
    """Return 1 where a logit is on the side of its label, 0 to 1, else 0."""
    return keras.metrics.binary_accuracy(keras.ops.round(labels), logits, threshold=0.0)


def fit(
    model: keras.Model,
    files: Mapping[str, list[str]],
    spec: inputs.Spec,
    config: Mapping[str, Any],
    checkpoints: "EpochCheckpoints",
) -> list[dict[str, float]]:
    """Fit from the last checkpoint on; return the logs of each epoch run now."""
    train, transform = config["train"], config["transform"]
    steps, epochs = _length(inputs.count(files["train"]), train)
    first = checkpoints.restore(model)
    history = _Progress(epochs, steps)
    if first < epochs:
        model.fit(
            inputs.training_batches(
                files["train"],
                spec,
                transform,
                global_batch_size=train["global_batch_size"],
                steps_per_epoch=steps,
                first_epoch=first,
                seed=train["seed"],
            ),
            epochs=epochs,
            initial_epoch=first,
            steps_per_epoch=steps,
            validation_data=inputs.batches(
                files["eval"],
                spec,
                transform,
                train["global_batch_size"],
                soft=inputs.soft_labels(transform),
            ),
            # In this order: weights that have diverged are never kept.
            callbacks=[_EpochSeeds(model), history, checkpoints],
            shuffle=False,  # the batches come shuffled
            verbose=0,
        )
    return history.epochs


class EpochCheckpoints(keras.callbacks.Callback):
    """Keep the weights of the last finished epoch, whole or not at all.

    Keras's BackupAndRestore writes weights and epoch number to two files one after the
    other: killed between them, it repeats an epoch on top of the newer weights.
    """

    def __init__(self, directory: Path):
        super().__init__()
        self._directory = directory
        self.restored_epoch = 0

    def restore(self, model: keras.Model) -> int:
        """Load the newest weights; return how many epochs they have seen."""
        found = sorted(self._directory.glob("epoch-*.weights.h5"))
        if found:
            model.optimizer.build(model.trainable_variables)
            model.load_weights(found[-1])
            self.restored_epoch = int(found[-1].name.split(".")[0].split("-")[1])
        return self.restored_epoch

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        self._directory.mkdir(parents=True, exist_ok=True)
        older = list(self._directory.glob("*.weights.h5"))
        draft = self._directory / "draft.weights.h5"
        self.model.save_weights(draft)
        os.replace(draft, self._directory / f"epoch-{epoch + 1:06d}.weights.h5")
        for path in older:
            path.unlink(missing_ok=True)


class _EpochSeeds(keras.callbacks.Callback):
    """Makes what dropout draws depend on the epoch alone, as the batches do.

    The state of seed generators is not among the weights that Keras saves.
    """

    def __init__(self, model: keras.Model):
        super().__init__()
        self._start = [
            (variable, variable.numpy()[0])
            for variable in model.variables
            if variable.name == "seed_generator_state"
        ]

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        for variable, seed in self._start:
            variable.assign([seed, epoch << 16])


class _Progress(keras.callbacks.Callback):
    """Reports each epoch, and the loss within it at most twice a second."""

    def __init__(self, num_epochs: int, num_steps: int):
        super().__init__()
        self.epochs: list[dict[str, float]] = []
        self._num_epochs, self._num_steps = num_epochs, num_steps
        self._epoch = self._reported = 0.0

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        self._epoch = epoch + 1

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        if time.monotonic() - self._reported > 0.5:
            self._reported = time.monotonic()
            self._say(
                {"update": batch + 1, "updates": self._num_steps, **_floats(logs)}
            )

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        self.epochs.append(_floats(logs))
        if not math.isfinite(self.epochs[-1]["loss"]):
            raise BadInputError(
                f"The loss became {self.epochs[-1]['loss']} in epoch {epoch + 1}. "
                "Lower train.learning_rate, or look for extreme values in the data."
            )
        self._say(self.epochs[-1])

    def _say(self, values: Mapping[str, float]) -> None:
        epoch = {"epoch": int(self._epoch), "epochs": self._num_epochs}
        progress.info("%s", json.dumps({**epoch, **values}))


def figures(outputs: Mapping[str, str]) -> dict[str, Any]:
    """Return the last epoch's figures and what was trained on what."""
    run = json.loads((Path(outputs["model_run"]) / "training.json").read_text())
    parts = [f"{run['parameters']:,} weights"]
    if run["epochs"]:
        last = run["epochs"][-1]
        parts.append(f"loss {last['loss']:.4f}")
        parts.append(f"eval accuracy {last['val_accuracy']:.2%}")
    if run["replicas"] > 1:
        parts.append(f"{run['replicas']} replicas")
    if run["resumed_after_epoch"]:
        parts.append(f"resumed after epoch {run['resumed_after_epoch']}")
    return {"summary": " · ".join(parts), **run}


def _length(num_examples: int, train: Mapping[str, Any]) -> tuple[int, int]:
    """Return (steps per epoch, epochs)."""
    steps = num_examples // train["global_batch_size"]
    if not steps:
        raise BadInputError(
            f"The train split has {num_examples} examples, less than one batch of "
            f"{train['global_batch_size']}. Lower train.global_batch_size."
        )
    if train["max_steps"]:
        steps = min(steps, train["max_steps"])
        return steps, min(train["epochs"], train["max_steps"] // steps)
    return steps, train["epochs"]


def _files(patterns: list[str]) -> list[str]:
    return sorted(
        file for pattern in patterns for file in tf.io.gfile.glob(str(pattern))
    )


def _floats(logs: Mapping[str, Any] | None) -> dict[str, float]:
    return {name: round(float(value), 6) for name, value in (logs or {}).items()}
