"""Find what is wrong with the data: against the schema, the run before, the served.

The reports have TFX's layout (`Split-x/SchemaDiff.pb`). Everything in them counts:
what does no harm is left out, and the words are ours.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import tensorflow_data_validation as tfdv
from tensorflow_metadata.proto.v0 import anomalies_pb2, schema_pb2, statistics_pb2
from tfx.dsl.component.experimental.annotations import (
    InputArtifact,
    OutputArtifact,
    Parameter,
)
from tfx.dsl.component.experimental.decorators import component
from tfx.types import artifact_utils, standard_artifacts

from components import schema as schemas
from components import statistics as stats
from components.anomaly_words import Case, exceeds, phrase
from components.distances import compare, without_bounds

FILE_NAME = "SchemaDiff.pb"
DRIFT, SKEW = "drift from the run before", "skew between `train` and `serving`"

_Statistics = statistics_pb2.DatasetFeatureStatisticsList
_Kind = anomalies_pb2.AnomalyInfo
_Measure = anomalies_pb2.DriftSkewInfo.Measurement
_DISTANCES = {
    _Measure.L_INFTY: "L-infinity",
    _Measure.JENSEN_SHANNON_DIVERGENCE: "Jensen-Shannon",
    _Measure.NORMALIZED_ABSOLUTE_DIFFERENCE: "difference",
}
_COMPARISONS = (
    _Kind.COMPARATOR_L_INFTY_HIGH,
    _Kind.COMPARATOR_JENSEN_SHANNON_DIVERGENCE_HIGH,
    _Kind.COMPARATOR_NORMALIZED_ABSOLUTE_DIFFERENCE_HIGH,
)
# A column that only one side has cannot be compared; whether it must be there is told
# by the schema.
_NOT_COMPARED = (
    _Kind.COMPARATOR_CONTROL_DATA_MISSING,
    _Kind.COMPARATOR_TREATMENT_DATA_MISSING,
)


@component
def FindAnomalies(
    statistics: InputArtifact[standard_artifacts.ExampleStatistics],
    schema: InputArtifact[standard_artifacts.Schema],
    anomalies: OutputArtifact[standard_artifacts.ExampleAnomalies],
    previous: Parameter[str],
):
    """Validate every split; `previous` is the URI of earlier statistics, or ""."""
    splits = artifact_utils.decode_split_names(statistics.split_names)
    found = find(
        {split: stats.load(statistics.uri, split) for split in splits},
        schemas.parse((Path(schema.uri) / schemas.FILE_NAME).read_text("utf-8")),
        previous=stats.load(previous, "train") if previous else None,
    )
    anomalies.split_names = artifact_utils.encode_split_names(splits)
    for split, report in found.items():
        path = Path(anomalies.uri) / f"Split-{split}" / FILE_NAME
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(report.SerializeToString(deterministic=True))


def find(
    statistics: Mapping[str, _Statistics],
    schema: schema_pb2.Schema,
    previous: _Statistics | None = None,
) -> dict[str, anomalies_pb2.Anomalies]:
    """Return what is wrong with each split.

    Args:
      statistics: of each split. `serving` is what was served: it needs no label, and
        `train` is compared with it.
      schema: as `components.schema.curate` returns it.
      previous: statistics of an earlier `train`, which that of now is compared with.
    """
    found = {}
    for split, current in statistics.items():
        is_train, is_served = split == "train", split == "serving"
        before = _if_any(previous) if is_train else None
        served = _if_any(statistics.get("serving")) if is_train else None
        found[split] = tfdv.validate_statistics(
            current,
            without_bounds(schema),
            schemas.SERVING if is_served else schemas.TRAINING,
            previous_statistics=before,
            serving_statistics=served,  # here TFDV validates those trained on
        )
        compare(found[split], schema, current, drift=before, skew=served)
        _in_words(found[split], current, schema)
        found[split].baseline.CopyFrom(schema)
    return found


def load(uri: str) -> dict[str, anomalies_pb2.Anomalies]:
    """Read what was found in each split."""
    return {
        split: anomalies_pb2.Anomalies.FromString(path.read_bytes())
        for split in stats.SPLITS
        if (path := Path(uri) / f"Split-{split}" / FILE_NAME).exists()
    }


def list_anomalies(found: Mapping[str, anomalies_pb2.Anomalies]) -> list[str]:
    """Return a line for each anomaly: the feature, the splits and what is wrong."""
    splits: dict[tuple[str, str], list[str]] = {}
    for split, report in found.items():
        for name, reason in _reasons(report):
            where = [] if reason.type in _COMPARISONS else [split]
            splits.setdefault((name, reason.description), []).extend(where)
    lines = []
    for (name, words), where in splits.items():
        place = f" ({', '.join(where)})" if where else ""
        lines.append(f"{name}{place}: {words}")
    return sorted(lines)


def distances(
    found: Mapping[str, anomalies_pb2.Anomalies],
) -> dict[str, dict[str, float]]:
    """Return how far each compared feature has moved, by `drift` and `skew`."""
    infos = found["train"].drift_skew_info if "train" in found else ()
    return {
        kind: {
            ".".join(info.path.step): max(m.value for m in measured)
            for info in infos
            if (measured := getattr(info, f"{kind}_measurements"))
        }
        for kind in ("drift", "skew")
    }


def figures(outputs: Mapping[str, str]) -> dict[str, Any]:
    """Return what was found, and how far the features have moved."""
    found = load(outputs["anomalies"])
    lines, moved = list_anomalies(found), distances(found)
    first = f"{len(lines) or 'no'} anomal{'ies' if len(lines) > 1 else 'y'}"
    summary = " · ".join([first, *summarize(moved)])
    return {"summary": summary, "anomalies": lines, **moved}


def summarize(moved: Mapping[str, Mapping[str, float]]) -> list[str]:
    """Return the largest drift and skew in words."""
    farthest = {
        kind: max(by_name.items(), key=lambda item: item[1])
        for kind, by_name in moved.items()
        if by_name
    }
    return [
        f"{kind} at most {value:.2f} ({name})"
        for kind, (name, value) in farthest.items()
    ]


def _if_any(statistics: _Statistics | None) -> _Statistics | None:
    """Return statistics of at least one record: others compare with nothing."""
    known = statistics is not None and statistics.datasets[0].num_examples
    return statistics if known else None


def _reasons(
    report: anomalies_pb2.Anomalies,
) -> Iterator[tuple[str, anomalies_pb2.AnomalyInfo.Reason]]:
    for key, info in report.anomaly_info.items():
        for reason in info.reason:
            yield ".".join(info.path.step) or key, reason
    for reason in report.dataset_anomaly_info.reason:
        yield "data", reason


def _in_words(
    report: anomalies_pb2.Anomalies, current: _Statistics, schema: schema_pb2.Schema
) -> None:
    """Drop what does no harm from a report, and replace TFDV's words."""
    found = {".".join(f.path.step): f for f in current.datasets[0].features}
    features = {feature.name: feature for feature in schema.feature}
    domains = {domain.name: domain.value for domain in schema.string_domain}
    moved = {".".join(info.path.step): info for info in report.drift_skew_info}
    for key, info in list(report.anomaly_info.items()):
        name = ".".join(info.path.step) or key
        feature = features.get(name, schema_pb2.Feature())
        case = Case(
            feature,
            found.get(name, statistics_pb2.FeatureNameStatistics()),
            domains.get(feature.domain, feature.string_domain.value),
        )
        words = _words(info, case)
        if moved_info := moved.get(name):
            words |= _moves(moved_info)
        _replace(info, words)
        if not words:
            del report.anomaly_info[key]


