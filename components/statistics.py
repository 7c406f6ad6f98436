"""What StatisticsGen found, in figures."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tensorflow_metadata.proto.v0 import statistics_pb2

from recipes.errors import BadInputError


def figures(outputs: Mapping[str, str]) -> dict[str, Any]:
    """Return the number of examples in each split.

    Raises:
      BadInputError: a split is empty, so that nothing can be learned or judged.
    """
    counts = {
        split.name.removeprefix("Split-"): _num_examples(split / "FeatureStats.pb")
        for split in Path(outputs["statistics"]).glob("Split-*")
    }
    counts = {s: counts[s] for s in ("train", "eval", "test") if s in counts}
    empty = [split for split, count in counts.items() if not count]
    if empty:
        raise BadInputError(
            f"Expected examples in every split. Received none in {', '.join(empty)} "
            f"of {sum(counts.values())} in all. Bring more data, or change data.splits."
        )
    summary = " · ".join(f"{count:,} {split}" for split, count in counts.items())
    return {"summary": summary, "num_examples": counts}


def _num_examples(path: Path) -> int:
    statistics = statistics_pb2.DatasetFeatureStatisticsList.FromString(
        path.read_bytes()
    )
    return int(statistics.datasets[0].num_examples)
