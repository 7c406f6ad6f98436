"""Where records come from, and which share each falls into."""

import json
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from tfx.proto import example_gen_pb2
from tfx.utils import proto_utils

from components import ingest
from recipes.errors import BadInputError
from tests.components.records import example

NUM_SCANS = [178, 182, 177, 183, 181, 182, 181, 179, 174, 180]  # UCI optdigits, test
RECORDS = [example(label=i % 10, image=f"image {i}") for i in range(2000)]
BOUNDS = [7, 8, 10]


def shares(seed, bounds=BOUNDS):
    return [ingest.share_of(r, len(bounds), bounds, seed) for r in RECORDS]


@pytest.fixture(scope="module")
def digits(tmp_path_factory):
    return ingest.prepare("digits", str(tmp_path_factory.mktemp("tfds")))


def test_a_record_falls_into_the_share_its_digest_says():
    record = bytes.fromhex("0a100a0e0a056c6162656c12051a030a0107")  # label: 7, by hand
    # sha256 of the seed as eight bytes and of the record, modulo 10, by `sha256sum`
    residues = [ingest.share_of(record, 10, list(range(1, 11)), s) for s in range(4)]
    assert residues == [6, 5, 1, 8]
    assert [ingest.share_of(record, 3, BOUNDS, s) for s in range(4)] == [0, 0, 0, 2]


def test_shares_are_near_their_proportion():
    counts = Counter(shares(seed=0))
    deviation = np.sqrt(2000 * 0.7 * 0.3)  # of a binomial count; four of them are rare
    assert abs(counts[0] - 1400) < 4 * deviation
    assert abs(counts[1] - 200) < 4 * np.sqrt(2000 * 0.1 * 0.9)
    assert sum(counts.values()) == 2000


def test_another_seed_is_another_independent_split():
    one, two = np.array(shares(0, [1, 2])), np.array(shares(1, [1, 2]))
    assert abs(np.mean(one == two) - 0.5) < 4 * np.sqrt(0.25 / 2000)
    assert shares(0) == shares(0)


def test_negative_seeds_are_seeds_too():
    assert shares(-1) != shares(1)


def test_equal_records_stay_together_whatever_the_order_of_their_features():
    ordered = example(a=1, b="x", c=2.0)
    features = dict(tf.train.Example.FromString(ordered).features.feature)
    parts = [
        tf.train.Example(features=tf.train.Features(feature={name: value}))
        for name, value in reversed(features.items())
    ]
    other = b"".join(part.SerializeToString() for part in parts)  # as the wire allows
    assert other != ordered
    for seed in range(20):
        assert len({ingest.share_of(r, 3, BOUNDS, seed) for r in (ordered, other)}) == 1


def test_digits_are_the_1797_scans_of_scikit_learn(digits):
    scans = list(digits.as_dataset("train").as_numpy_iterator())
    labels = [int(scan["label"]) for scan in scans]
    assert len(scans) == 1797
    assert np.bincount(labels).tolist() == NUM_SCANS


def test_digits_are_grey_values_of_the_whole_range(digits):
    scans = digits.as_dataset("train").as_numpy_iterator()
    images = np.stack([scan["image"] for scan in scans])
    assert images.shape == (1797, 8, 8, 1)
    assert images.dtype == np.uint8
    assert (images.min(), images.max()) == (0, 255)
    assert len(np.unique(images)) == 17  # 0 to 16 counts of ink


def test_the_first_scan_of_digits_is_a_zero():
    from components.datasets.digits import Digits

    key, scan = next(Digits._generate_examples(None))
    first_row = [0, 0, 5, 13, 9, 1, 0, 0]  # of sklearn.datasets.load_digits().images
    assert (key, scan["label"]) == (0, 0)
    assert scan["image"][0, :, 0].tolist() == [round(v * 255 / 16) for v in first_row]


def test_preparing_again_does_nothing(digits):
    folder = Path(digits.data_path)
    before = {f.name: f.stat().st_mtime_ns for f in folder.iterdir()}
    ingest.prepare("digits", str(folder.parents[1]))
    assert {f.name: f.stat().st_mtime_ns for f in folder.iterdir()} == before


def test_a_data_set_that_tfds_does_not_know_is_refused(tmp_path):
    with pytest.raises(BadInputError, match="TFDS has no data set 'digitz'"):
        ingest.prepare("digitz", str(tmp_path))


def test_a_csv_is_read_alone_and_split_into_its_shares(tmp_path):
    node = ingest.csv_example_gen(tmp_path / "a.csv", {"train": 8, "test": 2})
    assert node.exec_properties["input_base"] == str(tmp_path)
    read, split = example_gen_pb2.Input(), example_gen_pb2.Output()
    proto_utils.json_to_proto(node.exec_properties["input_config"], read)
    proto_utils.json_to_proto(node.exec_properties["output_config"], split)
    assert [s.pattern for s in read.splits] == ["a.csv"]
    got = {s.name: s.hash_buckets for s in split.split_config.splits}
    assert got == {"train": 8, "test": 2}


def test_a_tfds_step_carries_its_configuration(tmp_path):
    splits = {"train": "train[:80%]", "eval": "train[80%:]", "test": "test"}
    node = ingest.TfdsExampleGen("mnist/3.0.1", tmp_path, splits, seed=0)
    got = ingest._config(node.exec_properties)
    want = {"name": "mnist/3.0.1", "data_dir": str(tmp_path), "splits": splits}
    assert got == {**want, "seed": 0}
    assert json.dumps(got) == json.dumps({**want, "seed": 0})  # the order of splits too


def test_figures_are_the_bytes_of_each_split(tmp_path):
    for split, size in (("train", 1_500_000), ("test", 10_000)):
        (tmp_path / f"Split-{split}").mkdir()
        (tmp_path / f"Split-{split}" / "data.gz").write_bytes(b"x" * size)
    got = ingest.figures({"examples": str(tmp_path)})
    assert got["size_bytes"] == {"train": 1_500_000, "test": 10_000}
    assert got["summary"] == "2 splits, 1.51 MB compressed"


@pytest.mark.parametrize(
    ("test", "is_shared"),
    [(("a", 90, 10), False), (("b", 0, 50), False), (("a", 85, 10), True)]
    + [(("a", 0, -1), True)],
)
def test_splits_that_share_records_are_refused(test, is_shared):
    shards = {"train": [("a", 0, 80)], "eval": [("a", 80, 10)], "test": [test]}
    if not is_shared:
        ingest.check_disjoint(shards)
        return
    with pytest.raises(BadInputError, match="'eval' and 'test'|'train' and 'test'"):
        ingest.check_disjoint(shards)
