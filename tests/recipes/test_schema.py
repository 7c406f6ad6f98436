"""The rules between keys, each broken once."""

import copy

import pytest
from pydantic import ValidationError

from recipes import load
from recipes.errors import BadInputError
from recipes.schema import Recipe

TABLE = {
    "name": "tips",
    "data": {"csv": "trips.csv"},
    "transform": {"label": {"feature": "tip", "above": 0.2}, "numeric": ["miles"]},
    "model": {"family": "mlp"},
    "train": {"epochs": 3},
    "evaluate": {"metrics": {"AUC": {"at_least": 0.8}}},
}
BY_NAME = {"train": "train[:80%]", "eval": "train[80%:]", "test": "test"}
IMAGE = {"shape": [8, 8, 1]}
LABEL = {"feature": "tip"}


def changed(**changes):
    """Return `TABLE` with values at `section__key` replaced; None takes a key away."""
    values = copy.deepcopy(TABLE)
    for name, value in changes.items():
        section, _, key = name.partition("__")
        if value is None:
            del values[section][key]
        else:
            values[section][key] = value
    return values


def read(values):
    return Recipe.model_validate(values, strict=False)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"data__csv": None}, "exactly one of csv, tfds, parquet"),
        ({"data__tfds": "mnist"}, "exactly one of csv, tfds, parquet"),
        ({"data__splits": {"train": 8, "eval": 1}}, "Missing: test"),
        ({"data__splits": {"train": 8, "eval": 1, "tset": 1}}, "Input should be"),
        ({"data__splits": {"train": 8, "eval": 1, "test": "test"}}, "not both"),
        (
            {"data__splits": BY_NAME, "data__split_by": {"key": ["town"]}},
            "`split_by` needs `splits` that are shares",
        ),
        (
            {"data__split_by": {"key": ["town"], "time": "hour"}},
            "exactly one of `key`, `time` and `stratify`",
        ),
        ({"transform__label": LABEL}, "exactly one of `classes` and `above`"),
        (
            {"transform__label": {**LABEL, "classes": [0, 1], "above": 1.0}},
            "exactly one of `classes` and `above`",
        ),
        (
            {"transform__label": {**LABEL, "classes": [0, 1], "divide_by": "fare"}},
            "`divide_by` needs `above`",
        ),
        ({"transform__label": {**LABEL, "classes": [0]}}, "at least 2 items"),
        ({"transform__label": {**LABEL, "classes": [0, "a"]}}, "all texts"),
        ({"transform__label": {**LABEL, "classes": [1, 0, 1]}}, "a value twice"),
        ({"transform__numeric": None}, "exactly one of `image`, `text`"),
        ({"transform__image": IMAGE}, "exactly one of `image`, `text`"),
        ({"transform__buckets": {"miles": 4}}, "'miles' is used twice"),
        ({"transform__numeric": ["miles", "miles"]}, "'miles' is used twice"),
        ({"transform__numeric": ["miles", "tip"]}, "'tip' is the label: it would leak"),
        ({"transform__buckets": {"age": 1}}, "greater than or equal to 2"),
        ({"train__replicas": 2}, "`replicas` needs `strategy: mirrored`"),
        ({"evaluate__metrics": {"Auc": {"at_least": 1}}}, "Received: 'Auc'"),
        ({"evaluate__metrics": {"AUC": {}}}, "without a bound"),
        ({"evaluate__metrics": {"AUC": {"drop_at_most": 0.1}}}, "without a bound"),
        (
            {"evaluate__metrics": {"AUC": {"at_least": 1, "slices_at_least": 0.5}}},
            "a bound on slices needs `slices`",
        ),
        (
            {"evaluate__metrics": {"AUC": {"at_least": 1, "rise_at_most": 0.1}}},
            "`rise_at_most` never fails",
        ),
        (
            {"evaluate__metrics": {"BinaryCrossEntropy": {"drop_at_most": 0.1}}},
            "`drop_at_most` never fails",
        ),
        (
            {"evaluate__metrics": {"AUC": {"at_least": 1, "drop_at_most": -0.1}}},
            "greater than or equal to 0",
        ),
    ],
)
def test_a_contradiction_is_refused_with_words(changes, words):
    with pytest.raises(ValidationError) as caught:
        read(changed(**changes))
    assert words in str(caught.value)


def test_replicas_must_divide_the_global_batch():
    train = {"epochs": 1, "strategy": "mirrored", "global_batch_size": 64}
    assert read(TABLE | {"train": {**train, "replicas": 2}}).train.replicas == 2
    with pytest.raises(ValidationError, match="Received: 64 and 3"):
        read(TABLE | {"train": {**train, "replicas": 3}})


def test_whole_number_classes_with_a_gap_are_refused():
    label = {"feature": "label", "classes": [0, 2]}
    values = TABLE | {"transform": {"label": label, "image": IMAGE}}
    with pytest.raises(ValidationError, match="must leave none out"):
        read(values)


def test_an_image_recipe_reads_its_image_only():
    label = {"feature": "label", "classes": [0, 1]}
    values = TABLE | {"transform": {"label": label, "image": IMAGE}}
    assert read(values).transform.used_features() == ("image",)


def test_a_table_recipe_reads_its_columns_without_the_label():
    recipe = read(
        changed(transform__buckets={"age": 4}, transform__vocabulary={"town": 9})
    )
    assert recipe.transform.used_features() == ("miles", "age", "town")


def test_a_recipe_cannot_be_changed_after_it_was_checked():
    with pytest.raises(ValidationError, match="frozen"):
        read(TABLE).train.epochs = 4


@pytest.mark.parametrize(
    ("classes", "metric"),
    [(["a", "b", "c"], "AUC"), (["a", "b"], "SparseCategoricalAccuracy")],
)
def test_a_metric_must_fit_the_number_of_classes(classes, metric):
    transform = TABLE["transform"] | {"label": {"feature": "y", "classes": classes}}
    metrics = {"metrics": {metric: {"at_least": 0.5}}}
    with pytest.raises(ValidationError, match=f"{metric} does not fit"):
        read(TABLE | {"transform": transform, "evaluate": metrics})


def test_a_column_that_no_model_can_name_is_refused():
    transform = TABLE["transform"] | {"numeric": ["sepal length (cm)"]}
    with pytest.raises(ValidationError, match="called so anyway"):
        read(TABLE | {"transform": transform})


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["data.series.context=100"], "context: expected the 100 steps"),
        (["data.series.columns=[a, b]"], "channels: expected 2, the columns"),
        (["transform.series.targets=[0]"], "or neither of these"),
        (["train.strategy=multiworker", "train.minutes=5"], "do not fit `strategy"),
        (["export={litert: true, quantize: int8}"], "`litert` cannot be written"),
        (["train.steps_per_execution=2", "train.strategy=tpu"], "crashes Keras 3.15"),
        (["train.accumulate=5"], "must be a multiple of"),
        (["evaluate.metrics={AUC: {at_least: 0.5}}"], "AUC does not fit a series"),
    ],
)
def test_sections_that_contradict_each_other_are_refused(overrides, message):
    with pytest.raises(BadInputError, match=message):
        load.load(load.find("etth1_dlinear"), overrides)
