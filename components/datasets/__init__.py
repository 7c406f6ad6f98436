"""TFDS builders of our own: file name = builder name, nothing to register."""

import pkgutil


def names() -> tuple[str, ...]:
    """Return the names of the builders in this folder."""
    return tuple(module.name for module in pkgutil.iter_modules(__path__))
