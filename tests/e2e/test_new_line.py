"""A recipe that `new` wrote is run, served and asked as it stands."""

import csv
import json
import signal
import socket
import subprocess
import sys
from contextlib import contextmanager
from zipfile import ZipFile

import numpy as np
import pytest
from PIL import Image

from tests.e2e.conftest import REPOSITORY

pytestmark = pytest.mark.e2e

DATA = REPOSITORY.parent / "shared/data"


def real(name):
    path = DATA / name
    if not path.exists():
        pytest.skip(f"{path} is not there")
    return path


@contextmanager
def served(strata, name):
    """Serve a model; yield where it answers."""
    from serving.client import Client

    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    server = subprocess.Popen(
        strata.command("serve", name, "--port=0", f"--rest_api_port={port}"),
        env=strata.environment(),
    )
    url = f"http://127.0.0.1:{port}"
    try:
        with Client(url) as client:
            client.wait_ready(name, timeout_seconds=180)
        yield url
    finally:
        server.send_signal(signal.SIGTERM)
        assert server.wait(timeout=60) == 0


def ask(strata, name, url, instances, path):
    path.write_text(json.dumps(instances))
    result = strata("predict", name, f"@{path}", f"--url={url}")
    assert result.returncode == 0, result.stderr
    return [answer["classes"] for answer in json.loads(result.stdout)["predictions"]]


def new_and_run(strata, *arguments):
    result = strata("new", *arguments)
    assert result.returncode == 0, result.stdout + result.stderr
    result = strata("run", f"{arguments[0]}.yaml")
    assert result.returncode == 0, result.stdout + result.stderr


def test_a_table_is_looked_at_run_and_served(strata, tmp_path, monkeypatch):
    path = real("penguins/penguins.csv")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "birds.csv").write_bytes(path.read_bytes())
    arguments = ("birds", "--from", "birds.csv", "--label", "species")
    new_and_run(strata, *arguments)
    assert "path: birds.csv" in (tmp_path / "birds.yaml").read_text()
    first_test = [sys.executable, "-m", "pytest", "-q", "test_birds.py"]
    subprocess.run(first_test, check=True, env=strata.environment())
    with path.open() as file:
        rows = list(csv.DictReader(file))[::20]
    kinds = {"island": str, "sex": str, "year": int}
    instances = [
        {
            name: kinds.get(name, float)(cell)
            for name, cell in row.items()
            if name != "species"
        }
        for row in rows
        if "NA" not in row.values()
    ]
    labels = [r["species"] for r in rows if "NA" not in r.values()]
    with served(strata, "birds") as url:
        got = ask(strata, "birds", url, instances, tmp_path / "request.json")
    names = ["Adelie", "Chinstrap", "Gentoo"]
    right = [names[i] == label for i, label in zip(got, labels, strict=True)]
    assert np.mean(right) >= 0.9

    again = strata("new", *arguments)
    assert again.returncode == 2
    assert "birds.yaml exists" in again.stderr


def test_a_label_that_is_not_there_leaves_nothing_behind(strata, tmp_path, monkeypatch):
    path = real("penguins/penguins.csv")
    monkeypatch.chdir(tmp_path)
    result = strata("new", "birds", "--from", path, "--label", "kind")
    assert result.returncode == 2
    assert "no feature 'kind'. Expected one of" in result.stderr
    assert {p.name for p in tmp_path.iterdir()} <= {"workspace"}
    again = strata("new", "birds", "--from", path, "--label", "species")
    assert again.returncode == 0, again.stderr
    names = {str(p.relative_to(tmp_path)) for p in tmp_path.glob("**/*bird*.*")}
    assert {"birds.yaml", "test_birds.py", "schemas/birds.pbtxt"} <= names


def test_images_are_looked_at_run_and_served(strata, tmp_path, monkeypatch):
    path = real("sign-digits/sign_digits_100px.zip")
    monkeypatch.chdir(tmp_path)
    new_and_run(strata, "signs", "--from", path)
    instances, labels = [], []
    with ZipFile(path) as archive:
        names = [n for n in archive.namelist() if n.lower().endswith(".jpg")]
        for name in names[::100]:
            with archive.open(name) as file:
                image = Image.open(file).convert("RGB").resize((32, 32))
            instances.append(np.asarray(image).tolist())
            labels.append(int(name.split("/")[0]))
    with served(strata, "signs") as url:
        got = ask(strata, "signs", url, instances, tmp_path / "request.json")
    assert np.mean(np.equal(got, labels)) >= 0.7
