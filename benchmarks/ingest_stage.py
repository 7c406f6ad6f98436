"""Run one stage of the taxi data, ours or of stock TFX; say what it took.

    python benchmarks/ingest_stage.py WHO STAGE CSV WORKSPACE

WHO is `ours` (the components of `pipeline/graph.py`) or `stock` (TFX's own, without
Beam arguments, as in its examples). The stages before STAGE must have run in the
workspace: TFX's cache hands their artifacts on. Writes `<STAGE>.json`: seconds in the
stage, imports not counted, and the largest memory of this process.
"""

import json
import resource
import sys
import time
from pathlib import Path

from tfx.components import SchemaGen, Transform
from tfx.dsl.components.base.base_node import BaseNode
from tfx.orchestration.local.local_dag_runner import LocalDagRunner
from tfx.orchestration.metadata import sqlite_metadata_connection_config
from tfx.orchestration.pipeline import Pipeline
from tfx.proto import transform_pb2

from components.sources.locate import locate
from pipeline import beam_memos, graph
from recipes import load
from recipes.schema import Recipe

STAGES = ("ingest", "statistics", "schema", "transform")


def main(who: str, stage: str, csv: str, workspace: str) -> None:
    """Run the stage; the ones before it come from the cache."""
    recipe = load.load(load.find("taxi"))
    root = Path(workspace)
    build = ours if who == "ours" else stock
    nodes = build(recipe, Path(csv), root)
    if who == "ours":
        beam_memos.install()
    pipeline = Pipeline(
        pipeline_name=f"taxi-{who}",
        pipeline_root=str(root / "artifacts"),
        components=nodes[: STAGES.index(stage) + 1],
        metadata_connection_config=sqlite_metadata_connection_config(
            str(root / "metadata.db")
        ),
        beam_pipeline_args=list(graph.BEAM_ARGS) if who == "ours" else None,
        enable_cache=True,
    )
    started = time.perf_counter()
    LocalDagRunner().run(pipeline)
    seconds = time.perf_counter() - started
    peak_kb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    found = {"seconds": seconds, "peak_rss_mb": peak_kb / 1024}
    (root / f"{stage}.json").write_text(json.dumps(found))


def ours(recipe: Recipe, csv: Path, root: Path) -> list[BaseNode]:
    """Return our stages, in order."""
    data = recipe.model_dump(mode="json")["data"]
    data["csv"]["path"] = str(csv)
    places = graph.Places(
        root=root / "artifacts",
        metadata=root / "metadata.db",
        located=locate(data, root, tfds_dir=root / "tfds"),
        base_path=root / "models",
        checkpoints=root / "checkpoints",
        kept=root / "exam_sets",
    )
    steps = graph.data_components(recipe, places)
    schema = steps["infer_schema"]
    transform = _transform(recipe, steps["ingest"], schema, disable_statistics=True)
    return [steps["ingest"], steps["statistics"], schema, transform]


def stock(recipe: Recipe, csv: Path, root: Path) -> list[BaseNode]:
    """Return TFX's stages, in order."""
    from tfx import v1 as tfx  # here: ours are spared its Google Cloud clients

    del root
    shares = [
        tfx.proto.SplitConfig.Split(name=name, hash_buckets=share)
        for name, share in recipe.data.splits.items()
    ]
    examples = tfx.components.CsvExampleGen(
        input_base=str(csv.parent),
        output_config=tfx.proto.Output(
            split_config=tfx.proto.SplitConfig(splits=shares)
        ),
    )
    statistics = tfx.components.StatisticsGen(examples=examples.outputs["examples"])
    schema = SchemaGen(
        statistics=statistics.outputs["statistics"], infer_feature_shape=False
    )
    transform = _transform(recipe, examples, schema, disable_statistics=False)
    return [examples, statistics, schema, transform]


def _transform(
    recipe: Recipe, examples: BaseNode, schema: BaseNode, *, disable_statistics: bool
) -> Transform:
    # By import path in both: `module_file` would build wheels with pip.
    return Transform(
        examples=examples.outputs["examples"],
        schema=schema.outputs["schema"],
        preprocessing_fn="components.transform.preprocessing_fn",
        custom_config={"transform": recipe.model_dump(mode="json")["transform"]},
        splits_config=transform_pb2.SplitsConfig(
            analyze=["train"], transform=["train", "eval", "test"]
        ),
        disable_statistics=disable_statistics,
    ).with_id("transform")


if __name__ == "__main__":
    main(*sys.argv[1:])
