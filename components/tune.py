"""`tuner_fn` for the TFX Tuner: search for better values of a recipe's numbers.

Each trial is a training as `components.train` makes it, of a recipe with some values
changed; it is judged on `eval` by what would be exported. Finished trials are kept
below the directory of the checkpoints under a name made from everything they depend on.
The search itself depends on its seed and the scores alone: one that died asks for the
same trials again, finds those that are done, and goes on within the one that was cut.
"""

import hashlib
import json
import os
import shutil
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import keras
import keras_tuner
import tensorflow as tf
import tensorflow_transform as tft
from keras_tuner.engine.base_tuner import BaseTuner
from tfx.components.trainer.fn_args_utils import FnArgs
from tfx.components.tuner.component import TunerFnResult

from components import distill, start_from, strategies, train, training_data
from components.checkpoints import Checkpoints
from components.training_data import Config
from components.training_progress import outcome, progress
from components.tune_space import changed_by, check, chosen, space
from recipes.errors import BadInputError

RESULTS = "tuner_results.json"  # TFX's name


def tuner_fn(fn_args: FnArgs) -> TunerFnResult:
    """Return the search that the recipe's `tune` section describes; called by TFX.

    Raises:
      BadInputError: a key or value of the space does not fit the recipe.
    """
    config = fn_args.custom_config
    section = config["train"]
    hyperparameters = space(config)
    strategy = strategies.create(section["strategy"], section["replicas"])
    if section["deterministic"]:
        tf.config.experimental.enable_op_determinism()
    output = tft.TFTransformOutput(fn_args.transform_output)
    data = training_data.read(fn_args, output)

    start_from.check(config, output)
    with strategy.scope():
        teacher = distill.teacher(config, output)

    def run(changed: Config, directory: Path) -> dict[str, Any]:
        keras.backend.clear_session()  # frees the graphs of the trial before
        keras.utils.set_random_seed(section["seed"])
        with strategy.scope():
            learner = train.build(changed, data, teacher)
        state = train.fit(learner, data, changed, Checkpoints(directory))
        return outcome(state, changed["train"])

    search = Search(config, hyperparameters, run, Path(fn_args.working_dir))
    return TunerFnResult(tuner=search, fit_kwargs={})


