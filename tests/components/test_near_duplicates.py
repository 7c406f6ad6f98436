"""Copies of images, texts and sounds are found; look-alikes are not refused."""

import gzip
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from sklearn.datasets import load_digits

from components import leakage, near_duplicates, near_images, near_texts
from components.sources import wav
from recipes.validation import Leakage as Limits
from tests.components.artifacts import examples
from tests.components.leaks import jpeg, photo, png, section, shared
from tests.components.records import example

DATA = Path(__file__).parents[2].parent / "shared/data"


def sound(seed):
    samples = np.random.default_rng(seed).integers(-3_000, 3_000, 80)
    return wav.encode(samples.astype(np.int16), 8_000)


@pytest.mark.parametrize(
    ("kind", "settings", "value"),
    [
        ("audio", {"sample_rate": 8_000, "seconds": 0.1}, sound),
        ("image", {"shape": [40, 40, 1]}, lambda seed: png(photo(seed))),
        ("text", {}, lambda seed: f"call me {seed}"),
    ],
)
def test_what_else_a_record_holds_hides_no_copy(kind, settings, value, tmp_path):
    def row(seed, take):
        return example(**{kind: value(seed)}, y=take % 2, take=f"take {take}")

    train = [row(seed, seed) for seed in range(12)]
    judged = [row(20, 20), row(3, 21)]
    uri = examples(tmp_path, train=train, eval=[], test=judged)
    found = leakage.examine(uri, section(**{kind: settings}), Limits())
    assert found["duplicates"]["test"]["pairs"] == [
        {"row": "test.csv row 2", "train": "train.csv row 4", "index": 1, "of": 3}
    ]
    [line] = found["refusals"]
    assert "Remove copies, or keep them in one split by data.split_by.key" in line


def test_records_without_a_picture_are_no_copies_of_each_other(tmp_path):
    train = [example(image=png(photo(1)), y=0), example(y=1)]
    uri = examples(tmp_path, train=train, eval=[], test=[example(y=1)])
    found = leakage.examine(uri, section(image={"shape": [40, 40, 1]}), Limits())
    assert found["refusals"] == found["warnings"] == []


@pytest.mark.parametrize("transform", [None, section(image={"shape": [40, 40, 1]})])
def test_a_reencoded_image_is_near(transform, tmp_path):
    train = [example(image=png(photo(i)), y=0) for i in range(30)]
    judged = [example(image=png(photo(100 + i)), y=1) for i in range(20)]
    judged[7] = example(image=jpeg(photo(3)), y=1)
    uri = examples(tmp_path, train=train, eval=[], test=judged)
    found = leakage.examine(uri, transform, Limits(near_duplicates=0.02))
    assert found["kind"] == "image"
    assert found["near_duplicates"]["test"]["pairs"] == [
        {"row": "test.csv row 8", "train": "train.csv row 4", "index": 7, "of": 3}
    ]
    assert len(found["refusals"]) == 1


@pytest.mark.parametrize("make", ["BMW 320", "GIF8", "RIFF raff"])
def test_words_that_begin_like_a_picture_or_sound_are_a_table(make, tmp_path):
    uri = examples(tmp_path, train=[example(make=make)], eval=[], test=[])
    assert leakage.examine(uri, None, Limits())["kind"] == "table"


def test_brightness_contrast_and_size_do_not_hide_an_image():
    image = photo(1)
    changed = [
        (image * 0.7 + 40).astype(np.uint8),
        np.asarray(Image.fromarray(image).resize((90, 70))),
    ]
    small = near_images.thumbnails([png(photo(i)) for i in range(5)])
    got = near_images.nearest(small, near_images.thumbnails(map(png, changed)))
    assert got.tolist() == [1, 1]


