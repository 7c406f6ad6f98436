"""What the tests of leakage are made of: sections, pictures, shares."""

import io
import json

import numpy as np
from PIL import Image

from recipes.transform import Transform


def section(**values):
    """Return a transform section; unless given, the label is `y`, 0 or 1."""
    return Transform.model_validate_json(
        json.dumps({"label": {"feature": "y", "classes": [0, 1]}, **values})
    )


def png(pixels):
    encoded = io.BytesIO()
    Image.fromarray(pixels).save(encoded, "PNG")
    return encoded.getvalue()


def jpeg(pixels):
    encoded = io.BytesIO()
    Image.fromarray(pixels).save(encoded, "JPEG", quality=90)
    return encoded.getvalue()


def photo(seed):
    """Return a smooth random image, 40x40."""
    coarse = np.random.default_rng(seed).integers(0, 256, (5, 5), np.uint8)
    return np.asarray(Image.fromarray(coarse).resize((40, 40), Image.BICUBIC))


def shared(records, seed=0):
    """Return records in shares of 8, 1 and 1; equal ones stay together."""
    shares = {"train": [], "eval": [], "test": []}
    for record in records:
        share = np.random.default_rng([seed, *record]).integers(10)
        shares["train" if share < 8 else ("eval", "test")[share - 8]].append(record)
    return shares
