"""Look at examples and choose: what is predicted, from which features, made how.

The choices are those of a recipe that runs; each comes with its reason. They rest on at
most `MAX_ROWS` examples of the train split; the classes of the label, on all examples.
"""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from components import leakage, look_columns, shards
from components.look_columns import Choice
from components.sources import feature_name
from recipes.errors import BadInputError
from recipes.transform import Transform
from recipes.validation import Leakage

MAX_ROWS = 200_000
MAX_BYTES = 128 << 20  # of packed examples
MAX_CLASSES = 100
MAX_WHOLE_CLASSES = 30  # of a whole number: with more it is an amount, not a class
MANY_EXAMPLES = 5_000  # of a table: with fewer a network learns them by heart

# Updates of the weights. A bag of words is learned by heart soon after it is learned,
# and so is a small table.
_UPDATES, _UPDATES_OF_TEXT, _UPDATES_OF_SMALL_TABLE = 2_500, 700, 1_500
_SPLITS = ("train", "eval", "test")


@dataclass
class Choices:
    """The sections of a recipe that follow from looking, as plain JSON values.

    Attributes:
      reasons: what becomes of each feature.
      why: reason of the keys of the other sections.
    """

    label: dict[str, Any]
    transform: dict[str, Any] = field(default_factory=dict)
    model: dict[str, Any] = field(default_factory=dict)
    train: dict[str, Any] = field(default_factory=dict)
    evaluate: dict[str, Any] = field(default_factory=dict)
    validation: dict[str, Any] = field(default_factory=dict)
    reasons: list[Choice] = field(default_factory=list)
    why: dict[str, str] = field(default_factory=dict)


def choose(
    examples_uri: str, label: str | None, num_examples: int, *, own_parts: bool = False
) -> Choices:
    """Choose the sections of a recipe.

    Args:
      examples_uri: an Examples artifact.
      label: the feature to predict; None where the source itself has a `label`.
      num_examples: in the train split.
      own_parts: whether the splits are those the data come in, so that records that
        stand in two of them are how they were published.

    Raises:
      BadInputError: there is no such feature, or nothing to learn it from.
    """
    table = read(examples_uri, num_examples)
    feature = _label_name(list(table), label)
    known = label_values(examples_uri, feature)
    section, majority, why = choose_label(feature, known)
    choices = Choices(label=section, reasons=[Choice(feature, "label", why)])
    report = _choose_features(choices, table.drop(columns=feature), examples_uri)
    if own_parts:
        _allow_published(choices, report)
    _choose_model(choices, num_examples)
    _choose_training(choices, num_examples)
    _choose_metrics(choices, majority)
    return choices


def _choose_features(
    choices: Choices, features: pd.DataFrame, uri: str
) -> Mapping[str, Any]:
    """Choose features that the gate of a run will not refuse; return its report."""
    left_out: list[Choice] = []
    while True:
        found = look_columns.choose(features)
        section = {"label": choices.label, **found.transform}
        transform = Transform.model_validate_json(json.dumps(section))
        report = leakage.examine(uri, transform, Leakage())
        refused = [*_copies(report), *_ids(report)]
        if not refused:
            break
        left_out += refused
        features = features.drop(columns=[choice.feature for choice in refused])
    choices.transform = found.transform
    choices.reasons += [*found.reasons, *left_out]
    return report


def _copies(report: Mapping[str, Any]) -> list[Choice]:
    why = "it alone tells {:.1%} of the labels: a copy of them"
    return [
        Choice(copy["feature"], "left out", why.format(copy["share"]))
        for copy in report["label_copies"]
    ]


def _ids(report: Mapping[str, Any]) -> list[Choice]:
    why = "{:.1%} of its values differ: it names the row"
    return [
        Choice(found["feature"], "left out", why.format(found["share"]))
        for found in report["id_like"]
    ]


