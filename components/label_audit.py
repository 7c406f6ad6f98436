"""List labels of `train` that are likely wrong, by confident learning.

A cheap model guesses each label from the others (out of fold); cleanlab compares: how
sure the model usually is of a class is the bar over which another class counts as the
likelier one (Northcutt, Jiang and Chuang, JAIR 70, 2021). Listed is what both of its
ways to prune agree on, and where the likely label beats the given one by MIN_MARGIN;
the least believed label comes first.

The model sees what the network sees: transformed columns, shrunk images, bags of
tokens, sound. Tables go to boosted trees, all else is reduced to MAX_COMPONENTS and
goes to a small perceptron. Classes that overlap look like noise: where the model's own
accuracy is low, read the list as "hard to tell", not as "wrong".
"""

import json
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
import tensorflow_transform as tft
from scipy import sparse
from sklearn.decomposition import PCA, TruncatedSVD
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import StratifiedKFold
from sklearn.neural_network import MLPClassifier
from tfx.dsl.component.experimental.annotations import (
    InputArtifact,
    OutputArtifact,
    Parameter,
)
from tfx.dsl.component.experimental.decorators import component
from tfx.types import standard_artifacts
from tfx.types.artifact import Artifact
from threadpoolctl import threadpool_limits

from components import baselines, inputs, shards
from components.columns import LABEL
from components.input_checks import kind

FILE_NAME = "label_audit.json"
MAX_RECORDS = 100_000
MAX_WORST = 100
MIN_RECORDS = 50  # of fewer, a model learns too little to judge
MIN_MARGIN = 0.5  # of probability
FOLDS = 3
MAX_COMPONENTS = 64
MAX_SIDE = 32  # pixels, of images
_SAMPLE_RECORDS = 5_000  # from which the components are learned;
_SAMPLE_VALUES = 20_000_000  # of wide images and sounds fewer: 80 MB
_MAX_COLUMNS = 128  # of a table; wider ones (one-hot) are reduced
_BATCH_VALUES = 4_000_000
_MAX_TREE_CLASSES = 10  # boosting grows a tree per class and round
_MIN_UPDATES = 1_000  # of the perceptron, and at most MAX_EPOCHS
_MAX_EPOCHS = 60


class LabelAuditReport(Artifact):
    """Labels that are likely wrong, in one JSON file."""

    TYPE_NAME = "LabelAuditReport"


@component
def LabelAudit(
    examples: InputArtifact[standard_artifacts.Examples],
    transform_graph: InputArtifact[standard_artifacts.TransformGraph],
    report: OutputArtifact[LabelAuditReport],
    transform: Parameter[str],
):
    """List likely wrong labels of raw examples."""
    section = json.loads(transform)
    found = audit(examples.uri, transform_graph.uri, section)
    text = json.dumps(found, ensure_ascii=False)
    (Path(report.uri) / FILE_NAME).write_text(text, "utf-8")


def audit(
    uri: str, graph_uri: str, transform: Mapping[str, Any] | None
) -> dict[str, Any]:
    """Return the report on the examples of an artifact, as plain JSON values."""
    if transform is None:
        return {"applicable": False, "why": "not asked for"}
    num_records = sum(len(batch) for batch in shards.records(uri, "train"))
    rows = shards.spread(num_records, MAX_RECORDS)
    if len(rows) < MIN_RECORDS:
        return {"applicable": False, "why": f"fewer than {MIN_RECORDS} records"}
    features, labels = read(uri, graph_uri, transform, rows)
    sizes = np.sort(np.unique(labels, return_counts=True)[1])
    if len(sizes) < 2:
        return {"applicable": False, "why": "all labels are equal"}
    if sizes[-2] < FOLDS:  # some fold would learn one class only
        why = f"all classes but one have fewer than {FOLDS} records"
        return {"applicable": False, "why": why}
    probabilities = out_of_fold(features, labels, is_table=kind(transform) == "table")
    doubts = doubt(labels, probabilities)
    worst = doubts.rows[:MAX_WORST]
    names = shards.names(uri, "train", rows[worst].tolist())
    return {
        "applicable": True,
        "records": num_records,
        "examined": len(rows),
        "accuracy": round(float(np.mean(probabilities.argmax(1) == labels)), 4),
        "noise_rate": round(doubts.noise_rate, 5),
        "suspects": len(doubts.rows),
        "worst": [
            {
                "name": names[int(rows[row])],
                "index": int(rows[row]),
                "label": class_name(transform, labels[row]),
                "likely": class_name(transform, doubts.likely[row]),
                "score": round(float(doubts.scores[row]), 4),
            }
            for row in worst
        ],
    }


