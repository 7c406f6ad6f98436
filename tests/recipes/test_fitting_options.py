"""Which recipes may attack, weigh, scale and decide by group."""

import pytest

from recipes import load
from recipes.errors import BadInputError


@pytest.mark.parametrize(
    ("name", "overrides", "message"),
    [
        ("adult_mlp", ["train.adversarial={}"], "adversarial needs `transform.image`"),
        ("etth1_dlinear", ["train.adversarial={}"], "adversarial needs `transform.im"),
        (
            "digits",
            ["train.adversarial={}", "transform.image.normalize=standard"],
            "scales each image by a number of its own. Expected none, unit or signed",
        ),
        ("digits", ["train.adversarial={steps: 11}"], "less than or equal to 10"),
        ("digits", ["train.adversarial={share: 0}"], "share: .*greater than or equal"),
        ("digits", ["train.adversarial={epsilon: 0}"], "epsilon: .*greater than 0"),
        (
            "digits",
            ["train.global_batch_size=8", "train.adversarial={share: 0.1}"],
            "at least one example of a batch of `global_batch_size` 8. Received: 0.1",
        ),
        ("digits", ["train.reweigh=[sex]"], "it has none. Received: 'sex'"),
        (  # (20 + 1) (8 + 2) (16 + 2) (10 + 1) ids
            "adult_mlp",
            ["train.reweigh=[age, workclass, education, hours_per_week]"],
            "at most 10,000 groups. Received: 41,580, all values of age, workclass, ed",
        ),
        ("adult_mlp", ["train.reweigh=[capital_gain]"], "Received: 'capital_gain'"),
        ("adult_mlp", ["train.reweigh=[sex, sex]"], "names a column twice"),
        (
            "adult_mlp",
            ["train.reweigh=[sex]", "train.class_weights=balanced"],
            "both weigh examples",
        ),
        (
            "adult_mlp",
            ["train.reweigh=[sex]", "train.distill={teacher: x}"],
            "has only a share",
        ),
        (
            "adult_mlp",
            ["train.reweigh=[sex]", "transform.augment.mixup=0.2"],
            "examples are of two groups",
        ),
        ("etth1_dlinear", ["export.temperature=true"], "that predicts a series"),
        ("shakespeare", ["export.temperature=true"], "that predicts a language"),
        ("dates", ["export.temperature=true"], "that predicts pairs"),
        (
            "adult_mlp",
            ["export.thresholds={column: age_group, rule: demographic_parity}"],
            "Received: 'age_group'",
        ),
        (
            "adult_mlp",
            ["export.thresholds={column: sex, rule: parity}"],
            "'equal_opportunity' or 'demographic_parity'",
        ),
        (
            "penguins",
            ["export.thresholds={column: sex, rule: demographic_parity}"],
            "a label that is yes or no. Received: a recipe that predicts one of many",
        ),
    ],
)
def test_what_cannot_be_is_refused_at_once(name, overrides, message):
    with pytest.raises(BadInputError, match=message):
        load.load(load.find(name), overrides)


def test_what_can_be_is_read():
    rule = "export.thresholds={column: sex, rule: equal_opportunity}"
    options = ["train.reweigh=[sex, age]", "export.temperature=true", rule]
    recipe = load.load(load.find("adult_mlp"), options)
    assert recipe.train.reweigh == ("sex", "age")
    assert recipe.export.thresholds.column == "sex"
    small = ["train.global_batch_size=8", "train.adversarial={share: 0.125}"]
    attacked = load.load(load.find("digits"), small)
    assert attacked.train.adversarial.steps == 1
