"""TFDS builders, prepared without a network, pass their records on unchanged."""

import os
import shutil
from collections import Counter
from pathlib import Path

import apache_beam as beam
import numpy as np
import pytest
import tensorflow as tf
import tensorflow_datasets
from tensorflow_datasets.core.download import downloader

from components.sources import tfds
from recipes.errors import BadInputError

DATA = Path(__file__).parents[3] / "shared/data"
DOWNLOADS = DATA / "tfds_downloads"
NUM_SCANS = [178, 182, 177, 183, 181, 182, 181, 179, 174, 180]  # UCI optdigits, test
SHARES = {"train": 8, "eval": 1, "test": 1}
needs_data = pytest.mark.skipif(
    not DATA.exists(), reason="needs the sets in shared/data"
)


class Squares(tensorflow_datasets.core.GeneratorBasedBuilder):
    """100 numbers and their squares, made by Beam, and one more."""

    VERSION = tensorflow_datasets.core.Version("1.0.0")

    def _info(self):
        features = {"number": tf.int64, "square": tf.int64}
        return self.dataset_info_from_configs(
            features=tensorflow_datasets.features.FeaturesDict(features)
        )

    def _split_generators(self, dl_manager):
        del dl_manager
        return {"train": _squares(range(100)), "test": _squares(range(100, 101))}

    def _generate_examples(self):
        raise AssertionError("the splits are transforms")


def _squares(numbers):
    return beam.Create(numbers) | beam.Map(
        lambda n: (n, {"number": n, "square": n * n})
    )


def source(name, data_dir, **options):
    paths = {"download_dir": None, "manual_dir": None, "data_dir": str(data_dir)}
    return {"name": name, **paths, **options}


def downloaded(name, data_dir):
    return source(name, data_dir, download_dir=str(DOWNLOADS))


def read(section, splits=SHARES):
    pieces = tfds.pieces(section, [], splits)
    return [batch for piece in pieces for batch in tfds.read(piece)]


def by_split(batches):
    """Return how many records came for each split of the recipe."""
    counts = Counter()
    for batch in batches:
        assert len(batch.names) == len(batch.records)
        counts[batch.split] += len(batch.records)
    return dict(counts)


def features(batches, name):
    """Return the first value of an integer feature of every record."""
    parsed = (tf.train.Example.FromString(r) for b in batches for r in b.records)
    return [e.features.feature[name].int64_list.value[0] for e in parsed]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("tfds")


@pytest.fixture(scope="module")
def digits(folder):
    return tfds.prepare("digits", str(folder))


@pytest.fixture
def no_network(monkeypatch):
    """Let every connection be refused, whatever the machine can reach."""
    for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    monkeypatch.setenv("NO_PROXY", "")


def test_digits_are_the_1797_scans_of_scikit_learn(digits, folder):
    batches = read(source("digits", folder))
    assert by_split(batches) == {None: 1797}
    assert np.bincount(features(batches, "label")).tolist() == NUM_SCANS
    assert batches[0].names[0] == "digits train[0]"
    assert batches[-1].names[-1] == "digits train[1796]"


def test_batches_hold_about_so_many_bytes(digits, folder, monkeypatch):
    monkeypatch.setattr(tfds, "BATCH_BYTES", 20_000)
    batches = read(source("digits", folder))
    assert by_split(batches) == {None: 1797}
    assert max(sum(map(len, batch.records)) for batch in batches) < 25_000
    assert len(batches) > 5


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
    tfds.prepare("digits", str(folder.parents[2]))
    assert {f.name: f.stat().st_mtime_ns for f in folder.iterdir()} == before


def test_slices_are_the_records_that_their_names_say(digits, folder):
    everything = [r for b in read(source("digits", folder)) for r in b.records]
    splits = {"train": "train[:80%]", "eval": "train[80%:95%]", "test": "train[95%:]"}
    batches = read(source("digits", folder), splits)
    assert by_split(batches) == {"train": 1438, "eval": 269, "test": 90}
    for batch in batches:
        for name, record in zip(batch.names, batch.records, strict=True):
            number = int(name.removeprefix("digits train[").removesuffix("]"))
            assert record == everything[number]


@pytest.mark.slow
def test_a_builder_that_is_a_beam_pipeline_is_prepared(tmp_path):
    batches = read(source("squares", tmp_path))
    rows = dict(
        zip(features(batches, "number"), features(batches, "square"), strict=True)
    )
    assert rows == {n: n * n for n in range(101)}
    assert len({name for b in batches for name in b.names}) == 101


