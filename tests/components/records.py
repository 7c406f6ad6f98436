"""Examples on disk, as the stages hand them on: gzipped TFRecord files."""

import tensorflow as tf


def example(**values):
    """Return a serialized tf.Example; None leaves a feature out."""
    features = {
        name: feature(value) for name, value in values.items() if value is not None
    }
    packed = tf.train.Example(features=tf.train.Features(feature=features))
    return packed.SerializeToString(deterministic=True)


def feature(value):
    if isinstance(value, int):
        return tf.train.Feature(int64_list=tf.train.Int64List(value=[value]))
    if isinstance(value, float):
        return tf.train.Feature(float_list=tf.train.FloatList(value=[value]))
    value = value.encode() if isinstance(value, str) else value
    return tf.train.Feature(bytes_list=tf.train.BytesList(value=[value]))


def write(path, examples):
    """Write serialized examples to a gzipped TFRecord file; return its path."""
    with tf.io.TFRecordWriter(str(path), "GZIP") as file:
        for serialized in examples:
            file.write(serialized)
    return str(path)
