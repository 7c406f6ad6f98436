"""WAV files become 16-bit mono WAVs of one rate, labelled by folder or name."""

import struct
import wave
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from components.sources import audio, files, wav
from recipes.errors import BadInputError

DATA = Path(__file__).parents[3] / "shared/data/spoken-digits"
SOURCE = {"name": None, "sample_rate": None}
RAMP = np.array([-32768, -1, 0, 1, 32767], "<i2")


def riff(body, *, coding=1, channels=1, rate=8000, bits=16, declared=None, extra=b""):
    """Return a WAV by hand; `declared` bytes of samples, `extra` chunks before them."""
    frame = channels * bits // 8
    chunks = b"fmt " + struct.pack(
        "<IHHIIHH", 16, coding, channels, rate, rate * frame, frame, bits
    )
    size = len(body) if declared is None else declared
    chunks += extra + b"data" + struct.pack("<I", size) + body
    return b"RIFF" + struct.pack("<I", 4 + len(chunks)) + b"WAVE" + chunks


def write(folder, **contents):
    for name, data in contents.items():
        path = folder / f"{name}.wav"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)


def read(path, **options):
    source = {**SOURCE, **options}
    found = files.list_files(files.resolve(str(path), None, Path("/")), audio.SUFFIXES)
    return [b for p in audio.pieces(source, found, {}) for b in audio.read(p)]


def decoded(data):
    """Return (T,) what TensorFlow reads, in units of 16-bit samples, and the rate."""
    samples, rate = tf.audio.decode_wav(data)
    return np.round(samples.numpy()[:, 0] * 32768).astype(int).tolist(), int(rate)


def test_a_16_bit_mono_wav_stays_as_it_is():
    data = riff(RAMP.tobytes())
    assert audio.usable(data, 8000) == (data, "")
    assert decoded(data) == (RAMP.tolist(), 8000)


@pytest.mark.parametrize(
    ("data", "want", "note"),
    [
        (riff(bytes([0, 128, 255]), bits=8), [-32768, 0, 32512], "8-bit"),
        (
            riff(bytes([0, 0, 128, 0, 1, 0, 255, 255, 127]), bits=24),
            [-32768, 1, 32767],  # -2^23; 256; 2^23 - 1, which rounds up and is clipped
            "24-bit",
        ),
        (
            riff(np.array([-(2**31), 3 << 16], "<i4").tobytes(), bits=32),
            [-32768, 3],
            "32-bit",
        ),
        (
            riff(np.array([-2, -0.5, 1], "<f4").tobytes(), coding=3, bits=32),
            [-32768, -16384, 32767],
            "32-float",
        ),
        (
            riff(np.array([[100, 300], [-7, -7]], "<i2").tobytes(), channels=2),
            [200, -7],
            "2 channels",
        ),
        (riff(RAMP.tobytes(), extra=b"LIST\x03\0\0\0abc\0"), RAMP.tolist(), "anew"),
    ],
)
def test_other_wavs_are_converted_and_noted(data, want, note):
    encoded, said = audio.usable(data, None)
    assert decoded(encoded) == (want, 8000)
    assert note in said


def test_the_extensible_format_is_pcm_by_its_subformat():
    fields = struct.pack("<IHHIIHH", 40, 0xFFFE, 1, 8000, 16000, 2, 16)
    fields += struct.pack("<HHI", 22, 16, 4) + b"\x01\0" + bytes(14)
    data = b"data" + struct.pack("<I", 10) + RAMP.tobytes()
    body = b"WAVEfmt " + fields + data
    encoded, _ = audio.usable(b"RIFF" + struct.pack("<I", len(body)) + body, None)
    assert decoded(encoded) == (RAMP.tolist(), 8000)


def test_what_is_written_is_what_the_wave_module_reads(tmp_path):
    (tmp_path / "a.wav").write_bytes(wav.encode(RAMP, 16_000))
    with wave.open(str(tmp_path / "a.wav")) as opened:
        assert (opened.getframerate(), opened.getnchannels()) == (16_000, 1)
        assert opened.readframes(99) == RAMP.tobytes()


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"", "the file is empty"),
        (b"ID3\x04" + bytes(60), "not a WAV file"),
        (b"RIFF", "not a WAV file"),
        (riff(RAMP.tobytes())[:30], "has no samples"),
        (b"RIFF\x04\0\0\0WAVE", "no format chunk"),
        (riff(RAMP.tobytes())[:-4], "declares 10 bytes of samples and holds 6"),
        (riff(RAMP.tobytes(), declared=2**32 - 2), "declares 4294967294 bytes"),
        (riff(b""), "holds no samples"),
        (riff(RAMP.tobytes(), coding=7, bits=8), "samples are mu-law"),
        (riff(RAMP.tobytes(), bits=12), "12 bits at 8000 Hz"),
        (riff(b"abc"), "declares 3 bytes of samples, which is no multiple of 2"),
        (
            riff(np.array([np.nan], "<f4").tobytes(), coding=3, bits=32),
            "not a finite number",
        ),
        (riff(RAMP.tobytes(), rate=16000), "16000 Hz; expected 8000"),
    ],
)
def test_a_file_that_cannot_be_used_is_left_out_and_named(tmp_path, data, why):
    write(tmp_path, **{"a/good": riff(RAMP.tobytes()), "b/bad": data})
    (batch,) = read(tmp_path)
    (bad,) = batch.bad
    assert bad.where == "b/bad.wav"
    assert why in bad.why
    assert batch.table.column("label").to_pylist() == ["a"]


