"""Taxi: a CSV to a wide-and-deep network; a raw row served equals the row offline."""

import csv
import json
import math
import re
import signal
import socket
import subprocess
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

pytestmark = pytest.mark.e2e

DATA = "examples/chicago_taxi_pipeline/data/simple/data.csv"
NUM_ROWS = 50


@pytest.fixture(scope="module")
def pushed(shared_strata):
    result = shared_strata("run", "taxi")
    assert result.returncode == 0, result.stdout + result.stderr
    return shared_strata.workspace / "models" / "taxi" / "1", result.stdout


@pytest.fixture(scope="module")
def rows():
    path = Path(find_spec("tfx").origin).parent / DATA
    with path.open() as file:
        return [row for _, row in zip(range(NUM_ROWS), csv.DictReader(file))]  # noqa: B905


@pytest.fixture(scope="module")
def url(pushed, shared_strata):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    server = subprocess.Popen(
        shared_strata.command("serve", "taxi", "--port=0", f"--rest_api_port={port}"),
        env=shared_strata.environment(),
    )
    from serving.client import Client

    url = f"http://127.0.0.1:{port}"
    with Client(url) as client:
        client.wait_ready("taxi", timeout_seconds=180)
    yield url
    server.send_signal(signal.SIGTERM)
    assert server.wait(timeout=60) == 0


@pytest.fixture(scope="module")
def loaded(pushed):
    import tensorflow as tf

    return tf.saved_model.load(str(pushed[0]))


def test_auc_stands_next_to_both_baselines(pushed):
    output = pushed[1]
    auc = float(re.search(r"test auc (0\.\d+)", output).group(1))
    linear = float(re.search(r"logistic regression auc (0\.\d+)", output).group(1))
    assert "majority auc 0.5000" in output
    assert auc > linear > 0.9


def test_raw_csv_rows_over_rest_equal_the_rows_offline(
    loaded, rows, url, shared_strata
):
    import tensorflow as tf

    signature = loaded.signatures["serve_raw"].structured_input_signature[1]
    kinds = {name: spec.dtype for name, spec in signature.items()}
    instances = [
        {
            name: row[name] if kind == tf.string else _number(row[name])
            for name, kind in kinds.items()
        }
        for row in rows
    ]
    answer = shared_strata("predict", "taxi", json.dumps(instances), f"--url={url}")
    assert answer.returncode == 0, answer.stderr
    served = [p["probabilities"][0] for p in json.loads(answer.stdout)["predictions"]]

    examples = tf.constant([_example(row, kinds) for row in rows])
    offline = loaded.signatures["serving_default"](examples)["probabilities"][:, 0]
    np.testing.assert_allclose(served, offline.numpy(), atol=1e-6)
    assert np.ptp(served) > 0.5  # rows that differ, not one answer for all


def test_missing_values_are_among_the_rows(rows):
    assert any(value == "" for row in rows for value in row.values())


def test_wrong_input_is_refused_in_the_servers_words(url, shared_strata):
    answer = shared_strata("predict", "taxi", '[{"fare": 1.0}]', f"--url={url}")
    assert answer.returncode == 2
    assert "400" in answer.stderr


def test_predict_without_a_server_says_how_to_start_one(shared_strata):
    answer = shared_strata("predict", "taxi", "[]", "--url=http://127.0.0.1:9")
    assert answer.returncode == 3
    assert "strata serve taxi" in answer.stderr


def _number(text):
    return float(text) if text else math.nan


def _example(row, kinds):
    """Serialize a CSV row as CsvExampleGen does: an empty cell is no value."""
    import tensorflow as tf

    schema_ints = [name for name, kind in kinds.items() if kind == tf.float64]
    example = tf.train.Example()
    for name in (name for name in kinds if row[name]):
        feature = example.features.feature[name]
        if kinds[name] == tf.string:
            feature.bytes_list.value.append(row[name].encode())
        elif name in schema_ints:
            feature.int64_list.value.append(int(row[name]))
        else:
            feature.float_list.value.append(float(row[name]))
    return example.SerializeToString()
