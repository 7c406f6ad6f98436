"""Images stay as they are where TensorFlow reads them, or become PNGs or bad rows."""

import io
import zipfile
import zlib
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from components.sources import files, images
from recipes.errors import BadInputError

DATA = Path(__file__).parents[3] / "shared/data/sign-digits"
SOURCE = {"table": None, "file_column": "file"}
PIXELS = np.random.default_rng(0).integers(0, 256, (5, 7, 3), np.uint8)
RGB = Image.fromarray(PIXELS)


def encoded(image, kind="PNG", **options):
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def png_header(width, height):
    """Return a PNG that declares so many pixels, and holds none."""
    chunk = b"IHDR" + width.to_bytes(4, "big") + height.to_bytes(4, "big")
    chunk += bytes([8, 2, 0, 0, 0])
    length, checksum = (n.to_bytes(4, "big") for n in (13, zlib.crc32(chunk)))
    return b"\x89PNG\r\n\x1a\n" + length + chunk + checksum + b"\0\0\0\1IDAT"


def write(folder, **contents):
    for name, data in contents.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)


def read(path, **options):
    source = {**SOURCE, **options}
    patterns = files.resolve(
        path if isinstance(path, dict) else str(path), None, Path("/")
    )
    found = files.list_files(patterns, images.SUFFIXES)
    return [b for p in images.pieces(source, found, {}) for b in images.read(p)]


def rows(batches):
    """Return the columns beside the image, a dict per record."""
    return [row for b in batches for row in b.table.drop_columns(["image"]).to_pylist()]


def decoded(data, channels=3):
    return tf.io.decode_image(data, channels, expand_animations=False).numpy()


@pytest.mark.parametrize(
    ("image", "kind", "options"),
    [
        (RGB, "PNG", {}),
        (RGB, "JPEG", {}),
        (RGB, "JPEG", {"progressive": True}),
        (RGB.convert("L"), "JPEG", {}),
        (RGB.convert("P"), "PNG", {}),
        (RGB.convert("P"), "GIF", {}),
        (RGB.convert("1"), "PNG", {}),
        (RGB.convert("RGBA"), "PNG", {}),
    ],
)
def test_what_tensorflow_reads_stays_as_it_is(image, kind, options):
    data = encoded(image, kind, **options)
    assert images.usable(data) == (data, [])
    assert decoded(data).shape == (5, 7, 3)


@pytest.mark.parametrize(
    ("data", "note"),
    [
        (encoded(RGB, "BMP"), "BMP"),
        (encoded(RGB, "WEBP", lossless=True), "WEBP"),
        (encoded(RGB, "TIFF"), "TIFF"),
    ],
)
def test_other_formats_become_pngs_of_the_same_pixels(data, note):
    converted, notes = images.usable(data)
    np.testing.assert_array_equal(decoded(converted), PIXELS)
    assert notes == [f"{note} image converted to 8-bit PNG"]


def test_a_cmyk_jpeg_becomes_an_rgb_png():
    cmyk = Image.new("CMYK", (7, 5), (0, 255, 255, 0))  # no cyan: red
    data = encoded(cmyk, "JPEG")
    converted, notes = images.usable(data)
    assert notes == ["CMYK image converted to 8-bit PNG"]
    np.testing.assert_allclose(decoded(converted)[0, 0], [255, 0, 0], atol=3)


def test_of_16_bits_the_upper_eight_stay_as_tensorflow_keeps_them():
    grey = np.array([[0, 255, 256, 40_000, 65_535]], np.uint16)
    for pixels in (grey[..., None], np.stack([grey, grey[:, ::-1], grey], -1)):
        data = tf.io.encode_png(pixels).numpy()
        converted, notes = images.usable(data)
        channels = pixels.shape[-1]
        want = (pixels >> 8).astype(np.uint8)
        np.testing.assert_array_equal(decoded(converted, channels), want)
        np.testing.assert_array_equal(decoded(data, channels), want)
        assert notes == ["16-bit image converted to 8-bit PNG"]


def test_the_orientation_tag_is_noted_and_the_bytes_stay():
    exif = Image.Exif()
    exif[0x0112] = 6  # turned by 90 degrees
    data = encoded(RGB, "JPEG", exif=exif)
    kept, (note,) = images.usable(data)
    assert kept == data
    assert "EXIF orientation" in note
    assert decoded(data).shape == (5, 7, 3)  # as stored: not turned


