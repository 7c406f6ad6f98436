"""Images with boxes (Pascal VOC) and with class masks: what goes with what, exactly."""

import io
import struct
import zipfile
import zlib
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from components.sources import class_mask, files, masks, voc, voc_annotation
from recipes.errors import BadInputError

DATA = Path(__file__).parents[3] / "shared/data/bccd/bccd_voc.zip"
SHARES = {"train": 8, "eval": 1, "test": 1}
LISTS = {"train": "train", "eval": "val", "test": "test"}
needs_data = pytest.mark.skipif(not DATA.exists(), reason="needs ../shared/data")


def picture(height=10, width=20, kind="RGB", suffix="png"):
    encoded = io.BytesIO()
    formats = {"png": "PNG", "jpg": "JPEG"}
    Image.new(kind, (width, height)).save(encoded, formats[suffix])
    return encoded.getvalue()


def xml(*objects, height=10, width=20):
    """Return an annotation; objects are a name and xmin, ymin, xmax, ymax."""
    sides = ("xmin", "ymin", "xmax", "ymax")
    found = "".join(
        f"<object><name>{name}</name><bndbox>"
        + "".join(f"<{s}>{v}</{s}>" for s, v in zip(sides, corners, strict=True))
        + "</bndbox></object>"
        for name, *corners in objects
    )
    size = f"<size><width>{width}</width><height>{height}</height></size>"
    return f"<annotation>{size}{found}</annotation>"


def save(folder, *, lists=None, **annotations):
    """Write a VOC folder with a 10 x 20 image per annotation."""
    for name, text in annotations.items():
        place(folder, f"JPEGImages/{name}.png", picture())
        place(folder, f"Annotations/{name}.xml", text.encode())
    for name, stems in (lists or {}).items():
        place(folder, f"ImageSets/Main/{name}.txt", "\n".join([*stems, ""]).encode())
    return folder


def place(folder, name, data):
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)


def read(path, splits=SHARES, *, reader=voc, **options):
    """Return the examples by part and file, what is bad, and the notes."""
    path = {p: str(v) for p, v in path.items()} if isinstance(path, dict) else str(path)
    found = files.list_files(files.resolve(path, None, Path("/")), reader.SUFFIXES)
    examples, bad, notes = {}, {}, Counter()
    for piece in reader.pieces({"classes": None, **options}, found, splits):
        for batch in reader.read(piece):
            rows = batch.table.to_pylist()
            named = examples.setdefault(piece.part, {})
            named |= dict(zip(batch.names, rows, strict=True))
            bad |= {row.where: row.why for row in batch.bad}
            notes.update(batch.notes)
    return examples, bad, notes


def test_boxes_are_shares_of_height_and_width(tmp_path):
    """VOC counts from 1, and a box of 1, 1, width, height is the whole image."""
    objects = [("dog", 1, 1, 20, 10), ("cat", 11, 3, 15, 4), ("dog", 20, 10, 20, 10)]
    examples, bad, notes = read(save(tmp_path, a=xml(*objects)))
    example = examples[""]["JPEGImages/a.png"]
    boxes = [0, 0, 1, 1, 0.2, 0.5, 0.4, 0.75, 0.9, 0.95, 1, 1]
    assert example["boxes"] == pytest.approx(boxes)
    assert example["image"] == picture()
    assert {k: v for k, v in example.items() if k not in ("boxes", "image")} == {
        "labels": [1, 0, 1],
        "num_objects": 3,
        "height": 10,
        "width": 20,
        "file": "JPEGImages/a.png",
    }
    assert (bad, notes) == ({}, {"classes: 0 cat, 1 dog": 1})


def test_classes_keep_the_order_that_is_asked_for(tmp_path):
    folder = save(tmp_path, a=xml(("dog", 1, 1, 2, 2)), b=xml(("cow", 1, 1, 2, 2)))
    examples, bad, _ = read(folder, classes=["dog", "cat"])
    assert examples[""]["JPEGImages/a.png"]["labels"] == [0]
    assert bad == {
        "JPEGImages/b.png": "object 1: 'cow' is no class. Expected one of dog, cat."
    }


def test_an_image_without_objects_is_an_example(tmp_path):
    folder = save(tmp_path, a=xml(), b=xml(("dog", 1, 1, 2, 2)))
    example = read(folder)[0][""]["JPEGImages/a.png"]
    assert (example["num_objects"], example["boxes"], example["labels"]) == (0, [], [])


