"""What becomes of data with a fault planted in them: exit code and message, as a table.

    python benchmarks/data_faults.py [--json] [NAME ...]

The rows are real (Chicago taxi trips from the tfx wheel, scikit-learn's digits); sounds
are generated. Each fault runs `./strata data` on a recipe of its own; `shifted` and
`new category` first run it on good data, as a pipeline does that is fed again.
`tests/e2e/test_data_faults.py` runs the same list.
"""

import contextlib
import csv
import gzip
import io
import itertools
import json
import os
import struct
import sys
import tempfile
import wave
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from PIL import Image
from sklearn.datasets import load_digits

from pipeline import display, run
from pipeline.workspace import Workspace
from recipes.errors import StrataError

NUM_TRIPS = 3_000
Row = dict[str, str]
Values = dict[str, Any]


@dataclass
class Place:
    """Where one fault is planted: a folder, and the recipe in it.

    Attributes:
      folder: of the recipe and its data.
      whole: run the recipe to the end, not its data steps only.
      stream: what the run prints.
    """

    folder: Path
    whole: bool = False
    stream: io.StringIO = field(default_factory=io.StringIO)

    def trips(self, rows: Sequence[Row], name: str = "trips.csv") -> None:
        """Write rows as a CSV."""
        with (self.folder / name).open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, list(rows[0]))
            writer.writeheader()
            writer.writerows(rows)

    def recipe(self, data: Values, **others: Any) -> None:
        """Write the recipe; `others` are further sections."""
        values = {"name": "fault", "data": data, **others}
        (self.folder / "fault.yaml").write_text(yaml.safe_dump(values))

    def run(self) -> None:
        """Run the recipe as the command line does."""
        workspace = Workspace(self.folder / "workspace")
        workspace.root.mkdir(exist_ok=True)
        command = run.run if self.whole else run.check_data
        shown = display.Lines(self.stream)
        command(str(self.folder / "fault.yaml"), (), workspace, shown)


@dataclass(frozen=True)
class Fault:
    """A fault, and what the documentation promises.

    Attributes:
      name: for people.
      plant: writes the data and the recipe; returns the place ready to run.
      code: exit code.
      words: each stands in the message, or in what the run prints where it is accepted.
    """

    name: str
    plant: Callable[[Place], None]
    code: int
    words: tuple[str, ...]


def trips() -> list[Row]:
    """Return the first rows of the taxi data."""
    spec = find_spec("tfx")
    root = Path(str(spec and spec.origin)).parent
    path = root / "examples/chicago_taxi_pipeline/data/simple/data.csv"
    with path.open(newline="") as file:
        return list(itertools.islice(csv.DictReader(file), NUM_TRIPS))


TABLE: Values = {
    "transform": {
        "label": {"feature": "tips", "divide_by": "fare", "above": 0.2},
        "numeric": ["fare", "trip_miles"],
        "vocabulary": {"payment_type": 10, "company": 50},
    },
    "model": {"family": "wide_deep"},
    "train": {"epochs": 1},
    "evaluate": {"metrics": {"AUC": {"at_least": 0.5}}},
}


def _changed(rows: Sequence[Row], every: int, **values: str) -> list[Row]:
    return [
        {**row, **values} if number % every == every - 1 else row
        for number, row in enumerate(rows)
    ]


def _wrong_type(place: Place) -> None:
    place.trips(_changed(trips(), 1000, fare="twelve dollars"))
    place.recipe({"csv": "trips.csv"}, **TABLE)


def _new_category(place: Place) -> None:
    place.trips(trips())
    place.recipe({"csv": "trips.csv"}, **TABLE)
    place.run()
    place.trips(_changed(trips(), 5, payment_type="Bitcoin"))


def _missing_column(place: Place) -> None:
    rows = trips()
    place.trips([{k: v for k, v in row.items() if k != "fare"} for row in rows])
    place.recipe({"csv": "trips.csv"}, **TABLE)


def _shifted(place: Place) -> None:
    place.trips(trips())
    place.recipe({"csv": "trips.csv"}, **TABLE)
    place.run()
    moved = [{**row, "fare": f"{float(row['fare']) * 4:.2f}"} for row in trips()]
    place.trips(moved)


def _swapped_labels(place: Place) -> None:
    place.whole = True
    images = _digits(place.folder)
    for number, path in enumerate(sorted(images.rglob("*.png"))):
        if number % 20 == 0:  # one in twenty lies in the folder of the next digit
            wrong = images / str((int(path.parent.name) + 1) % 10)
            path.rename(wrong / f"swapped_{path.name}")
    place.recipe(
        {"images": "digits", "splits": {"train": 8, "eval": 1, "test": 1}},
        transform={
            "label": {"feature": "label", "classes": [str(i) for i in range(10)]},
            "image": {"feature": "image", "shape": [8, 8, 1], "normalize": "unit"},
        },
        model={"family": "mlp"},
        train={"epochs": 10},
        evaluate={"metrics": {"SparseCategoricalAccuracy": {"at_least": 0.5}}},
    )


