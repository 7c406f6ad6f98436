import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[2]
DEADLINE_SECONDS = 600


class Strata:
    """The command line in a workspace of its own, as a user calls it."""

    def __init__(self, workspace):
        self.workspace = workspace

    def __call__(self, *arguments, timeout=DEADLINE_SECONDS, **environment):
        return subprocess.run(
            self.command(*arguments),
            capture_output=True,
            text=True,
            timeout=timeout,
            env=self.environment(**environment),
            check=False,
        )

    def command(self, *arguments):
        return [sys.executable, "-m", "pipeline.cli", *map(str, arguments)]

    def environment(self, **more):
        paths = {"STRATA_HOME": str(self.workspace), "PYTHONPATH": str(REPOSITORY)}
        return {**os.environ, **paths, "TF_CPP_MIN_LOG_LEVEL": "2", **more}

    def events(self, *arguments):
        """Run a recipe with --json; return (exit code, events by kind)."""
        result = self("run", *arguments, "--json")
        events = [json.loads(line) for line in result.stdout.splitlines()]
        kinds = {}
        for event in events:
            kinds.setdefault(event["event"], []).append(event)
        return result, kinds

    def kill_when(self, condition, *arguments):
        """Start a run, kill -9 it (its main process) once `condition()` holds."""
        run = subprocess.Popen(
            self.command("run", *arguments, "--json"),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env=self.environment(),
        )
        try:
            self.wait_until(condition, run)
        finally:
            run.send_signal(signal.SIGKILL)
            output, _ = run.communicate()
        return output.decode()

    def wait_until(self, condition, run):
        """Wait for a moment in a run that is under way."""
        deadline = time.monotonic() + DEADLINE_SECONDS
        while not condition():
            assert run.poll() is None, "the run ended before the moment came"
            assert time.monotonic() < deadline
            time.sleep(0.0005)

    def models(self, name):
        """Return the names in the model's directory that a server would look at."""
        path = self.workspace / "models" / name
        found = path.iterdir() if path.is_dir() else ()
        return sorted(p.name for p in found if not p.name.startswith("."))

    def newest(self, pattern):
        """Return the newest path in the workspace that matches, or None."""
        found = sorted(self.workspace.glob(pattern), key=lambda p: p.stat().st_mtime)
        return found[-1] if found else None

    def training(self, name):
        """Return what the newest training of a pipeline recorded."""
        path = self.newest(f"artifacts/{name}/train/model_run/*/training.json")
        return json.loads(path.read_text())


@pytest.fixture
def strata(tmp_path):
    return Strata(tmp_path / "workspace")


@pytest.fixture(scope="module")
def shared_strata(tmp_path_factory):
    return Strata(tmp_path_factory.mktemp("line") / "workspace")