def test_a_box_that_reaches_out_a_little_is_clipped_and_noted(tmp_path):
    folder = save(tmp_path, a=xml(("dog", 0, -1, 22, 12)))
    examples, bad, notes = read(folder)
    assert examples[""]["JPEGImages/a.png"]["boxes"] == [0, 0, 1, 1]
    assert (bad, notes[voc_annotation.CLIPPED]) == ({}, 1)


BOMB = (
    '<!DOCTYPE a [<!ENTITY b "bbbbbbbbbb"><!ENTITY c "&b;&b;&b;&b;">]>'
    "<annotation><object><name>&c;</name></object></annotation>"
)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (
            xml(("dog", 1, 1, 2, 2), ("dog", 5, 1, 3, 2)),
            "object 2 (dog): expected a "
            "box min before max. Received: ymin 1, xmin 5, ymax 2, xmax 3",
        ),
        (
            xml(("dog", 1, 5, 2, 3)),
            "object 1 (dog): expected a box min before max. "
            "Received: ymin 5, xmin 1, ymax 3, xmax 2",
        ),
        (
            xml(("dog", 1, 1, 23, 2)),
            "object 1 (dog): expected a box within 20 x 10 "
            "pixels. Received: ymin 1, xmin 1, ymax 2, xmax 23",
        ),
        (
            xml(("dog", 22, 1, 22, 2)),
            "object 1 (dog): expected a box min before max. "
            "Received: ymin 1, xmin 22, ymax 2, xmax 22",
        ),
        (
            xml(("dog", 1, 1, "x", 2)),
            "annotation: object 1 (dog): expected numbers. "
            "Received: ymin='1', xmin='1', ymax='2', xmax='x'",
        ),
        (
            xml(("dog", 1, 1, "inf", 2)),
            "annotation: object 1 (dog): expected numbers. "
            "Received: ymin='1', xmin='1', ymax='2', xmax='inf'",
        ),
        (xml(("", 1, 1, 2, 2)), "annotation: object 1: has no name"),
        (
            xml(height=20, width=10),
            "the annotation is of 10 x 20 pixels, the image has 20 x 10",
        ),
        ("<annotation>", "annotation: broken XML: no element found: line 1, column 12"),
        (BOMB, "annotation: expected XML without a DOCTYPE. Received: 'a'"),
        ("", "annotation: the file is empty"),
    ],
)
def test_what_does_not_fit_is_left_out_and_named(tmp_path, text, why):
    folder = save(tmp_path, a=text, good=xml(("dog", 1, 1, 2, 2)))
    examples, bad, _ = read(folder)
    assert bad == {"JPEGImages/a.png": why}
    assert list(examples[""]) == ["JPEGImages/good.png"]


def test_a_bomb_in_utf_16_is_seen_too(tmp_path):
    folder = save(tmp_path, good=xml(("dog", 1, 1, 2, 2)))
    place(folder, "JPEGImages/a.png", picture())
    declared = '<?xml version="1.0" encoding="utf-16"?>' + BOMB
    place(folder, "Annotations/a.xml", declared.encode("utf-16"))
    assert "DOCTYPE" in read(folder)[1]["JPEGImages/a.png"]


def test_what_lacks_its_partner_is_named(tmp_path):
    good = xml(("dog", 1, 1, 2, 2))
    folder = save(tmp_path, a=good, lists=LISTS | {"train": ["a", "b", "c"]})
    place(folder, "JPEGImages/b.png", picture())
    place(folder, "Annotations/c.xml", good.encode())
    place(folder, "JPEGImages/val.png", b"no image")
    place(folder, "Annotations/val.xml", good.encode())
    lists = {"train": "train", "eval": "val", "test": "test"}
    place(folder, "ImageSets/Main/val.txt", b"val\n")
    place(folder, "ImageSets/Main/test.txt", b"\n")
    examples, bad, _ = read(folder, lists)
    assert {part: list(named) for part, named in examples.items()} == {
        "train": ["JPEGImages/a.png"],
        "val": [],
    }
    assert bad == {
        "b": "there is no annotation in Annotations",
        "c": "there is no image in JPEGImages",
        "JPEGImages/val.png": "not a readable image: unknown format, or the header is "
        "broken",
    }
    bare = "1 images without an annotation in Annotations"
    assert read(folder)[2][bare] == 1


