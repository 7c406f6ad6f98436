"""Whatever is wrong: a one-line cause, its exit code, nothing left that looks done."""

import json
import math
import os
import socket
import subprocess
from pathlib import Path

import pytest
import yaml

from serving.client import Client

pytestmark = pytest.mark.e2e

HEADER = "size,colour,kind"
ROWS = [
    f"{i % 17 + i / 100},{'red' if i % 3 else 'blue'},{'ab'[i % 2]}" for i in range(400)
]


@pytest.fixture
def recipe(tmp_path):
    """Write a CSV and a recipe for it; return a function of the CSV's lines."""

    def write(lines):
        (tmp_path / "data.csv").write_text("\n".join(lines))
        values = {
            "name": "things",
            "data": {"csv": "data.csv", "splits": {"train": 6, "eval": 2, "test": 2}},
            "transform": {
                "label": {"feature": "kind", "classes": ["a", "b"]},
                "numeric": ["size"],
                "vocabulary": {"colour": 10},
            },
            "model": {"family": "wide_deep"},
            "train": {"epochs": 1, "global_batch_size": 16},
            "evaluate": {"metrics": {"BinaryAccuracy": {"at_least": 0.0}}},
        }
        path = tmp_path / "things.yaml"
        path.write_text(yaml.safe_dump(values))
        return path

    return write


def _answers(strata, instances):
    """Serve the model on a free port, ask, stop; whether the answer is finite."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{free.getsockname()[1]}"
    command = strata.command("serve", "things", "--port=0")
    server = subprocess.Popen(
        [*command, f"--rest_api_port={url.rsplit(':', 1)[1]}"], env=strata.environment()
    )
    try:
        with Client(url) as client:
            client.wait_ready("things", timeout_seconds=180)
        answer = strata("predict", "things", instances, f"--url={url}")
    finally:
        server.terminate()
        assert server.wait(timeout=60) == 0
    (prediction,) = json.loads(answer.stdout)["predictions"]
    return all(math.isfinite(p) for p in prediction["probabilities"])


def _refused(strata, result, *words, code=2):
    assert result.returncode == code, result.stdout + result.stderr
    assert "Traceback" not in result.stderr
    for word in words:
        assert word in result.stderr
    assert strata.models("things") == []


def test_good_csv_is_pushed_then_its_damage_is_refused(strata, recipe):
    """The good file first: it proves that only the damage is refused."""
    assert strata("run", recipe([HEADER, *ROWS])).returncode == 0
    assert strata.models("things") == ["1"]
    nan = '[{"size": NaN, "colour": ""}]'
    assert _answers(strata, nan)
    text = [*ROWS[:200], *(f"many,{r.split(',', 1)[1]}" for r in ROWS[200:])]
    result = strata("run", recipe([HEADER, *text]))
    assert result.returncode == 4, result.stdout + result.stderr
    assert result.stderr.startswith("strata: validate: the data were refused")
    assert "size" in result.stderr
    assert strata.models("things") == ["1"]


def test_unknown_label(strata, recipe):
    rows = [*ROWS, *(f"{i}.5,red,c" for i in range(40))]
    result = strata("run", recipe([HEADER, *rows]))
    _refused(strata, result, "validate: ", "kind", "'c'", code=4)


def test_missing_column(strata, recipe):
    rows = [row.split(",", 1)[1] for row in ROWS]
    path = recipe(["colour,kind", *rows])
    _refused(strata, strata("run", path), "data.csv:1", "'size'", "colour, kind")


def test_row_with_too_many_columns(strata, recipe):
    result = strata("run", recipe([HEADER, *ROWS, "1.5,red,a,extra"]))
    _refused(strata, result, "ingest: 1 of 401 records", "row 401", "extra")


@pytest.mark.parametrize(
    ("lines", "word"), [([], "empty"), ([HEADER], "expected rows")]
)
def test_empty_file(strata, recipe, lines, word):
    _refused(strata, strata("run", recipe(lines)), "data.csv", word)


def test_typo_in_the_recipe_names_the_line(strata, recipe):
    path = recipe([HEADER, *ROWS])
    path.write_text(path.read_text().replace("epochs:", "epoch:"))
    result = strata("run", path)
    line = path.read_text().splitlines().index("  epoch: 1") + 1
    _refused(strata, result, f"things.yaml:{line}", "Did you mean 'epochs'?")


def test_one_row_is_too_few(strata, recipe):
    _refused(strata, strata("run", recipe([HEADER, ROWS[0]])), "none in eval")


@pytest.fixture
def small_disk(tmp_path):
    """A file system of 700 kB; yields its path and a function that makes it large."""
    path = tmp_path / "small"
    path.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=700k", "tmpfs", str(path)]
    if os.getuid() or subprocess.run(mount, check=False).returncode:
        pytest.skip("mounting a small file system needs root and permission to mount")
    grow = ["mount", "-o", "remount,size=50m", str(path)]
    yield path, lambda: subprocess.run(grow, check=True)
    subprocess.run(["umount", str(path)], check=True)


def test_full_disk_stops_the_run_and_room_lets_it_go_on(strata, recipe, small_disk):
    disk, make_room = small_disk
    strata.workspace = disk / "workspace"
    path = recipe([HEADER, *ROWS])
    _refused(strata, strata("run", path), "No space left on the disk", code=1)
    make_room()
    result, kinds = strata.events(path)
    assert result.returncode == 0, result.stderr
    assert "ingest" in [event["step"] for event in kinds["reused"]]
    assert strata.models("things") == ["1"]


def test_no_permission_to_write(strata, recipe):
    path = recipe([HEADER, *ROWS])
    strata.workspace = Path("/proc/strata")  # even root cannot write there
    result = strata("run", path)
    assert result.returncode == 2
    assert "STRATA_HOME" in result.stderr
    assert len(result.stderr.splitlines()) == 1
