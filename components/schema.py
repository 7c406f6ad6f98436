"""Make the schema that the data must obey: inferred or frozen, and the recipe's needs.

What a frozen schema says holds, with one exception. `min_fraction: 1.0` is what
inference writes where `train` has no gap, and is not held against later gaps: a gap is
a value of its own (components/transform.py). Any smaller fraction is enforced.
"""

import json
from collections.abc import Mapping, Set
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

from recipes.errors import BadInputError
from recipes.transform import GRAPH_FEATURES, GRAPH_NUMBERS

FILE_NAME = "schema.pbtxt"
TRAINING, SERVING = "TRAINING", "SERVING"
LABEL_TAG = "label"  # marks the label among the features

# A value never seen in `train` shares one index (see components/transform.py), so a few
# are harmless; more than a tenth means the data changed.
MIN_DOMAIN_MASS = 0.9

_NUMBERS = (schema_pb2.INT, schema_pb2.FLOAT)
# What a feature is used as; "number" and "category" have a distribution to compare.
_WHOLE = ("image", "audio", "text")


@component
def SchemaCurator(
    inferred: InputArtifact[standard_artifacts.Schema],
    schema: OutputArtifact[standard_artifacts.Schema],
    transform: Parameter[str],
    validation: Parameter[str],
    frozen: Parameter[str],
):
    """Write the schema that the data must obey: `frozen`, or the inferred if empty."""
    text = frozen or (Path(inferred.uri) / FILE_NAME).read_text("utf-8")
    curated = curate(parse(text), json.loads(transform), json.loads(validation))
    (Path(schema.uri) / FILE_NAME).write_text(text_format.MessageToString(curated))


def parse(text: str) -> schema_pb2.Schema:
    """Read a schema file.

    Raises:
      BadInputError: it is not one.
    """
    try:
        return text_format.Parse(text, schema_pb2.Schema())
    except text_format.ParseError as error:
        raise BadInputError(
            f"The schema file beside the recipe is not a schema, line {error}. Mend "
            "it, or replace it: `./strata schema accept`."
        ) from error


def curate(
    schema: schema_pb2.Schema,
    transform: Mapping[str, Any] | None,
    validation: Mapping[str, Any],
) -> schema_pb2.Schema:
    """Return a schema that requires the recipe's features and ignores all others.

    Args:
      schema: as inferred from the `train` split, or frozen.
      transform: the recipe's section of that name; None: there is none, and nothing is
        added but the bounds of drift and skew that name a feature.
      validation: the recipe's section of that name.

    Raises:
      BadInputError: `validation` names a feature that is not used.
    """
    curated = schema_pb2.Schema()
    curated.CopyFrom(schema)
    if not {TRAINING, SERVING} & {*curated.default_environment}:
        curated.default_environment.extend((TRAINING, SERVING))
    for feature in curated.feature:
        _settle(feature)
    if transform is None:
        roles = dict.fromkeys((feature.name for feature in curated.feature), "column")
    else:
        present = {feature.name for feature in curated.feature}
        roles = _roles(transform, present)
        _require(curated, roles)
        _require_label(curated, transform, used=_inputs(transform))
    _set_bounds(curated, roles, validation)
    return curated


def figures(outputs: Mapping[str, str]) -> dict[str, Any]:
    """Return how many features the schema requires."""
    schema = parse((Path(outputs["schema"]) / FILE_NAME).read_text("utf-8"))
    required = [f.name for f in schema.feature if not f.lifecycle_stage]
    return {
        "summary": f"{len(required)} features used, {len(schema.feature)} present",
        "features": required,
    }


def _inputs(transform: Mapping[str, Any]) -> dict[str, str]:
    """Return what each feature that the model reads is used as."""
    for kind in _WHOLE:
        if transform[kind]:
            return {transform[kind]["feature"]: kind}
    if transform["language"]:
        return {transform["language"]["feature"]: "text"}
    if transform["pairs"]:
        return {transform["pairs"]["source"]: "text"}
    if transform["series"]:
        return {"context": "list"}
    if transform["graph"]:
        return dict.fromkeys([*GRAPH_FEATURES, *GRAPH_NUMBERS], "list")
    crossed = [name for c in transform["crosses"].values() for name in c["features"]]
    numbers = [*transform["numeric"], *transform["scale"], *transform["buckets"]]
    return (
        dict.fromkeys([*crossed, *transform["hash"]], "hashed")
        | dict.fromkeys(transform["vocabulary"], "category")
        | dict.fromkeys(transform["calendar"], "time")
        | dict.fromkeys(numbers, "number")
    )


def _roles(transform: Mapping[str, Any], present: Set[str]) -> dict[str, str]:
    """Return what each feature is used as, those of the label included."""
    inputs = _inputs(transform)
    if transform["graph"]:  # numbers of nodes come in one form or another
        inputs = {n: r for n, r in inputs.items() if n in {*present, *GRAPH_FEATURES}}
    label = transform["label"]
    if transform["series"]:
        return {**inputs, "horizon": "list", "time": "text"}
    if transform["pairs"]:
        return {**inputs, transform["pairs"]["target"]: "text"}
    if label is None:
        return inputs
    if label["classes"] is not None:
        return {**inputs, label["feature"]: "category"}
    made_of = [label["feature"], label["divide_by"]]
    return inputs | dict.fromkeys(filter(None, made_of), "number")


