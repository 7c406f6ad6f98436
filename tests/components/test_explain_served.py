"""`explain` over the wire: a server of its own, asked over REST and over gRPC."""

import json
import subprocess
import sys
import urllib.request

import numpy as np
import pytest

from serving.client import Client
from tests.components.conftest import PIXELS
from tests.components.test_explain import explained, pieces
from tests.components.test_export import TEXTS, ask, raw_columns
from tests.serving.conftest import ROOT, Server, free_port, quiet

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def saved(images, table, tmp_path_factory):
    """Model name -> the SavedModel as loaded here, and where it lies."""
    text = pieces(tmp_path_factory.mktemp("transform"))
    kinds = {
        "image": (images, "cnn", {"scale": 1 / 255}),
        "table": (table, "wide_deep", {"units": [4]}),
        "text": (text, "rnn", {"units": [4]}),
    }
    found = {}
    for name, (transformed, family, arguments) in kinds.items():
        folder = tmp_path_factory.mktemp(name)
        _, loaded, _ = explained(transformed, family, folder, **arguments)
        (folder / "model").rename(folder / "1")
        found[name] = loaded, folder
    return found


@pytest.fixture(scope="module")
def server(saved, tmp_path_factory):
    folder = tmp_path_factory.mktemp("server")
    models = "".join(
        f'config {{ name: "{name}" base_path: "{path}" model_platform: "tensorflow" }}'
        for name, (_, path) in saved.items()
    )
    (folder / "models.config").write_text(f"model_config_list {{ {models} }}")
    port, rest_port, log = free_port(), free_port(), folder / "log.txt"
    flags = f"--port={port}", f"--rest_api_port={rest_port}"
    flags += (f"--model_config_file={folder / 'models.config'}",)
    with log.open("w") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "serving", *flags],
            cwd=ROOT,
            stdout=output,
            stderr=subprocess.STDOUT,
            env=quiet(),
        )
    running = Server(process, "text", port, rest_port, log)
    try:
        running.wait_ready()
        yield running
    finally:
        process.kill()
        process.wait()


def requests(table):
    columns = raw_columns(
        table.rows[:2]
    )  # rows that miss nothing, which JSON could say
    return {
        "image": {"scan": PIXELS.astype("float32")},
        "table": {name: column.numpy() for name, column in columns.items()},
        "text": {"text": np.array([text.encode() for text in TEXTS], object)},
    }


@pytest.mark.parametrize("name", ["image", "table", "text"])
@pytest.mark.parametrize("protocol", ["rest", "grpc"])
def test_the_answer_is_that_of_the_model_here(name, protocol, saved, server, table):
    loaded, _ = saved[name]
    raw = requests(table)[name]
    want = ask(loaded, "explain", **raw)
    with Client(getattr(server, protocol)) as client:
        client.wait_ready(name)
        got = client.predict(name, raw, signature="explain")
    assert set(got) == set(want)
    for output, value in want.items():
        if value.dtype == object:
            assert np.asarray(got[output]).tolist() == value.tolist()
        else:
            np.testing.assert_allclose(got[output], value, rtol=1e-4, atol=1e-5)


def test_a_row_of_a_table_is_explained_by_name(saved, server, table):
    row = {n: v.tolist()[0] for n, v in requests(table)["table"].items()}
    row["town"] = row["town"].decode()
    body = json.dumps({"signature_name": "explain", "instances": [row]}).encode()
    url = f"{server.rest}/v1/models/table:predict"
    with urllib.request.urlopen(urllib.request.Request(url, body)) as answer:
        (got,) = json.load(answer)["predictions"]
    shares = {n for n in got if n.startswith("attributions_")}
    assert shares == {f"attributions_{name}" for name in row}
    others = {"probabilities", "classes", "completeness_gap"}
    assert set(got) == shares | others
