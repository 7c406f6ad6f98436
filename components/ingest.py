"""Bring a source in as tf.Example shards: any TFDS builder, or a CSV by stock TFX."""

import bisect
import fcntl
import hashlib
import importlib
import itertools
import json
import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import apache_beam as beam
import tensorflow as tf
import tensorflow_datasets as tfds
from google.protobuf import any_pb2, wrappers_pb2
from tfx.components import CsvExampleGen
from tfx.components.example_gen import base_example_gen_executor, component
from tfx.dsl.components.base import executor_spec
from tfx.proto import example_gen_pb2
from tfx.utils import proto_utils

from components import datasets
from recipes.errors import BadInputError

Splits = Mapping[str, int] | Mapping[str, str]
Shard = tuple[str, int, int]  # file, records to skip, records to take (-1: all)


def csv_example_gen(path: Path, splits: Mapping[str, int]) -> CsvExampleGen:
    """Return stock CsvExampleGen for one file, split by a hash of each row."""
    return CsvExampleGen(
        input_base=str(path.parent),
        input_config=example_gen_pb2.Input(
            splits=[example_gen_pb2.Input.Split(name="all", pattern=path.name)]
        ),
        output_config=_shares(splits),
    )


class _TfdsExecutor(base_example_gen_executor.BaseExampleGenExecutor):
    """Prepares the data set where that has not been done, then reads its shards."""

    def Do(self, input_dict: Any, output_dict: Any, exec_properties: Any) -> None:
        self._config = _config(exec_properties)
        self._builder = prepare(self._config["name"], self._config["data_dir"])
        super().Do(input_dict, output_dict, exec_properties)

    def GetInputSourceToExamplePTransform(self) -> beam.PTransform:
        raise AssertionError("GenerateExamplesByBeam reads the source itself")

    def GenerateExamplesByBeam(
        self, pipeline: beam.Pipeline, exec_properties: Any
    ) -> dict[str, beam.PCollection]:
        del exec_properties
        splits = self._config["splits"]
        if not all(isinstance(share, int) for share in splits.values()):
            check_disjoint({s: self._shards(name) for s, name in splits.items()})
            return {
                split: pipeline | f"Read[{split}]" >> self._read(source)
                for split, source in splits.items()
            }
        records = pipeline | self._read("+".join(self._builder.info.splits))
        bounds = [sum(list(splits.values())[: i + 1]) for i in range(len(splits))]
        parts = records | beam.Partition(
            share_of, len(bounds), bounds, self._config["seed"]
        )
        return dict(zip(splits, parts, strict=True))

    def _read(self, source: str) -> beam.PTransform:
        shards = beam.Create(self._shards(source))
        return f"Shards[{source}]" >> shards | beam.FlatMap(_records)

    def _shards(self, source: str) -> list[Shard]:
        try:
            instructions = self._builder.info.splits[source].file_instructions
        except (KeyError, ValueError) as error:
            raise BadInputError(
                f"Data set {self._config['name']!r} has no split {source!r}. "
                f"Expected one of {', '.join(self._builder.info.splits)}, or a slice."
            ) from error
        return [(str(i.filename), i.skip, i.take) for i in instructions]


class TfdsExampleGen(component.QueryBasedExampleGen):
    """Pass the serialized examples of a TFDS builder on, in the splits asked for.

    `splits` are shares (int: all records, split by a seeded hash of their bytes, so
    equal records stay together) or the builder's own splits by name or slice.
    """

    EXECUTOR_SPEC = executor_spec.BeamExecutorSpec(_TfdsExecutor)

    def __init__(self, name: str, data_dir: Path, splits: Splits, seed: int):
        config = {"name": name, "data_dir": str(data_dir), "splits": dict(splits)}
        packed = any_pb2.Any()
        packed.Pack(
            wrappers_pb2.StringValue(value=json.dumps({**config, "seed": seed}))
        )
        super().__init__(
            input_config=example_gen_pb2.Input(
                splits=[
                    example_gen_pb2.Input.Split(name=split, pattern=str(source))
                    for split, source in splits.items()
                ]
            ),
            custom_config=example_gen_pb2.CustomConfig(custom_config=packed),
        )


