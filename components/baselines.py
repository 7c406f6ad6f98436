"""What a deep model must be compared with: simple ones, on the same examples.

Majority vote and logistic regression, and of tables gradient-boosted trees; of a series
and of texts to be written see `series_baselines` and `token_baselines`. They learn from
the transformed `train` split and are scored on `test`, as the candidate is. Ids of a
table are one-hot (for trees as they are), its numbers as the model gets them; a text is
how often each token is in it; pixels are 0..1 or as the recipe scales them; of audio
every value is scaled to mean 0 and standard deviation 1.
"""

import json
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
import tensorflow_transform as tft
from scipy import sparse
from sklearn import metrics
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler
from tfx.dsl.component.experimental.annotations import (
    InputArtifact,
    OutputArtifact,
    Parameter,
)
from tfx.dsl.component.experimental.decorators import component
from tfx.types import standard_artifacts
from tfx.types.artifact import Artifact
from threadpoolctl import threadpool_limits

import models
from components import inputs, series_baselines, token_baselines, tokens
from components.columns import LABEL
from components.input_checks import kind

# Bound memory and time; a linear model gains little from more.
MAX_EXAMPLES = 200_000
MAX_VALUES = 25_000_000  # of dense examples together
MAX_WORK = 2_500_000_000  # values looked at while fitting
MIN_ROUNDS, MAX_ROUNDS = 100, 1000  # whatever the work
MAX_TREE_CLASSES = 20  # boosting grows a tree per class and round
FILE_NAME = "baselines.json"
# Name -> what it got wrong on the test split, in the order of the transformed files:
# (examples,) bool where there are classes, else the float loss of each example.
ERRORS = "errors.npz"


class BaselineScores(Artifact):
    """Scores of simple models on the test split, and what each got wrong there."""

    TYPE_NAME = "BaselineScores"


@component
def Baselines(
    examples: InputArtifact[standard_artifacts.Examples],
    transform_graph: InputArtifact[standard_artifacts.TransformGraph],
    scores: OutputArtifact[BaselineScores],
    transform: Parameter[str],
):
    """Score simple models on transformed examples; keep what each got wrong."""
    section = json.loads(transform)
    output = tft.TFTransformOutput(transform_graph.uri)
    spec = output.transformed_feature_spec()
    folders = [Path(examples.uri) / f"Split-{split}" for split in ("train", "test")]
    if section["label"]:
        result, errors = _compare_classes(*folders, spec, section)
    else:
        module = series_baselines if section["series"] else token_baselines
        result, errors = module.compare(*folders, spec, section)
    (Path(scores.uri) / FILE_NAME).write_text(json.dumps(result))
    np.savez_compressed(Path(scores.uri) / ERRORS, **errors)


Matrix = tuple[Any, np.ndarray]


def _compare_classes(
    train: Path, test: Path, spec: inputs.Spec, transform: Mapping[str, Any]
) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    known, asked = (load(folder, spec, transform) for folder in (train, test))
    if transform["audio"]:
        known, asked = standardized(known, asked)
    num_classes = max(2, inputs.num_outputs(transform))
    found = guess(known, asked, num_classes=num_classes)
    if kind(transform) == "table":
        cells = (load(folder, spec, transform, _cells) for folder in (train, test))
        found |= guess_by_trees(*cells, num_classes=num_classes)
    labels = asked[1]
    return (
        {name: scores_of(labels, guessed) for name, guessed in found.items()},
        {name: guessed.argmax(axis=1) != labels for name, guessed in found.items()},
    )


