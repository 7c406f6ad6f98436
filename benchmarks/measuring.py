"""Run one process in a workspace of its own; say what it cost, where, and of what.

Not a benchmark: the scripts beside it share it.
"""

import csv
import os
import platform
import resource
import signal
import subprocess
import time
from collections.abc import Sequence
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
RESULTS = HERE / "results"
LOG_NAME = "output.log"
TIMEOUT_SECONDS = 900  # a cold run takes one or two minutes on two idle cores


def run(command: Sequence[str | Path], workspace: Path) -> tuple[float, float]:
    """Run a command to its end; return its wall and CPU seconds, children included.

    Its output is added to the file LOG_NAME of the workspace.

    Raises:
      RuntimeError: it failed; the message ends as its output does.
      subprocess.TimeoutExpired: it took longer than TIMEOUT_SECONDS and was killed.
    """
    workspace.mkdir(exist_ok=True)
    log = workspace / LOG_NAME
    cpu, started = _children_cpu_seconds(), time.perf_counter()
    with log.open("ab") as output:
        process = subprocess.Popen(
            command,
            cwd=workspace,
            env=_environment(workspace),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            code = process.wait(timeout=TIMEOUT_SECONDS)
        except BaseException:  # also an interrupt: its children must not outlive us
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            raise
    wall = time.perf_counter() - started
    if code:
        tail = log.read_text("utf-8", errors="replace")[-2000:]
        words = " ".join(str(part) for part in command)
        raise RuntimeError(f"{words} ended with {code}:\n{tail}")
    return wall, _children_cpu_seconds() - cpu


def commit() -> str:
    """Return the commit of the code, with `-dirty` where a file differs from it.

    Files under RESULTS do not count: else each script would mark the next one's.
    """
    name = _git("describe", "--always") or "uncommitted"
    changes = ("status", "--porcelain", "--untracked-files=no", "--", ":/")
    return name + ("-dirty" if _git(*changes, f":(exclude){RESULTS}") else "")


def hardware() -> str:
    """Return the cores this process may use, the memory, and the processor's name."""
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    models = [line.split(":")[1].strip() for line in lines if "model name" in line]
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 2**30
    cores = len(os.sched_getaffinity(0))
    model = models[0] if models else platform.machine()
    return f"{cores} cores; {memory:.0f} GiB; {model}"


def write(measurements: Sequence[Any], path: Path) -> None:
    """Write one row a measurement, a dataclass; replaces what the file held."""
    path.parent.mkdir(exist_ok=True)
    with path.open("w", newline="", encoding="utf-8") as file:
        columns = [field.name for field in fields(measurements[0])]
        writer = csv.DictWriter(file, columns, lineterminator="\n")
        writer.writeheader()
        writer.writerows(asdict(measurement) for measurement in measurements)


def _environment(workspace: Path) -> dict[str, str]:
    """Return what the launcher sets; pip must not ask the network for a newer pip."""
    kept = {n: v for n, v in os.environ.items() if n != "PYTHONDONTWRITEBYTECODE"}
    return {
        **kept,
        "PYTHONPATH": str(HERE.parent),
        "PYTHONSAFEPATH": "1",
        "STRATA_HOME": str(workspace),
        "TF_CPP_MIN_LOG_LEVEL": "2",
        "PIP_DISABLE_PIP_VERSION_CHECK": "1",
    }


def _children_cpu_seconds() -> float:
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def _git(*arguments: str) -> str:
    command = ["git", "-C", str(HERE), *arguments]
    found = subprocess.run(command, capture_output=True, text=True, check=False)
    return found.stdout.strip()
