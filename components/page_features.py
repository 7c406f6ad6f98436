"""Show features and classes as HTML: what each split holds of them, what is wrong."""

import html
from collections.abc import Mapping, Sequence

import numpy as np
from tensorflow_metadata.proto.v0 import anomalies_pb2, schema_pb2, statistics_pb2

from components import anomalies, charts, statistics
from components.anomaly_words import percent
from components.schema import LABEL_TAG
from components.validate import class_counts

LABELS = ("label", "labels")  # readers call it so, where no recipe says what it is
MAX_CLASSES = 100
MAX_BARS = 40
NUM_VALUES = 12  # of a category that are drawn
NUM_NAMED = 4  # of these that are named
MIN_SHARE = 0.01  # of the most frequent value; else it is no category

Datasets = Mapping[str, statistics_pb2.DatasetFeatureStatisticsList]  # by split
Found = Mapping[str, anomalies_pb2.Anomalies]  # by split
_Feature = statistics_pb2.FeatureNameStatistics

_TYPES = {
    _Feature.INT: "int",
    _Feature.FLOAT: "float",
    _Feature.STRING: "text",
    _Feature.BYTES: "bytes",
}


def num_examples(dataset: statistics_pb2.DatasetFeatureStatisticsList) -> int:
    return int(dataset.datasets[0].num_examples)


def classes(datasets: Datasets, schema: schema_pb2.Schema) -> str:
    """Return the balance of the classes, those without an example included."""
    label, counts = _classes(datasets, schema)
    names = list(dict.fromkeys(name for found in counts.values() for name in found))
    if not names:
        return ""
    totals = {split: sum(by_class.values()) or 1 for split, by_class in counts.items()}
    shares = {
        s: {name: counts[s].get(name, 0) / totals[s] for name in names} for s in counts
    }
    rows = [
        [
            html.escape(name),
            *(_class_cell(counts[s].get(name, 0), shares[s][name]) for s in counts),
        ]
        for name in names[:MAX_CLASSES]
    ]
    drawn = {s: dict(list(by.items())[:MAX_BARS]) for s, by in shares.items()}
    more = f"<p>and {len(names) - len(rows):,} more</p>" if names[len(rows) :] else ""
    return (
        f"<h2>Classes: {html.escape(label)}</h2>{charts.bars(drawn, label)}"
        f"{table(['class', *counts], rows)}{more}"
    )


