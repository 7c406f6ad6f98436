"""The order in which a training sees its records."""

from collections.abc import Sequence

import tensorflow as tf

MEMORY_BYTES = 2**29  # records above it are streamed; twice as much while they are read
SHUFFLE_BUFFER = 10_000  # serialized examples held in memory while streaming
_CHUNK = 4096  # records read at once: one by one they take six times as long
_STRING_BYTES = 32  # of a string in memory, beside its characters


def batches(
    files: Sequence[str],
    *,
    batch_size: int,
    steps_per_epoch: int,
    first_step: int,
    seed: int,
    memory_bytes: int = MEMORY_BYTES,
) -> tf.data.Dataset:
    """Return (step, records) without end, from a step on.

    Which records are in a batch depends on the seed and the number of the step alone,
    so that a training resumed at any step sees what an undisturbed one would have seen.
    Records that fit in memory are read once, and any order of them is equally likely in
    each epoch. Others are read anew for each epoch and shuffled within a window, and
    those before `first_step` are read past.

    Args:
      files: gzipped TFRecord.
      batch_size: records in each batch.
      steps_per_epoch: batches in an epoch; the records left over wait for the next one.
      first_step: counted from 0 over all epochs.
      seed: of the order.
      memory_bytes: that records may take.

    Returns:
      Dataset of () int64 and (batch_size,) string.
    """
    records = _in_memory(files, memory_bytes)
    if records is None:
        return _streamed(files, batch_size, steps_per_epoch, seed, first_step)
    first_epoch, done = divmod(first_step, steps_per_epoch)
    num_records = tf.size(records, tf.int64)

    def order(epoch: tf.Tensor) -> tf.data.Dataset:
        key = tf.stack([tf.constant(seed, tf.int64), epoch])
        rows = tf.random.experimental.stateless_shuffle(tf.range(num_records), key)
        used = rows[: steps_per_epoch * batch_size]
        return tf.data.Dataset.from_tensor_slices(
            tf.reshape(used, (steps_per_epoch, batch_size))
        )

    return (
        tf.data.Dataset.range(first_epoch, tf.int64.max)
        .flat_map(order)
        .skip(done)
        .map(lambda rows: tf.gather(records, rows))
        .enumerate(first_step)
    )


def _in_memory(files: Sequence[str], memory_bytes: int) -> tf.Tensor | None:
    """Return all records, (records,) string; None if they take more memory."""
    chunks, size = [], 0
    for chunk in _read(files).batch(_CHUNK):
        lengths = tf.strings.length(chunk)
        size += int(tf.reduce_sum(lengths)) + _STRING_BYTES * len(chunk)
        if size > memory_bytes:
            return None
        chunks.append(chunk)
    return tf.concat(chunks, axis=0)


def _streamed(
    files: Sequence[str],
    batch_size: int,
    steps_per_epoch: int,
    seed: int,
    first_step: int,
) -> tf.data.Dataset:
    def from_first(_: tf.Tensor) -> tf.data.Dataset:
        return (
            _read(files)
            .shuffle(SHUFFLE_BUFFER, seed=seed, reshuffle_each_iteration=True)
            .batch(batch_size, drop_remainder=True)
            .take(steps_per_epoch)
            .repeat()
            .skip(first_step)
        )

    # Made anew for each iterator: a shuffled dataset counts the epochs of all its
    # iterators, and Keras looks at a first batch by one of its own under a strategy.
    return tf.data.Dataset.range(1).flat_map(from_first).enumerate(first_step)


def _read(files: Sequence[str]) -> tf.data.Dataset:
    return tf.data.TFRecordDataset(files, compression_type="GZIP")