@pytest.mark.parametrize(("at", "form"), [(28, "<I"), (32, "<H")])
def test_rates_in_bytes_that_do_not_fit_are_written_anew(at, form):
    good = riff(RAMP.tobytes())
    data = bytearray(good)
    struct.pack_into(form, data, at, 7)
    assert audio.usable(bytes(data), 8000) == (good, "WAV header written anew")


def test_a_format_chunk_that_is_too_short_is_told():
    short = b"RIFF\0\0\0\0WAVEfmt \x04\0\0\0abcd"
    cut = b"RIFF\0\0\0\0WAVEdata\x02\0\0\0abfmt \x10\0\0\0ab"
    with pytest.raises(ValueError, match="no whole format chunk"):
        wav.head(short)
    with pytest.raises(ValueError, match="no whole format chunk"):
        wav.parse(cut)


def test_a_header_cut_anywhere_is_no_record_and_no_crash():
    data = riff(RAMP.tobytes(), extra=b"LIST\x04\0\0\0abcd")
    for length in range(len(data)):
        with pytest.raises(ValueError, match="WAV|samples|multiple"):
            audio.usable(data[:length], None)


def test_the_rate_of_the_first_file_is_that_of_all_unless_told(tmp_path):
    for name, rate in (("a", 16000), ("b", 8000)):
        write(tmp_path, **{f"x/{name}": riff(RAMP.tobytes(), rate=rate)})
    assert read(tmp_path)[0].bad[0].where == "x/b.wav"
    assert read(tmp_path, sample_rate=8000)[0].bad[0].where == "x/a.wav"


def test_names_tell_the_features(tmp_path):
    write(tmp_path, **{n: riff(RAMP.tobytes()) for n in ("7_theo_12", "x_1", "8_b_c")})
    (batch,) = read(tmp_path, name="{label}_{speaker}_{take}")
    rows = batch.table.drop_columns(["audio"]).to_pylist()
    assert rows == [
        {"label": "7", "speaker": "theo", "take": "12"},
        {"label": "8", "speaker": "b", "take": "c"},
    ]
    assert [bad.where for bad in batch.bad] == ["x_1.wav"]


@pytest.mark.parametrize(
    ("name", "stem", "want"),
    [
        ("{label}", "a_b", ("a_b",)),
        ("rec-{label}--{take}", "rec-a-b--3", ("a-b", "3")),
        ("{label}_{take}", "a_b_c", None),  # which of two readings, nobody can know
        ("{label}.{take}", "axb", None),
    ],
)
def test_a_part_never_holds_what_stands_between_parts(name, stem, want):
    found = audio.name_pattern(name).fullmatch(stem)
    assert (found and found.groups()) == want


@pytest.mark.parametrize("name", ["", "label", "{a}{b}", "{a}_{a}", "{audio}_{b}"])
def test_a_name_without_a_sense_is_refused(name):
    with pytest.raises(BadInputError, match=r"\[data.audio\] name"):
        audio.name_pattern(name)


def test_a_name_that_no_file_goes_by_is_refused(tmp_path):
    write(tmp_path, a=riff(RAMP.tobytes()))
    with pytest.raises(BadInputError, match="The first is 'a'"):
        read(tmp_path, name="{label}_{take}")


def test_files_without_a_class_folder_are_refused(tmp_path):
    write(tmp_path, a=riff(RAMP.tobytes()))
    with pytest.raises(BadInputError, match=r"a.wav: 1 of 1 audio files"):
        read(tmp_path)


def test_an_empty_class_folder_is_noted(tmp_path):
    write(tmp_path, **{"a/1": riff(RAMP.tobytes())})
    (tmp_path / "b").mkdir()
    (batch,) = read(tmp_path)
    (note,) = batch.notes
    assert str(tmp_path / "b") in note


@pytest.mark.skipif(not DATA.exists(), reason="needs the sets in shared/data")
def test_the_spoken_digits_are_read_from_their_zip_unchanged():
    batches = read(DATA / "recordings_3_speakers.zip", name="{label}_{speaker}_{take}")
    columns = {
        name: [v for b in batches for v in b.table.column(name).to_pylist()]
        for name in ("label", "speaker", "take")
    }
    assert Counter(columns["label"]) == {str(digit): 150 for digit in range(10)}
    assert Counter(columns["speaker"]) == dict.fromkeys(
        ("george", "jackson", "lucas"), 500
    )
    assert set(columns["take"]) == {str(take) for take in range(50)}
    assert not any(b.bad or b.notes for b in batches)
    assert batches[0].names[0] == "recordings/0_george_0.wav"
    samples, rate = tf.audio.decode_wav(batches[0].table.column("audio")[0].as_py())
    assert (samples.shape, int(rate)) == ((2384, 1), 8000)  # (4812 - 44) / 2