def load(
    directory: Path,
    spec: inputs.Spec,
    transform: Mapping[str, Any],
    as_columns: Callable[[Any, Mapping[str, Any]], Any] | None = None,
) -> Matrix:
    """Return (examples, columns) features, dense or sparse, and (examples,) labels.

    Of more examples than are wanted every so many-th is taken. `as_columns` makes the
    features of a batch; default: `columns`.
    """
    files = sorted(str(path) for path in directory.glob("*.gz"))
    size = width(transform)
    every = thinning(files, transform)

    def parse(serialized: tf.Tensor) -> tuple[Any, tf.Tensor]:
        features = tf.io.parse_example(serialized, spec)
        return inputs.model_inputs(features, transform), features[LABEL]

    records = tf.data.TFRecordDataset(files, compression_type="GZIP")
    batch_size = max(1, min(1024, 4_000_000 // size))
    data = records.shard(every, 0).batch(batch_size).map(parse)
    blocks, labels = [], []
    for batch, label in data.prefetch(1):
        blocks.append((as_columns or columns)(batch, transform))
        labels.append(np.reshape(label, -1))
    stack = sparse.vstack if sparse.issparse(blocks[0]) else np.concatenate
    return stack(blocks), np.concatenate(labels)


def thinning(files: list[str], transform: Mapping[str, Any]) -> int:
    """Return of how many examples of a split one is taken."""
    is_dense = bool(transform["image"] or transform["audio"])
    most = max(1, MAX_VALUES // width(transform)) if is_dense else MAX_EXAMPLES
    return max(1, -(-inputs.count(files) // min(most, MAX_EXAMPLES)))


def standardized(train: Matrix, test: Matrix) -> tuple[Matrix, Matrix]:
    """Scale every column to mean 0 and standard deviation 1, as found in `train`."""
    scaler = StandardScaler().fit(train[0])
    return (scaler.transform(train[0]), train[1]), (scaler.transform(test[0]), test[1])


def guess(train: Matrix, test: Matrix, *, num_classes: int) -> dict[str, np.ndarray]:
    """Return (examples, classes) test probabilities of each simple model, by name."""
    prior = np.bincount(train[1], minlength=num_classes) / len(train[1])
    result = {"majority": np.tile(prior, (len(test[1]), 1))}
    if len(np.unique(train[1])) > 1:
        result["logistic_regression"] = _guessed(_fit(*train), test[0], num_classes)
    return result


def guess_by_trees(
    train: Matrix, test: Matrix, *, num_classes: int
) -> dict[str, np.ndarray]:
    """Return those of boosted trees, or nothing where they cannot learn."""
    if len(np.unique(train[1])) < 2 or num_classes > MAX_TREE_CLASSES:
        return {}
    model = HistGradientBoostingClassifier(random_state=0)
    # Its threads wait for each other by spinning, on cores that a training needs.
    with threadpool_limits(1, user_api="openmp"):
        model.fit(*train)
        return {"gradient_boosted_trees": _guessed(model, test[0], num_classes)}


def _guessed(model: Any, features: Any, num_classes: int) -> np.ndarray:
    """Return (examples, classes) probabilities; 0 of a class that `train` lacks."""
    result = np.zeros((features.shape[0], num_classes))
    result[:, model.classes_] = model.predict_proba(features)
    return result


def figures(outputs: Mapping[str, str]) -> dict[str, Any]:
    """Return the scores, and a line on them."""
    scores = json.loads((Path(outputs["scores"]) / FILE_NAME).read_text())
    parts = [f"{n.replace('_', ' ')} {_lead(s)}" for n, s in scores.items()]
    return {"summary": " · ".join(parts), "scores": scores}


def _lead(scores: Mapping[str, float]) -> str:
    """Return the first metric, or the AUC where there is one."""
    name = "auc" if "auc" in scores else next(iter(scores))
    return f"{name.replace('_', ' ')} {scores[name]:.4f}"


def scores_of(labels: np.ndarray, probabilities: np.ndarray) -> dict[str, float]:
    """Return the accuracy, and of two classes the AUC and the F1 of the second."""
    scores = {"accuracy": float(np.mean(probabilities.argmax(axis=1) == labels))}
    if probabilities.shape[1] == 2 and len(np.unique(labels)) == 2:
        scores["auc"] = float(metrics.roc_auc_score(labels, probabilities[:, 1]))
        said = probabilities[:, 1] > 0.5
        scores["f1"] = float(metrics.f1_score(labels, said, zero_division=0))
    return scores


def _fit(features: Any, labels: np.ndarray) -> LogisticRegression:
    size = features.nnz if sparse.issparse(features) else features.size
    max_iter = max(MIN_ROUNDS, min(MAX_ROUNDS, MAX_WORK // max(1, size)))
    with warnings.catch_warnings():
        # Stopped early it is a baseline as well, often a better one.
        warnings.simplefilter("ignore", ConvergenceWarning)
        return LogisticRegression(max_iter=max_iter).fit(features, labels)


def width(transform: Mapping[str, Any]) -> int:
    """Return how many numbers the model gets of an example."""
    shape = inputs.input_shape(transform)
    if isinstance(shape, models.Tokens):
        return shape.length
    if isinstance(shape, models.Graph):
        return shape.num_nodes * (shape.num_nodes + shape.num_features)
    return len(shape) if isinstance(shape, Mapping) else int(np.prod(shape))


def columns(batch: Any, transform: Mapping[str, Any]) -> Any:
    """Return a matrix with a row per example, sparse but for images and audio.

    Of a graph it is what is known of the node itself.
    """
    if transform["graph"]:
        return sparse.csr_matrix(batch["features"][:, 0].numpy())
    if isinstance(batch, Mapping):
        return _one_hot(batch, inputs.input_shape(transform))
    rows = batch.numpy().reshape(len(batch), -1)
    if transform["text"]:
        size = tokens.num_ids(transform["text"])
        is_bag = transform["text"]["output"] != "ids"
        return sparse.csr_matrix(rows) if is_bag else _counts(rows, size)
    raw_pixels = transform["image"] and transform["image"]["normalize"] == "none"
    return rows / 255.0 if raw_pixels else rows


def _cells(batch: Mapping[str, tf.Tensor], transform: Mapping[str, Any]) -> np.ndarray:
    """Return (examples, columns) float32 of a table: numbers, and ids as they are."""
    del transform
    return np.concatenate(
        [c.numpy().astype(np.float32) for c in batch.values()], axis=1
    )


def _counts(ids: np.ndarray, size: int) -> sparse.csr_matrix:
    """Return (examples, size) counts of (examples, length) ids, without padding."""
    row, place = np.nonzero(ids != tokens.PADDING)
    ones = np.ones(len(row))
    return sparse.csr_matrix((ones, (row, ids[row, place])), shape=(len(ids), size))


def _one_hot(
    batch: Mapping[str, tf.Tensor], num_ids: Mapping[str, int | None]
) -> sparse.csr_matrix:
    columns = []
    for name, count in num_ids.items():
        column = batch[name].numpy()
        if count is None:
            columns.append(sparse.csr_matrix(column))
        else:
            rows, ones = np.arange(len(column)), np.ones(len(column))
            cells = (ones, (rows, column[:, 0]))
            columns.append(sparse.csr_matrix(cells, shape=(len(column), count)))
    return sparse.hstack(columns, format="csr")
