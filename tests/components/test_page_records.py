"""What the data page is made of: records read in plain Python, pictures, charts."""

import base64
import io
import re

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from components import charts, page_records
from components.sources import wav
from tests.components.artifacts import examples
from tests.components.records import example


def test_records_are_read_as_tensorflow_reads_them(tmp_path):
    sizes = (0, 1, 3 << 20, 10, 700_000, 700_000, 5)  # blocks end within records
    rows = [example(text="x" * size, i=i, f=i / 2) for i, size in enumerate(sizes)]
    examples(tmp_path / "a", train=rows)
    shards = sorted((tmp_path / "a" / "Split-train").glob("*.gz"))
    paths = [str(shard) for shard in shards]
    want = list(tf.data.TFRecordDataset(paths, "GZIP").as_numpy_iterator())
    assert [r for shard in shards for r in page_records.frames(shard)] == want == rows
    picked = page_records.pick(tmp_path / "a", "train", [6, 1])
    assert {i: record["f"] for i, record in picked.items()} == {1: [0.5], 6: [3.0]}


def test_samples_come_from_all_over_a_split_with_their_names(tmp_path):
    examples(tmp_path, train=[example(i=i) for i in range(100)])
    found = page_records.sample(tmp_path, "train", 4)
    assert [(name, record["i"]) for name, record in found] == [
        ("train.csv row 1", [0]),
        ("train.csv row 26", [25]),
        ("train.csv row 51", [50]),
        ("train.csv row 76", [75]),
    ]
    assert len(page_records.sample(tmp_path, "train", 500)) == 100
    assert page_records.sample(tmp_path, "eval", 4) == []


def png(pixels):
    packed = io.BytesIO()
    Image.fromarray(pixels).save(packed, "PNG")
    return packed.getvalue()


def decoded(shown):
    """Return the pixels of the pictures on a page, as RGB."""
    packed = re.findall(r'src="data:image/\w+;base64,([^"]*)"', shown)
    opened = [Image.open(io.BytesIO(base64.b64decode(data))) for data in packed]
    return [np.asarray(image.convert("RGB")) for image in opened]


def test_pictures_are_small_and_keep_their_proportions():
    pixels = np.zeros((300, 600, 3), np.uint8)
    (shown,) = decoded(page_records.shown({"image": [png(pixels)]}))
    assert shown.shape == (60, 120, 3)


@pytest.mark.parametrize(
    "pixels",
    [
        np.array([[0, 1], [2, 1]], np.uint8),  # a mask of three classes
        np.array([[0, 20_000], [40_000, 20_000]], np.uint16),
    ],
)
def test_masks_and_16_bit_pictures_can_be_seen(pixels):
    (shown,) = decoded(page_records.shown({"image": [png(pixels)]}))
    assert shown[0, 0].tolist() == [0, 0, 0]
    assert shown[1, 0].tolist() == [255, 255, 255]
    assert 120 < shown[0, 1, 0] < 135


def test_objects_are_framed_and_their_numbers_left_out():
    picture = png(np.zeros((41, 41, 3), np.uint8))
    record = {"boxes": [0.25, 0.5, 0.75, 1.0], "image": [picture], "labels": [1]}
    text = page_records.shown(record)
    (shown,) = decoded(text)
    red = np.argwhere(shown[..., 0] > 0)
    assert red.min(0).tolist() == [10, 20]
    assert red.max(0).tolist() == [30, 40]
    assert "boxes" not in text


@pytest.mark.parametrize(
    "data",
    [
        b"\x89PNG\r\n\x1a\n" + b"\0" * 40,
        b"\xff\xd8\xff" + b"\0" * 40,
        b"GIF89a\0\1",
        png(np.zeros((64, 64), np.uint8))[:60],
        png(np.zeros((2, 2), np.uint8)).replace(  # a header that declares 10 GB
            b"IHDR\0\0\0\2\0\0\0\2", b"IHDR\0\1\x86\xa0\0\1\x86\xa0"
        ),
        b"RIFF\0\0\0\0WAVE",
    ],
)
def test_a_broken_picture_or_sound_is_named_and_the_rest_shown(data):
    shown = page_records.shown({"it": [data], "label": [b"cat"]})
    assert re.search(r'<span class="bad">no (picture|sound): .+?</span>', shown)
    assert "<b>label</b> cat" in shown


