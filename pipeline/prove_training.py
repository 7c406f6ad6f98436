"""Prove that a training resumes exactly, and that it can be repeated to the bit.

Each training is a run of its own, in a workspace that is thrown away.
"""

import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from pipeline.history import History
from recipes import load
from recipes.errors import StrataError

Say = Callable[[str], None]
_EPOCHS_BEFORE = 2  # the training is killed after so many


def resume(name: str, overrides: Sequence[str], say: Say) -> int:
    """Kill a training, go on, and compare with one that nobody disturbed.

    Returns:
      0 where both end with the same weights, bit by bit; else 1.

    Raises:
      StrataError: a run failed, or the training was over before it could be killed.
    """
    with tempfile.TemporaryDirectory(prefix="strata-") as folder:
        undisturbed, killed = Path(folder, "undisturbed"), Path(folder, "killed")
        want = _trained(name, overrides, undisturbed)
        say(f" undisturbed  {_words(want)}")
        place = _kill_in_training(name, overrides, killed)
        say(f" killed       by SIGKILL in {place}")
        got = _trained(name, overrides, killed)
        say(f" resumed      {_words(got)}, from update {got['resumed_at_step']}")
    if not got["resumed_at_step"]:
        raise StrataError("The second run began anew: it found no checkpoint.")
    return _verdict(want, got, "the resumed training ends with the same weights", say)


def repeat(name: str, overrides: Sequence[str], say: Say) -> int:
    """Train twice in fresh processes with `train.deterministic`; compare the weights.

    Returns:
      0 where both end with the same weights, bit by bit; else 1.

    Raises:
      StrataError: a run failed.
    """
    overrides = [*overrides, "train.deterministic=true"]
    with tempfile.TemporaryDirectory(prefix="strata-") as folder:
        first = _trained(name, overrides, Path(folder, "first"))
        say(f" first        {_words(first)}")
        second = _trained(name, overrides, Path(folder, "second"))
        say(f" second       {_words(second)}")
    return _verdict(first, second, "two trainings end with the same weights", say)


def _verdict(want: dict[str, Any], got: dict[str, Any], claim: str, say: Say) -> int:
    same = want["weights_sha256"] == got["weights_sha256"]
    say(f" {'✔' if same else '✘'} {claim}: {'yes, bit by bit' if same else 'no'}")
    return 0 if same else 1


def _words(training: dict[str, Any]) -> str:
    last = training["epochs"][-1]["loss"] if training["epochs"] else float("nan")
    return f"loss {last:.6f}, weights sha256 {training['weights_sha256'][:16]}"


def _trained(name: str, overrides: Sequence[str], workspace: Path) -> dict[str, Any]:
    """Run a recipe to its end; return the figures of its training."""
    ended = subprocess.run(
        _command(name, overrides),
        env=_environment(workspace),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    recipe = load.load(load.find(name))
    done = History(workspace / "history.db").done_steps(recipe.name, "train", limit=1)
    if not done:
        last = (ended.stderr or ended.stdout).strip().splitlines()[-1:]
        raise StrataError(f"The run ended with {ended.returncode}: {''.join(last)}")
    return dict(done[0].figures)


def _kill_in_training(name: str, overrides: Sequence[str], workspace: Path) -> str:
    """Start a run, kill it and its steps while it trains; return where that was."""
    process = subprocess.Popen(
        _command(name, overrides),
        env=_environment(workspace),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        start_new_session=True,
    )
    try:
        for line in process.stdout or ():
            event = json.loads(line) if line.startswith("{") else {}
            is_epoch = event.get("event") == "progress" and event.get("step") == "train"
            if is_epoch and event["epoch"] > _EPOCHS_BEFORE:
                return f"epoch {event['epoch']} of {event['epochs']}"
    finally:
        with suppress(ProcessLookupError):  # it has ended
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    raise StrataError(
        f"{name} was trained before it could be killed. Raise train.epochs above "
        f"{_EPOCHS_BEFORE}."
    )


def _command(name: str, overrides: Sequence[str]) -> list[str]:
    return [sys.executable, "-m", "pipeline.cli", "run", name, *overrides, "--json"]


def _environment(workspace: Path) -> dict[str, str]:
    return {**os.environ, "STRATA_HOME": str(workspace)}
