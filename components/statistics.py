"""What StatisticsGen found, in figures."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tensorflow_metadata.proto.v0 import statistics_pb2


def figures(outputs: Mapping[str, str]) -> dict[str, Any]:
    """Return the number of examples in each split."""
    counts = num_examples(outputs["statistics"])
    summary = " · ".join(f"{count:,} {split}" for split, count in counts.items())
    return {"summary": summary, "num_examples": counts}


def num_examples(uri: str) -> dict[str, int]:
    """Return the number of examples in each split of a statistics artifact."""
    counts = {
        split.name.removeprefix("Split-"): _count(split / "FeatureStats.pb")
        for split in Path(uri).glob("Split-*")
    }
    return {s: counts[s] for s in ("train", "eval", "test") if s in counts}


def _count(path: Path) -> int:
    statistics = statistics_pb2.DatasetFeatureStatisticsList.FromString(
        path.read_bytes()
    )
    return int(statistics.datasets[0].num_examples)