@pytest.mark.parametrize("text", ["BMW 320", "GIF89a", "RIFF raff", "RIFF ä, WAVE"])
def test_a_text_that_begins_like_a_picture_or_sound_is_a_text(text):
    shown = page_records.shown({"make": [text.encode()]})
    assert shown == f"<figure><figcaption><b>make</b> {text}</figcaption></figure>"


def test_a_bitmap_is_a_picture():
    packed = io.BytesIO()
    Image.new("RGB", (200, 100)).save(packed, "BMP")
    (shown,) = decoded(page_records.shown({"image": [packed.getvalue()]}))
    assert shown.shape == (60, 120, 3)


def test_sounds_can_be_played_for_as_long_as_the_page_stays_small():
    sound = wav.encode(np.arange(30_000, dtype=np.int16), 8000)
    shown = page_records.shown({"audio": [sound]})
    assert "<title>waveform of audio, 0 to 29999</title>" in shown
    (packed,) = re.findall('src="data:audio/wav;base64,([^"]*)"', shown)
    assert len(packed) == -(-(44 + 2 * page_records.MAX_SAMPLES_OF_SOUND) // 3) * 4


def test_each_channel_of_a_series_is_drawn_by_itself():
    record = {"context": [v for i in range(5) for v in (i, 10.0 - i)]}
    shown = page_records.shown(record, channels=["up", "down"])
    assert "<title>up, 0 to 4</title>" in shown
    assert "<title>down, 6 to 10</title>" in shown


def points(drawn):
    """Return the corners of the lines of a chart, by class."""
    lines = re.findall('<polyline class="(.*?)" points="(.*?)"', drawn)
    return {
        split: [tuple(map(float, p.split(","))) for p in path.split()]
        for split, path in lines
    }


def test_a_histogram_has_areas_that_are_shares():
    # Densities by hand: 0.5 / 1, 0.5 / 3 and, of the other, 1 / 2 over the axis 0 to 4.
    drawn = charts.histogram(
        {"train": [(0, 1, 0.5), (1, 4, 0.5)], "eval": [(2, 4, 1.0)]}, "x"
    )
    assert points(drawn) == {
        "train": [(0, 60), (0, 0), (65, 0), (65, 40), (260, 40), (260, 60)],
        "eval": [(0, 60), (0, 60), (130, 60), (130, 0), (260, 0), (260, 60)],
    }
    assert "<title>histogram of x, 0 to 4</title>" in drawn


def test_a_histogram_of_one_value_can_be_seen():
    drawn = charts.histogram({"train": [(3, 3, 1.0)]}, "x")
    assert points(drawn)["train"] == [(0, 60), (0, 0), (260, 0), (260, 60)]
    assert "<title>histogram of x, 3 to 3</title>" in drawn


@pytest.mark.parametrize("step", [0, 256])  # 256: to the next double
def test_a_histogram_of_large_values_has_a_bar_of_each(step):
    low = 1.7e18
    bars = [(low, low, 0.5), (low + step, low + step, 0.5)]
    drawn = charts.histogram({"train": bars[: 1 + bool(step)]}, "nanoseconds")
    top = [x for x, y in points(drawn)["train"] if y == 0]
    want = [0, 5.1, 254.9, 260] if step else [0, 260]  # 1/50 of the axis, widened
    assert top == want


def test_bars_are_as_high_as_their_shares():
    drawn = charts.bars({"train": {"a": 0.8, "b": 0.2}, "eval": {"b": 0.4}}, "x")
    heights = re.findall('class="(.*?)" .*? height="(.*?)"', drawn)
    want = [("train", "60.0"), ("eval", "0.0"), ("train", "15.0"), ("eval", "30.0")]
    assert heights == want


def test_a_long_wave_keeps_its_extremes():
    values = [0.0] * 100_000
    values[12_345], values[77_777] = 1.0, -1.0
    (line,) = points(charts.wave(values, "x")).values()
    assert len(line) == charts.MAX_POINTS
    assert {y for _, y in line} == {0.0, 30.0, 60.0}
