"""Add to the inferred schema what the recipe says about its features."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from google.protobuf import text_format
from tensorflow_metadata.proto.v0 import schema_pb2
from tfx.dsl.component.experimental.annotations import (
    InputArtifact,
    OutputArtifact,
    Parameter,
)
from tfx.dsl.component.experimental.decorators import component
from tfx.types import standard_artifacts

FILE_NAME = "schema.pbtxt"

# A value never seen in `train` shares one index (see components/transform.py), so a few
# are harmless; more than a tenth means the data changed.
MIN_DOMAIN_MASS = 0.9

_NUMBERS = (schema_pb2.INT, schema_pb2.FLOAT)


@component
def SchemaCurator(
    inferred: InputArtifact[standard_artifacts.Schema],
    schema: OutputArtifact[standard_artifacts.Schema],
    transform: Parameter[str],
):
    """Write the schema that the data must obey: inferred, and what the recipe needs."""
    parsed = text_format.Parse(
        (Path(inferred.uri) / FILE_NAME).read_text(), schema_pb2.Schema()
    )
    curated = curate(parsed, json.loads(transform))
    (Path(schema.uri) / FILE_NAME).write_text(text_format.MessageToString(curated))


def curate(
    schema: schema_pb2.Schema, transform: Mapping[str, Any]
) -> schema_pb2.Schema:
    """Return a schema that requires the recipe's features and ignores all others.

    Args:
      schema: as inferred from the `train` split.
      transform: the recipe's section of that name.
    """
    curated = schema_pb2.Schema()
    curated.CopyFrom(schema)
    label = transform["label"]
    numbers = {*transform["numeric"], *transform["buckets"]}
    if label["above"] is not None:
        numbers |= {label["feature"], label["divide_by"]} - {None}
    image = transform["image"]["feature"] if transform["image"] else None
    used = numbers | {*transform["vocabulary"], label["feature"], image} - {None}
    known = {feature.name: feature for feature in curated.feature}
    for name in sorted(used - set(known)):
        known[name] = curated.feature.add(name=name, type=schema_pb2.FLOAT)
    for name, feature in known.items():
        if name not in used:
            feature.lifecycle_stage = schema_pb2.DEBUG_ONLY
            continue
        # A gap is a value of its own (components/transform.py), also where `train`
        # happens to have none.
        feature.presence.CopyFrom(schema_pb2.FeaturePresence(min_count=1))
        if feature.HasField("domain"):
            feature.distribution_constraints.min_domain_mass = MIN_DOMAIN_MASS
        if name in numbers and feature.type not in _NUMBERS:
            for field in ("domain_info", "domain", "distribution_constraints"):
                feature.ClearField(field)
            feature.type = schema_pb2.FLOAT
    if image:
        known[image].image_domain.SetInParent()
        known[image].presence.min_fraction = 1.0
    if label["divide_by"]:
        known[label["divide_by"]].presence.min_fraction = 1.0
    _require_label(curated, known[label["feature"]], label["classes"])
    return curated


def figures(outputs: Mapping[str, str]) -> dict[str, Any]:
    """Return how many features the schema requires."""
    text = (Path(outputs["schema"]) / FILE_NAME).read_text()
    schema = text_format.Parse(text, schema_pb2.Schema())
    required = [f.name for f in schema.feature if not f.lifecycle_stage]
    return {
        "summary": f"{len(required)} features used, {len(schema.feature)} present",
        "features": required,
    }


def _require_label(
    schema: schema_pb2.Schema,
    feature: schema_pb2.Feature,
    classes: list[int] | list[str] | None,
) -> None:
    feature.presence.min_fraction = 1.0
    feature.ClearField("distribution_constraints")
    if classes is None:
        return
    feature.ClearField("domain_info")
    if isinstance(classes[0], str):
        feature.type = schema_pb2.BYTES
        feature.string_domain.value.extend(classes)
    else:
        feature.type = schema_pb2.INT
        feature.int_domain.CopyFrom(
            schema_pb2.IntDomain(min=min(classes), max=max(classes))
        )
