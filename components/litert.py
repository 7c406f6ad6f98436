"""Write the trained network as a LiteRT file, for phones and small devices."""

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import keras
from tensorflow.lite.python.convert_phase import ConverterError

from recipes.errors import BadInputError

# Servers read nothing here, and a push copies and checksums it with the rest.
FILE = "assets.extra/model.tflite"

_log = logging.getLogger(__name__)


def write(model: keras.Model, config: Mapping[str, Any], directory: str) -> None:
    """Write `FILE` below a SavedModel, where the recipe asks for it.

    The file takes what the network reads, (B, ...) inputs that `components.inputs` has
    prepared, and gives logits: the transform graph, whose lookups LiteRT has no
    operations for, is not in it.

    Args:
      model: as it was exported.
      config: of the Trainer.
      directory: of the SavedModel.

    Raises:
      BadInputError: LiteRT cannot do what the model does.
    """
    if not config["export"]["litert"]:
        return
    path = Path(directory) / FILE
    path.parent.mkdir(exist_ok=True)
    try:
        model.export(path, format="litert", verbose=False)
    except ConverterError as error:
        raise BadInputError(
            "The model cannot be written as LiteRT. Leave out `export.litert`. LiteRT "
            f"says: {str(error).splitlines()[0]}"
        ) from error
    content = path.read_bytes()
    _log.info(
        "wrote %s (%d bytes%s)",
        FILE,
        len(content),
        ", needs the Flex delegate" if b"Flex" in content else "",
    )