def read(
    uri: str, graph_uri: str, transform: Mapping[str, Any], rows: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return (records, columns) float32 and (records,) int64 labels of some of `train`.

    Args:
      uri: of the raw examples.
      graph_uri: of the transform graph.
      transform: the recipe's section of that name.
      rows: numbers of the records, rising.
    """
    numbers = _Numbers(uri, graph_uri, transform)
    sample = rows[shards.spread(len(rows), _sample_size(transform))]
    blocks = [block for block, _ in numbers.of(sample)]
    reduce = _reduction(blocks, is_table=kind(transform) == "table")
    parts = [(reduce(block), labels) for block, labels in numbers.of(rows)]
    features, labels = zip(*parts, strict=True)
    return np.concatenate(features), np.concatenate(labels)


def figures(outputs: Mapping[str, str]) -> dict[str, Any]:
    """Return the report, and a line on it."""
    found = json.loads((Path(outputs["report"]) / FILE_NAME).read_text("utf-8"))
    return {"summary": _summary(found), **found}


@dataclass(frozen=True)
class Doubts:
    """What speaks against given labels.

    Attributes:
      scores: (records,) probability of the given label, out of fold.
      likely: (records,) the most probable class.
      rows: the records whose labels look wrong, the lowest score first.
      noise_rate: estimated share of labels that are wrong.
    """

    scores: np.ndarray
    likely: np.ndarray
    rows: np.ndarray
    noise_rate: float


def doubt(labels: np.ndarray, probabilities: np.ndarray) -> Doubts:
    """Compare given labels with what a model thinks of them.

    Args:
      labels: (records,) int, class numbers.
      probabilities: (records, classes) out of fold.
    """
    # Imported where it is used: the launcher reads this module before every run.
    from cleanlab.count import compute_confident_joint
    from cleanlab.filter import find_label_issues

    classes, given = np.unique(labels, return_inverse=True)
    among = probabilities[:, classes]
    among = among / among.sum(axis=1, keepdims=True)
    with warnings.catch_warnings():
        # It says that it spares classes of fewer than five records.
        warnings.simplefilter("ignore", UserWarning)
        issues = find_label_issues(given, among, filter_by="both", n_jobs=1)
        joint = compute_confident_joint(given, among)
    scores = among[np.arange(len(given)), given]
    issues &= among.max(axis=1) - scores >= MIN_MARGIN
    rows = np.flatnonzero(issues)
    return Doubts(
        scores=scores,
        likely=classes[among.argmax(axis=1)],
        rows=rows[np.argsort(scores[rows], kind="stable")],
        noise_rate=float(1 - np.trace(joint) / joint.sum()),
    )


def out_of_fold(
    features: np.ndarray, labels: np.ndarray, *, is_table: bool
) -> np.ndarray:
    """Return (records, classes) probabilities by models that never saw the record.

    Args:
      features: (records, columns) float32.
      labels: (records,) int, class numbers from 0.
      is_table: whether the columns are those of a table.
    """
    num_classes = int(labels.max()) + 1
    result = np.full((len(labels), num_classes), 1e-6)
    folds = StratifiedKFold(FOLDS, shuffle=True, random_state=0)
    with warnings.catch_warnings():
        # A class of one record is in one fold; a perceptron stops when time is up.
        warnings.simplefilter("ignore", UserWarning)
        warnings.simplefilter("ignore", ConvergenceWarning)
        for learn, judge in folds.split(features, labels):
            use_trees = is_table and num_classes <= _MAX_TREE_CLASSES
            model = _trees() if use_trees else _perceptron(len(learn))
            # Its threads wait for each other by spinning: 0.05 s became 11 s on cores
            # that the training beside it used; a second thread saves a third at best.
            with threadpool_limits(1, user_api="openmp"):
                model.fit(features[learn], labels[learn])
                guessed = model.predict_proba(features[judge])
            result[np.ix_(judge, model.classes_)] += guessed
    return result / result.sum(axis=1, keepdims=True)


def class_name(transform: Mapping[str, Any], label: int) -> Any:
    """Return the value that a class number stands for."""
    section = transform["label"]
    if section["classes"] is not None:
        return section["classes"][int(label)]
    return f"above {section['above']:g}" if label else f"not above {section['above']:g}"


class _Numbers:
    """Turns raw records of `train` into rows of numbers, by the transform graph."""

    def __init__(self, uri: str, graph_uri: str, transform: Mapping[str, Any]):
        self._uri = uri
        self._transform = transform
        output = tft.TFTransformOutput(graph_uri)
        self._spec = output.raw_feature_spec()
        self._graph = tf.saved_model.load(output.transform_savedmodel_dir)
        is_table = kind(transform) == "table"  # one-hot columns are many
        width = 1_000 if is_table else baselines.width(transform)
        self._batch_size = max(1, min(1_024, _BATCH_VALUES // width))
        self._traced = tf.function(
            self._inputs, input_signature=[tf.TensorSpec([None], tf.string)]
        )

    def of(self, rows: np.ndarray) -> Iterator[tuple[Any, np.ndarray]]:
        """Yield dense or sparse rows of numbers, and labels."""
        for batch in shards.select_records(self._uri, "train", rows):
            for start in range(0, len(batch), self._batch_size):
                part = batch[start : start + self._batch_size]
                model_inputs, labels = self._traced(tf.constant(part))
                yield baselines.columns(model_inputs, self._transform), labels.numpy()

    def _inputs(self, serialized: tf.Tensor) -> tuple[Any, tf.Tensor]:
        raw = tf.io.parse_example(serialized, self._spec)
        transformed = self._graph.transform_fn(raw)
        batch = inputs.model_inputs(transformed, self._transform)
        if kind(self._transform) == "image":
            batch = _shrunk(batch)
        return batch, tf.reshape(transformed[LABEL], [-1])


def _shrunk(images: tf.Tensor) -> tf.Tensor:
    size = _small(*images.shape[1:3])
    if size == tuple(images.shape[1:3]):
        return images
    return tf.image.resize(images, size, "area")


def _small(height: int, width: int) -> tuple[int, int]:
    scale = min(1.0, MAX_SIDE / max(height, width))
    return max(1, round(height * scale)), max(1, round(width * scale))


def _sample_size(transform: Mapping[str, Any]) -> int:
    """Return from how many records components are learned, in bounded memory."""
    shape = inputs.input_shape(transform)
    if kind(transform) == "image":
        shape = (*_small(*shape[:2]), *shape[2:])
    elif kind(transform) != "audio":  # sparse
        return _SAMPLE_RECORDS
    return max(2, min(_SAMPLE_RECORDS, _SAMPLE_VALUES // int(np.prod(shape))))


def _reduction(blocks: list[Any], *, is_table: bool) -> Any:
    """Return a function from rows to few dense float32 columns, learned from some."""
    thin = sparse.issparse(blocks[0])
    sample = sparse.vstack(blocks) if thin else np.concatenate(blocks)
    if is_table and sample.shape[1] <= _MAX_COLUMNS:
        return lambda block: np.asarray(block.todense(), np.float32)
    size = min(MAX_COMPONENTS, *sample.shape)
    if thin:
        model = TruncatedSVD(size, random_state=0)
    else:  # of centred rows, so one fewer is there to find
        size = max(1, min(size, min(sample.shape) - 1))
        model = PCA(size, svd_solver="randomized", random_state=0)
    scale = model.fit_transform(sample).std() or 1.0
    return lambda block: (model.transform(block) / scale).astype(np.float32)


def _trees() -> HistGradientBoostingClassifier:
    return HistGradientBoostingClassifier(
        max_iter=60, early_stopping=False, random_state=0
    )


def _perceptron(num_records: int) -> MLPClassifier:
    batch_size = 32 if num_records < 20_000 else 256
    epochs = -(-_MIN_UPDATES * batch_size // num_records)
    return MLPClassifier(
        (128,),
        alpha=0.01,
        batch_size=min(batch_size, num_records),
        max_iter=int(np.clip(epochs, 8, _MAX_EPOCHS)),
        random_state=0,
    )


def _summary(found: Mapping[str, Any]) -> str:
    if not found["applicable"]:
        return f"no audit: {found['why']}"
    count, examined = found["suspects"], found["examined"]
    share = f"{100 * count / examined:.2g} %" if count else "0 %"
    line = f"{count:,} of {examined:,} labels look wrong ({share})"
    if examined < found["records"]:
        line += f", in a sample of {found['records']:,}"
    shown = [f"{w['name']}: {w['label']}, likely {w['likely']}" for w in found["worst"]]
    return "; ".join([line, *shown[:2]])
