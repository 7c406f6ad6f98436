"""The taxi pipeline as users of stock TFX write it, run by TFX's LocalDagRunner.

    python benchmarks/stock_taxi.py VARIANT WORKSPACE

Data, shares, preprocessing, training, evaluation and own components are those of
`recipes/taxi.yaml`, without what stock TFX has no component for: leakage check, gate,
label audit. VARIANT is one of

- `stock`: user code by `module_file`, no Beam arguments, as in TFX's examples (whose
  `multi_processing` is left out: it only slows so few rows down);
- `stock-tuned`: user code by import path, Beam runner and container image named;
- `same-graph`: the very components of `pipeline/graph.py`.

TFX's cache is on in all three.
"""

import json
import sys
from pathlib import Path
from typing import Any

from tfx.dsl.components.base.base_node import BaseNode
from tfx.orchestration.local.local_dag_runner import LocalDagRunner
from tfx.orchestration.metadata import sqlite_metadata_connection_config
from tfx.orchestration.pipeline import Pipeline

from components import evaluate
from components.baselines import Baselines
from components.push import Push
from components.schema import SchemaCurator
from components.sources.locate import locate
from components.train import run_fn  # noqa: F401 (TFX finds it by `module_file`)
from components.transform import preprocessing_fn  # noqa: F401 (same)
from pipeline import graph
from recipes import load
from recipes.schema import Recipe

BY_MODULE_FILE = {
    "transform": {"module_file": __file__},
    "train": {"module_file": __file__},
}
BY_IMPORT_PATH = {
    "transform": {"preprocessing_fn": "components.transform.preprocessing_fn"},
    "train": {"run_fn": "components.train.run_fn"},
}
UserCode = dict[str, dict[str, str]]


def main(variant: str, workspace: str) -> None:
    """Run the pipeline once in a workspace."""
    path = load.find("taxi")
    recipe = load.load(path)
    root = Path(workspace)
    places = graph.Places(
        root=root / "artifacts",
        metadata=root / "metadata.db",
        located=locate(
            recipe.data.model_dump(mode="json"), path.parent, tfds_dir=root / "tfds"
        ),
        base_path=root / "models",
        checkpoints=root / "checkpoints",
        kept=root / "exam_sets",
    )
    LocalDagRunner().run(_pipeline(variant, recipe, places))


def _pipeline(variant: str, recipe: Recipe, places: graph.Places) -> Pipeline:
    if variant == "same-graph":
        components = graph.create(recipe, places).components
    else:
        by_file = variant == "stock"
        user_code = BY_MODULE_FILE if by_file else BY_IMPORT_PATH
        components = stock_components(recipe, places, user_code)
    return Pipeline(
        pipeline_name=recipe.name,
        pipeline_root=str(places.root),
        components=components,
        metadata_connection_config=sqlite_metadata_connection_config(
            str(places.metadata)
        ),
        beam_pipeline_args=None if variant == "stock" else list(graph.BEAM_ARGS),
        enable_cache=True,
    )


def stock_components(
    recipe: Recipe, places: graph.Places, user_code: UserCode
) -> list[BaseNode]:
    """Return the components, wired; TFX as its users import it."""
    from tfx import v1 as tfx  # here: `same-graph` is spared its Google Cloud clients

    sections = recipe.model_dump(mode="json")
    data = _data_components(tfx, recipe, places, sections)
    examples, schema, anomalies = data[0], data[3], data[4]
    transform = tfx.components.Transform(
        examples=examples.outputs["examples"],
        schema=schema.outputs["schema"],
        custom_config={"transform": sections["transform"]},
        splits_config=tfx.proto.SplitsConfig(
            analyze=["train"], transform=["train", "eval", "test"]
        ),
        **user_code["transform"],
    ).with_id("transform")
    transform.add_upstream_node(anomalies)
    baselines = Baselines(
        examples=transform.outputs["transformed_examples"],
        transform_graph=transform.outputs["transform_graph"],
        transform=json.dumps(sections["transform"]),
    ).with_id("baselines")
    config = {name: sections[name] for name in ("transform", "model", "train")}
    trainer = tfx.components.Trainer(
        examples=transform.outputs["transformed_examples"],
        transform_graph=transform.outputs["transform_graph"],
        train_args=tfx.proto.TrainArgs(splits=["train"]),
        eval_args=tfx.proto.EvalArgs(splits=["eval"]),
        custom_config={**config, "checkpoint_dir": str(places.checkpoints)},
        **user_code["train"],
    ).with_id("train")
    evaluator = tfx.components.Evaluator(
        examples=examples.outputs["examples"],
        model=trainer.outputs["model"],
        eval_config=evaluate.eval_config(sections["evaluate"], with_baseline=False),
        example_splits=["test"],
    ).with_id("evaluate")
    push = Push(
        model=trainer.outputs["model"],
        examples=examples.outputs["examples"],
        blessing=evaluator.outputs["blessing"],
        base_path=str(places.base_path),
    ).with_id("push")
    return [*data, transform, baselines, trainer, evaluator, push]


def _data_components(
    tfx: Any, recipe: Recipe, places: graph.Places, sections: dict[str, Any]
) -> list[BaseNode]:
    (file,) = places.located.files()
    shares = tfx.proto.SplitConfig(
        splits=[
            tfx.proto.SplitConfig.Split(name=name, hash_buckets=share)
            for name, share in recipe.data.splits.items()
        ]
    )
    examples = tfx.components.CsvExampleGen(
        input_base=str(Path(file.path).parent),
        output_config=tfx.proto.Output(split_config=shares),
    ).with_id("ingest")
    statistics = tfx.components.StatisticsGen(
        examples=examples.outputs["examples"]
    ).with_id("statistics")
    inferred = tfx.components.SchemaGen(
        statistics=statistics.outputs["statistics"]
    ).with_id("infer_schema")
    schema = SchemaCurator(
        inferred=inferred.outputs["schema"],
        transform=json.dumps(sections["transform"]),
        validation=json.dumps(sections["validation"]),
        frozen="",
    ).with_id("schema")
    anomalies = tfx.components.ExampleValidator(
        statistics=statistics.outputs["statistics"], schema=schema.outputs["schema"]
    ).with_id("find_anomalies")
    return [examples, statistics, inferred, schema, anomalies]


if __name__ == "__main__":
    main(*sys.argv[1:])