def _follows(transform: Mapping[str, Any]) -> list[str]:
    """Return the features to be predicted, where there is no label."""
    if transform["series"]:
        return ["horizon", "time"]
    return [transform["pairs"]["target"]] if transform["pairs"] else []


def _settle(feature: schema_pb2.Feature) -> None:
    """Take what inference found in all of `train` for a shape, or for chance."""
    in_all = feature.presence.min_fraction == 1.0
    length = feature.value_count.min
    if in_all and length > 1 and length == feature.value_count.max:
        feature.shape.dim.add(size=length)  # a window: as many values in every record
    elif in_all and not feature.HasField("shape"):
        feature.presence.ClearField("min_fraction")


def _require(schema: schema_pb2.Schema, roles: Mapping[str, str]) -> None:
    known = {feature.name: feature for feature in schema.feature}
    for name in sorted(set(roles) - set(known)):
        known[name] = schema.feature.add(name=name, type=schema_pb2.FLOAT)
    for name, feature in known.items():
        if name not in roles:
            feature.lifecycle_stage = schema_pb2.DEBUG_ONLY
            continue
        feature.presence.min_count = max(1, feature.presence.min_count)
        if roles[name] in _WHOLE:
            _require_whole(feature, roles[name])
        elif roles[name] == "number":
            _require_number(feature)
        elif roles[name] == "list":
            if feature.presence.min_fraction == 1.0:
                feature.ClearField("domain_info")  # node numbers are no categories
        elif roles[name] == "category":
            constraints = feature.distribution_constraints
            if feature.HasField("domain") and not constraints.HasField(
                "min_domain_mass"
            ):
                constraints.min_domain_mass = MIN_DOMAIN_MASS
        else:
            _allow_any_text(feature)


def _require_whole(feature: schema_pb2.Feature, kind: str) -> None:
    if feature.type != schema_pb2.BYTES:
        feature.ClearField("domain_info")
        feature.type = schema_pb2.BYTES
    _allow_any_text(feature)
    if kind == "image":
        feature.image_domain.SetInParent()
    if kind != "text":  # no text is a text; no image is none
        feature.presence.min_fraction = 1.0


def _require_number(feature: schema_pb2.Feature) -> None:
    if feature.type not in _NUMBERS:
        for field in ("domain_info", "distribution_constraints"):
            feature.ClearField(field)
        feature.type = schema_pb2.FLOAT
    if feature.type == schema_pb2.FLOAT:
        for bound in ("disallow_nan", "disallow_inf"):
            if not feature.float_domain.HasField(bound):
                setattr(feature.float_domain, bound, True)


def _allow_any_text(feature: schema_pb2.Feature) -> None:
    """Drop the list of texts seen: others are as good."""
    if feature.HasField("domain"):
        feature.ClearField("domain")
        feature.ClearField("distribution_constraints")


def _require_label(
    schema: schema_pb2.Schema, transform: Mapping[str, Any], *, used: Mapping[str, str]
) -> None:
    known = {feature.name: feature for feature in schema.feature}
    label = transform["label"]
    if label is None:
        for name in _follows(transform):
            if not known[name].not_in_environment:
                known[name].not_in_environment.append(SERVING)
        return
    for name in filter(None, (label["feature"], label["divide_by"])):
        known[name].presence.min_fraction = 1.0
        if name not in used and not known[name].not_in_environment:
            known[name].not_in_environment.append(SERVING)
    feature, classes = known[label["feature"]], label["classes"]
    if LABEL_TAG not in feature.annotation.tag:
        feature.annotation.tag.append(LABEL_TAG)
    feature.ClearField("distribution_constraints")
    if classes is None:
        return
    feature.ClearField("domain_info")
    if isinstance(classes[0], str):
        feature.type = schema_pb2.BYTES
        feature.string_domain.value.extend(classes)
    else:
        feature.type = schema_pb2.INT
        feature.int_domain.min, feature.int_domain.max = min(classes), max(classes)


def _set_bounds(
    schema: schema_pb2.Schema,
    roles: Mapping[str, str],
    validation: Mapping[str, Any],
) -> None:
    """Bound drift and skew where the schema itself has no bound."""
    for kind in ("drift", "skew"):
        named = validation[f"{kind}_of"]
        for name in sorted(set(named) - set(roles)):
            raise BadInputError(
                f"[validation.{kind}_of] {name!r} is not a feature that is used. "
                f"Expected some of {', '.join(sorted(roles))}."
            )
        for feature in schema.feature:
            if kind == "skew" and SERVING in feature.not_in_environment:
                continue
            by_default = validation[kind] if _comparable(feature, roles) else None
            bound = named.get(feature.name, by_default)
            comparator = f"{kind}_comparator"
            if bound is not None and not feature.HasField(comparator):
                compared = getattr(feature, comparator)
                compared.jensen_shannon_divergence.threshold = bound


def _comparable(feature: schema_pb2.Feature, roles: Mapping[str, str]) -> bool:
    """Whether the distribution of a feature should stay the same.

    Times move on; and of the many values of a text that is no category, two samples
    share too few.
    """
    role = roles.get(feature.name)
    if role == "category" and feature.type == schema_pb2.BYTES:
        return feature.WhichOneof("domain_info") in ("domain", "string_domain")
    return role in ("number", "category")
