"""What speaks for the answers to some examples: on pictures, on words, by column."""

import base64
import html
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from components import page_records
from components.report import elements, plots
from components.report.record import Record

_OUTPUTS, _EXAMPLES = "outputs.npz", "examples.gz"
_FOR, _AGAINST = (214, 125, 30), (42, 120, 214)  # orange, blue
_MOST_TOKENS = 80
_KEY = "Orange speaks for the answer, blue against it."


def explanations(measured: Mapping[str, Any], record: Record) -> str:
    """Return examples with what spoke for their answers."""
    folder = record.evidence("explanations") or Path()
    if not (folder / _OUTPUTS).is_file():
        return ""
    with np.load(folder / _OUTPUTS) as stored:
        outputs = {name: stored[name] for name in stored.files}
    if measured["columns"]:
        return _columns(measured["columns"])
    if "tokens" in outputs:
        return _texts(outputs["tokens"], outputs["attributions"], measured["answers"])
    return _pictures(folder / _EXAMPLES, outputs["attributions"], measured["answers"])


def _columns(columns: Mapping[str, float]) -> str:
    order = dict(sorted(columns.items(), key=lambda item: -item[1]))
    drawn = plots.bars(
        order, label="how much each column matters", x="mean size, in logits"
    )
    return elements.plots(drawn)


def _texts(tokens: np.ndarray, attributions: np.ndarray, answers: Sequence[str]) -> str:
    shown = "".join(
        f'<p>{_words(words, values)} <span class="answer">said '
        f"<b>{html.escape(answer)}</b></span></p>"
        for words, values, answer in zip(tokens, attributions, answers, strict=True)
    )
    return elements.paragraph(_KEY, "soft") + shown


def _words(words: Sequence[str], values: np.ndarray) -> str:
    most = float(np.abs(values).max()) or 1.0
    return " ".join(
        f'<span class="token" style="--share:{100 * abs(value) / most:.0f}%;'
        f'--side:rgb{_FOR if value > 0 else _AGAINST}">{html.escape(word)}</span>'
        for word, value in zip(words[:_MOST_TOKENS], values, strict=False)
        if word
    )


def _pictures(examples: Path, attributions: np.ndarray, answers: Sequence[str]) -> str:
    """Return each example beside a map of what spoke for its answer."""
    records = [page_records.parse(each) for each in page_records.frames(examples)]
    shown = "".join(
        f'<figure class="pair">{page_records.shown(_media(example))}{_map(values)}'
        f'<span class="answer">said <b>{html.escape(answer)}</b></span></figure>'
        for example, values, answer in zip(records, attributions, answers, strict=True)
    )
    return f'{elements.paragraph(_KEY, "soft")}<div class="gallery">{shown}</div>'


def _media(example: page_records.Record) -> page_records.Record:
    """Return the features of an example that are pictures or sounds."""
    return {n: v for n, v in example.items() if v and isinstance(v[0], bytes)}


def _map(values: np.ndarray) -> str:
    """Return (H, W, C) attributions as a picture, the clearer the larger they are."""
    flat = values.reshape(values.shape[0], values.shape[1], -1).sum(axis=-1)
    most = float(np.abs(flat).max()) or 1.0
    pixels = np.zeros((*flat.shape, 4), np.uint8)
    pixels[..., :3] = np.where(flat[..., None] > 0, _FOR, _AGAINST)
    pixels[..., 3] = np.round(255 * np.abs(flat) / most)
    packed = io.BytesIO()
    Image.fromarray(pixels).save(packed, "png")
    shown = base64.b64encode(packed.getvalue()).decode()
    width = max(72, min(120, flat.shape[1]))
    return (
        f'<img class="map" alt="what spoke for the answer" width="{width}" '
        f'src="data:image/png;base64,{shown}">'
    )