def _allow_published(choices: Choices, report: Mapping[str, Any]) -> None:
    """Raise the bounds on records in two splits to what the data come with."""
    said = []
    bounds = {}
    for section, words in (("duplicates", "also"), ("near_duplicates", "almost")):
        shares = {split: twins["share"] for split, twins in report[section].items()}
        if max(shares.values(), default=0) > getattr(Leakage(), section):
            bounds[section] = min(1.0, math.ceil(1100 * max(shares.values())) / 1000)
            said += [f"{share:.1%} of {s} {words}" for s, share in shares.items()]
    if bounds:
        choices.validation = {"leakage": bounds}
        choices.why["leakage"] = (
            f"the data come so: {', '.join(said)} in train; figures are a little too "
            "good; `splits` of shares keep equal records together"
        )


def read(examples_uri: str, num_examples: int) -> pd.DataFrame:
    """Return train examples, evenly spread; a list of several values stays a list."""
    files = Path(examples_uri, "Split-train").glob("*.gz")
    each = 1 + sum(path.stat().st_size for path in files) // max(1, num_examples)
    rows = shards.spread(num_examples, min(MAX_ROWS, 1 + MAX_BYTES // each))
    frames = [
        pd.DataFrame({name: values(batch.column(name)) for name in batch.schema.names})
        for batch in shards.select(examples_uri, "train", rows)
    ]
    return pd.concat(frames, ignore_index=True)


def values(column: pa.Array) -> pd.Series:
    """Return a value per record: None where there is none, a list of several as is."""
    if pa.types.is_null(column.type):
        return pd.Series([None] * len(column), dtype=object)
    lengths = np.asarray(pc.fill_null(pc.list_value_length(column), 0))
    if lengths.max(initial=0) > 1:
        rows = column.to_pylist()
        return pd.Series([(r[0] if len(r) == 1 else r) if r else None for r in rows])
    flat = column.flatten()
    if len(flat) == len(column):
        return flat.to_pandas()
    places = np.cumsum(lengths) - 1
    return flat.take(pa.array(np.where(lengths > 0, places, None))).to_pandas()


def label_values(examples_uri: str, feature: str) -> pd.Series:
    """Return the values of the label in all examples that are learned or judged on.

    Raises:
      BadInputError: it holds lists, or no value.
    """
    found = []
    for split in _SPLITS:
        for batch in shards.tables(examples_uri, split):
            column = shards.column(batch, feature)
            if pa.types.is_null(column.type):
                continue
            lengths = np.asarray(pc.fill_null(pc.list_value_length(column), 0))
            if lengths.max(initial=0) > 1:
                raise BadInputError(
                    f"--label: {feature!r} holds lists. Expected one value a record."
                )
            found.append(column.flatten().to_pandas())
    known = pd.concat(found) if found else pd.Series(dtype=object)
    if known.empty:
        raise BadInputError(f"--label: {feature!r} has no value in any record.")
    return known


def choose_label(feature: str, known: pd.Series) -> tuple[dict[str, Any], float, str]:
    """Choose how the label is read.

    Returns:
      The section `label`; the share of its most frequent value; the reason.

    Raises:
      BadInputError: it never changes, or has too many different texts.
    """
    counts = known.value_counts()
    if len(counts) < 2:
        raise BadInputError(
            f"--label: {feature!r} is {_shown(counts.index[0])} in every record. "
            "Expected a feature that changes."
        )
    share = float(counts.iloc[0] / len(known))
    if isinstance(counts.index[0], bytes):
        classes = _text_classes(feature, counts)
        section = {"feature": feature, "classes": classes}
        second = f"; the rarer is the one looked for: {classes[1]}"
        why = f"{len(counts)} different texts"
        return section, share, why + (second if len(classes) == 2 else "")
    if _are_classes(counts):
        section = {
            "feature": feature,
            "classes": [int(v) for v in sorted(counts.index)],
        }
        return section, share, f"{len(counts)} whole numbers without a gap"
    bound, above = _bound(known)
    why = f"{len(counts):,} numbers; amounts themselves are not predicted yet"
    return {"feature": feature, "above": bound}, max(above, 1 - above), why


def _bound(known: pd.Series) -> tuple[float, float]:
    """Return a number that about half of the values exceed, and the share that does."""
    numbers = known.to_numpy(float)
    lower = numbers[numbers < numbers.max()]
    bound = float(f"{min(np.median(numbers), lower.max()):.6g}")
    return bound, float(np.mean(numbers > bound))


def _label_name(features: Sequence[str], label: str | None) -> str:
    wanted = label or "label"
    for name in (wanted, feature_name(wanted)):
        if name in features:
            return name
    raise BadInputError(
        f"--label: no feature {wanted!r}. Expected one of {', '.join(features)}."
    )


def _text_classes(feature: str, counts: pd.Series) -> list[str]:
    if len(counts) > MAX_CLASSES:
        raise BadInputError(
            f"--label: {feature!r} has {len(counts):,} different texts. Expected at "
            f"most {MAX_CLASSES} classes."
        )
    # Of two, the rarer is the one looked for.
    ordered = counts.index if len(counts) == 2 else sorted(counts.index)
    return [value.decode("utf-8", "replace") for value in ordered]


def _are_classes(counts: pd.Series) -> bool:
    if counts.index.dtype.kind != "i":  # the recipe compares classes exactly
        return False
    gapless = counts.index.max() - counts.index.min() < len(counts)
    return bool(gapless and len(counts) <= MAX_WHOLE_CLASSES)


def _shown(value: Any) -> str:
    return repr(value.decode("utf-8", "replace") if isinstance(value, bytes) else value)


def _choose_model(choices: Choices, num_examples: int) -> None:
    small = num_examples < MANY_EXAMPLES
    if {"image", "audio"} & choices.transform.keys():
        choices.model = {"family": "cnn", "arguments": {"architecture": "lenet5"}}
        choices.why["family"] = "small convolutions, trained in minutes without a GPU"
    elif "text" in choices.transform:
        choices.model = {"family": "mlp", "arguments": {"units": [64], "dropout": 0.5}}
        choices.why["family"] = "a bag of words has no order that it could lose"
    else:
        dropout = {"dropout": 0.3} if small else {}
        choices.model = {
            "family": "wide_deep",
            "arguments": {"units": [64, 32], "embedding_dim": 8, **dropout},
        }
        choices.why["family"] = "a table"
        if small:
            choices.why["arguments"] = f"dropout: {num_examples:,} examples are few"


def _choose_training(choices: Choices, num_examples: int) -> None:
    batch = next((b for b in (32, 64, 128) if num_examples < 500 * b), 256)
    updates = max(1, num_examples // batch)
    epochs = int(np.clip(round(_updates(choices, num_examples) / updates), 5, 60))
    choices.train = {
        "epochs": epochs,
        "global_batch_size": min(batch, max(1, num_examples)),
        "learning_rate": 0.001,
    }
    choices.why["epochs"] = f"about {epochs * updates:,} updates"
    choices.why["global_batch_size"] = f"of {num_examples:,} examples to train on"


def _updates(choices: Choices, num_examples: int) -> int:
    if "text" in choices.transform:
        return _UPDATES_OF_TEXT
    is_table = choices.model["family"] == "wide_deep"
    small = is_table and num_examples < MANY_EXAMPLES
    return _UPDATES_OF_SMALL_TABLE if small else _UPDATES


def _choose_metrics(choices: Choices, majority: float) -> None:
    """Choose metrics; a model must gain a tenth of what a constant answer lacks."""
    drop = {"drop_at_most": 0.02}
    if len(choices.label.get("classes", (0, 1))) == 2:
        choices.evaluate = {
            "metrics": {"AUC": {"at_least": 0.6, **drop}, "BinaryAccuracy": {}}
        }
        why = f"a constant answer has an AUC of 0.5, and is right in {majority:.1%}"
    else:
        bound = round(majority + 0.1 * (1 - majority), 3)
        choices.evaluate = {
            "metrics": {
                "SparseCategoricalAccuracy": {"at_least": bound, **drop},
                "SparseCategoricalCrossentropy": {},
            }
        }
        why = f"a constant answer is right in {majority:.1%}"
    choices.why["metrics"] = why