JPEG = encoded(Image.fromarray(np.tile(PIXELS, (20, 20, 1))), "JPEG")
PNG = encoded(Image.fromarray(np.tile(PIXELS, (20, 20, 1))))
GIF = encoded(RGB.convert("P"), "GIF")


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"", "the file is empty"),
        (b"GIF89a", "unknown format"),
        (b"<html>404</html>", "unknown format"),
        (JPEG[: len(JPEG) // 2], "truncated"),
        (JPEG[:-2], "truncated"),
        (JPEG[: len(JPEG) // 2] + bytes(9), "truncated"),
        (PNG[: len(PNG) // 2], "runcated"),
        (PNG[:500] + b"x" + PNG[501:], "broken PNG"),
        (GIF[:-30], "truncated"),
        (png_header(10_000, 10_001), "declares 10000 x 10001 pixels"),
        (png_header(60_000, 60_000), "3600000000 pixels"),
        (encoded(Image.fromarray(np.zeros((2, 2), np.float32)), "TIFF"), "32 bits"),
    ],
)
def test_a_broken_image_is_left_out_and_named(tmp_path, data, why):
    write(tmp_path, **{"a/good.png": encoded(RGB), "b/bad.png": data})
    (batch,) = read(tmp_path)
    (bad,) = batch.bad
    assert bad.where == "b/bad.png"
    assert why in bad.why
    assert "\n" not in bad.why
    assert rows([batch]) == [{"label": "a"}]


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "GIF", "BMP", "WEBP", "TIFF"])
def test_an_image_cut_anywhere_is_bad_or_readable(kind):
    whole = encoded(RGB.convert("P") if kind == "GIF" else RGB, kind)
    for length in range(0, len(whole), 3):
        try:
            kept, _ = images.usable(whole[:length])
        except ValueError:
            continue
        assert decoded(kept).shape == (5, 7, 3), length


def test_formats_that_run_programs_are_no_images(monkeypatch):
    eps = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n%%EndComments\n"
    with pytest.raises(ValueError, match="unknown format"):
        images.usable(eps + b"showpage\n%%EOF\n")


def test_an_image_larger_than_the_limit_is_left_out(tmp_path, monkeypatch):
    monkeypatch.setattr(images, "LARGEST_BYTES", 1000)
    write(tmp_path, **{"a/1.jpg": JPEG, "a/2.png": encoded(RGB)})
    (batch,) = read(tmp_path)
    (bad,) = batch.bad
    assert (bad.where, bad.why) == ("a/1.jpg", "larger than 0 MB")  # of 1000 bytes
    assert batch.names == ["a/2.png"]


def test_folders_are_labels_by_part_and_an_empty_one_is_noted(tmp_path):
    for name in ("train/cat/1.png", "train/a dog/1.png", "test/cat/ü.png"):
        write(tmp_path, **{name: encoded(RGB)})
    (tmp_path / "train/cow").mkdir()
    (tmp_path / "train/cat/notes.md").write_text("not an image")
    parts = {part: str(tmp_path / part) for part in ("train", "test")}
    batches = read(parts)
    assert rows(batches) == [{"label": "cat"}, {"label": "a dog"}, {"label": "cat"}]
    assert [b.names for b in batches] == [["cat/ü.png"], ["a dog/1.png", "cat/1.png"]]
    (note,) = [note for b in batches for note in b.notes]
    assert "train/cow" in note


def test_images_at_the_top_are_refused_with_the_layout_that_is_wanted(tmp_path):
    write(tmp_path, **{"1.png": encoded(RGB), "a/2.png": encoded(RGB)})
    with pytest.raises(BadInputError, match=r"1 of 2 image files .*<label>/<file>"):
        read(tmp_path)


def test_pieces_hold_some_files_each_of_one_part(tmp_path):
    found = [files.File(f"/x/{i}", f"a/{i}", 100, "train") for i in range(300)]
    found += [files.File(f"/y/{i}", f"a/{i}", 9 << 20, "test") for i in range(3)]
    pieces = images.pieces(SOURCE, found, {})
    assert [len(p.options["files"]) for p in pieces] == [256, 44, 1, 1, 1]
    assert [p.part for p in pieces] == ["train"] * 2 + ["test"] * 3
    assert pieces[1].size_bytes == 4400


TABLE = "file,label,age\na/1.png,cat,3\nb/2.png,dog,\nc/3.png,cat,5\n"


def test_a_row_of_the_table_goes_with_its_image(tmp_path):
    write(tmp_path, **{n: encoded(RGB) for n in ("a/1.png", "b/2.png", "x.png")})
    (tmp_path / "labels.csv").write_text(TABLE)
    (batch,) = read(tmp_path, table=str(tmp_path / "labels.csv"))
    assert rows([batch]) == [{"label": "cat", "age": 3}, {"label": "dog", "age": None}]
    assert batch.names == ["a/1.png", "b/2.png"]
    (bad,) = batch.bad
    assert (bad.where, "c/3.png" in bad.why) == ("labels.csv row 3", True)
    assert batch.notes[-1] == "1 files without a row in the table left out"
    assert any("age int" in note for note in batch.notes)


def test_the_row_of_a_broken_image_goes_with_it(tmp_path):
    write(tmp_path, **{"a/1.png": b"", "b/2.png": encoded(RGB)})
    (tmp_path / "labels.csv").write_text(TABLE)
    (batch,) = read(tmp_path, table=str(tmp_path / "labels.csv"))
    assert rows([batch]) == [{"label": "dog", "age": None}]
    assert [bad.where for bad in batch.bad] == ["labels.csv row 3", "a/1.png"]


def test_rows_stay_with_their_images_over_pieces_and_parts(tmp_path):
    names = [f"{part}/{i:03}.png" for i in range(300) for part in ("test", "train")]
    write(tmp_path, **dict.fromkeys(names, encoded(RGB)))
    lines = [f"{name.partition('/')[2]},{i // 2}" for i, name in enumerate(names)]
    (tmp_path / "t.csv").write_text("\n".join(["file,row", *lines[::-2]]))
    parts = {part: str(tmp_path / part) for part in ("train", "test")}
    batches = read(parts, table=str(tmp_path / "t.csv"))
    assert [len(b.names) for b in batches] == [256, 44, 256, 44]
    for batch in batches:
        stems = [int(name.removesuffix(".png")) for name in batch.names]
        assert [row["row"] for row in rows([batch])] == stems


def test_names_of_files_that_look_like_numbers_are_names(tmp_path):
    write(tmp_path, **{n: encoded(RGB) for n in ("007", "7")})
    (tmp_path / "t.csv").write_text("id,label\n007,a\n7,b\n")
    source = {"table": str(tmp_path / "t.csv"), "file_column": "id"}
    found = [files.File(str(tmp_path / n), n, 1) for n in ("007", "7")]
    batches = [b for p in images.pieces(source, found, {}) for b in images.read(p)]
    assert rows(batches) == [{"label": "a"}, {"label": "b"}]


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ("name,label\na/1.png,cat\n", "no column 'file'. Expected .* name, label"),
        ("file,image\na/1.png,cat\n", "'image' has the name of the feature"),
        ("file,label\n1.png,cat\n", "says '1.png'; expected names like 'a/1.png'"),
    ],
)
def test_a_table_that_does_not_fit_is_refused(tmp_path, table, message):
    write(tmp_path, **{"a/1.png": encoded(RGB)})
    (tmp_path / "labels.csv").write_text(table)
    with pytest.raises(BadInputError, match=message):
        read(tmp_path, table=str(tmp_path / "labels.csv"))