def test_lists_with_an_image_in_common_are_refused(tmp_path):
    good = xml(("dog", 1, 1, 2, 2))
    lists = {"train": ["a", "b"], "val": ["b"], "test": ["c"]}
    folder = save(tmp_path, a=good, b=good, c=good, lists=lists)
    with pytest.raises(BadInputError, match="b stands in the lists 'train' and 'val'"):
        read(folder, LISTS)


def test_a_list_that_is_not_there_is_refused(tmp_path):
    folder = save(tmp_path, a=xml(), lists={"train": ["a"], "val": []})
    with pytest.raises(BadInputError, match="no part 'test'. Expected.*train, val"):
        read(folder, LISTS)


def test_a_list_of_one_class_is_refused(tmp_path):
    lists = {"train": ["a -1"], "val": [], "test": []}
    with pytest.raises(BadInputError, match="train.txt line 1: expected one name"):
        read(save(tmp_path, a=xml(), lists=lists), LISTS)


def test_a_folder_of_another_kind_is_refused(tmp_path):
    place(tmp_path, "dogs/a.png", picture())
    with pytest.raises(BadInputError, match="expected a folder with JPEGImages"):
        read(tmp_path)


def test_folders_by_part_are_read_whole(tmp_path):
    good = xml(("dog", 1, 1, 2, 2))
    path = {p: save(tmp_path / p, a=good) for p in ("train", "val", "test")}
    examples, _, _ = read(path, LISTS)
    assert set(examples) == {"train", "val", "test"}


@needs_data
@pytest.mark.parametrize(
    ("splits", "counts"),
    [(SHARES, {"": 364}), (LISTS, {"train": 205, "val": 87, "test": 72})],
)
def test_bccd_has_the_published_images_and_objects(splits, counts):
    """The counts are those of its authors; class ids are those of sorted names."""
    examples, bad, notes = read(DATA, splits)
    assert {part: len(named) for part, named in examples.items()} == counts
    labels = Counter(
        label
        for named in examples.values()
        for example in named.values()
        for label in example["labels"]
    )
    assert labels == {0: 361, 1: 4155, 2: 372}
    assert (bad, notes) == ({}, {"classes: 0 Platelets, 1 RBC, 2 WBC": 1})


@needs_data
def test_bccd_boxes_are_those_of_its_first_annotation():
    """Its first object: a WBC, x 260 to 491, y 177 to 376, of 640 x 480 pixels."""
    examples, _, _ = read(DATA)
    example = examples[""]["BCCD/JPEGImages/BloodImage_00000.jpg"]
    want = [176 / 480, 259 / 640, 376 / 480, 491 / 640]
    assert example["boxes"][:4] == pytest.approx(want)
    with zipfile.ZipFile(DATA) as archive:
        assert example["image"] == archive.read(example["file"])


IDS = np.arange(200, dtype=np.uint8).reshape(10, 20) % 4


