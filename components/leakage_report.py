"""Say what leaks: lines that refuse a run, lines that warn, and the figures behind."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from components import near_duplicates, shards
from components.duplicates import Found
from components.feature_leaks import Copy, Values
from recipes.validation import Leakage as Limits

MAX_PAIRS = 10  # in the report
_PAIRS_IN_LINE = 3

_REMEDY = {
    "duplicates": "Keep equal records in one split: shares in data.splits do",
    "near_duplicates": "Remove copies, or keep them in one split by data.split_by.key",
}
_WHAT = {
    "duplicates": "also stand in train",
    "near_duplicates": "are almost the same as one of train",
}


@dataclass(frozen=True)
class Findings:
    """What was found in the examples of an artifact.

    Attributes:
      kind: what was compared: `image`, `text`, `audio` or `table`.
      num_records: of each split.
      exact: by split.
      near: by split, without those that are exact.
      copies: features that tell the label.
      ids: features that look like ids.
    """

    kind: str
    num_records: Mapping[str, int]
    exact: Mapping[str, Found]
    near: Mapping[str, Found]
    copies: list[Copy] = field(default_factory=list)
    ids: Mapping[str, Values] = field(default_factory=dict)


def report(found: Findings, uri: str, limits: Limits) -> dict[str, Any]:
    """Return the report as plain JSON values; rows are named as `origins/` does."""
    sections: dict[str, Any] = {
        "duplicates": _twins(found.exact, found.num_records, uri),
        "near_duplicates": _twins(found.near, found.num_records, uri),
    }
    refusals, warnings = [], []
    for section, twins in sections.items():
        limit = getattr(limits, section)
        for refused, line in _twin_lines(section, found.kind, twins, limit):
            (refusals if refused else warnings).append(line)
    for feature, line in [*_copy_lines(found, uri, limits), *_id_lines(found, limits)]:
        if feature not in limits.allow:
            refusals.append(line)
    sampled = near_duplicates.sampled(found.kind, found.num_records)
    if sampled:
        warnings.append(sampled)
    return {
        "refusals": refusals,
        "warnings": warnings,
        "kind": found.kind,
        **sections,
        "label_copies": [
            {
                "feature": copy.feature,
                "share": round(copy.share, 5),
                "most_frequent_label": round(copy.usual, 5),
                "allowed": copy.feature in limits.allow,
            }
            for copy in found.copies
        ],
        "id_like": [
            {
                "feature": feature,
                "share": round(values.share(), 5),
                "records": values.present,
                "example": values.example,
                "allowed": feature in limits.allow,
            }
            for feature, values in found.ids.items()
        ],
    }


def summary(written: Mapping[str, Any]) -> str:
    """Return one line on a report."""
    words = {"duplicates": "also in train", "near_duplicates": "almost so"}
    parts = [
        f"{twins['found']:,} of {twins['records']:,} {split} {words[section]}"
        for section in words
        for split, twins in written[section].items()
        if twins["found"]
    ]
    parts += [f"{copy['feature']} tells the label" for copy in written["label_copies"]]
    parts += [f"{found['feature']} looks like an id" for found in written["id_like"]]
    return " · ".join(parts) or "no record in two splits, no feature tells the label"


def _twins(
    by_split: Mapping[str, Found], num_records: Mapping[str, int], uri: str
) -> dict[str, Any]:
    result = {}
    for split, found in by_split.items():
        rows = found.rows[:MAX_PAIRS].tolist()
        twins = found.of_train[:MAX_PAIRS].tolist()
        names, of_train = (
            shards.names(uri, split, rows),
            shards.names(uri, "train", twins),
        )
        result[split] = {
            "records": num_records[split],
            "found": len(found.rows),
            "share": round(float(found.share), 6),
            "by_chance": found.by_chance,
            "pairs": [
                {"row": names[row], "train": of_train[twin], "index": row, "of": twin}
                for row, twin in zip(rows, twins, strict=True)
            ],
        }
    return result


def _twin_lines(
    section: str, kind: str, twins: Mapping[str, Any], limit: float
) -> Iterator[tuple[bool, str]]:
    """Yield whether a line refuses, and the line."""
    # Shares go by all features; images, texts and sounds are equal by one.
    remedy = _REMEDY[section if kind == "table" else "near_duplicates"]
    for split, found in twins.items():
        if found["found"]:
            line = (
                f"{split}: {found['found']:,} of {found['records']:,} records "
                f"({_percent(found['share'])}, limit {_percent(limit)}) "
                f"{_WHAT[section]}: {_pairs(split, found)}."
            )
            refused = found["share"] > limit
            way_out = f" {remedy}; or raise validation.leakage.{section}."
            yield refused, line + (way_out if refused else "")
        if found["by_chance"] > limit * found["records"]:
            yield (
                False,
                f"{split}: {found['by_chance']:,} of {found['records']:,} rows equal "
                "one of train, as chance alone would make them: not counted.",
            )


def _pairs(split: str, found: Mapping[str, Any]) -> str:
    shown = [
        f"{split}: {pair['row']} = train: {pair['train']}"
        for pair in found["pairs"][:_PAIRS_IN_LINE]
    ]
    more = found["found"] - len(shown)
    return "; ".join(shown) + (f"; and {more:,} more" if more else "")


def _copy_lines(found: Findings, uri: str, limits: Limits) -> Iterator[tuple[str, str]]:
    for copy in found.copies:
        name = shards.names(uri, "train", [copy.row])[copy.row]
        yield (
            copy.feature,
            f"Feature {copy.feature!r} alone tells {_percent(copy.share)} of the "
            f"labels (limit {_percent(limits.label_copy)}; the most frequent label has "
            f"{_percent(copy.usual)}), as in {name}: {copy.feature}={copy.value!r}, "
            f"label {copy.label!r}. {_feature_remedy(copy.feature)}",
        )


def _id_lines(found: Findings, limits: Limits) -> Iterator[tuple[str, str]]:
    for feature, values in found.ids.items():
        yield (
            feature,
            f"Feature {feature!r} has {_percent(values.share())} different values in "
            f"{values.present:,} records (limit {_percent(limits.id_like)}), such as "
            f"{values.example!r}: an id, from which nothing can be learned. "
            f"{_feature_remedy(feature)}",
        )


def _feature_remedy(feature: str) -> str:
    return (
        "Take it out of transform, or, if it is known when the model is asked, add "
        f"{feature!r} to validation.leakage.allow."
    )


def _percent(share: float) -> str:
    return f"{100 * share:.3g} %"