def features(datasets: Datasets, schema: schema_pb2.Schema, found: Found) -> str:
    """Return a row per feature: what is missing, its values, their distribution.

    Args:
      datasets: statistics.
      schema: what the data must obey; empty where it is not known.
      found: what is wrong; {} where it is not known.
    """
    by_name = _by_name(datasets)
    wrong = _wrong(found)
    moved = anomalies.distances(found)
    unused = {f.name for f in schema.feature if f.lifecycle_stage} - wrong.keys()
    rows: dict[bool, list[list[str]]] = {True: [], False: []}
    for name in sorted(by_name.keys() | wrong.keys()):
        by_split = by_name.get(name, {})
        cell = _name_cell(name, by_split, wrong.get(name, ()), moved)
        rows[name not in unused].append([cell, *_value_cells(name, by_split, datasets)])
    head = ["feature", "missing", "values", "distribution"]
    folded = f"<summary>{len(rows[False])} not used</summary>{table(head, rows[False])}"
    return f"<h2>Features</h2>{table(head, rows[True])}" + (
        f"<details>{folded}</details>" if rows[False] else ""
    )


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a table; its cells are HTML already, its head is text."""
    top = "".join(f'<th scope="col">{html.escape(text)}</th>' for text in head)
    body = "".join(
        f"<tr>{''.join(f'<td>{cell}</td>' for cell in row)}</tr>" for row in rows
    )
    return f"<table><thead><tr>{top}</tr></thead><tbody>{body}</tbody></table>"


def _classes(
    datasets: Datasets, schema: schema_pb2.Schema
) -> tuple[str, dict[str, dict[str, int]]]:
    """Return the name of the label, and examples by split and class."""
    label = next((f.name for f in schema.feature if LABEL_TAG in f.annotation.tag), "")
    if label:
        counts = {s: class_counts(schema, found) for s, found in datasets.items()}
        return label, {
            split: by_class for split, by_class in counts.items() if by_class
        }
    by_name = _by_name(datasets)
    label = next((name for name in LABELS if name in by_name), "")
    found = {
        split: statistics.value_counts(feature)
        for split, feature in by_name.get(label, {}).items()
    }
    if any(len(by_value) > MAX_CLASSES for by_value in found.values()):
        return label, {}
    return label, {
        split: {str(value): by_value[value] for value in sorted(by_value)}
        for split, by_value in found.items()
    }


def _class_cell(count: int, share: float) -> str:
    return f"{count:,} ({percent(share)})" if count else '<span class="bad">0</span>'


def _by_name(datasets: Datasets) -> dict[str, dict[str, _Feature]]:
    found: dict[str, dict[str, _Feature]] = {}
    for split, dataset in datasets.items():
        for feature in dataset.datasets[0].features:
            name = feature.name or ".".join(feature.path.step)
            found.setdefault(name, {})[split] = feature
    return found


def _wrong(found: Found) -> dict[str, list[str]]:
    """Return what is wrong with each feature, and where."""
    wrong: dict[str, dict[str, list[str]]] = {}
    for split, report in found.items():
        for key, info in report.anomaly_info.items():
            texts = wrong.setdefault(".".join(info.path.step) or key, {})
            for reason in info.reason:
                texts.setdefault(reason.description, []).append(split)
    return {
        name: [f"{', '.join(splits)}: {text}" for text, splits in texts.items()]
        for name, texts in wrong.items()
    }


def _name_cell(
    name: str,
    by_split: Mapping[str, _Feature],
    wrong: Sequence[str],
    moved: Mapping[str, Mapping[str, float]],
) -> str:
    """Return the name, type and distances of a feature, and what is wrong with it."""
    # A split without a value does not know its type.
    known = [f for f in by_split.values() if _common(f).num_non_missing]
    kinds = dict.fromkeys(_TYPES.get(f.type, "") for f in known)
    lines = [", ".join(kinds)] if kinds else []
    lines += [f"{k} {by[name]:.3f}" for k, by in moved.items() if name in by]
    told = "".join(f"<br>{line}" for line in lines)
    shown = f'<b class="{"bad" if wrong else ""}">{html.escape(name)}</b>{told}'
    texts = "".join(f"<br>{html.escape(text)}" for text in wrong)
    return shown + (f'<span class="bad">{texts}</span>' if wrong else "")


def _value_cells(
    name: str, by_split: Mapping[str, _Feature], datasets: Datasets
) -> list[str]:
    if not by_split:
        return ["", "", ""]
    feature = next(iter(by_split.values()))
    return [
        _missing(by_split, datasets),
        _values(feature),
        _drawn(name, feature, by_split),
    ]


def _missing(by_split: Mapping[str, _Feature], datasets: Datasets) -> str:
    """Return the share of the examples without a value, of each split if any lacks."""
    shares = {}
    for split, dataset in datasets.items():
        feature, total = by_split.get(split), num_examples(dataset)
        if total:
            there = _common(feature).num_non_missing if feature else 0
            shares[split] = 1 - there / total
    if not any(shares.values()):
        return ""
    return "<br>".join(
        f'<span class="key {split}">{percent(share)}</span> {split}'
        for split, share in shares.items()
    )


def _common(feature: _Feature) -> statistics_pb2.CommonStatistics:
    return getattr(feature, feature.WhichOneof("stats") or "num_stats").common_stats


def _values(feature: _Feature) -> str:
    """Return the values in words, as HTML."""
    common, kind = _common(feature), feature.WhichOneof("stats")
    if kind == "num_stats":
        numbers = feature.num_stats
        lines = [
            f"{numbers.min:g} to {numbers.max:g}, median {numbers.median:.4g}",
            f"mean {numbers.mean:.4g}, deviation {numbers.std_dev:.4g}",
        ]
        if numbers.num_zeros and common.tot_num_values:
            lines.append(f"{percent(numbers.num_zeros / common.tot_num_values)} zeros")
    elif kind == "string_stats":
        lines = [f"{feature.string_stats.unique:,} different", _named(feature)]
    else:
        size = feature.bytes_stats.avg_num_bytes
        lines = [f"{size:,.0f} bytes on average"] if kind == "bytes_stats" else []
    if common.max_num_values > 1:
        lines.append(f"{common.min_num_values} to {common.max_num_values} values each")
    return "<br>".join(line for line in lines if line)


def _named(feature: _Feature) -> str:
    """Return the most frequent values with their shares, as HTML."""
    named = [
        f"{html.escape(value[:40])} {percent(share)}"
        for value, share in list(_shares(feature).items())[:NUM_NAMED]
    ]
    return "<br>".join(named)


def _shares(feature: _Feature) -> dict[str, float]:
    """Return the share of each value among all, the most frequent first.

    {} if no value occurs often: then they are no categories.
    """
    counts = statistics.value_counts(feature)
    total = _common(feature).tot_num_values
    if max(counts.values(), default=0) < max(2, MIN_SHARE * total):
        return {}
    return {str(value): count / total for value, count in counts.items()}


def _drawn(name: str, feature: _Feature, by_split: Mapping[str, _Feature]) -> str:
    is_number = all(f.HasField("num_stats") for f in by_split.values())
    shares = _shares(feature)
    if shares and (not is_number or len(shares) <= NUM_VALUES):
        every = {split: _shares(found) for split, found in by_split.items()}
        return charts.bars(_most_frequent(every, in_order=is_number), name)
    return charts.histogram({s: _bars(f) for s, f in by_split.items()}, name)


def _most_frequent(
    shares: Mapping[str, Mapping[str, float]], *, in_order: bool
) -> dict[str, dict[str, float]]:
    """Return the shares, in every split, of values that are frequent in any."""
    most: dict[str, float] = {}
    for by_value in shares.values():
        for value, share in by_value.items():
            most[value] = max(share, most.get(value, 0.0))
    values = sorted(most, key=lambda value: -most[value])[:NUM_VALUES]
    if in_order:
        values.sort(key=int)
    return {s: {v: by.get(v, 0.0) for v in values} for s, by in shares.items()}


def _bars(feature: _Feature) -> charts.Bars:
    for found in feature.num_stats.histograms:
        if found.type == statistics_pb2.Histogram.STANDARD:
            total = sum(b.sample_count for b in found.buckets) or 1
            return [
                (b.low_value, b.high_value, b.sample_count / total)
                for b in found.buckets
                if np.isfinite(b.low_value) and np.isfinite(b.high_value)
            ]
    return []
