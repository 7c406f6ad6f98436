"""TensorFlow Datasets: the records of any builder, passed on as they are.

`pieces` prepares the data set where that has not been done, and so needs the files it
is made of: downloaded, in `download_dir`, or in `manual_dir`.
"""

import contextlib
import fcntl
import hashlib
import importlib
import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import requests
import tensorflow as tf
import tensorflow_datasets as tfds
from apache_beam.runners.portability import fn_api_runner
from tensorflow_datasets.core.download import (
    download_manager,
    downloader,
    extractor,
    util,
)

from components import datasets
from components.sources import BATCH_BYTES, Batch, Piece, files
from recipes.errors import BadInputError, MissingError

SUFFIXES = ()

_BATCH_ROWS = 1024
_DOWNLOAD_RETRIES = 2
_SAID = 300  # characters of an error of TFDS
_NOT_PREPARED = (
    OSError,  # also: no network, no permission, a file that the builder opens
    AssertionError,  # of a builder without its manual_dir
    tf.errors.OpError,  # likewise, by TensorFlow
    util.DownloadError,
    download_manager.NonMatchingChecksumError,
    extractor.ExtractError,
)


@dataclass(frozen=True)
class Shard:
    """Records of one file.

    Attributes:
      path: of the file.
      skip: records before the first that is taken.
      take: how many are taken.
      split: of the builder, such as `train`.
      first: index of the first that is taken, in that split.
    """

    path: str
    skip: int
    take: int
    split: str
    first: int


def pieces(
    source: Mapping[str, Any],
    found: Sequence[files.File],
    splits: Mapping[str, int | str],
) -> list[Piece]:
    """Return a piece per file of the prepared data set.

    Args:
      source: `name`, `download_dir`, `manual_dir`, and `data_dir`, where prepared data
        lie.
      found: nothing.
      splits: shares, which read all records, or the builder's splits by name or slice.

    Raises:
      BadInputError: the data set or a split of it is unknown, splits share records, or
        the data set cannot be prepared.
    """
    del found
    builder = prepare(
        source["name"],
        source["data_dir"],
        download_dir=source["download_dir"],
        manual_dir=source["manual_dir"],
    )
    if all(isinstance(share, int) for share in splits.values()):
        shards = _shards(builder, source["name"], "+".join(builder.info.splits))
        return [_piece(builder, source["name"], shard, None) for shard in shards]
    chosen = {s: _shards(builder, source["name"], str(n)) for s, n in splits.items()}
    check_disjoint(chosen)
    return [
        _piece(builder, source["name"], shard, split)
        for split, shards in chosen.items()
        for shard in shards
    ]


def read(piece: Piece) -> Iterator[Batch]:
    """Read serialized tf.Examples, in the order TFDS wrote them."""
    options = piece.options
    number = options["first"]
    records = tf.data.TFRecordDataset(piece.path, buffer_size=BATCH_BYTES)
    records = (
        records.skip(options["skip"]).take(options["take"]).batch(options["batch_rows"])
    )
    for values in records.as_numpy_iterator():
        rows = values.tolist()
        names = [f"{options['name']}[{i}]" for i in range(number, number + len(rows))]
        number += len(rows)
        yield Batch(names, records=rows, split=options["split"])