def test_a_damaged_member_of_a_zip_is_a_bad_row(tmp_path):
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a/1.png", PNG)
        archive.writestr("a/2.png", encoded(RGB))
    path.write_bytes(path.read_bytes().replace(PNG[100:110], bytes(10)))
    (batch,) = read(path)
    assert batch.names == ["a/2.png"]
    assert [bad.where for bad in batch.bad] == ["a/1.png"]


@pytest.mark.skipif(not DATA.exists(), reason="needs the sets in shared/data")
def test_the_sign_digits_are_read_from_their_zip_unchanged():
    batches = read(DATA / "sign_digits_100px.zip")
    labels = Counter(row["label"] for row in rows(batches))
    counts = [205, 206, 206, 206, 207, 207, 207, 203, 208, 204]
    assert labels == {str(digit): n for digit, n in enumerate(counts)}
    assert not any(b.bad or b.notes for b in batches)
    first = batches[0].table.column("image")[0].as_py()
    with zipfile.ZipFile(DATA / "sign_digits_100px.zip") as archive:
        assert first == archive.read(batches[0].names[0])


@pytest.mark.skipif(not DATA.exists(), reason="needs the sets in shared/data")
def test_the_sample_folders_of_sign_digits_hold_20_images_each():
    labels = Counter(row["label"] for row in rows(read(DATA / "sample")))
    assert labels == {str(digit): 20 for digit in range(10)}
