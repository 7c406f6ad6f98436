"""The steps of the line and what each one depends on. Light: imports no stage."""

from dataclasses import dataclass, replace

from recipes.schema import DataRecipe, Recipe


@dataclass(frozen=True)
class Step:
    """A node of the graph in `pipeline/graph.py`, which has the same name there.

    Attributes:
      name: node id.
      after: steps whose outputs it reads, or that must have passed.
      recipe: sections of the recipe, or keys in them, whose change makes it run again.
      module: file of `components/` with its code and its `figures`; None for a stock
        TFX step that has nothing to tell.
      packages: distributions whose version it depends on.
    """

    name: str
    after: tuple[str, ...] = ()
    recipe: tuple[str, ...] = ()
    module: str | None = None
    packages: tuple[str, ...] = ("tfx",)


_TFDV = ("tfx", "apache-beam", "tensorflow-data-validation")

STEPS = (
    Step(
        "ingest",
        recipe=("data",),
        module="components.ingest",
        packages=(
            "tfx",
            "apache-beam",
            "tensorflow",
            "tensorflow-datasets",
            "scikit-learn",
            "pyarrow",
            "pandas",
            "pillow",
        ),
    ),
    Step(
        "statistics",
        after=("ingest",),
        module="components.statistics",
        packages=_TFDV,
    ),
    Step(
        "infer_schema",
        after=("statistics",),
        packages=("tfx", "tensorflow-data-validation"),
    ),
    Step(
        "schema",
        after=("infer_schema",),
        recipe=("transform", "validation.drift", "validation.drift_of")
        + ("validation.skew", "validation.skew_of"),
        module="components.schema",
    ),
    Step(
        "find_anomalies",
        after=("statistics", "schema"),
        module="components.anomalies",
        packages=("tfx", "tensorflow-data-validation"),
    ),
    Step(
        "leakage",
        after=("ingest",),
        recipe=("transform", "validation.leakage"),
        module="components.leakage",
        packages=("tfx", "numpy", "pandas", "pillow", "pyarrow", "scikit-learn"),
    ),
    Step(
        "validate",
        after=("statistics", "find_anomalies", "leakage"),
        module="components.validate",
    ),
    Step(
        "transform",
        after=("ingest", "schema", "validate"),
        recipe=("transform",),
        module="components.transform",
        packages=("tfx", "apache-beam", "tensorflow", "tensorflow-transform"),
    ),
    Step(
        "baselines",
        after=("transform",),
        recipe=("transform",),
        module="components.baselines",
        packages=("tfx", "tensorflow", "tensorflow-transform", "scikit-learn"),
    ),
    Step(
        "label_audit",
        after=("ingest", "transform"),
        recipe=("transform", "validation.label_audit"),
        module="components.label_audit",
        packages=("tfx", "tensorflow", "tensorflow-transform", "scikit-learn")
        + ("cleanlab",),
    ),
    Step(
        "tune",
        after=("transform",),
        recipe=("transform", "model", "train", "tune"),
        module="components.tune",
        packages=("tfx", "tensorflow", "keras", "keras-tuner", "tensorflow-transform")
        + ("scikit-learn", "scipy"),
    ),
    Step(
        "train",
        after=("transform", "tune"),
        recipe=("transform", "model", "train", "export"),
        module="components.train",
        packages=("tfx", "tensorflow", "keras", "tensorflow-transform"),
    ),
    Step(
        "evaluate",
        after=("ingest", "train"),
        recipe=("transform", "evaluate"),
        module="components.evaluate",
        packages=("tfx", "apache-beam", "tensorflow", "tensorflow-model-analysis"),
    ),
    Step(
        "examine",
        after=("ingest", "transform", "baselines", "train"),
        recipe=("transform", "examine"),
        module="components.examine",
        packages=("tfx", "tensorflow", "tensorflow-transform", "scipy", "pillow")
        + ("tensorflow-serving-api", "grpcio", "psutil", "pyarrow", "tfx-bsl"),
    ),
    Step(
        "judge",
        after=("evaluate", "examine"),
        module="components.judge",
        packages=("tfx", "tensorflow-model-analysis"),
    ),
    Step(
        "push",
        after=("ingest", "train", "judge"),
        recipe=("name", "push"),
        module="components.push",
        packages=("tfx", "tensorflow", "tensorflow-serving-api"),
    ),
)
BY_NAME = {step.name: step for step in STEPS}

WITHOUT_SEARCH = tuple(
    replace(step, after=tuple(name for name in step.after if name != "tune"))
    for step in STEPS
    if step.name != "tune"
)
# What a recipe without a model has: its data brought in and checked.
DATA_STEPS = STEPS[: STEPS.index(BY_NAME["validate"]) + 1]


def steps_of(recipe: DataRecipe) -> tuple[Step, ...]:
    """Return the steps of a recipe, in the order of the line."""
    if not isinstance(recipe, Recipe):
        return DATA_STEPS
    return STEPS if recipe.tune else WITHOUT_SEARCH
