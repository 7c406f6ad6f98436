"""Ingest one data set; count what came out, and say what it cost.

    python benchmarks/sources_round.py

Reads `data.json` (a recipe's section, the feature that holds labels, what is counted of
it) in the current directory and writes `found.json` there. Not a benchmark by itself:
`sources.py` runs it.
"""

import io
import json
import resource
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import tensorflow as tf
from PIL import Image

from components import ingest, sources
from recipes.schema import Data


def main() -> None:
    """Ingest, measure, count."""
    task = json.loads(Path("data.json").read_text())
    data = Data.model_validate_json(json.dumps(task["data"]))
    sources.reader(data.source)  # its import is not timed
    here = Path.cwd()
    if data.tfds:
        _prepare(data, here / "tfds")
    before = _resident_mb()
    started = time.perf_counter()
    report = ingest.run(
        data.model_dump(mode="json"), here, here / "examples", tfds_dir=here / "tfds"
    )
    seconds = time.perf_counter() - started
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    examples = list(here.glob("examples/Split-*/examples-*"))
    rows, labels = 0, Counter()
    for example in _examples(examples):
        rows += 1
        labels.update(_values(example.features.feature[task["feature"]], task["each"]))
    found = {"rows": rows, "labels": sorted(labels.items()), "report": report}
    found |= {"seconds": seconds, "start_mb": before, "peak_mb": peak}
    Path("found.json").write_text(json.dumps(found))


def _prepare(data: Data, folder: Path) -> None:
    """Let TFDS write its own files: that takes its time, not ours."""
    from components.sources import tfds

    tfds.prepare(data_dir=str(folder), **data.tfds.model_dump(mode="json"))


def _resident_mb() -> float:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize() / 2**20


def _examples(shards: list[Path]) -> Iterator[tf.train.Example]:
    records = tf.data.TFRecordDataset([str(shard) for shard in shards], "GZIP")
    for record in records.as_numpy_iterator():
        yield tf.train.Example.FromString(record)


def _values(feature: tf.train.Feature, each: str) -> Any:
    if each == "pixel":
        (mask,) = feature.bytes_list.value
        return dict(enumerate(Image.open(io.BytesIO(mask)).histogram()))
    numbers = feature.int64_list.value or feature.float_list.value
    texts = [value.decode() for value in feature.bytes_list.value]
    return "".join(texts) if each == "character" else [*numbers, *texts]


if __name__ == "__main__":
    main()