def test_names_count_on_over_the_files_of_a_split(tmp_path):
    data_path = tfds.prepare("digits", str(tmp_path)).data_path
    shutil.rmtree(data_path)
    builder = tensorflow_datasets.builder("digits", data_dir=data_path.parents[1])
    config = tensorflow_datasets.download.DownloadConfig(num_shards=4)
    builder.download_and_prepare(download_config=config)
    splits = {"train": "train[:1000]", "eval": "train[1000:]"}
    pieces = tfds.pieces(source("digits", tmp_path), [], splits)
    assert len(pieces) == 5  # four files, one of them cut in two
    batches = [batch for piece in pieces for batch in tfds.read(piece)]
    assert by_split(batches) == {"train": 1000, "eval": 797}
    names = [name for batch in batches for name in batch.names]
    assert names == [f"digits train[{i}]" for i in range(1797)]
    assert np.bincount(features(batches, "label")).tolist() == NUM_SCANS


def test_a_slice_without_a_record_is_refused(digits, folder):
    splits = {"train": "train[:80%]", "eval": "train[80%:-100]", "test": "train[-100:]"}
    with pytest.raises(BadInputError, match=r"'train\[80%:-100\]' .* holds no record"):
        tfds.pieces(source("digits", folder), [], splits)


def test_splits_that_share_records_are_refused(digits, folder):
    splits = {"train": "train[:80%]", "eval": "train[79%:90%]", "test": "train[90%:]"}
    with pytest.raises(BadInputError, match="'train' and 'eval' share records"):
        tfds.pieces(source("digits", folder), [], splits)


def test_a_split_that_is_not_there_is_refused(digits, folder):
    splits = {"train": "train", "eval": "validation", "test": "test"}
    with pytest.raises(
        BadInputError, match="no split 'validation'. Expected one of tr"
    ):
        tfds.pieces(source("digits", folder), [], splits)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("digitz", "TFDS has no data set 'digitz'"),
        ("penguins/foo", "BuilderConfig foo not found"),
        ("penguins:9.9.9", "cannot be loaded at version 9.9.9, only: 1.0.0"),
    ],
)
def test_a_data_set_that_tfds_does_not_know_is_refused(tmp_path, name, message):
    with pytest.raises(BadInputError, match=message):
        tfds.prepare(name, str(tmp_path))


def test_without_a_network_the_message_says_where_files_were_looked_for(
    tmp_path, no_network
):
    with pytest.raises(BadInputError, match="no connection to download") as caught:
        tfds.prepare("trec", str(tmp_path / "data"), download_dir=str(tmp_path / "d"))
    message = str(caught.value)
    assert str(tmp_path / "d") in message
    assert "download_dir" in message
    assert "manual_dir" in message
    assert "\n" not in message
    assert downloader.MAX_RETRIES == 10  # of TFDS, as before


def test_files_that_nobody_may_download_are_asked_for(tmp_path):
    with pytest.raises(BadInputError, match="ILSVRC2012_img_train.tar"):
        tfds.prepare("imagenet2012", str(tmp_path))


@needs_data
def test_files_in_manual_dir_are_not_downloaded(tmp_path, no_network):
    section = source("penguins", tmp_path, manual_dir=str(DATA / "penguins"))
    batches = read(section)
    assert by_split(batches) == {None: 334}
    assert np.bincount(features(batches, "species")).tolist() == [146, 68, 120]


@needs_data
def test_another_file_of_that_name_is_refused(tmp_path, no_network):
    (tmp_path / "manual").mkdir()
    (tmp_path / "manual/penguins_processed.csv").write_text("not,the\nsame,file\n")
    with pytest.raises(BadInputError, match="wrong checksum"):
        tfds.prepare("penguins", str(tmp_path), manual_dir=str(tmp_path / "manual"))


@needs_data
@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "sizes"),
    [
        ("tiny_shakespeare", {"train": 1, "validation": 1, "test": 1}),
        ("penguins/processed", {"train": 334}),
        ("penguins/simple", {"train": 344}),
        ("penguins/raw", {"train": 344}),
        ("trec", {"train": 5452, "test": 500}),
        ("german_credit_numeric", {"train": 1000}),
        ("wine_quality/red", {"train": 1599}),
        ("wine_quality/white", {"train": 4898}),
        ("fashion_mnist", {"train": 60_000, "test": 10_000}),
    ],
)
def test_known_builders_have_the_records_that_were_published(
    tmp_path, no_network, name, sizes
):
    before = sorted(os.listdir(DOWNLOADS))
    batches = read(downloaded(name, tmp_path), {split: split for split in sizes})
    assert by_split(batches) == sizes
    assert by_split(read(downloaded(name, tmp_path))) == {None: sum(sizes.values())}
    assert sorted(os.listdir(DOWNLOADS)) == before
    if name == "fashion_mnist":
        train = [b for b in batches if b.split == "train"]
        assert np.bincount(features(train, "label")).tolist() == [6000] * 10
    shutil.rmtree(tmp_path)
