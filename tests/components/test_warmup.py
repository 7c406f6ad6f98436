"""Requests that a pushed version carries: a server reads and answers them."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import models
from components import export, inputs, raw_inputs, warmup
from serving import saved_model, tensor_proto
from serving import warmup as server
from serving.replay import replay
from serving.versions import ServedVersion
from tests.components import records
from tests.components.conftest import PIXELS
from tests.components.test_audio_features import wav
from tests.components.test_export import KINDS, kind_of_rows

PARAMS = ["table", "images"]
PARAMS += [pytest.param(kind, marks=pytest.mark.slow) for kind in ("audio", "words")]


@pytest.fixture(scope="module", params=PARAMS)
def version(request, tmp_path_factory):
    """Rows and the exported model that carries requests made of them."""
    folder = tmp_path_factory.mktemp(request.param)
    if request.param in KINDS:
        transformed, _ = kind_of_rows(request.param, folder / "transform")
    else:
        transformed = request.getfixturevalue(request.param)
    family = {"table": "wide_deep", "words": "rnn"}.get(request.param, "mlp")
    section, folder = transformed.section, folder / "model"
    keras.utils.set_random_seed(0)
    model = models.build(
        family, inputs.input_shape(section), inputs.num_outputs(section), units=[4]
    )
    export.write(model, transformed.output, section, str(folder))
    examples = [records.example(**row) for row in transformed.rows]
    (folder / "assets.extra").mkdir(exist_ok=True)
    warmup.write(folder / warmup.REQUESTS, folder, examples)
    return transformed.rows, folder


def test_the_first_examples_of_the_eval_split_are_taken(tmp_path):
    for split, first in (("eval", 0), ("train", 100)):
        (tmp_path / f"Split-{split}").mkdir()
        for shard in range(2):
            numbers = range(first + 6 * shard, first + 6 * shard + 6)
            examples = [records.example(n=number) for number in numbers]
            records.write(tmp_path / f"Split-{split}" / f"{shard}.gz", examples)
    want = [records.example(n=number) for number in range(8)]
    assert warmup.read_examples(str(tmp_path)) == want


def test_each_signature_is_asked_for_one_row_and_for_several(version):
    rows, folder = version
    requests = [log.predict_log.request for log in server.requests(folder)]
    asked = [
        (request.model_spec.signature_name, num_rows(request)) for request in requests
    ]
    names = ("serving_default", "serve_raw")
    assert asked == [(name, count) for count in (1, len(rows)) for name in names]


def num_rows(request):
    (count,) = {len(tensor_proto.to_array(one)) for one in request.inputs.values()}
    return count


def test_a_server_replays_them(version):
    _, folder = version
    model = saved_model.load(folder)
    reported = []
    server.warm_up(
        ServedVersion("m", 1, model),
        replay=replay,
        report=lambda *report: reported.append(report[:3]),
    )
    model.close()
    assert reported == [(str(folder), "OK", 4)]


def test_raw_tensors_say_the_same_as_the_examples(version):
    _, folder = version
    saved = tf.saved_model.load(str(folder))
    answers = []
    for log in server.requests(folder):
        request = log.predict_log.request
        inputs = {
            name: tf.constant(tensor_proto.to_array(value))
            for name, value in request.inputs.items()
        }
        answer = saved.signatures[request.model_spec.signature_name](**inputs)
        answers.append(answer["probabilities"].numpy())
    for of_examples, of_tensors in (answers[:2], answers[2:]):
        np.testing.assert_allclose(of_examples, of_tensors, rtol=1e-5)


def test_pixels_are_the_ones_of_the_image(images, tmp_path):
    image = images.rows[0]["scan"]
    np.testing.assert_array_equal(raw_inputs._pixels(image, (2, 3, 1)), PIXELS[0])


def test_recordings_of_one_request_are_as_long_as_the_longest():
    got = raw_inputs._recordings([wav([16384]), wav([0, -32768])])
    np.testing.assert_array_equal(got, [[0.5, 0.0], [0.0, -1.0]])


def test_without_examples_there_is_nothing_to_replay(version, tmp_path):
    _, folder = version
    warmup.write(tmp_path / "requests", folder, [])
    assert (tmp_path / "requests").read_bytes() == b""