def png(ids, kind="L", **options):
    encoded = io.BytesIO()
    image = Image.fromarray(ids)
    if kind == "P":
        image.putpalette([255 - i // 3 for i in range(768)])
    image.save(encoded, "PNG", **options)
    return encoded.getvalue()


def grey_png(ids, bits):
    """Return a grey PNG of so many bits a pixel, made by hand: PIL writes 1, 8, 16."""
    height, width = ids.shape
    spread = np.unpackbits(ids[..., None].astype(np.uint8), axis=-1)[..., -bits:]
    rows = np.packbits(spread.reshape(height, -1), axis=1)
    packed = zlib.compress(b"".join(b"\0" + row.tobytes() for row in rows))
    header = struct.pack(">IIBBBBB", width, height, bits, 0, 0, 0, 0)
    chunks = ((b"IHDR", header), (b"IDAT", packed), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(d)) + n + d + struct.pack(">I", zlib.crc32(n + d))
        for n, d in chunks
    )


@pytest.mark.parametrize(
    ("encoded", "ids"),
    [
        (png(IDS), IDS),
        (png(IDS, "P"), IDS),
        (png(IDS, "P", bits=2), IDS),
        (grey_png(IDS, 2), IDS),
        (grey_png(IDS, 4), IDS),
        (grey_png(IDS % 2, 1), IDS % 2),
        (png(IDS.astype(np.uint16)), IDS),
    ],
    ids=["grey", "palette", "palette of 4", "2 bits", "4 bits", "1 bit", "16 bits"],
)
def test_tensorflow_decodes_the_class_ids_of_every_kind_of_mask(encoded, ids):
    usable, notes = class_mask.usable(encoded, 10, 20)
    np.testing.assert_array_equal(tf.io.decode_png(usable)[..., 0], ids)
    assert (usable == encoded) == (not notes)


@pytest.mark.parametrize(
    ("encoded", "why"),
    [
        (picture(), "expected one channel of class ids. Received: colours"),
        (png(IDS.T), "expected 20 x 10 pixels.*Received: 10 x 20"),
        (png(IDS.astype(np.uint16) + 300), "expected class ids up to 255.*303"),
        (picture(suffix="jpg"), "expected a PNG"),
        (png(IDS)[:50], "not a readable PNG"),
        (png(IDS, "P")[:-20], "not a readable PNG"),
    ],
)
def test_masks_that_hold_no_class_ids_are_refused(encoded, why):
    with pytest.raises(ValueError, match=why):
        class_mask.usable(encoded, 10, 20)


def read_masks(folder, **options):
    source = {"masks": str(folder / "masks"), **options}
    return read(folder / "images", reader=masks, **source)


def test_masks_go_with_the_images_of_their_names(tmp_path):
    place(tmp_path, "images/a.jpg", picture(suffix="jpg"))
    place(tmp_path, "images/b.png", picture())
    place(tmp_path, "images/c.png", picture())
    place(tmp_path, "images/d.png", picture(height=11))
    place(tmp_path, "masks/a.png", png(IDS))
    place(tmp_path, "masks/b.png", png(IDS, "P"))
    place(tmp_path, "masks/d.png", png(IDS))
    place(tmp_path, "masks/e.png", png(IDS))
    examples, bad, notes = read_masks(tmp_path)
    assert examples[""]["a.jpg"] == {
        "image": picture(suffix="jpg"),
        "mask": png(IDS),
        "height": 10,
        "width": 20,
        "file": "a.jpg",
    }
    assert list(examples[""]) == ["a.jpg", "b.png"]
    assert bad == {
        "c.png": "there is no mask of its name",
        "d.png": "mask d.png: expected 20 x 11 pixels, as its image has. "
        "Received: 20 x 10",
        "e.png": "there is no image of this mask's name",
    }
    assert sum(notes.values()) == 1


def test_of_equal_names_the_folder_decides(tmp_path):
    for part, value in (("day", 1), ("night", 2)):
        place(tmp_path, f"images/{part}/a.png", picture())
        place(tmp_path, f"masks/{part}/a.png", png(np.full((10, 20), value, np.uint8)))
    examples, bad, _ = read_masks(tmp_path)
    found = {n: tf.io.decode_png(e["mask"])[0, 0, 0] for n, e in examples[""].items()}
    assert (found, bad) == ({"day/a.png": 1, "night/a.png": 2}, {})


def test_masks_beside_their_images_are_not_taken_for_images(tmp_path):
    place(tmp_path, "images/a.jpg", picture(suffix="jpg"))
    place(tmp_path, "images/masks/a.png", png(IDS))
    examples, bad, _ = read_masks(tmp_path, masks=str(tmp_path / "images/masks"))
    assert (list(examples[""]), bad) == (["a.jpg"], {})


def test_masks_of_other_names_are_refused(tmp_path):
    place(tmp_path, "images/a.png", picture())
    place(tmp_path, "masks/a_mask.png", png(IDS))
    with pytest.raises(BadInputError, match="such as a.png. Received: a_mask.png"):
        read_masks(tmp_path)


@needs_data
def test_masks_drawn_from_the_boxes_of_bccd_go_with_its_photos(tmp_path):
    """No set of masks is at hand: these are the boxes of real annotations, filled."""
    examples, _, _ = read(DATA)
    drawn = {}
    for name, example in list(examples[""].items())[:20]:
        ids = np.zeros((480, 640), np.uint8)
        boxes = np.reshape(example["boxes"], (-1, 4)) * [480, 640, 480, 640]
        for (y0, x0, y1, x1), label in zip(boxes, example["labels"], strict=True):
            ids[round(y0) : round(y1), round(x0) : round(x1)] = label + 1
        stem = Path(name).stem
        place(tmp_path, f"masks/{stem}.png", png(ids))
        place(tmp_path, f"images/{stem}.jpg", example["image"])
        drawn[f"{stem}.jpg"] = ids
    found, bad, _ = read_masks(tmp_path)
    assert (found[""].keys(), bad) == (drawn.keys(), {})
    for name, ids in drawn.items():
        decoded = tf.io.decode_png(found[""][name]["mask"])[..., 0]
        np.testing.assert_array_equal(decoded, ids)
