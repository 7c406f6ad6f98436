"""What this machine has, and what is missing: imports no TensorFlow, under a second."""

import importlib.metadata
import json
import os
import platform
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from deploy import native_wheels

LOCK = Path(__file__).parent.parent / "requirements.txt"
PACKAGES = (
    "tensorflow",
    "keras",
    "tfx",
    "apache-beam",
    "tensorflow-data-validation",
    "tensorflow-transform",
    "tensorflow-model-analysis",
    "ml-metadata",
    "tensorflow-datasets",
    "tensorflow-serving-api",
    "protobuf",
    "numpy",
)
PORTS = {8500: "gRPC", 8501: "REST"}
GIB = 1024**3
LITTLE_MEMORY = 2 * GIB
LEAST_DISK = 1 * GIB


@dataclass(frozen=True)
class Finding:
    """One thing looked at; `ok` is False only where a run cannot work without it."""

    name: str
    value: str
    ok: bool = True
    advice: str = ""


def main(*, as_json: bool = False) -> int:
    """Print the report; 0 if a pipeline can run here, 3 if something is missing."""
    findings = report()
    if as_json:
        print(json.dumps([asdict(finding) for finding in findings], indent=2))
    else:
        _print_table(findings)
    return 0 if all(finding.ok for finding in findings) else 3


def report() -> list[Finding]:
    """Return every finding, the machine first, then the packages."""
    return [
        _python(),
        _cores(),
        _memory(),
        _disk(),
        _glibc(),
        _devices(),
        *(_port(port, api) for port, api in PORTS.items()),
        _model_server(),
        *_packages(),
    ]


def _print_table(findings: list[Finding]) -> None:
    width = max(len(finding.name) for finding in findings)
    for finding in findings:
        mark = " " if finding.ok else "!"
        print(f"{mark} {finding.name:{width}}  {finding.value}")
        if finding.advice:
            print(f"  {'':{width}}  -> {finding.advice}")
    missing = [finding.name for finding in findings if not finding.ok]
    print(f"missing: {', '.join(missing)}" if missing else "all that is needed is here")


def _python() -> Finding:
    fine = (3, 11) <= sys.version_info < (3, 14)
    advice = "" if fine else "Set STRATA_PYTHON to Python 3.11, 3.12 or 3.13."
    return Finding("python", f"{platform.python_version()}", fine, advice)


def _cores() -> Finding:
    return Finding("cores", str(len(os.sched_getaffinity(0))))


def _memory() -> Finding:
    """Free memory: the machine's, or the container's limit if that is smaller."""
    text = Path("/proc/meminfo").read_text(encoding="ascii")
    fields = dict(line.split(":", 1) for line in text.splitlines())
    total, free = (
        int(fields[key].split()[0]) * 1024 for key in ("MemTotal", "MemAvailable")
    )
    limit = _read("/sys/fs/cgroup/memory.max")
    if limit.isdigit():
        total, free = min(total, int(limit)), min(free, int(limit))
    advice = "Little: a run may be killed." if free < LITTLE_MEMORY else ""
    return Finding("memory", f"{_gib(free)} free of {_gib(total)}", advice=advice)


def _disk() -> Finding:
    home = Path(os.environ.get("STRATA_HOME", "workspace")).absolute()
    there = next(path for path in (home, *home.parents) if path.exists())
    free = shutil.disk_usage(there).free
    advice = "" if free >= LEAST_DISK else "Free some, or set STRATA_HOME elsewhere."
    return Finding("disk", f"{_gib(free)} free for {home}", not advice, advice)


def _glibc() -> Finding:
    version = platform.libc_ver()[1]
    try:
        new_enough = native_wheels.glibc_version() >= native_wheels.NEEDED_GLIBC
        unpatched = [
            path.name
            for path in native_wheels.extension_paths()
            if not new_enough and native_wheels.needs_new_glibc(path)
        ]
    except SystemExit as error:
        return Finding("glibc", version, ok=False, advice=str(error))
    if unpatched:
        value = f"{version}, native wheels not adapted to it: {', '.join(unpatched)}"
        advice = f"Run {sys.executable} {native_wheels.__file__}"
        return Finding("glibc", value, ok=False, advice=advice)
    how = "needs no change" if new_enough else "native wheels adapted to it"
    return Finding("glibc", f"{version}, {how}")


def _devices() -> Finding:
    gpus = list(_gpus())
    tpus = sorted(Path("/dev").glob("accel[0-9]*"))
    tpus += sorted(Path("/dev/vfio").glob("[0-9]*"))
    found = gpus + ([f"{len(tpus)} TPU chips"] if tpus else [])
    if gpus and not _installed("nvidia-cudnn-cu12"):
        wanted = f"tensorflow[and-cuda]=={_locked().get('tensorflow', '')}"
        advice = (
            f"If TensorFlow sees no GPU: {sys.executable} -m pip install '{wanted}'"
        )
        return Finding("devices", ", ".join(found), advice=advice)
    return Finding("devices", ", ".join(found) or "CPU only")


def _gpus() -> Iterator[str]:
    """Name each GPU: from the driver's files, or from nvidia-smi (WSL has no files)."""
    cards = sorted(Path("/proc/driver/nvidia/gpus").glob("*/information"))
    for card in cards:
        for line in _read(card).splitlines():
            if line.startswith("Model:"):
                yield line.partition(":")[2].strip()
    program = shutil.which("nvidia-smi")
    if cards or not program:
        return
    query = [program, "--query-gpu=name", "--format=csv,noheader"]
    try:
        answer = subprocess.run(query, capture_output=True, text=True, timeout=5)
    except (OSError, subprocess.TimeoutExpired):
        return
    if answer.returncode == 0:
        yield from filter(None, map(str.strip, answer.stdout.splitlines()))


def _port(port: int, api: str) -> Finding:
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("0.0.0.0", port))
        except OSError as error:
            advice = f"`strata serve` needs another port for {api} while it is taken."
            return Finding(f"port {port}", error.strerror or "taken", advice=advice)
    return Finding(f"port {port}", f"free ({api})")


def _model_server() -> Finding:
    path = shutil.which("tensorflow_model_server")
    if path:
        return Finding("tensorflow_model_server", path)
    advice = "Optional: the built-in server speaks the same API."
    return Finding("tensorflow_model_server", "not on PATH", advice=advice)


def _packages() -> Iterator[Finding]:
    locked = _locked()
    mend = f"Remove {sys.prefix} and run ./strata doctor: it is made again."
    for name in PACKAGES:
        expected, received = locked[name], _installed(name)
        if received == expected:
            yield Finding(name, received)
        else:
            value = f"Expected {expected}. Received: {received or 'none'}"
            yield Finding(name, value, ok=False, advice=mend)


def _locked() -> dict[str, str]:
    """Map each package to its pinned version."""
    lines = LOCK.read_text(encoding="utf-8").splitlines()
    pins = (line.partition(";")[0].strip() for line in lines if "==" in line)
    return dict(pin.split("==", 1) for pin in pins)


def _installed(name: str) -> str:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return ""


def _read(path: str | Path) -> str:
    try:
        return Path(path).read_text(encoding="utf-8").strip()
    except OSError:
        return ""


def _gib(size_bytes: int) -> str:
    return f"{size_bytes / GIB:.1f} GiB"