def _words(info: anomalies_pb2.AnomalyInfo, case: Case) -> dict[str, int]:
    """Return what is wrong with a feature by itself: words and their kind."""
    if _Kind.SCHEMA_NEW_COLUMN in (reason.type for reason in info.reason):
        return {}  # the schema does not ask for it, here: nothing is done with it
    own = [r for r in info.reason if r.type not in (*_COMPARISONS, *_NOT_COMPARED)]
    return {phrase(reason, case): reason.type for reason in own}


def _moves(info: anomalies_pb2.DriftSkewInfo) -> dict[str, int]:
    """Return the distances of a feature that are above their bound."""
    measured = [(m, DRIFT) for m in info.drift_measurements]
    measured += [(m, SKEW) for m in info.skew_measurements]
    return {
        f"{_DISTANCES.get(m.type, 'distance')} {exceeds(m.value, m.threshold)} "
        f"({kind})": _Kind.COMPARATOR_JENSEN_SHANNON_DIVERGENCE_HIGH
        for m, kind in measured
        if m.value > m.threshold
    }


def _replace(info: anomalies_pb2.AnomalyInfo, words: Mapping[str, int]) -> None:
    info.ClearField("reason")
    for description, kind in words.items():
        info.reason.add(type=kind, description=description)
    info.description = info.short_description = "; ".join(words)
