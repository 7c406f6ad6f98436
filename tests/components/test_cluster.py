"""TF_CONFIG, and workers that wait for each other: what is missing is said."""

import json
import socket
import threading

import pytest
import tensorflow as tf

from components import cluster, meeting
from recipes.errors import MissingError

WORKERS = ("a:2222", "b:2222")


def config(jobs=None, task="worker", index=0):
    jobs = {"worker": WORKERS} if jobs is None else jobs
    text = json.dumps({"cluster": jobs, "task": {"type": task, "index": index}})
    return {"TF_CONFIG": text}


def test_a_worker_finds_its_place():
    assert cluster.read(config(index=1)) == cluster.Cluster(WORKERS, 1)


def test_a_chief_comes_before_the_workers():
    jobs = {"worker": WORKERS, "chief": ["c:1"]}
    addresses = ("c:1", *WORKERS)
    assert cluster.read(config(jobs, "chief")) == cluster.Cluster(addresses, 0)
    assert cluster.read(config(jobs)) == cluster.Cluster(addresses, 1)


def test_the_example_in_the_message_is_right():
    assert cluster.read({"TF_CONFIG": cluster.EXAMPLE}).index == 0


@pytest.mark.parametrize(
    ("environment", "why"),
    [
        ({}, "it is not set"),
        ({"TF_CONFIG": "{"}, "JSONDecodeError"),
        ({"TF_CONFIG": "[]"}, "TypeError"),
        ({"TF_CONFIG": '{"cluster": {}}'}, "KeyError: 'task'"),
        (config({"worker": ["a"]}), "Expected `host:port`. Received: 'a'"),
        (config({"worker": ["a:b"]}), "ValueError"),
        (config({"worker": ["a:99999"]}), "Received: 'a:99999'"),
        (config({"worker": ["a:1", "a:1"]}), "an address is there twice"),
        (config({"worker": ["a:1"], "ps": ["b:1"]}), "only workers and one chief"),
        (config({"worker": ["a:1"], "chief": ["b:1", "c:1"]}), "only workers and one"),
        (config(index=2), "there is no worker 2"),
        (config(index=-1), "there is no worker -1"),
        (config(task="chief"), "there is no chief 0"),
    ],
)
def test_what_is_wrong_with_tf_config_is_said(environment, why):
    with pytest.raises(
        MissingError, match="needs TF_CONFIG; .*its own index"
    ) as raised:
        cluster.read(environment)
    assert why in str(raised.value)
    assert "\n" not in str(raised.value)


@pytest.fixture
def addresses():
    """Three addresses of this machine that nobody listens at."""
    sockets = [socket.create_server(("", 0)) for _ in range(3)]
    found = [f"127.0.0.1:{one.getsockname()[1]}" for one in sockets]
    for one in sockets:
        one.close()
    return found


def met(addresses, indices, *, wait_seconds=30.0, others=None):
    """Let some workers meet; return what each raised, or None, in order."""
    results = {}

    def run(index):
        known = addresses if index == 0 else others or addresses
        try:
            results[index] = meeting.meet(known, index, wait_seconds)
        except MissingError as error:
            results[index] = str(error)

    threads = [threading.Thread(target=run, args=(index,)) for index in indices]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return [results[index] for index in indices]


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 1, 0)])
def test_all_start_once_all_are_there(addresses, order):
    assert met(addresses, order) == [None] * 3


def test_one_worker_waits_for_nobody(addresses):
    assert met(addresses[:1], (0,)) == [None]


def test_who_did_not_come_is_said(addresses):
    chief, worker = met(addresses, (0, 1), wait_seconds=0.5)
    assert f"Not there after 0 s, or with other addresses: {addresses[2]}." in chief
    assert f": {addresses[0]}." in worker


def test_a_worker_of_another_cluster_does_not_count(addresses):
    others = [addresses[0], addresses[2]]
    chief, _ = met(addresses[:2], (0, 1), wait_seconds=0.5, others=others)
    assert f"other addresses: {addresses[1]}" in chief


def test_what_is_no_worker_does_not_count(addresses):
    def disturb():
        for words in (
            b"GET / HTTP/1.1\r\n\r\n",
            b'{"index": 0}\n',
            b'{"index": [1]}\n',
        ):
            try:
                with socket.create_connection(meeting.host_and_port(addresses[0])) as c:
                    c.sendall(words)
            except OSError:
                pass

    disturber = threading.Thread(target=disturb)
    disturber.start()
    assert met(addresses, (0, 1, 2)) == [None] * 3
    disturber.join()


def test_a_taken_port_is_said(addresses):
    _, port = meeting.host_and_port(addresses[1])
    with (
        socket.create_server(("", port)),
        pytest.raises(MissingError, match=f"Port {port} of this worker, .*in use"),
    ):
        meeting.meet(addresses, 1, 1.0)


def test_how_to_start_a_worker_is_said(addresses):
    with pytest.raises(
        MissingError, match=r"-m components\.multiworker PATH, .*worker"
    ):
        meeting.meet(addresses, 0, 0.01)


def test_a_lost_worker_is_told_with_what_tensorflow_said(monkeypatch):
    monkeypatch.setattr(cluster, "is_spread", lambda strategy: True)
    monkeypatch.setenv("TF_CONFIG", config()["TF_CONFIG"])
    message = "Lost one .* InternalError: no such kernel$"
    with pytest.raises(MissingError, match=message), cluster.watched(None):
        raise tf.errors.InternalError(None, None, "no such kernel\nat line 3")


def test_one_process_is_its_own_chief():
    strategy = tf.distribute.get_strategy()
    assert cluster.is_chief(strategy)
    assert not cluster.is_spread(strategy)
    with pytest.raises(tf.errors.UnavailableError), cluster.watched(strategy):
        raise tf.errors.UnavailableError(None, None, "not a worker's")
