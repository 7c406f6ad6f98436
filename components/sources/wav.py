"""WAV files: what a header says, and 16-bit mono samples of any PCM or float WAV."""

import struct
from dataclasses import dataclass

import numpy as np

PCM, FLOAT, EXTENSIBLE = 1, 3, 0xFFFE
_FORMATS = {6: "A-law", 7: "mu-law", 0x11: "ADPCM", 2: "ADPCM", 0x55: "MP3"}
_FORMAT = struct.Struct("<HHIIHH")
_HEADER = struct.Struct("<4sI4s4sIHHIIHH4sI")  # of a plain WAV: 44 bytes


@dataclass(frozen=True)
class Wav:
    """A parsed WAV.

    Attributes:
      sample_rate: in Hz.
      channels: 1 is mono.
      bits: of a sample of one channel.
      is_float: whether samples are floating-point numbers.
      start: where the samples begin, in bytes.
      size_bytes: of the samples.
      is_plain: whether `tf.audio.decode_wav` reads the file as it is, at 16 bits.
    """

    sample_rate: int
    channels: int
    bits: int
    is_float: bool
    start: int
    size_bytes: int
    is_plain: bool


def parse(data: bytes) -> Wav:
    """Read the header of a whole WAV file.

    Raises:
      ValueError: it is no WAV, of a coding that is not read, or it declares samples
        that are not there.
    """
    if len(data) < 12 or data[:4] != b"RIFF" or data[8:12] != b"WAVE":
        raise ValueError("not a WAV file: it does not begin with RIFF and WAVE")
    chunks = _chunks(data)
    if b"fmt " not in chunks:
        raise ValueError("the WAV has no format chunk")
    if b"data" not in chunks:
        raise ValueError("the WAV has no samples")
    is_float, channels, sample_rate, bits = _format(data, *chunks[b"fmt "])
    start, size = chunks[b"data"]
    _check_size(size, len(data) - start, channels * bits // 8)
    return Wav(
        sample_rate,
        channels,
        bits,
        is_float,
        start,
        size,
        _is_plain(data, chunks),
    )


def head(data: bytes) -> int:
    """Return the sample rate that the first bytes of a WAV tell.

    Raises:
      ValueError: they do not tell.
    """
    if data[:4] != b"RIFF" or data[8:12] != b"WAVE":
        raise ValueError("not a WAV file")
    chunks = _chunks(data)
    if b"fmt " not in chunks:
        raise ValueError("no format chunk near the beginning")
    return _format(data, *chunks[b"fmt "])[2]


def mono16(data: bytes, wav: Wav) -> np.ndarray:
    """Return the samples as (T,) int16, the mean of all channels, rounded.

    Raises:
      ValueError: a floating-point sample is no finite number.
    """
    samples = _samples(data[wav.start : wav.start + wav.size_bytes], wav)
    if not np.isfinite(samples).all():
        raise ValueError("a sample is not a finite number")
    mean = samples.reshape(-1, wav.channels).mean(axis=1)
    return np.clip(np.round(mean * 32768), -32768, 32767).astype("<i2")


def encode(samples: np.ndarray, sample_rate: int) -> bytes:
    """Return (T,) int16 samples as a plain mono WAV."""
    body = samples.astype("<i2").tobytes()
    header = _HEADER.pack(
        *(b"RIFF", 36 + len(body), b"WAVE"),
        *(b"fmt ", 16, PCM, 1, sample_rate, 2 * sample_rate, 2, 16),
        *(b"data", len(body)),
    )
    return header + body


def _chunks(data: bytes) -> dict[bytes, tuple[int, int]]:
    """Return where each chunk's content begins and how large it says it is."""
    chunks: dict[bytes, tuple[int, int]] = {}
    at = 12
    while at + 8 <= len(data):
        name, size = struct.unpack_from("<4sI", data, at)
        chunks.setdefault(name, (at + 8, size))
        at += 8 + size + size % 2
    return chunks


def _format(data: bytes, start: int, size: int) -> tuple[bool, int, int, int]:
    if size < _FORMAT.size or start + size > len(data):
        raise ValueError("the WAV has no whole format chunk")
    coding, channels, sample_rate, _, _, bits = _FORMAT.unpack_from(data, start)
    if coding == EXTENSIBLE and size >= 26:
        (coding,) = struct.unpack_from("<H", data, start + 24)
    widths = {PCM: (8, 16, 24, 32), FLOAT: (32, 64)}
    if coding not in widths:
        name = _FORMATS.get(coding, f"coding {coding}")
        raise ValueError(f"samples are {name}; expected PCM or float")
    if bits not in widths[coding] or not channels or not sample_rate:
        raise ValueError(
            f"declares {channels} channels of {bits} bits at {sample_rate} Hz; "
            f"expected {', '.join(map(str, widths[coding]))} bits"
        )
    return coding == FLOAT, channels, sample_rate, bits


def _check_size(declared: int, there: int, frame_bytes: int) -> None:
    if declared > there:
        raise ValueError(
            f"declares {declared} bytes of samples and holds {there}: cut short"
        )
    if not declared:
        raise ValueError("holds no samples")
    if declared % frame_bytes:
        raise ValueError(
            f"declares {declared} bytes of samples, which is no multiple of "
            f"{frame_bytes} (all channels of one moment)"
        )


def _is_plain(data: bytes, chunks: dict[bytes, tuple[int, int]]) -> bool:
    """Whether it is the one layout that every reader knows: 44 bytes, then samples.

    `tf.audio.decode_wav` also refuses sizes and rates in bytes that do not fit.
    """
    start, size = chunks[b"data"]
    layout = (start, start + size, chunks[b"fmt "])
    if layout != (_HEADER.size, len(data), (20, 16)):
        return False
    _, channels, rate, bytes_a_second, frame_bytes, bits = _FORMAT.unpack_from(data, 20)
    return frame_bytes == channels * bits // 8 and bytes_a_second == rate * frame_bytes


def _samples(body: bytes, wav: Wav) -> np.ndarray:
    """Return all samples, channels interleaved, scaled to -1..1, as float64."""
    if wav.is_float:
        return np.frombuffer(body, f"<f{wav.bits // 8}").astype(np.float64)
    if wav.bits == 8:  # the one width without a sign
        return (np.frombuffer(body, np.uint8).astype(np.float64) - 128) / 128
    if wav.bits == 24:
        wide = np.zeros((len(body) // 3, 4), np.uint8)
        wide[:, 1:] = np.frombuffer(body, np.uint8).reshape(-1, 3)
        return wide.view("<i4")[:, 0] / 2**31
    return np.frombuffer(body, f"<i{wav.bits // 8}") / 2 ** (wav.bits - 1)
