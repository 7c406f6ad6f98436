"""The line, as one list of TFX components. Same names and order as `steps.py`."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tfx.components import Evaluator, SchemaGen, Trainer, Transform, Tuner
from tfx.dsl.components.base.base_node import BaseNode
from tfx.dsl.components.common.importer import Importer
from tfx.orchestration.metadata import sqlite_metadata_connection_config
from tfx.orchestration.pipeline import Pipeline
from tfx.proto import trainer_pb2, transform_pb2
from tfx.types import standard_artifacts

from components import evaluate
from components.anomalies import FindAnomalies
from components.baselines import Baselines
from components.examine import Examine
from components.ingest import Ingest
from components.judge import Judge
from components.label_audit import LabelAudit
from components.leakage import Leakage
from components.push import Push
from components.schema import SchemaCurator
from components.sources.locate import Located
from components.statistics import Statistics
from components.validate import AnomalyGate
from recipes.schema import DataRecipe, Recipe

# Named in full: Beam's default runner first tries to download another engine. The image
# is never used in process, but naming one keeps TFX from building an sdist per step.
BEAM_ARGS = (
    "--runner=apache_beam.runners.portability.fn_api_runner.FnApiRunner",
    "--sdk_container_image=unused",
)


@dataclass(frozen=True)
class Places:
    """Where a pipeline reads and writes."""

    root: Path  # artifacts
    metadata: Path  # SQLite file of ML Metadata
    located: Located  # the data
    base_path: Path  # versions of the model
    checkpoints: Path  # of this training
    kept: Path  # what exams keep for those of later runs
    frozen_schema: str = ""  # as text; "": none yet
    previous: str = ""  # URI of the statistics that drift is measured from
    baseline: Path | None = None  # the live model, in the layout of a Model artifact
    origins: Mapping[str, str] = field(default_factory=dict)  # of weights, a teacher


def create(recipe: DataRecipe, places: Places) -> Pipeline:
    """Return the TFX pipeline of a recipe."""
    return Pipeline(
        pipeline_name=recipe.name,
        pipeline_root=str(places.root),
        components=_components(recipe, places),
        metadata_connection_config=sqlite_metadata_connection_config(
            str(places.metadata)
        ),
        beam_pipeline_args=list(BEAM_ARGS),
        enable_cache=False,  # pipeline/plan.py decides, code and packages included
    )


def _components(recipe: DataRecipe, places: Places) -> list[BaseNode]:
    data = data_components(recipe, places)
    if not isinstance(recipe, Recipe):
        return list(data.values())
    return [*data.values(), *model_components(recipe, places, data)]


def data_components(recipe: DataRecipe, places: Places) -> dict[str, BaseNode]:
    """Return the steps from the source to data that may be learned from, by name."""
    sections = recipe.model_dump(mode="json")
    transform = json.dumps(sections.get("transform"))
    examples = Ingest(places.located).with_id("ingest")
    statistics = Statistics(examples=examples.outputs["examples"]).with_id("statistics")
    inferred = SchemaGen(
        statistics=statistics.outputs["statistics"],
        # A column without gaps here may have some when served.
        infer_feature_shape=False,
        exclude_splits=["eval", "test", "serving"],
    ).with_id("infer_schema")
    schema = SchemaCurator(
        inferred=inferred.outputs["schema"],
        transform=transform,
        validation=json.dumps(sections["validation"]),
        frozen=places.frozen_schema,
    ).with_id("schema")
    anomalies = FindAnomalies(
        statistics=statistics.outputs["statistics"],
        schema=schema.outputs["schema"],
        previous=places.previous,
    ).with_id("find_anomalies")
    leakage = Leakage(
        examples=examples.outputs["examples"],
        transform=transform,
        leakage=json.dumps(sections["validation"]["leakage"]),
    ).with_id("leakage")
    gate = AnomalyGate(
        statistics=statistics.outputs["statistics"],
        anomalies=anomalies.outputs["anomalies"],
        leakage=leakage.outputs["report"],
    ).with_id("validate")
    found = [examples, statistics, inferred, schema, anomalies, leakage, gate]
    return {node.id: node for node in found}


def model_components(
    recipe: Recipe, places: Places, data: Mapping[str, BaseNode]
) -> list[BaseNode]:
    """Return the steps from checked data to the pushed model."""
    sections = recipe.model_dump(mode="json")
    transform_section = json.dumps(sections["transform"])
    examples = data["ingest"]
    transform = Transform(
        examples=examples.outputs["examples"],
        schema=data["schema"].outputs["schema"],
        preprocessing_fn="components.transform.preprocessing_fn",
        custom_config={"transform": sections["transform"]},
        splits_config=transform_pb2.SplitsConfig(
            analyze=["train"], transform=["train", "eval", "test"]
        ),
        disable_statistics=True,  # nobody reads them
    ).with_id("transform")
    transform.add_upstream_node(data["validate"])
    baselines = Baselines(
        examples=transform.outputs["transformed_examples"],
        transform_graph=transform.outputs["transform_graph"],
        transform=transform_section,
    ).with_id("baselines")
    label_audit = LabelAudit(
        examples=examples.outputs["examples"],
        transform_graph=transform.outputs["transform_graph"],
        transform=transform_section if _is_audited(recipe) else "null",
    ).with_id("label_audit")
    training: dict[str, Any] = {
        "examples": transform.outputs["transformed_examples"],
        "transform_graph": transform.outputs["transform_graph"],
        "train_args": trainer_pb2.TrainArgs(splits=["train"]),
        "eval_args": trainer_pb2.EvalArgs(splits=["eval"]),
        "custom_config": _training(sections, places),
    }
    tuner = None
    if recipe.tune:
        tuner = Tuner(tuner_fn="components.tune.tuner_fn", **training).with_id("tune")
        training["hyperparameters"] = tuner.outputs["best_hyperparameters"]
    trainer = Trainer(run_fn="components.train.run_fn", **training).with_id("train")
    live = _live(places)
    evaluator = Evaluator(
        examples=examples.outputs["examples"],
        model=trainer.outputs["model"],
        baseline_model=live.outputs["result"] if live else None,
        eval_config=evaluate.eval_config(
            sections["evaluate"],
            sections["transform"],
            with_baseline=live is not None,
        ),
        example_splits=["test"],
    ).with_id("evaluate")
    examination = Examine(
        examples=examples.outputs["examples"],
        transformed_examples=transform.outputs["transformed_examples"],
        transform_graph=transform.outputs["transform_graph"],
        model=trainer.outputs["model"],
        model_run=trainer.outputs["model_run"],
        baselines=baselines.outputs["scores"],
        live=str(places.baseline / "Format-Serving") if places.baseline else "",
        windows=_windows(recipe),
        kept=str(places.kept),
        transform=transform_section,
        examine=json.dumps(sections["examine"]),
    ).with_id("examine")
    judge = Judge(
        evaluation=evaluator.outputs["evaluation"],
        examination=examination.outputs["examination"],
    ).with_id("judge")
    push = Push(
        model=trainer.outputs["model"],
        examples=examples.outputs["examples"],
        blessing=judge.outputs["blessing"],
        base_path=str(places.base_path),
    ).with_id("push")
    return [
        transform,
        baselines,
        label_audit,
        *([tuner] if tuner else []),
        trainer,
        *([live] if live else []),
        evaluator,
        examination,
        judge,
        push,
    ]


def _training(sections: Mapping[str, Any], places: Places) -> dict[str, Any]:
    used = ("transform", "model", "train", "tune", "export")
    config = {name: sections[name] for name in used}
    return {**config, "checkpoint_dir": str(places.checkpoints), **places.origins}


def _windows(recipe: Recipe) -> float:
    """Return how many windows of a series in a row share what is predicted."""
    series = recipe.data.series
    return max(1.0, series.horizon / series.stride) if series else 1.0


def _is_audited(recipe: Recipe) -> bool:
    has_classes = recipe.transform.label and not recipe.transform.graph
    return bool(recipe.validation.label_audit and has_classes)


def _live(places: Places) -> Importer | None:
    if places.baseline is None:
        return None
    return Importer(
        source_uri=str(places.baseline), artifact_type=standard_artifacts.Model
    ).with_id("live")
