"""Describe every column of every split: TFDV's statistics, in TFX's layout.

TFX's own StatisticsGen reads records one by one in Python and counts texts by a shuffle
whose memory grows with the number of different texts. Here records are read and decoded
in C++, thousands at a time, and texts are counted by TFDV's sketches of fixed size:
the most frequent are exact up to 1,024 different texts of a column, and how many differ
up to 16,384; above, both are close. Encoded images and sounds are measured, not
counted. Whole numbers of few values are counted by value too: they may be classes.
"""

from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import chain
from pathlib import Path
from typing import Any

import apache_beam as beam
import numpy as np
import pyarrow as pa
import tensorflow as tf
import tensorflow_data_validation as tfdv
from tensorflow_data_validation.statistics import stats_impl
from tensorflow_metadata.proto.v0 import schema_pb2, statistics_pb2
from tfx.dsl.component.experimental.annotations import (
    BeamComponentParameter,
    InputArtifact,
    OutputArtifact,
)
from tfx.dsl.component.experimental.decorators import component
from tfx.types import artifact_utils, standard_artifacts
from tfx_bsl.coders.example_coder import ExamplesToRecordBatchDecoder

from components.value_counts import VALUE_COUNTS, ValueCounts
from recipes.errors import BadInputError

FILE_NAME = "FeatureStats.pb"
SPLITS = ("train", "eval", "test", "serving")  # in the order in which they are told

# Larger batches are no faster and hold more memory; 1,000 cost TFDV half its speed.
BATCH_ROWS = 4096
BATCH_BYTES = 16 << 20
# The decoder works without Python's lock: two threads are twice as fast on two cores.
DECODERS = 2

# A text longer than this is no category: TFDV's sketches count such texts as one.
_MAX_TEXT_BYTES = 1024


@component(use_beam=True)
def Statistics(
    examples: InputArtifact[standard_artifacts.Examples],
    statistics: OutputArtifact[standard_artifacts.ExampleStatistics],
    beam_pipeline: BeamComponentParameter[beam.Pipeline] = None,
):
    """Write the statistics of each split, as TFX's StatisticsGen does."""
    splits = artifact_utils.decode_split_names(examples.split_names)
    statistics.split_names = artifact_utils.encode_split_names(splits)
    write(examples.uri, statistics.uri, splits, beam_pipeline)


def write(
    examples: str, statistics: str, splits: Sequence[str], pipeline: beam.Pipeline
) -> None:
    """Write `Split-x/FeatureStats.pb` for each split of an Examples artifact.

    Raises:
      BadInputError: records of one split disagree about the type of a feature.
    """
    shards = {split: _shards(Path(examples) / f"Split-{split}") for split in splits}
    options = tfdv.StatsOptions(
        schema=_declare(blobs(chain.from_iterable(shards.values()))),
        use_sketch_based_topk_uniques=True,
        generators=[ValueCounts(VALUE_COUNTS)],
        desired_batch_size=1,  # they come in batches: none is to be kept or copied
    )
    with pipeline:
        _ = (
            pipeline
            | beam.Create([(split, path) for split in splits for path in shards[split]])
            | "Decode" >> beam.FlatMapTuple(_keyed_batches)
            | stats_impl.GenerateSlicedStatisticsImpl(options, is_slicing_enabled=True)
            | "Write" >> beam.Map(_write_splits, statistics, splits)
        )


def load(uri: str, split: str) -> statistics_pb2.DatasetFeatureStatisticsList:
    """Read the statistics of a split."""
    path = Path(uri) / f"Split-{split}" / FILE_NAME
    return statistics_pb2.DatasetFeatureStatisticsList.FromString(path.read_bytes())


def num_examples(uri: str) -> dict[str, int]:
    """Return the number of examples in each split of a statistics artifact."""
    found = {path.name.removeprefix("Split-") for path in Path(uri).glob("Split-*")}
    return {
        split: int(load(uri, split).datasets[0].num_examples)
        for split in SPLITS
        if split in found
    }


