"""What exams ask about: the models, and the examples that they are asked on."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from components import raw_inputs, series_input
from components.columns import LABEL
from components.exams import NotApplicableError
from components.inputs import count

BATCH_SIZE = 256
Arrays = dict[str, np.ndarray]


class Model:
    """A SavedModel of `components.export`, loaded when it is first asked."""

    def __init__(self, directory: Path):
        self.directory = directory

    @cached_property
    def loaded(self) -> Any:
        return tf.saved_model.load(str(self.directory))

    @cached_property
    def signature_defs(self) -> Mapping[str, Any]:
        return raw_inputs.signatures(self.directory)

    def raw(self, serialized: Sequence[bytes]) -> Arrays:
        """Return stored examples as the inputs of `serve_raw`."""
        return raw_inputs.of(self.signature_defs["serve_raw"], serialized)

    def ask_examples(self, serialized: Sequence[bytes]) -> Arrays:
        """Return the answers to serialized examples."""
        return self.ask(
            {"examples": np.array(serialized, object)}, signature="serving_default"
        )

    def ask(self, inputs: Arrays, *, signature: str = "serve_raw") -> Arrays:
        """Return the answers of a signature, asked in batches: (examples, ...) each."""
        asked = self.loaded.signatures[signature]
        infos = self.signature_defs[signature].inputs
        answers = [
            asked(**{n: tf.constant(v, infos[n].dtype) for n, v in batch.items()})
            for batch in _batches(inputs)
        ]
        return {
            name: np.concatenate([answer[name].numpy() for answer in answers])
            for name in answers[0]
        }

    def labels(self, serialized: Sequence[bytes]) -> np.ndarray:
        """Return labels as the model learned them: (examples, ...)."""
        return self.transformed(serialized)[LABEL]

    def transformed(self, serialized: Sequence[bytes]) -> Arrays:
        """Return what the model's transform graph makes of raw examples."""
        inputs = {"examples": np.array(serialized, object)}
        return self.ask(inputs, signature="transform_features")