def prepare(
    name: str,
    data_dir: str,
    *,
    download_dir: str | None = None,
    manual_dir: str | None = None,
) -> tfds.core.DatasetBuilder:
    """Return a TFDS builder whose records are on disk; does nothing if they are.

    Args:
      name: `name`, `name/config` or `name/config:version`.
      data_dir: where prepared data lie, and what is unpacked on the way.
      download_dir: where downloads lie, and new ones are put. Default: in `data_dir`.
      manual_dir: files that the builder is not to download.

    Raises:
      BadInputError: TFDS knows no builder of this name, or its files are not there and
        cannot be downloaded.
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
        builder = _builder(name, folder)
        downloads = download_dir or str(folder / "downloads")
        _download_and_prepare(builder, folder, downloads, manual_dir)
    return builder


def check_disjoint(chosen: Mapping[str, Sequence[Shard]]) -> None:
    """Refuse splits that share a record.

    Raises:
      BadInputError: what is judged on would have been learned from.
    """
    for (one, ours), (other, theirs) in itertools.combinations(chosen.items(), 2):
        if any(_overlap(a, b) for a, b in itertools.product(ours, theirs)):
            raise BadInputError(
                f"[data] splits: {one!r} and {other!r} share records. Expected "
                "slices such as train[:80%], train[80%:90%] and train[90%:]."
            )


def _overlap(one: Shard, other: Shard) -> bool:
    begin = max(one.skip, other.skip)
    return one.path == other.path and begin < min(
        one.skip + one.take, other.skip + other.take
    )


def _builder(name: str, folder: Path) -> tfds.core.DatasetBuilder:
    try:
        return tfds.builder(name, data_dir=folder, file_format="tfrecord")
    except tfds.core.DatasetNotFoundError as error:
        raise BadInputError(f"TFDS has no data set {name!r}.") from error
    except (ValueError, AssertionError) as error:  # no such config, no such version
        said = str(error).rpartition('}": ')[2].split(". ")[0]
        raise BadInputError(f"TFDS, {name!r}: {said.rstrip('.')}.") from error


def _download_and_prepare(
    builder: tfds.core.DatasetBuilder,
    folder: Path,
    download_dir: str,
    manual_dir: str | None,
) -> None:
    config = tfds.download.DownloadConfig(
        extract_dir=folder / "extracted",  # nothing is written where downloads lie
        manual_dir=manual_dir,
        try_download_gcs=False,
        # For builders that are pipelines; Beam's default would download a runner.
        beam_runner=fn_api_runner.FnApiRunner(),
    )
    try:
        with _few_retries():
            builder.download_and_prepare(
                download_dir=download_dir, download_config=config
            )
    except ImportError as error:
        raise MissingError(f"TFDS, {builder.name!r}: {_one_line(error)}") from error
    except _NOT_PREPARED as error:
        looked = " and ".join(filter(None, (download_dir, manual_dir)))
        raise BadInputError(
            f"TFDS cannot prepare {builder.info.full_name!r}: {_one_line(error)}. "
            f"Looked in {looked}. Without a network, say where its files are: "
            "[data.tfds] download_dir, a download folder of TFDS, or manual_dir, files "
            "by the names they have where they come from."
        ) from error


@contextlib.contextmanager
def _few_retries() -> Iterator[None]:
    """Let a download give up in seconds; TFDS tries for minutes without a network."""
    retries = downloader.MAX_RETRIES
    downloader.MAX_RETRIES = _DOWNLOAD_RETRIES
    try:
        yield
    finally:
        downloader.MAX_RETRIES = retries


def _shards(builder: tfds.core.DatasetBuilder, name: str, source: str) -> list[Shard]:
    try:
        instructions = builder.info.splits[source].file_instructions
    except (KeyError, ValueError) as error:
        raise BadInputError(
            f"Data set {name!r} has no split {source!r}. "
            f"Expected one of {', '.join(builder.info.splits)}, or a slice."
        ) from error
    starts = _starts(builder)
    shards = []
    for instruction in instructions:
        path = str(instruction.filename)
        split, start = starts[path]
        take = instruction.examples_in_shard - instruction.skip
        if instruction.take >= 0:
            take = instruction.take
        first = start + instruction.skip
        shards.append(Shard(path, instruction.skip, take, split, first))
    if not sum(shard.take for shard in shards):
        raise BadInputError(
            f"[data] splits: {source!r} of data set {name!r} holds no record. Both "
            "ends of a slice must be percentages, or both numbers of records."
        )
    return shards


def _starts(builder: tfds.core.DatasetBuilder) -> dict[str, tuple[str, int]]:
    """Return the split of each file, and the index of its first record there."""
    starts = {}
    for split, info in builder.info.splits.items():
        begins = itertools.accumulate(info.shard_lengths, initial=0)
        for path, begin in zip(info.filepaths, begins, strict=False):
            starts[str(path)] = (split, begin)
    return starts


def _piece(
    builder: tfds.core.DatasetBuilder, name: str, shard: Shard, split: str | None
) -> Piece:
    info = builder.info.splits[shard.split]
    options = {
        "name": f"{name} {shard.split}",
        "first": shard.first,
        "skip": shard.skip,
        "take": shard.take,
        "split": split,
        "batch_rows": _batch_rows(info),
    }
    size = math.ceil(info.num_bytes * shard.take / max(info.num_examples, 1))
    return Piece(shard.path, "", size, options)


def _batch_rows(info: tfds.core.SplitInfo) -> int:
    """Return how many records are about BATCH_BYTES: TFDS tells the size of all."""
    fitting = BATCH_BYTES * info.num_examples // max(info.num_bytes, 1)
    return max(1, min(_BATCH_ROWS, fitting))


def _one_line(error: BaseException) -> str:
    """Return what an error says, cut where it turns into a page."""
    if isinstance(error, requests.exceptions.ConnectionError) and error.request:
        return f"no connection to download {error.request.url}"
    text = " ".join(str(error).split()) or type(error).__name__
    return text.rstrip(".") if len(text) <= _SAID else f"{text[:_SAID]}..."
