"""What kind of input a recipe makes, and what would fail late; without TensorFlow."""

import math
from collections.abc import Mapping
from typing import Any, Literal

from recipes.errors import BadInputError
from recipes.transform import GRAPH_FEATURES, GRAPH_NUMBERS, WHOLE

Kind = Literal[
    "image", "text", "audio", "series", "graph", "language", "pairs", "table"
]
LOWEST_HZ = 20.0  # lower edge of the first mel band; below is rumble

# Which options of `transform.augment` change which kind of input.
AUGMENTATIONS: dict[str, tuple[str, ...]] = {
    "image": ("flip", "crop", "rotate", "brightness", "contrast", "cutout", "mixup"),
    "text": ("word_dropout",),
    "audio": ("noise", "spec_time", "spec_frequency", "mixup"),
    "table": ("noise", "missing", "mixup"),
}


def kind(transform: Mapping[str, Any]) -> Kind:
    """Return what the recipe's `transform` section makes inputs of."""
    return next((name for name in WHOLE if transform[name]), "table")


def used_features(transform: Mapping[str, Any]) -> list[str]:
    """Return the raw features that the model reads, without the label."""
    of = kind(transform)
    if of == "series":
        return ["context"]
    if of == "graph":
        return [*GRAPH_FEATURES, *GRAPH_NUMBERS]
    if of == "pairs":
        return [transform[of]["source"]]
    if of != "table":
        return [transform[of]["feature"]]
    sections = ("numeric", "scale", "buckets", "vocabulary", "hash", "calendar")
    columns = [name for section in sections for name in transform[section]]
    crossed = [f for cross in transform["crosses"].values() for f in cross["features"]]
    return list(dict.fromkeys(columns + crossed))


def check(transform: Mapping[str, Any]) -> None:
    """Check image, audio and augmentation options against each other.

    Raises:
      BadInputError: an option cannot be met, or does not fit the kind of input.
    """
    if transform["image"]:
        _check_image(transform["image"])
    if transform["audio"]:
        _check_audio(transform["audio"])
    _check_augment(transform)


def num_samples(audio: Mapping[str, Any]) -> int:
    """Return how many samples of a recording are used."""
    return round(audio["seconds"] * audio["sample_rate"])


def frame_samples(audio: Mapping[str, Any]) -> tuple[int, int, int]:
    """Return samples per frame, from one frame to the next, and per transform."""
    length = round(audio["frame_seconds"] * audio["sample_rate"])
    hop = round(audio["hop_seconds"] * audio["sample_rate"])
    return length, hop, 1 << max(0, length - 1).bit_length()


def audio_shape(audio: Mapping[str, Any]) -> tuple[int, ...]:
    """Return the shape of one recording as the model gets it."""
    if audio["output"] == "samples":
        return (num_samples(audio),)
    length, hop, _ = frame_samples(audio)
    num_frames = 1 + (num_samples(audio) - length) // hop
    bands = "num_coefficients" if audio["output"] == "mfcc" else "num_mels"
    return num_frames, audio[bands], 1


def _check_image(image: Mapping[str, Any]) -> None:
    if image["shape"][2] not in (1, 3, 4):
        raise BadInputError(
            "[transform.image] shape: expected 1 (grey), 3 (RGB) or 4 (RGBA) channels. "
            f"Received: {image['shape'][2]}"
        )


def _check_audio(audio: Mapping[str, Any]) -> None:
    if num_samples(audio) < 1:
        raise BadInputError(
            f"[transform.audio] seconds: {audio['seconds']} s at "
            f"{audio['sample_rate']} Hz hold no sample."
        )
    if audio["output"] == "samples":
        return
    length, hop, _ = frame_samples(audio)
    if length < 2 or hop < 1:
        raise BadInputError(
            "[transform.audio] frame_seconds and hop_seconds: expected frames of at "
            f"least 2 samples, 1 apart. Received: {length} and {hop} samples at "
            f"{audio['sample_rate']} Hz."
        )
    if num_samples(audio) < length:
        raise BadInputError(
            f"[transform.audio] seconds: {num_samples(audio)} samples are less than a "
            f"frame of {length}. Raise seconds, or lower frame_seconds."
        )
    _check_bands(audio)


def _check_bands(audio: Mapping[str, Any]) -> None:
    if audio["output"] == "mfcc" and audio["num_coefficients"] > audio["num_mels"]:
        raise BadInputError(
            "[transform.audio] num_coefficients: expected at most num_mels "
            f"({audio['num_mels']}). Received: {audio['num_coefficients']}"
        )
    empty = _empty_bands(audio)
    if empty:
        raise BadInputError(
            f"[transform.audio] num_mels: {empty} of {audio['num_mels']} bands are "
            "narrower than the spectrum's resolution, and would be constant. Lower "
            "num_mels, or raise frame_seconds."
        )


def _empty_bands(audio: Mapping[str, Any]) -> int:
    """Return how many mel bands no frequency of the spectrum falls into."""
    _, _, fft_length = frame_samples(audio)
    half, rate = fft_length // 2, audio["sample_rate"]
    low, high = _mel(LOWEST_HZ), _mel(rate / 2)
    width = (high - low) / (audio["num_mels"] + 1)
    if width <= 0:
        return int(audio["num_mels"])
    # Position among the edges: band i reaches from edge i to edge i + 2.
    places = [(_mel(i * rate / fft_length) - low) / width for i in range(1, half + 1)]
    filled = {
        band
        for place in places
        for band in (math.floor(place), math.floor(place) - 1)
        if band < place < band + 2
    }
    return sum(band not in filled for band in range(audio["num_mels"]))


def _mel(hertz: float) -> float:
    """Return a frequency on the mel scale of HTK."""
    return 1127.0 * math.log1p(hertz / 700.0)


def _check_augment(transform: Mapping[str, Any]) -> None:
    of = kind(transform)
    wanted = {
        name: value
        for name, value in transform["augment"].items()
        if value not in (0, "none")
    }
    for name in wanted:
        fitting = AUGMENTATIONS.get(of, ())
        if name not in fitting:
            raise BadInputError(
                f"[transform.augment] {name} does not fit {_article(of)} {of}. "
                f"Expected {'some of' if fitting else 'none'} {', '.join(fitting)}."
            )
    if of == "audio":
        _check_masks(transform["audio"], wanted)


def _check_masks(audio: Mapping[str, Any], wanted: Mapping[str, Any]) -> None:
    fitting = {"log_mel": ("spec_time", "spec_frequency"), "mfcc": ("spec_time",)}
    sizes = dict(zip(("spec_time", "spec_frequency"), audio_shape(audio), strict=False))
    for name in wanted.keys() & {"spec_time", "spec_frequency"}:
        if name not in fitting.get(audio["output"], ()):
            raise BadInputError(
                f"[transform.augment] {name} does not fit the output "
                f"{audio['output']!r} of [transform.audio]."
            )
        if wanted[name] >= sizes[name]:
            raise BadInputError(
                f"[transform.augment] {name}: expected less than the {sizes[name]} "
                f"there are. Received: {wanted[name]}"
            )


def _article(word: str) -> str:
    return "an" if word[0] in "aeiou" else "a"