@dataclass(frozen=True)
class Case:
    """One examination.

    Attributes:
      transform: the recipe's section of that name.
      candidate: who is examined.
      live: the model that answers now, or None.
      examples: URI of the raw examples, with a folder for each split.
      transformed: URI of the transformed ones.
      spec: how those are stored.
      baselines: URI of what the simple models answered.
      model_run: URI of the record of the candidate's training.
      kept: directory of the pipeline that outlives the run.
      most: at most so many of a split are asked.
      windows: how many examples in a row share what is predicted; 1 but for a series.
    """

    transform: Mapping[str, Any]
    candidate: Model
    live: Model | None
    examples: Path
    transformed: Path
    spec: Mapping[str, Any]
    baselines: Path
    model_run: Path
    kept: Path
    most: int
    windows: float = 1.0

    @cached_property
    def test(self) -> list[bytes]:
        """Serialized raw examples of the test split."""
        return read(self.examples / "Split-test", self.most)

    @cached_property
    def labels(self) -> np.ndarray:
        """What the candidate should have said on `test`."""
        return self.candidate.labels(self.test)

    @cached_property
    def answers(self) -> Arrays:
        """What the candidate said on `test`."""
        return self.candidate.ask_examples(self.test)

    @property
    def has_classes(self) -> bool:
        """Whether answers are probabilities of classes."""
        return bool(self.transform["label"])

    @property
    def overlap(self) -> float:
        """How many of the examples of `test` say the same."""
        every = _every(_files(self.examples / "Split-test"), self.most)
        return max(1.0, self.windows / every)

    def errors(
        self, other: Model, examples: list[bytes]
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return what the candidate and another model got wrong on raw examples.

        Returns:
          (examples,) bool each, whether the class is wrong; or float64, the loss.

        Raises:
          NotApplicableError: the other cannot read them, or what it answers cannot be
            compared.
          tf.errors.InvalidArgumentError: the candidate cannot read them.
        """
        is_test = examples is self.test
        ours = self.answers if is_test else self.candidate.ask_examples(examples)
        labels = self.labels if is_test else self.candidate.labels(examples)
        try:
            theirs, known = other.ask_examples(examples), other.labels(examples)
        except tf.errors.InvalidArgumentError as error:
            raise NotApplicableError(
                f"the other model cannot read these examples: {reason(error)}"
            ) from error
        if ours.keys() != theirs.keys():
            raise NotApplicableError("the other model answers another question")
        if self.has_classes:
            return is_wrong(ours, labels), is_wrong(theirs, known)
        if len(examples) < 2:
            raise NotApplicableError("there are fewer than two examples")
        if "scaled" in ours:
            theirs["scaled"] = self._on_our_scale(theirs["forecast"], examples)
        elif not np.array_equal(labels, known):
            raise NotApplicableError("the other model counts other tokens")
        return losses(ours, labels), losses(theirs, labels)

    def _on_our_scale(self, forecast: np.ndarray, examples: list[bytes]) -> np.ndarray:
        """Return a forecast in units of the series, (B, H, T), as our answers are."""
        shape = series_input.input_shape(self.transform["series"])
        if forecast.shape[1:] != (shape.horizon, len(shape.targets)):
            raise NotApplicableError("the other model predicts another horizon")
        scale = self.candidate.transformed(examples)[series_input.SCALE]
        mean, deviation = np.split(scale[:, None], 2, axis=-1)  # (B, 1, channels) each
        of = list(shape.targets)
        return (forecast - mean[..., of]) / deviation[..., of]


def read(directory: Path, most: int) -> list[bytes]:
    """Return serialized examples of a split, of too many every so many-th."""
    files = _files(directory)
    records = tf.data.TFRecordDataset(files, compression_type="GZIP")
    batches = records.shard(_every(files, most), 0).batch(1024)
    return [record for batch in batches.as_numpy_iterator() for record in batch]


def reason(error: tf.errors.OpError) -> str:
    """Return the line that names the feature, without the places in the graph."""
    lines = error.message.splitlines()
    return next((line for line in lines if "Feature: " in line), lines[0])


def is_wrong(answers: Arrays, labels: np.ndarray) -> np.ndarray:
    """Return whether each answered class is not the label: (examples,) bool."""
    return answers["classes"].reshape(-1) != labels.reshape(-1)


def losses(answers: Arrays, labels: np.ndarray) -> np.ndarray:
    """Return the loss of each answer, (examples,) float64.

    Of a series the mean squared error, of texts the cross-entropy of a token in nats.
    """
    if "scores" in answers:
        return answers["scores"][:, 0].astype(np.float64)
    flat = answers["scaled"].reshape(len(labels), -1).astype(np.float64)
    return np.mean((flat - labels.reshape(len(labels), -1)) ** 2, axis=1)


def of_label(probabilities: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Return the probability of each label; one column is that of the second class."""
    labels = labels.reshape(-1)
    table = all_classes(probabilities)
    return table[np.arange(len(labels)), labels]


def all_classes(probabilities: np.ndarray) -> np.ndarray:
    """Return (examples, classes) float64 probabilities, two columns for yes or no."""
    table = probabilities.astype(np.float64)
    if table.shape[1] == 1:
        return np.concatenate([1 - table, table], axis=1)
    return table


def _files(directory: Path) -> list[str]:
    return sorted(str(path) for path in directory.glob("*.gz"))


def _every(files: list[str], most: int) -> int:
    """Return of how many examples one is taken."""
    return max(1, -(-count(files) // most))


def _batches(inputs: Arrays) -> Iterator[Arrays]:
    total = len(next(iter(inputs.values())))
    for start in range(0, total, BATCH_SIZE):
        yield {name: v[start : start + BATCH_SIZE] for name, v in inputs.items()}