def _duplicates(place: Place) -> None:
    rows = trips()
    place.trips(rows[:2000], "train.csv")
    place.trips(rows[1950:], "test.csv")
    parts = {"path": {"train": "train.csv", "test": "test.csv"}}
    splits = {"train": "train[:90%]", "eval": "train[90%:]", "test": "test"}
    place.recipe({"csv": parts, "splits": splits}, **TABLE)


def _label_leak(place: Place) -> None:
    rows = [{**row, "gratuity": f"{float(row['tips']) * 100:.0f}"} for row in trips()]
    place.trips(rows)
    label = {"feature": "tips", "above": 0.5}
    transform = {"label": label, "numeric": ["fare", "gratuity"]}
    place.recipe({"csv": "trips.csv"}, **{**TABLE, "transform": transform})


def _truncated_gzip(place: Place) -> None:
    place.trips(trips())
    packed = gzip.compress((place.folder / "trips.csv").read_bytes())
    (place.folder / "trips.csv.gz").write_bytes(packed[: len(packed) // 2])
    place.recipe({"csv": "trips.csv.gz"}, **TABLE)


def _mixed_encodings(place: Place) -> None:
    rows = _changed(trips(), 1500, company="Zürich Cabs")
    place.trips(rows)
    path = place.folder / "trips.csv"
    utf8, latin1 = ("Zürich".encode(name) for name in ("utf-8", "latin-1"))
    path.write_bytes(path.read_bytes().replace(utf8, latin1, 1))
    place.recipe({"csv": "trips.csv"}, **TABLE)


def _nan(place: Place) -> None:
    place.trips(_changed(trips(), 10, fare="NaN"))
    transform = {**TABLE["transform"], "label": {"feature": "tips", "above": 2.0}}
    place.recipe({"csv": "trips.csv"}, **{**TABLE, "transform": transform})


def _infinite(place: Place) -> None:
    place.trips(_changed(trips(), 1000, fare="inf"))
    place.recipe({"csv": "trips.csv"}, **TABLE)


def _digits(folder: Path) -> Path:
    """Write scikit-learn's digits as PNGs, a folder per digit."""
    digits = load_digits()
    root = folder / "digits"
    pixels = (digits.images * (255 / 16)).astype(np.uint8)
    for number, (image, label) in enumerate(zip(pixels, digits.target, strict=True)):
        path = root / str(label) / f"{number:04d}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(path)
    return root


def _zero_byte_image(place: Place) -> None:
    (_digits(place.folder) / "3" / "empty.png").write_bytes(b"")
    place.recipe({"images": "digits"})


def _odd_images(place: Place) -> None:
    root = _digits(place.folder)
    Image.new("CMYK", (8, 8), (10, 20, 30, 40)).save(root / "3" / "print.jpg")
    deep = Image.fromarray(np.full((8, 8), 40_000, np.uint16))
    deep.save(root / "4" / "deep.png")
    place.recipe({"images": "digits"})


def _huge_header(place: Place) -> None:
    path = _digits(place.folder) / "3" / "bomb.png"
    image = Image.new("L", (8, 8))
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    png = bytearray(buffer.getvalue())
    png[16:24] = struct.pack(">II", 100_000, 100_000)  # IHDR: width, height
    png[29:33] = struct.pack(">I", zlib.crc32(bytes(png[12:29])))
    path.write_bytes(bytes(png))
    place.recipe({"images": "digits"})


def _tone(path: Path, rate: int, seconds: float = 0.2) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    time = np.arange(int(rate * seconds)) / rate
    samples = (
        np.sin(2 * np.pi * (200 + int(path.stem) if path.stem.isdigit() else 0) * time)
        * 2**14
    ).astype("<i2")
    with wave.open(str(path), "wb") as file:
        file.setparams((1, 2, rate, len(samples), "NONE", ""))
        file.writeframes(samples.tobytes())


def _wrong_sample_rate(place: Place) -> None:
    for number in range(60):
        folder = place.folder / "tones" / ("low" if number % 2 else "high")
        _tone(folder / f"{number:02d}.wav", 8000)
    _tone(place.folder / "tones" / "low" / "other.wav", 44_100)
    place.recipe({"audio": "tones"})


def _hours(place: Place, hours: Sequence[int]) -> None:
    rows = [
        {"time": str(np.datetime64("2024-01-01T00") + hour), "load": str(hour % 24)}
        for hour in hours
    ]
    place.trips(rows, "load.csv")
    series = {"path": "load.csv", "time": "time", "context": 12, "horizon": 3}
    place.recipe({"series": series})


def _time_backwards(place: Place) -> None:
    _hours(place, [*range(200), 150, *range(200, 400)])


def _symlink_cycle(place: Place) -> None:
    root = _digits(place.folder)
    (root / "3" / "again").symlink_to(root, target_is_directory=True)
    place.recipe({"images": "digits"})


def _odd_path(place: Place) -> None:
    folder = place.folder / "daten für äpfel & [birnen] 🍐"
    folder.mkdir()
    place.trips(trips(), f"{folder.name}/fahrten 2013.csv")
    place.recipe({"csv": f"{folder.name}/fahrten 2013.csv"}, **TABLE)


def _injection(place: Place) -> None:
    place.trips(_changed(trips(), 50, company="=cmd|'/c calc'!A1"))
    place.recipe({"csv": "trips.csv"}, **TABLE)


def _empty_class(place: Place) -> None:
    place.trips(trips())
    label = {"feature": "payment_type", "classes": ["Cash", "Credit Card", "Barter"]}
    transform = {"label": label, "numeric": ["fare"]}
    rows = [r for r in trips() if r["payment_type"] in label["classes"]]
    place.trips(rows)
    metrics = {"metrics": {"SparseCategoricalAccuracy": {"at_least": 0.5}}}
    sections = {**TABLE, "transform": transform, "evaluate": metrics}
    place.recipe({"csv": "trips.csv"}, **sections)


def _one_row(place: Place) -> None:
    place.trips(trips()[:1])
    place.recipe({"csv": "trips.csv"}, **TABLE)


FAULTS = (
    Fault("wrong type", _wrong_type, 2, ("trips.csv row 1000", "fare", "twelve")),
    Fault("new category", _new_category, 4, ("payment_type", "Bitcoin")),
    Fault("missing column", _missing_column, 2, ("no column 'fare'",)),
    Fault("shifted distribution", _shifted, 4, ("fare: Jensen-Shannon", "> 0.1")),
    Fault("swapped labels", _swapped_labels, 0, ("labels look wrong",)),
    Fault(
        "duplicates across splits", _duplicates, 4, ("test.csv row", "train.csv row")
    ),
    Fault("label leak", _label_leak, 4, ("gratuity",)),
    Fault("truncated gzip", _truncated_gzip, 2, ("trips.csv.gz", "ends too early")),
    Fault("mixed encodings", _mixed_encodings, 2, ("row 1500", "latin-1")),
    Fault("NaN", _nan, 0, ("no anomaly",)),
    Fault("inf", _infinite, 2, ("row 1000", "fare is infinite")),
    Fault("zero-byte image", _zero_byte_image, 2, ("3/empty.png",)),
    Fault("CMYK and 16-bit images", _odd_images, 0, ("no anomaly",)),
    Fault("wrong sample rate", _wrong_sample_rate, 2, ("other.wav", "44100", "8000")),
    Fault("time going backwards", _time_backwards, 2, ("row 201", "load.csv")),
    Fault("cycle of symlinks", _symlink_cycle, 0, ("no anomaly",)),
    Fault("10 GB declared header", _huge_header, 2, ("3/bomb.png", "pixels")),
    Fault("spaces and unicode in a path", _odd_path, 0, ("no anomaly",)),
    Fault("CSV injection text", _injection, 0, ("no anomaly",)),
    Fault("empty class", _empty_class, 4, ("Barter", "no example")),
    Fault("one-row file", _one_row, 2, ("every split",)),
)


def outcome(fault: Fault, folder: Path) -> tuple[int, str]:
    """Plant a fault and run; return the exit code and what the user reads."""
    place = Place(folder)
    try:
        fault.plant(place)
        place.stream = io.StringIO()
        place.run()
    except StrataError as error:
        return error.exit_code, str(error)
    return 0, place.stream.getvalue()


def main(arguments: Sequence[str]) -> None:
    """Print the table; with `--json` an object a line, messages whole."""
    as_json = "--json" in arguments
    names = [name for name in arguments if name != "--json"]
    if not as_json:
        print("| fault | exit code | message |\n|---|---|---|")
    for fault in FAULTS:
        if names and fault.name not in names:
            continue
        with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):
            code, message = outcome(fault, Path(folder))
        if as_json:
            print(json.dumps([fault.name, code, message]), flush=True)
            continue
        text = message.replace(f"{os.path.realpath(folder)}/", "")
        text = text.replace(f"{folder}/", "").split("\n  log:")[0].strip()
        shown = _verdict(text) if code == 0 else " ".join(text.split())
        print(f"| {fault.name} | {code} | {shown.replace('|', '&#124;')} |", flush=True)


def _verdict(printed: str) -> str:
    """Return what the last checking step said of data that passed."""
    lines = [
        " ".join(line.split())
        for line in printed.splitlines()
        if line.split()[:1] in (["validate"], ["label_audit"])
    ]
    return lines[-1] if lines else printed


if __name__ == "__main__":
    main(sys.argv[1:])
