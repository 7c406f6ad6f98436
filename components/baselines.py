"""What a deep model must be compared with: majority vote and logistic regression.

Both learn from the transformed `train` split and are scored on `test`, as the candidate
is. A table's ids are one-hot, its numbers already z-scores; pixels are scaled to 0..1.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
import tensorflow_transform as tft
from scipy import sparse
from sklearn import metrics
from sklearn.linear_model import LogisticRegression
from tfx.dsl.component.experimental.annotations import (
    InputArtifact,
    OutputArtifact,
    Parameter,
)
from tfx.dsl.component.experimental.decorators import component
from tfx.types import standard_artifacts
from tfx.types.artifact import Artifact

from components import inputs

MAX_EXAMPLES = 200_000  # bounds memory; a linear model gains little from more
FILE_NAME = "baselines.json"


class BaselineScores(Artifact):
    """Scores of simple models on the test split, in one JSON file."""

    TYPE_NAME = "BaselineScores"


@component
def Baselines(
    examples: InputArtifact[standard_artifacts.Examples],
    transform_graph: InputArtifact[standard_artifacts.TransformGraph],
    scores: OutputArtifact[BaselineScores],
    transform: Parameter[str],
):
    """Score simple models on transformed examples."""
    section = json.loads(transform)
    output = tft.TFTransformOutput(transform_graph.uri)
    spec = output.transformed_feature_spec()
    train, test = (
        load(Path(examples.uri) / f"Split-{split}", spec, section)
        for split in ("train", "test")
    )
    result = compare(train, test, num_classes=max(2, inputs.num_outputs(section)))
    (Path(scores.uri) / FILE_NAME).write_text(json.dumps(result))


Matrix = tuple[Any, np.ndarray]


def load(directory: Path, spec: inputs.Spec, transform: Mapping[str, Any]) -> Matrix:
    """Return (examples, columns) features, dense or sparse, and (examples,) labels."""
    files = sorted(str(path) for path in directory.glob("*.gz"))
    blocks, labels = [], []
    data = inputs.batches(files, spec, transform, batch_size=1024)
    for batch, label in data.take(MAX_EXAMPLES // 1024 + 1):
        blocks.append(_columns(batch, inputs.input_shape(transform)))
        labels.append(np.reshape(label, -1))
    stack = sparse.vstack if sparse.issparse(blocks[0]) else np.concatenate
    return stack(blocks), np.concatenate(labels)


def compare(train: Matrix, test: Matrix, *, num_classes: int) -> dict[str, Any]:
    """Return the test scores of each simple model, by name and metric."""
    prior = np.bincount(train[1], minlength=num_classes) / len(train[1])
    constant = np.tile(prior, (len(test[1]), 1))
    result = {"majority": _scores(test[1], constant)}
    if len(np.unique(train[1])) > 1:
        model = LogisticRegression(max_iter=1000).fit(*train)
        predicted = np.zeros((len(test[1]), num_classes))
        predicted[:, model.classes_] = model.predict_proba(test[0])
        result["logistic_regression"] = _scores(test[1], predicted)
    return result


def figures(outputs: Mapping[str, str]) -> dict[str, Any]:
    """Return the scores, led by AUC for a yes-or-no label, else accuracy."""
    scores = json.loads((Path(outputs["scores"]) / FILE_NAME).read_text())
    lead = "auc" if "auc" in scores["majority"] else "accuracy"
    parts = [f"{n.replace('_', ' ')} {lead} {s[lead]:.4f}" for n, s in scores.items()]
    return {"summary": " · ".join(parts), "scores": scores}


def _scores(labels: np.ndarray, probabilities: np.ndarray) -> dict[str, float]:
    scores = {"accuracy": float(np.mean(probabilities.argmax(axis=1) == labels))}
    if probabilities.shape[1] == 2 and len(np.unique(labels)) == 2:
        scores["auc"] = float(metrics.roc_auc_score(labels, probabilities[:, 1]))
    return scores


def _columns(batch: Any, shape: tuple[int, ...] | dict[str, int | None]) -> Any:
    if isinstance(batch, tf.Tensor):
        return batch.numpy().reshape(len(batch), -1) / 255.0
    columns = []
    for name, num_ids in shape.items():
        column = batch[name].numpy()
        if num_ids is None:
            columns.append(sparse.csr_matrix(column))
        else:
            rows, ones = np.arange(len(column)), np.ones(len(column))
            columns.append(
                sparse.csr_matrix(
                    (ones, (rows, column[:, 0])), shape=(len(column), num_ids)
                )
            )
    return sparse.hstack(columns, format="csr")
