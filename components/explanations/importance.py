"""What a model loses without a column: permutation importance, over many rows.

A column whose values are dealt out anew among the rows says nothing of its own row any
more. Of two columns that say the same, each looks unimportant.

Breiman 2001, "Random forests", section 10; Fisher, Rudin and Dominici 2019, "All models
are wrong, but many are useful".
"""

from collections.abc import Callable, Mapping
from typing import NamedTuple

import numpy as np
from sklearn.metrics import roc_auc_score

Columns = Mapping[str, np.ndarray]
Score = Callable[[np.ndarray, np.ndarray], float]


class Importance(NamedTuple):
    """By how much the score falls: mean and standard deviation over the repeats."""

    mean: float
    deviation: float


def permutation_importance(
    answer: Callable[[Columns], np.ndarray],
    columns: Columns,
    labels: np.ndarray,
    *,
    score: Score,
    repeats: int = 5,
    seed: int = 0,
) -> dict[str, Importance]:
    """Shuffle each column in turn, and see how the score falls.

    Args:
      answer: from raw columns to (rows, classes) probabilities, or (rows, 1) of the
        second of two; such as what `serve_raw` says.
      columns: name -> (rows,) raw values.
      labels: (rows,) numbers of classes.
      score: of labels and probabilities, higher is better: `accuracy` or `auc`.
      repeats: shuffles of each column.
      seed: decides the shuffles; those of a column do not depend on the others.
    """
    whole = score(labels, answer(columns))
    found = {}
    for name, values in columns.items():
        rng = np.random.default_rng([seed, *name.encode()])
        falls = [
            whole - score(labels, answer({**columns, name: rng.permutation(values)}))
            for _ in range(repeats)
        ]
        found[name] = Importance(float(np.mean(falls)), float(np.std(falls)))
    return found


def accuracy(labels: np.ndarray, probabilities: np.ndarray) -> float:
    """Return the share of labels that are the most probable class."""
    if probabilities.shape[1] == 1:
        return float(np.mean((probabilities[:, 0] > 0.5) == labels))
    return float(np.mean(probabilities.argmax(axis=1) == labels))


def auc(labels: np.ndarray, probabilities: np.ndarray) -> float:
    """Return the area under the ROC curve; of two classes, both among the labels."""
    return float(roc_auc_score(labels, probabilities[:, -1]))
