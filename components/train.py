"""`run_fn` for the TFX Trainer: fit a family of `models/` and export it.

What a training needs to go on is written, after each epoch and every so many updates,
to a directory that outlives the execution: one that died goes on from there, and ends
with the weights of one that nobody disturbed.
"""

import copy
import json
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import keras
import tensorflow as tf
import tensorflow_transform as tft
from tfx.components.trainer.fn_args_utils import FnArgs

import models
from components import (
    cluster,
    compress,
    decision,
    distill,
    explain,
    export,
    inputs,
    litert,
    losses,
    multiworker,
    optimizers,
    power,
    start_from,
    strategies,
    training_data,
)
from components.adversarial import attacker
from components.averages import AveragesInTests, assign, exported_values
from components.checkpoints import Checkpoints, ResumedMetrics, Saver, State
from components.train_step import Learner, Teacher
from components.training_data import Config, Data, evaluation_batches, training_batches
from components.training_limits import Clock, EarlyStopping, FiniteLoss, TimeBudget
from components.training_progress import Progress, fingerprint, outcome
from recipes.errors import BadInputError


def run_fn(fn_args: FnArgs) -> None:
    """Train, evaluate after every epoch, export; called by the Trainer.

    `fn_args.custom_config` holds the recipe's `transform`, `model`, `train` and
    `export` sections and `checkpoint_dir`; the values that a search has found,
    `fn_args.hyperparameters`, come before the recipe's.
    """
    config = tuned(fn_args.custom_config, fn_args.hyperparameters)
    train = config["train"]
    if train["strategy"] == "multiworker":
        multiworker.share(fn_args)
    strategy = strategies.create(train["strategy"], train["replicas"])
    if train["deterministic"]:
        tf.config.experimental.enable_op_determinism()
    keras.utils.set_random_seed(train["seed"])
    output = tft.TFTransformOutput(fn_args.transform_output)
    data = training_data.read(fn_args, output)
    is_chief = cluster.is_chief(strategy)
    checkpoints = Checkpoints(Path(config["checkpoint_dir"]), writes=is_chief)
    start_from.check(config, output)
    explain.check(config)
    with cluster.watched(strategy), power.metered() as meter:
        with strategy.scope():
            learner = build(config, data, distill.teacher(config, output))
        state = fit(learner, data, config, checkpoints)
        used = meter.cost()
    if is_chief:
        written = _write(learner.network, data, config, output, fn_args)
        record = {**_settings(config, strategy), **written}
        record |= _course(learner, data, config, state, checkpoints)
        record["used"] = used
        run_dir = Path(fn_args.model_run_dir)
        run_dir.mkdir(parents=True, exist_ok=True)
        (run_dir / "training.json").write_text(json.dumps(record))
    with cluster.watched(strategy):
        cluster.wait_for_all(strategy)


def tuned(config: Config, hyperparameters: Mapping[str, Any] | None) -> Config:
    """Return the config with the values a search has found, by dotted key.

    Args:
      config: of the Trainer.
      hyperparameters: config of a `keras_tuner.HyperParameters`, or None.
    """
    if not hyperparameters:
        return config
    changed = copy.deepcopy(dict(config))
    for key, value in hyperparameters["values"].items():
        if key.startswith("tuner/"):  # Hyperband's own notes
            continue
        *path, last = key.split(".")
        section = changed
        for name in path:
            section = section[name]
        section[last] = value
    return changed


def build(config: Config, data: Data, teacher: Teacher | None = None) -> Learner:
    """Return the model that the recipe describes, compiled.

    Call it inside the scope of the strategy.

    Raises:
      BadInputError: the model cannot be built so, or an option does not fit it.
    """
    train = config["train"]
    strategies.check_batch(tf.distribute.get_strategy(), train)
    steps, epochs = training_data.length(data.num_examples, train)
    loss, metric = _loss(config, data)
    with _precision(train["precision"]):
        network = _network(config)
        start_from.prepare(network, config)
        learner = Learner(
            network,
            parts=train["accumulate"],
            teacher=teacher,
            distillation=train["distill"],
            attacker=attacker(config),
        )
        learner.compile(
            optimizers.create(
                train,
                num_steps=steps * epochs,
                factors=start_from.factors(network, train),
            ),
            loss=loss,
            metrics=[metric],
            jit_compile=train["jit"],
            steps_per_execution=train["steps_per_execution"],
        )
    return learner


def _network(config: Config) -> keras.Model:
    transform, section = config["transform"], config["model"]
    shape, num_outputs = inputs.input_shape(transform), inputs.num_outputs(transform)
    try:
        return models.build(
            section["family"], shape, num_outputs, **section["arguments"]
        )
    except (TypeError, ValueError) as error:  # an argument may have any JSON value
        raise BadInputError(f"[model] {error}") from error


def _loss(config: Config, data: Data) -> tuple[keras.Loss, keras.Metric]:
    train, transform = config["train"], config["transform"]
    counts = None
    if train["class_weights"] == "balanced" and transform["label"]:
        num_classes = max(2, inputs.num_outputs(transform))
        counts = losses.label_counts(data.train, data.spec, num_classes)
    return losses.of(transform, train, counts)