def value_counts(feature: statistics_pb2.FeatureNameStatistics) -> dict[Any, int]:
    """Return how often each text or whole number occurs; {} where there are too many.

    Texts beyond the 1,000 most frequent are left out.
    """
    if feature.HasField("string_stats"):
        buckets = feature.string_stats.rank_histogram.buckets
        return {bucket.label: int(bucket.sample_count) for bucket in buckets}
    for custom in feature.custom_stats:
        if custom.name == VALUE_COUNTS:
            buckets = custom.rank_histogram.buckets
            return {int(bucket.label): int(bucket.sample_count) for bucket in buckets}
    return {}


def figures(outputs: Mapping[str, str]) -> dict[str, Any]:
    """Return the number of examples in each split."""
    counts = num_examples(outputs["statistics"])
    summary = " · ".join(f"{count:,} {split}" for split, count in counts.items())
    return {"summary": summary, "num_examples": counts}


def blobs(shards: Iterable[str]) -> list[str]:
    """Return the features that hold encoded images, sounds, or very long texts.

    The first records of the first shard that has any decide, for all splits.
    """
    for path in shards:
        for records in _records(path, 256).take(1).as_numpy_iterator():
            table = _decode(path, records)
            return [name for name in table.schema.names if _is_blob(table[name])]
    return []


def _is_blob(column: pa.Array) -> bool:
    if not pa.types.is_large_list(column.type):
        return False  # no record has it
    values = column.flatten()
    if not pa.types.is_large_binary(values.type) or not len(values):
        return False
    texts = [value.as_py() for value in values]
    if sum(map(len, texts)) > _MAX_TEXT_BYTES * len(texts):
        return True
    return sum(map(_is_text, texts)) < len(texts) / 2


def _is_text(value: bytes) -> bool:
    try:
        value.decode()
    except UnicodeDecodeError:
        return False
    return True


def _declare(names: Iterable[str]) -> schema_pb2.Schema:
    """Return a schema that keeps TFDV from counting the values of some features."""
    schema = schema_pb2.Schema()
    for name in names:
        feature = schema.feature.add(name=name, type=schema_pb2.BYTES)
        # The one domain that tells TFDV that bytes are no texts, whatever they are.
        feature.image_domain.SetInParent()
    return schema


def _shards(folder: Path) -> list[str]:
    return sorted(str(path) for path in folder.glob("*.gz"))


def _records(path: str, rows: int) -> tf.data.Dataset:
    return tf.data.TFRecordDataset(path, compression_type="GZIP").batch(rows)


def _keyed_batches(split: str, path: str) -> Iterator[tuple[str, pa.RecordBatch]]:
    for batch in _batches(path):
        yield split, batch


def _batches(path: str) -> Iterator[pa.RecordBatch]:
    """Decode a shard, `DECODERS` batches ahead."""
    head = list(_records(path, 64).take(1).as_numpy_iterator())
    if not head:
        return
    size = sum(map(len, head[0])) // len(head[0]) + 1
    rows = max(1, min(BATCH_ROWS, BATCH_BYTES // size))
    waiting: deque[Future[pa.RecordBatch]] = deque()
    with ThreadPoolExecutor(DECODERS) as decoders:
        for records in _records(path, rows).prefetch(1).as_numpy_iterator():
            waiting.append(decoders.submit(_decode, path, records))
            if len(waiting) > DECODERS:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()


def _decode(path: str, records: np.ndarray) -> pa.RecordBatch:
    """Decode (n,) serialized examples: a column of lists per feature."""
    try:
        return ExamplesToRecordBatchDecoder().DecodeBatch(records.tolist())
    except RuntimeError as error:
        raise BadInputError(f"{path}: {error}") from error


def _write_splits(
    found: statistics_pb2.DatasetFeatureStatisticsList, uri: str, splits: Sequence[str]
) -> None:
    by_split = {dataset.name: dataset for dataset in found.datasets}
    for split in splits:
        one = statistics_pb2.DatasetFeatureStatisticsList()
        dataset = one.datasets.add()
        dataset.MergeFrom(by_split.get(split, dataset))
        dataset.ClearField("name")  # TFDV takes a named one for a slice of the data
        path = Path(uri) / f"Split-{split}" / FILE_NAME
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(one.SerializeToString(deterministic=True))
