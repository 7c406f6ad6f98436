"""Hashes of records, which decide where they go."""

import hashlib
from collections.abc import Iterable, Sequence

import numpy as np


def canonical(records: Iterable[bytes]) -> list[bytes]:
    """Return serialized tf.Examples as bytes that are the same for equal records.

    Features are a map, which everybody writes in an order of their own: TFDS does, and
    so does tfx_bsl, at each call another.
    """
    # TensorFlow takes seconds to import, and splits by time or part do without it.
    from tensorflow.core.example import example_pb2

    parse = example_pb2.Example.FromString
    return [parse(record).SerializeToString(deterministic=True) for record in records]


def digests(contents: Iterable[bytes], seed: int) -> list[bytes]:
    """Return the sha256 of the seed and each content."""
    start = hashlib.sha256(seed.to_bytes(8, "big", signed=True))
    found = []
    for content in contents:
        hashed = start.copy()
        hashed.update(content)
        found.append(hashed.digest())
    return found


def hashes(contents: Sequence[bytes], seed: int) -> np.ndarray:
    """Return the first 8 bytes of the hashes, (n,) uint64."""
    words = np.frombuffer(b"".join(digests(contents, seed)), ">u8")
    return words[::4].astype(np.uint64)