def test_blank_and_broken_images_resemble_nothing():
    blank = np.full((32, 32), 7, np.uint8)
    faint = blank + (np.arange(32) // 8 % 2).astype(np.uint8)
    cut = png(photo(0))[:40]
    small = near_images.thumbnails([png(blank), png(faint), cut, b"no image", None])
    assert near_images.nearest(small, small).tolist() == [-1] * 5


def test_similarity_of_texts_is_that_of_their_runs_of_three_words():
    text = b"one two three four five six seven eight nine ten"
    # 8 runs; with one more word at the end 9, of which 8 are common.
    values, lengths = near_texts.runs([text, text.upper() + b", eleven!", b"a b c d"])
    assert lengths.tolist() == [8, 9, 0]
    one, other, _ = np.split(values, np.cumsum(lengths)[:-1])
    assert near_texts.similarity(one, other) == 8 / 9
    assert one.tolist() == other[:8].tolist()


def test_a_text_with_a_word_added_is_near(tmp_path):
    words = [f"word{i}" for i in range(500)]
    random = np.random.default_rng(0)
    texts = [" ".join(random.choice(words, 12)) for _ in range(80)]
    train = [example(text=text, y=0) for text in texts[:50]]
    judged = [example(text=text, y=1) for text in texts[50:]]
    judged[2] = example(text=texts[40].upper() + "! indeed", y=1)
    uri = examples(tmp_path, train=train, eval=[], test=judged)
    found = leakage.examine(uri, section(text={}), Limits())
    assert found["near_duplicates"]["test"]["pairs"] == [
        {"row": "test.csv row 3", "train": "train.csv row 41", "index": 2, "of": 40}
    ]


def test_a_large_set_is_sampled_and_that_is_said(monkeypatch, tmp_path):
    monkeypatch.setattr(near_duplicates, "MAX_JUDGED", 10)
    train = [example(image=png(photo(i)), y=0) for i in range(8)]
    judged = [example(image=jpeg(photo(i % 8)), y=0) for i in range(40)]
    uri = examples(tmp_path, train=train, eval=[], test=judged)
    found = leakage.examine(uri, section(image={"shape": [40, 40, 1]}), Limits())
    assert found["near_duplicates"]["test"]["share"] == 1.0
    assert "Near duplicates were looked for in 10 of 40 test." in found["warnings"]


def test_digits_are_not_refused(tmp_path):
    digits = load_digits()
    images = np.round(digits.images * (255 / 16)).astype(np.uint8)
    records = [
        example(image=png(image), y=int(y))
        for image, y in zip(images, digits.target, strict=True)
    ]
    uri = examples(tmp_path, train=records[:1500], eval=[], test=records[1500:])
    transform = section(image={"shape": [8, 8, 1]})
    found = leakage.examine(uri, transform, Limits())
    assert found["refusals"] == found["warnings"] == []


@pytest.mark.slow
def test_fashion_mnist_has_few_look_alikes(tmp_path):
    folder = DATA / "fashion-mnist"
    if not folder.exists():
        pytest.skip("needs ../shared/data/fashion-mnist")
    splits = {}
    for split, name in (("train", "train"), ("test", "t10k")):
        with gzip.open(folder / f"{name}-images-idx3-ubyte.gz") as file:
            pixels = np.frombuffer(file.read(), np.uint8, offset=16)
        images = pixels.reshape(-1, 28, 28)
        splits[split] = [example(image=png(image), y=0) for image in images]
    uri = examples(tmp_path, eval=[], **splits)
    found = leakage.examine(uri, section(image={"shape": [28, 28, 1]}), Limits())
    assert found["refusals"] == []
    assert 20 <= found["near_duplicates"]["test"]["found"] <= 150


@pytest.mark.slow
def test_one_message_in_thirty_has_a_near_copy_in_sms_spam(tmp_path):
    path = DATA / "sms-spam/SMSSpamCollection"
    if not path.exists():
        pytest.skip("needs ../shared/data/sms-spam")
    lines = path.read_text("utf-8").split("\n")
    records = [
        example(y=y, text=text)
        for y, _, text in (x.partition("\t") for x in lines)
        if y
    ]
    uri = examples(tmp_path, **shared(records))
    found = leakage.examine(uri, section(text={}), Limits())
    assert found["duplicates"]["test"]["found"] == 0
    assert 0.005 < found["near_duplicates"]["test"]["share"] < 0.05