@contextmanager
def _precision(name: str) -> Iterator[None]:
    """Build in a precision; only Keras's global policy adds the scaling of losses."""
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(name)
    try:
        yield
    finally:
        keras.config.set_dtype_policy(before)


def fit(
    learner: Learner,
    data: Data,
    config: Config,
    checkpoints: Checkpoints,
    *,
    clock: Clock = time.monotonic,
) -> State:
    """Fit from the last checkpoint on; leave the weights to export in the network."""
    steps, epochs = training_data.length(data.num_examples, config["train"])
    state, metrics = checkpoints.restore(learner)
    while state.step < steps * epochs and not state.stopped:
        epoch, done = divmod(state.step, steps)
        learner.fit(
            training_batches(data, config, state.step),
            initial_epoch=epoch,
            # What is left of an epoch that was broken off, then all others.
            epochs=epoch + 1 if done else epochs,
            steps_per_epoch=steps - done,
            validation_data=evaluation_batches(data, config),
            # In this order: what refuses weights comes before what keeps them.
            callbacks=[
                ResumedMetrics(metrics if done else []),
                FiniteLoss(data, config, clock),
                Progress(state, epochs, steps, clock),
                *_chosen(config["train"], state),
                Saver(checkpoints, state, config["train"]["checkpoint_steps"]),
            ],
            shuffle=False,  # the batches come shuffled
            verbose=0,
        )
    assign(learner.network.variables, state.best_weights or exported_values(learner))
    return state


def _chosen(train: Mapping[str, Any], state: State) -> list[keras.callbacks.Callback]:
    callbacks: list[keras.callbacks.Callback] = []
    if train["ema"]:
        callbacks.append(AveragesInTests())
    if train["early_stopping"]:
        callbacks.append(EarlyStopping(train["early_stopping"], state))
    if train["minutes"]:
        callbacks.append(TimeBudget(train["minutes"], state))
    return callbacks


def _write(
    network: keras.Model,
    data: Data,
    config: Config,
    output: tft.TFTransformOutput,
    fn_args: FnArgs,
) -> dict[str, Any]:
    """Export the trained network; return what the record says of it."""
    start_from.merge(network)
    model, compressed = compress.apply(network, config, _score(data, config))
    answers, gained = decision.fit(model, data.eval, data.spec, config, output)
    export.write(
        model,
        output,
        config["transform"],
        fn_args.serving_model_dir,
        decision=answers,
        baseline=explain.baseline(data, config),
    )
    litert.write(model, config, fn_args.serving_model_dir)
    return {
        "parameters": model.count_params(),
        "compressed": compressed,
        "weights_sha256": fingerprint(model),
        **gained,
    }


def _settings(config: Config, strategy: tf.distribute.Strategy) -> dict[str, Any]:
    return {
        "strategy": config["train"]["strategy"],
        "replicas": strategy.num_replicas_in_sync,
        "precision": config["train"]["precision"],
    }


def _course(
    learner: Learner,
    data: Data,
    config: Config,
    state: State,
    checkpoints: Checkpoints,
) -> dict[str, Any]:
    steps, _ = training_data.length(data.num_examples, config["train"])
    rate = learner.optimizer.learning_rate  # a variable on each replica, or a number
    return {
        "resumed_at_step": checkpoints.restored_step,
        "resumed_after_epoch": checkpoints.restored_step // steps,
        **outcome(state, config["train"]),
        "learning_rate": float(tf.convert_to_tensor(rate)),
    }


def _score(data: Data, config: Config) -> Callable[[keras.Model], float]:
    """Return a function from a model to its accuracy on `eval`, or minus its loss."""

    def score(model: keras.Model) -> float:
        loss, metric = _loss(config, data)
        judged = Learner(model)
        judged.compile(loss=loss, metrics=[metric], jit_compile=False)
        batches = evaluation_batches(data, config)
        results = judged.evaluate(batches, return_dict=True, verbose=0)
        return results["accuracy"] if config["transform"]["label"] else -results["loss"]

    return score


def figures(outputs: Mapping[str, str]) -> dict[str, Any]:
    """Return the exported epoch's figures and what was trained on what."""
    run = json.loads((Path(outputs["model_run"]) / "training.json").read_text())
    parts = [f"{run['parameters']:,} weights"]
    if run["epochs"]:
        kept = run["epochs"][run["exported_epoch"] - 1]
        parts.append(f"loss {kept['loss']:.4f}")
        if "val_accuracy" in kept:
            parts.append(f"eval accuracy {kept['val_accuracy']:.2%}")
        else:
            parts.append(f"eval loss {kept['val_loss']:.4f}")
    parts += decision.words(run)
    if run["stopped"]:
        parts.append(f"{run['stopped']} after {run['updates']:,} updates")
    if run["replicas"] > 1:
        parts.append(f"{run['replicas']} replicas")
    if run["resumed_at_step"]:
        parts.append(f"resumed after {run['resumed_at_step']:,} updates")
    return {"summary": " · ".join(parts), **run}
