"""Prove that the two native packages work here, not only that they import.

Run by `./strata` before it calls the environment ready. Ends with an AssertionError,
and exit code 1, if an answer is wrong.
"""

import sys
import tempfile
from pathlib import Path

TRAINING = {"age": [30, 41, 52], "job": ["clerk", "smith", "clerk"]}
SERVED = {"age": [33, 44], "job": ["clerk", "pilot"]}  # no pilot was seen in training


def check_validation() -> None:
    """Statistics, a schema, and an anomaly that must be found: a new word."""
    import pandas
    import tensorflow_data_validation as tfdv

    # From a frame: no Beam runner starts, and none is fetched from the network.
    training = tfdv.generate_statistics_from_dataframe(pandas.DataFrame(TRAINING))
    served = tfdv.generate_statistics_from_dataframe(pandas.DataFrame(SERVED))
    _expect(3, training.datasets[0].num_examples)
    schema = tfdv.infer_schema(training)
    _expect(["clerk", "smith"], sorted(schema.string_domain[0].value))
    _expect([], list(tfdv.validate_statistics(training, schema).anomaly_info))
    _expect(["job"], list(tfdv.validate_statistics(served, schema).anomaly_info))


def check_metadata(folder: Path) -> None:
    """What one connection to a file stores, the next one reads."""
    from ml_metadata import metadata_store
    from ml_metadata.proto import metadata_store_pb2

    config = metadata_store_pb2.ConnectionConfig()
    config.sqlite.filename_uri = str(folder / "metadata.db")
    config.sqlite.connection_mode = 3  # read, write, create
    store = metadata_store.MetadataStore(config)
    type_id = store.put_artifact_type(metadata_store_pb2.ArtifactType(name="Examples"))
    stored = metadata_store_pb2.Artifact(type_id=type_id, uri="somewhere")
    (artifact_id,) = store.put_artifacts([stored])
    del store
    again = metadata_store.MetadataStore(config)
    (artifact,) = again.get_artifacts_by_id([artifact_id])
    _expect("somewhere", artifact.uri)


def _expect(expected: object, received: object) -> None:
    if received != expected:
        raise AssertionError(f"Expected {expected!r}. Received: {received!r}")


def main() -> None:
    """Run both checks."""
    with tempfile.TemporaryDirectory() as folder:
        check_metadata(Path(folder))
    check_validation()
    sys.stderr.write("strata: TFDV and ML Metadata work\n")


if __name__ == "__main__":
    main()
