"""Data sets of TFDS, counted in their original files.

Not a benchmark: `sources.py` runs it.
"""

import csv
import gzip
from collections import Counter
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
from sklearn.datasets import load_digits
from sources_sets import Set

TREC = ("DESC", "ENTY", "ABBR", "HUM", "NUM", "LOC")  # in the order of TFDS
SPECIES = ("Adelie", "Chinstrap", "Gentoo")


def sets() -> dict[str, Callable[[Path, Path], Set]]:
    """Return, by name, what counts a data set."""
    builders = {
        "digits": ("label", _digits),
        "fashion_mnist": ("label", _fashion),
        "penguins/processed": ("species", _penguins),
        "penguins/simple": ("species", _species),
        "penguins/raw": ("Species", _long_species),
        "trec": ("label_coarse", _questions),
        "german_credit_numeric": ("label", _credit),
        "wine_quality/red": ("quality", _red_wine),
        "wine_quality/white": ("quality", _white_wine),
    }
    found: dict[str, Callable[[Path, Path], Set]] = {
        f"tfds {name}": partial(_set, name, feature, count)
        for name, (feature, count) in builders.items()
    }
    return {**found, "tfds tiny_shakespeare": _shakespeare}


def _set(
    name: str, feature: str, count: Callable[[Path], Counter], data: Path, made: Path
) -> Set:
    del made
    labels = count(data)
    return Set("tfds", _section(name, data), labels.total(), labels, feature)


def _shakespeare(data: Path, made: Path) -> Set:
    del made
    characters = Counter((data / "tiny-shakespeare/input.txt").read_text("utf-8"))
    section = _section("tiny_shakespeare", data)
    splits = {"train": "train", "eval": "validation", "test": "test"}
    return Set("tfds", section, 3, characters, "text", "character", splits)


def _section(name: str, data: Path) -> dict[str, str]:
    return {"name": name, "download_dir": str(data / "tfds_downloads")}


def _digits(data: Path) -> Counter:
    del data  # scikit-learn ships it
    return Counter(load_digits().target.tolist())


def _fashion(data: Path) -> Counter:
    labels: Counter = Counter()
    for path in (data / "fashion-mnist").glob("*labels-idx1-ubyte.gz"):
        content = gzip.decompress(path.read_bytes())
        labels.update(np.frombuffer(content, np.uint8, offset=8).tolist())
    return labels


def _penguins(data: Path) -> Counter:
    rows = _rows(data / "penguins/penguins_processed.csv")
    return Counter(int(row["species"]) for row in rows)


def _species(data: Path) -> Counter:
    rows = _rows(data / "penguins/penguins_size.csv")
    return Counter(SPECIES.index(row["species"]) for row in rows)


def _long_species(data: Path) -> Counter:
    return Counter(row["Species"] for row in _rows(data / "penguins/penguins_lter.csv"))


def _questions(data: Path) -> Counter:
    names = ("trec/train_5500.label", "trec/TREC_10.label")
    texts = [(data / name).read_text("latin-1") for name in names]
    lines = [line for text in texts for line in text.splitlines()]
    return Counter(TREC.index(line.split(":")[0]) for line in lines)


def _credit(data: Path) -> Counter:
    lines = (data / "german-credit/german.data-numeric").read_text().splitlines()
    return Counter(2 - int(line.split()[-1]) for line in lines)  # to TFDS, 1 is good


def _red_wine(data: Path) -> Counter:
    rows = _rows(data / "wine-quality/winequality-red.csv", delimiter=";")
    return Counter(int(row["quality"]) for row in rows)


def _white_wine(data: Path) -> Counter:
    rows = _rows(data / "wine-quality/winequality-white.csv", delimiter=";")
    return Counter(int(row["quality"]) for row in rows)


def _rows(path: Path, delimiter: str = ",") -> list[dict[str, str]]:
    with path.open(encoding="utf-8") as file:
        return list(csv.DictReader(file, delimiter=delimiter))
