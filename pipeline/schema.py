"""Compare the schema file beside a recipe with the newest data, or replace it.

Needs no TensorFlow: the newest data are those of the last run, as its schema was
inferred.
"""

import os
import sys
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import TextIO

from google.protobuf import text_format
from tensorflow_metadata.proto.v0 import schema_pb2, statistics_pb2

from components import frozen
from pipeline.history import History, StepRecord
from pipeline.workspace import open_workspace
from recipes import load
from recipes.errors import BadInputError

MAX_VALUES = 5  # of a difference that are told

_TYPES = {
    schema_pb2.INT: "int",
    schema_pb2.FLOAT: "float",
    schema_pb2.BYTES: "text",
    schema_pb2.STRUCT: "struct",
}


def main(action: str, name: str, stream: TextIO = sys.stdout) -> int:
    """Print how the schema file and the newest data differ, and `accept` these.

    Returns:
      As `diff` does: 0 where nothing differs, 1 where something does. For `accept` 0.

    Raises:
      BadInputError: there is no schema file, or no run to compare it with.
    """
    path = load.find(name)
    recipe = load.load_data(path)
    file = frozen.path_of(path, recipe.name)
    workspace = open_workspace()
    history = History(workspace.history)
    newest = _newest(history, recipe.name, workspace.root)
    inferred = (Path(newest.outputs["schema"]) / "schema.pbtxt").read_text("utf-8")
    before = file.read_text("utf-8") if file.is_file() else ""
    if action == "diff" and not before:
        raise BadInputError(f"No schema file {file}. A run writes one.")
    lines = differences(
        _parse(before, file, lenient=action == "accept"),
        _parse(inferred, file),
        _missing(history, recipe.name, newest.parts["after statistics"]),
    )
    if action == "diff":
        stream.writelines(f"{line}\n" for line in lines or ["no difference"])
        return 1 if lines else 0
    _write(file, frozen.freeze(inferred, newest.key))
    stream.writelines(f"{line}\n" for line in lines if before)
    if before and not frozen.part(before, "").startswith("inferred by "):
        stream.write("edits by hand are gone from it\n")
    stream.write(f"{file}: what run {newest.run_id} found holds from now on\n")
    return 0


def differences(
    before: schema_pb2.Schema,
    now: schema_pb2.Schema,
    missing: Mapping[str, float] | None = None,
) -> list[str]:
    """Return in words how the columns of two schemas differ, one a line.

    What people add to a schema, such as bounds of numbers, is not compared: inference
    says nothing about it.

    Args:
      before: the frozen one.
      now: the inferred one.
      missing: share of the records of now that lack a column, by name.
    """
    old = {feature.name: feature for feature in before.feature}
    new = {feature.name: feature for feature in now.feature}
    lines = []
    for name in sorted({*old, *new}):
        if name not in new:
            lines.append(f"{name}: gone")
        elif name not in old:
            lines.append(f"{name}: a new column of type {_type(new[name])}")
        else:
            share = (missing or {}).get(name)
            found = [
                *_types(old[name], new[name]),
                *_gaps(old[name], new[name], share),
                *_lengths(old[name], new[name]),
                *_values(_domain(old[name], before), _domain(new[name], now)),
            ]
            lines += [f"{name}: {words}" for words in found]
    return lines


def _types(old: schema_pb2.Feature, new: schema_pb2.Feature) -> Iterator[str]:
    if old.type != new.type:
        yield f"type {_type(old)} -> {_type(new)}"


def _gaps(
    old: schema_pb2.Feature, new: schema_pb2.Feature, missing: float | None
) -> Iterator[str]:
    required, in_all = old.presence.min_fraction, new.presence.min_fraction == 1
    share = f" {100 * missing:.2g} %" if missing else " some records"
    if required and not in_all and (missing is None or missing > 1 - required):
        yield f"now missing in{share}"
    elif not required and in_all:
        yield "now in every record"


def _lengths(old: schema_pb2.Feature, new: schema_pb2.Feature) -> Iterator[str]:
    if old.HasField("value_count") and old.value_count != new.value_count:
        yield f"values a record {_length(old)} -> {_length(new)}"


def _values(old: set[str] | None, new: set[str] | None) -> Iterator[str]:
    if old is None or new is None:
        if old is not None:
            yield "too many values now for a list of them"
        elif new is not None:
            yield f"now only {_names(sorted(new))}"
        return
    for words, values in (("new", new - old), ("no longer", old - new)):
        if values:
            plural = "s" if len(values) > 1 else ""
            yield f"{words} value{plural} {_names(sorted(values))}"


def _names(values: list[str]) -> str:
    more = f" and {len(values) - MAX_VALUES} more" if len(values) > MAX_VALUES else ""
    return ", ".join(map(repr, values[:MAX_VALUES])) + more


def _domain(feature: schema_pb2.Feature, schema: schema_pb2.Schema) -> set[str] | None:
    """Return the texts that a feature may have, or None where it may have any."""
    if feature.HasField("string_domain"):
        return {*feature.string_domain.value}
    if not feature.HasField("domain"):
        return None
    domains: Iterable[schema_pb2.StringDomain] = schema.string_domain
    return {v for d in domains if d.name == feature.domain for v in d.value}


def _type(feature: schema_pb2.Feature) -> str:
    return _TYPES.get(feature.type, "unknown")


def _length(feature: schema_pb2.Feature) -> str:
    count = feature.value_count
    if count.max and count.min == count.max:
        return str(count.min)
    return f"{count.min} to {count.max or 'any number'}"


def _newest(history: History, pipeline: str, root: Path) -> StepRecord:
    """Return the last execution that inferred a schema."""
    for record in history.done_steps(pipeline, "infer_schema"):
        if Path(record.outputs["schema"]).exists():
            return record
    raise BadInputError(
        f"No run of {pipeline} in {root} has looked at its data yet: ./strata data."
    )


def _missing(history: History, pipeline: str, key: str) -> dict[str, float]:
    """Return the share of records without a value, by column of `train`.

    Args:
      history: what ran.
      pipeline: of which.
      key: fingerprint of the step that made the statistics.
    """
    (record,) = history.done_steps(pipeline, "statistics", key=key, limit=1)
    path = Path(record.outputs["statistics"]) / "Split-train" / "FeatureStats.pb"
    found = statistics_pb2.DatasetFeatureStatisticsList.FromString(path.read_bytes())
    return {
        ".".join(feature.path.step): _share_missing(feature)
        for feature in found.datasets[0].features
    }


def _share_missing(feature: statistics_pb2.FeatureNameStatistics) -> float:
    common = getattr(feature, feature.WhichOneof("stats")).common_stats
    total = common.num_missing + common.num_non_missing
    return float(common.num_missing / total) if total else 0.0


def _parse(text: str, path: Path, *, lenient: bool = False) -> schema_pb2.Schema:
    """Read a schema; what is none is an empty one where that is to be replaced."""
    try:
        return text_format.Parse(text, schema_pb2.Schema())
    except text_format.ParseError as error:
        if lenient:
            return schema_pb2.Schema()
        raise BadInputError(f"{path}: not a schema: line {error}") from error


def _write(path: Path, text: str) -> None:
    """Replace the file in one go: a run may read it meanwhile."""
    path.parent.mkdir(exist_ok=True)
    draft = path.with_suffix(f".{os.getpid()}")
    draft.write_text(text, "utf-8")
    os.replace(draft, path)