def prepare(name: str, data_dir: str) -> tfds.core.DatasetBuilder:
    """Return a TFDS builder whose records are on disk; does nothing if they are.

    Raises:
      BadInputError: TFDS knows no builder of this name.
    """
    folder = Path(data_dir)
    if name.split("/")[0] in datasets.names():
        module = importlib.import_module(f"components.datasets.{name.split('/')[0]}")
        # Records of another version of the builder's code are other records.
        source = Path(str(module.__file__)).read_bytes()
        folder /= hashlib.sha256(source).hexdigest()[:12]
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / ".lock").open("w") as lock:
        # Two pipelines may want the same data set. A builder made before the other has
        # prepared it would not know its splits.
        fcntl.flock(lock, fcntl.LOCK_EX)
        try:
            builder = tfds.builder(name, data_dir=folder, file_format="tfrecord")
        except tfds.core.DatasetNotFoundError as error:
            raise BadInputError(f"TFDS has no data set {name!r}.") from error
        builder.download_and_prepare(
            download_config=tfds.download.DownloadConfig(try_download_gcs=False)
        )
    return builder


def share_of(record: bytes, num_shares: int, bounds: list[int], seed: int) -> int:
    """Return the index of the share that a record belongs to, by a seeded hash.

    Args:
      record: serialized example.
      num_shares: len(bounds); Beam passes it.
      bounds: running totals of the shares, ascending.
      seed: another seed is another, independent split.
    """
    del num_shares
    # TFDS writes the features of an example in no fixed order.
    example = tf.train.Example.FromString(record)
    canonical = example.SerializeToString(deterministic=True)
    digest = hashlib.sha256(seed.to_bytes(8, "big", signed=True) + canonical).digest()
    return bisect.bisect(bounds, int.from_bytes(digest, "big") % bounds[-1])


def figures(outputs: Mapping[str, str]) -> dict[str, Any]:
    """Return the size on disk of each split, in bytes."""
    sizes = {
        split.name.removeprefix("Split-"): sum(
            f.stat().st_size for f in split.rglob("*") if f.is_file()
        )
        for split in sorted(Path(outputs["examples"]).glob("Split-*"))
    }
    total = sum(sizes.values())
    return {
        "summary": f"{len(sizes)} splits, {total / 1e6:.2f} MB compressed",
        "size_bytes": sizes,
    }


def check_disjoint(shards: Mapping[str, list[Shard]]) -> None:
    """Refuse splits that share a record.

    Raises:
      BadInputError: what is judged on would have been learned from.
    """
    for (one, ours), (other, theirs) in itertools.combinations(shards.items(), 2):
        if any(_overlap(a, b) for a, b in itertools.product(ours, theirs)):
            raise BadInputError(
                f"[data] splits: {one!r} and {other!r} share records. Expected "
                "slices such as train[:80%], train[80%:90%] and train[90%:]."
            )


def _overlap(one: Shard, other: Shard) -> bool:
    ends = (skip + take if take >= 0 else math.inf for _, skip, take in (one, other))
    return one[0] == other[0] and max(one[1], other[1]) < min(ends)


def _records(shard: Shard) -> Iterator[bytes]:
    filename, skip, take = shard
    yield from (
        tf.data.TFRecordDataset(filename).skip(skip).take(take).as_numpy_iterator()
    )


def _config(exec_properties: Mapping[str, Any]) -> dict[str, Any]:
    packed = example_gen_pb2.CustomConfig()
    proto_utils.json_to_proto(exec_properties["custom_config"], packed)
    text = wrappers_pb2.StringValue()
    packed.custom_config.Unpack(text)
    return json.loads(text.value)


def _shares(splits: Mapping[str, int]) -> example_gen_pb2.Output:
    return example_gen_pb2.Output(
        split_config=example_gen_pb2.SplitConfig(
            splits=[
                example_gen_pb2.SplitConfig.Split(name=name, hash_buckets=share)
                for name, share in splits.items()
            ]
        )
    )
