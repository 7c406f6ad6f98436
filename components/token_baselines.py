"""What a model that writes texts must be compared with, scored on `test`.

- `unigram`: how frequent each token is in `train`, whatever stands before it.
- `bigram`: how frequent it is after the token before it.
- `copy`, of pairs: the first text, as it is.

One is added to every count, so that nothing is impossible.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from components import inputs, text_codec
from components.columns import LABEL

MAX_BIGRAM_IDS = 4_096  # a count for every two: 128 MB
_BATCH = 1_024


def compare(
    train: Path, test: Path, spec: inputs.Spec, transform: Mapping[str, Any]
) -> tuple[dict[str, dict[str, float]], dict[str, np.ndarray]]:
    """Return the test scores of each simple model, and the loss of each example.

    Args:
      train: directory of transformed examples, gzipped TFRecord files.
      test: likewise.
      spec: how they are stored.
      transform: the recipe's section of that name, of a language or of pairs.

    Returns:
      Name -> metric -> value, and name -> (examples,) float64 nats of a token; of
      `copy` there are none.
    """
    num_ids = inputs.num_outputs(transform)
    counts = np.ones(num_ids)
    after = np.ones((num_ids, num_ids)) if num_ids <= MAX_BIGRAM_IDS else None
    for _, labels, before in _batches(train, spec, transform):
        np.add.at(counts, labels[labels > 0], 1)
        if after is not None:
            np.add.at(after, (before[labels > 0], labels[labels > 0]), 1)
    found = {"unigram": counts / counts.sum()}
    if after is not None:
        found["bigram"] = after / after.sum(axis=1, keepdims=True)
    nats: dict[str, list[np.ndarray]] = {name: [] for name in found}
    num_examples = num_copies = 0
    for source, labels, before in _batches(test, spec, transform):
        for name, shares in found.items():
            chosen = shares[labels] if shares.ndim == 1 else shares[before, labels]
            nats[name].append(_mean_nats(chosen, labels))
        num_examples += len(labels)
        num_copies += int(_same(source, labels).sum()) if source is not None else 0
    losses = {name: np.concatenate([[], *blocks]) for name, blocks in nats.items()}
    result = {
        name: {"cross_entropy": float(loss.sum()) / max(1, num_examples)}
        for name, loss in losses.items()
    }
    if transform["pairs"]:
        result["copy"] = {"exact_match": num_copies / max(1, num_examples)}
    return result, losses


def _mean_nats(chosen: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Return the mean cross-entropy of each example's tokens, without padding."""
    kept = labels > 0
    nats = np.where(kept, -np.log(chosen), 0.0).sum(axis=1)
    return nats / np.maximum(1, kept.sum(axis=1))


def _same(source: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Whether the tokens of both are the same, without those that are no text."""
    width = max(source.shape[1], labels.shape[1])
    texts = [
        np.pad(_text(ids), [(0, 0), (0, width - ids.shape[1])])
        for ids in (source, labels)
    ]
    return (texts[0] == texts[1]).all(axis=1)


def _text(ids: np.ndarray) -> np.ndarray:
    return np.where(ids >= text_codec.NUM_SPECIAL, ids, 0)


def _batches(
    directory: Path, spec: inputs.Spec, transform: Mapping[str, Any]
) -> Iterator[tuple[np.ndarray | None, np.ndarray, np.ndarray]]:
    """Yield source ids (of pairs), labels, and the token before each label."""
    files = sorted(str(path) for path in directory.glob("*.gz"))
    records = tf.data.TFRecordDataset(files, compression_type="GZIP")
    for serialized in records.batch(_BATCH):
        features = tf.io.parse_example(serialized, spec)
        labels = features[LABEL].numpy()
        read = inputs.model_inputs(features, transform)
        is_pair = isinstance(read, Mapping)
        before = (read["target"] if is_pair else read).numpy()
        yield read["source"].numpy() if is_pair else None, labels, before
