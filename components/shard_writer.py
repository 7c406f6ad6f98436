"""Write the examples of each split, and where each of them comes from."""

import gzip
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import tensorflow as tf

ORIGINS = "origins"
SHARD_BYTES = 64 << 20  # of serialized examples, before compression

# 6, the default, takes three times the seconds of 1.
_GZIP = tf.io.TFRecordOptions(compression_type="GZIP", compression_level=1)


class ShardWriter:
    """The open shard of each split, and beside it the file that names its records.

    Args:
      output: directory of the Examples artifact.
      bundle: number of the bundle; no other writes files of this number.
    """

    def __init__(self, output: Path, bundle: int):
        self._output, self._bundle = output, bundle
        self._open: dict[str, tuple[Any, Any]] = {}
        self._size: Counter = Counter()
        self._number: Counter = Counter()

    def __enter__(self) -> "ShardWriter":
        return self

    def __exit__(self, *error: object) -> None:
        for split in list(self._open):
            self._close(split)

    def write(
        self,
        split: str,
        encoded: Sequence[bytes],
        names: Sequence[str],
        rows: Iterable[int],
    ) -> None:
        """Append some rows of a batch to a split."""
        if split not in self._open:
            self._begin(split)
        shard, origins = self._open[split]
        lines = []
        for row in rows:
            shard.write(encoded[row])
            self._size[split] += len(encoded[row])
            # A file's name may hold a line break.
            lines.append(names[row].replace("\n", " ").replace("\r", " "))
        origins.write("".join(f"{line}\n" for line in lines).encode())
        if self._size[split] > SHARD_BYTES:
            self._close(split)

    def _begin(self, split: str) -> None:
        name = f"examples-{self._bundle:05d}-{self._number[split]:05d}"
        self._number[split] += 1
        self._size[split] = 0
        folder = self._output / f"Split-{split}"
        beside = self._output / ORIGINS / f"Split-{split}"
        for directory in (folder, beside):
            directory.mkdir(parents=True, exist_ok=True)
        shard = tf.io.TFRecordWriter(str(folder / f"{name}.gz"), _GZIP)
        origins = gzip.GzipFile(beside / f"{name}.txt.gz", "wb", compresslevel=1)
        self._open[split] = (shard, origins)

    def _close(self, split: str) -> None:
        for file in self._open.pop(split):
            file.close()
