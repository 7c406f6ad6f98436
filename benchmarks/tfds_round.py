"""Let TFDS prepare a data set, then ingest it; say how long each took.

    python benchmarks/tfds_round.py NAME SPLITS DOWNLOADS

SPLITS is JSON, as in a recipe. Works in the current directory and writes `seconds.json`
there. Not a benchmark by itself: `tfds_share.py` runs it.
"""

import json
import sys
import time
from pathlib import Path

import tensorflow_datasets as tfds

from components import ingest
from components.sources import tfds as reader  # noqa: F401 - its import is not timed
from recipes.schema import Data


def main() -> None:
    """Prepare as TFDS's guide says, with nothing of ours, then ingest."""
    name, splits, downloads = sys.argv[1:]
    workspace = Path.cwd()
    prepared = workspace / "tfds"
    started = time.perf_counter()
    builder = tfds.builder(name, data_dir=prepared, file_format="tfrecord")
    config = tfds.download.DownloadConfig(
        extract_dir=workspace / "extracted", try_download_gcs=False
    )
    builder.download_and_prepare(download_dir=downloads, download_config=config)
    ready = time.perf_counter()
    data = Data(tfds=name, splits=json.loads(splits)).model_dump(mode="json")
    report = ingest.run(data, workspace, workspace / "examples", tfds_dir=prepared)
    ended = time.perf_counter()
    seconds = {
        "prepare_s": ready - started,
        "ours_s": ended - ready,
        "records": sum(report["records"].values()),
    }
    (workspace / "seconds.json").write_text(json.dumps(seconds))


if __name__ == "__main__":
    main()
