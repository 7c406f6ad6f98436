"""One run of a pipeline at a time, also across processes that are killed."""

import os
import signal
import subprocess
import sys
import textwrap
from contextlib import contextmanager
from pathlib import Path

import pytest

from pipeline.run import lock
from pipeline.workspace import Workspace
from recipes.errors import BadInputError

ROOT = Path(__file__).parents[2]
HOLD = textwrap.dedent("""
    import os, sys
    from pathlib import Path
    from pipeline.run import lock
    from pipeline.workspace import Workspace
    with lock(Workspace(Path(sys.argv[1])), "digits"):
        print("held", flush=True)
        sys.stdin.read()
""")


@contextmanager
def holder(root):
    """Another process that holds `digits` until its input ends."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, root],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    with process:
        try:
            assert process.stdout.readline() == "held\n"
            yield process
        finally:
            process.kill()


def test_a_second_run_is_refused_and_told_of_the_first(tmp_path):
    with (
        holder(tmp_path) as first,
        pytest.raises(BadInputError) as caught,
        lock(Workspace(tmp_path), "digits"),
    ):
        pytest.fail("two processes hold the lock")
    message = str(caught.value)
    assert f"Another run of 'digits' is under way: process {first.pid}," in message


def test_another_pipeline_may_run_meanwhile(tmp_path):
    with holder(tmp_path), lock(Workspace(tmp_path), "taxi"):
        assert f"process {os.getpid()}" in Workspace(tmp_path).lock("taxi").read_text()


def test_the_lock_of_a_killed_process_is_free(tmp_path):
    with holder(tmp_path) as first:
        first.send_signal(signal.SIGKILL)
        first.wait()
        with lock(Workspace(tmp_path), "digits"):
            text = Workspace(tmp_path).lock("digits").read_text()
    assert text.startswith(f"process {os.getpid()}, ")
    assert str(first.pid) not in text.split(",")[0].split()


def test_the_lock_is_free_after_its_run(tmp_path):
    for _ in range(2):
        with lock(Workspace(tmp_path), "digits"):
            pass