class Search(BaseTuner):
    """Trials until they are enough, or took long enough, over all lives of the search.

    Keras Tuner writes its own notes in place, where a kill leaves half a file; here
    they are not read again.
    """

    def __init__(
        self,
        config: Config,
        hyperparameters: keras_tuner.HyperParameters,
        run: Callable[[Config, Path], dict[str, Any]],
        working_dir: Path,
        *,
        clock: Callable[[], float] = time.monotonic,
    ):
        """Prepare a search.

        Args:
          config: of the Tuner.
          hyperparameters: from `space`.
          run: trains by a config, with checkpoints in a directory; returns a training's
            `outcome`.
          working_dir: for Keras Tuner's notes.
          clock: seconds, of which only differences count.
        """
        self._config, self._run, self._clock = config, run, clock
        self._done = Path(config["checkpoint_dir"]) / "tune"
        self.figures: list[dict[str, Any]] = []  # of each trial
        super().__init__(
            oracle=_oracle(config, hyperparameters),
            directory=str(working_dir),
            project_name="search",
            overwrite=True,
        )

    def search(self) -> None:
        """Run trials.

        Raises:
          BadInputError: none could be finished.
        """
        self.oracle.verbose = 0
        while self._may_go_on():
            trial = self.oracle.create_trial(self.tuner_id)
            if trial.status == "STOPPED":  # every combination was tried
                break
            self._try(trial)
        self.oracle.max_trials = len(self.figures)  # TFX writes down so many
        if all("score" not in figures for figures in self.figures):
            why = self.figures[-1]["error"] if self.figures else "None was begun."
            raise BadInputError(f"[tune] No trial could be finished. {why}")

    def get_best_hyperparameters(
        self, num_trials: int = 1
    ) -> list[keras_tuner.HyperParameters]:
        """Return the best, with the values as a recipe has them."""
        found = [best.copy() for best in super().get_best_hyperparameters(num_trials)]
        for hyperparameters in found:
            hyperparameters.values = chosen(hyperparameters.values)
        return found

    def search_space_summary(self, extended: bool = False) -> None:
        """Print nothing: progress is reported line by line."""

    def results_summary(self, num_trials: int = 10) -> None:
        """Print nothing: see `figures`."""

    def _may_go_on(self) -> bool:
        tune, epochs = self._config["tune"], _epochs(self._config)
        if tune["method"] == "hyperband":
            spent = sum(figures["epochs"] for figures in self.figures)
            enough = spent >= tune["trials"] * epochs
        else:
            enough = len(self.figures) >= tune["trials"]
        seconds = sum(figures["seconds"] for figures in self.figures)
        late = tune["minutes"] and seconds >= 60 * tune["minutes"]
        return not enough and not late

    def _try(self, trial: Any) -> None:
        """Run one trial, or take its figures from an earlier life of the search."""
        values = dict(trial.hyperparameters.values)
        epochs = values.get("tuner/epochs", _epochs(self._config))
        picked = chosen(values)
        number = {"trial": len(self.figures) + 1, "trials": self.oracle.max_trials}
        progress.info("%s", json.dumps({**number, "values": picked}))
        figures = self._figures(changed_by(self._config, picked, epochs))
        figures = {"values": picked, "epochs": epochs, **figures}
        self.figures.append(figures)
        progress.info("%s", json.dumps({**number, **figures}))
        if "score" in figures:
            metrics = {self.oracle.objective.name: figures["score"]}
            self.oracle.update_trial(trial.trial_id, metrics)
        trial.status = "COMPLETED" if "score" in figures else "FAILED"
        trial.message = figures.get("error")
        self.oracle.end_trial(trial)

    def _figures(self, config: Config) -> dict[str, Any]:
        """Return `score` and `seconds` of a trial, or `error`."""
        text = json.dumps(config, sort_keys=True)
        place = self._done / hashlib.sha256(text.encode()).hexdigest()[:16]
        kept = place.with_suffix(".json")
        if kept.is_file():
            return json.loads(kept.read_text())
        started = self._clock()
        try:
            check(config["train"])
            outcome = self._run(config, place)
        except BadInputError as error:  # of these values, such as a loss that diverged
            figures = {"error": str(error), "seconds": self._clock() - started}
        else:
            logs = outcome["epochs"][outcome["exported_epoch"] - 1]
            score = logs[self.oracle.objective.name]
            figures = {"score": score, "seconds": outcome["seconds"]}
        draft = place.with_suffix(".draft")
        self._done.mkdir(parents=True, exist_ok=True)
        draft.write_text(json.dumps(figures))
        os.replace(draft, kept)
        shutil.rmtree(place, ignore_errors=True)  # its checkpoints
        return figures


def figures(outputs: Mapping[str, str]) -> dict[str, Any]:
    """Return the trials, best first, and what the best has."""
    path = Path(outputs["tuner_results"]) / RESULTS
    rows = json.loads(path.read_text())
    trials = [
        {
            "score": row.pop("score"),
            "trial": int(row.pop("trial_id")) + 1,
            "epochs": row.get("tuner/epochs"),  # Hyperband's trials differ in length
            "values": chosen(row),
        }
        for row in rows
    ]
    best = trials[0]
    words = ", ".join(f"{key} {value}" for key, value in best["values"].items())
    return {
        "summary": f"{len(trials)} trials · best {best['score']:.4f} with {words}",
        "trials": trials,
    }


def _oracle(config: Config, hyperparameters: keras_tuner.HyperParameters) -> Any:
    has_classes = config["transform"]["label"]
    # Of a classifier not the loss: it changes with label smoothing and class weights.
    objective = (
        keras_tuner.Objective("val_accuracy", "max")
        if has_classes
        else keras_tuner.Objective("val_loss", "min")
    )
    tune = config["tune"]
    arguments = {
        "objective": objective,
        "hyperparameters": hyperparameters,
        "seed": config["train"]["seed"] + 1,  # 0 is no seed to Keras Tuner
        "max_consecutive_failed_trials": None,  # they are counted here
    }
    if tune["method"] == "hyperband":
        return keras_tuner.oracles.HyperbandOracle(
            max_epochs=_epochs(config), hyperband_iterations=None, **arguments
        )
    arguments["max_trials"] = tune["trials"]
    if tune["method"] == "random":
        return keras_tuner.oracles.RandomSearchOracle(**arguments)
    # Keras Tuner draws three a value before it models anything: often all there are.
    drawn = min(3 * len(hyperparameters.space), tune["trials"] // 2)
    return keras_tuner.oracles.BayesianOptimizationOracle(
        num_initial_points=max(3, drawn), **arguments
    )


def _epochs(config: Config) -> int:
    return config["tune"]["epochs"] or config["train"]["epochs"]
