"""The energy that work took: measured where the hardware counts it, else estimated.

Measured are the processor packages (RAPL, through Linux's powercap files, which often
only root may read) and NVIDIA's GPUs (NVML). Both count for the whole machine. Of the
packages a process is given the share that it had of all CPU time that was used; of the
GPUs it is given everything. Where no package counts, CPU seconds times watts per core
stand for it. Memory, discs, fans and power supplies are left out.

codecarbon (3.3, offline) comes to the same on such a machine, 4 W per thread, but of
the machine and not of a process, takes 2 s to start, and brings 14 distributions.
"""

import ctypes
import resource
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil

POWERCAP = Path("/sys/class/powercap")
JOULES_PER_KWH = 3.6e6
# A package at 300 W comes round its counter (2^32 units of 61 uJ) in 15 minutes.
_SAMPLE_SECONDS = 60.0

Cost = dict[str, float | None]


class Meter:
    """What this process, and all it has waited for, used since the meter was made.

    Call `sample` at least every ten minutes: counters come round.
    """

    def __init__(self, powercap: Path = POWERCAP):
        self._packages = {
            path: _number(path / "max_energy_range_uj")
            for path in sorted(powercap.glob("intel-rapl:*"))
            if _is_counted(path)
        }
        self._gpus = _Gpus()
        self._lock = threading.Lock()  # `metered` samples in a thread of its own
        self._seen = {path: _number(path / "energy_uj") for path in self._packages}
        self._package_joules = 0.0
        self._gpu_joules = self._gpus.joules()
        self._begin = time.monotonic()
        self._used, self._busy = cpu_seconds(), _busy_seconds()

    def sample(self) -> None:
        """Add what the packages counted since the last time."""
        with self._lock:
            for path, limit in self._packages.items():
                now = _number(path / "energy_uj")
                moved = now - self._seen[path]
                self._package_joules += (moved if moved >= 0 else moved + limit) / 1e6
                self._seen[path] = now

    def cost(self) -> Cost:
        """Return seconds, `cpu_seconds`, `peak_mb`, and joules, None if not counted."""
        self.sample()
        used = cpu_seconds() - self._used
        busy = max(used, _busy_seconds() - self._busy)
        share = used / busy if busy else 0.0
        return {
            "seconds": time.monotonic() - self._begin,
            "cpu_seconds": used,
            "peak_mb": peak_mb(resource.getrusage(resource.RUSAGE_SELF)),
            "cpu_joules": self._package_joules * share if self._packages else None,
            "gpu_joules": counted(self._gpu_joules, self._gpus.joules()),
        }


def counted(before: float | None, after: float | None) -> float | None:
    """Return by how much a counter moved; None if it could not be read both times."""
    return None if before is None or after is None else after - before


@contextmanager
def metered(powercap: Path = POWERCAP) -> Iterator[Meter]:
    """Give a meter that is read every minute; ask it for the cost afterwards."""
    meter, done = Meter(powercap), threading.Event()

    def go_on() -> None:
        while not done.wait(_SAMPLE_SECONDS):
            meter.sample()

    thread = threading.Thread(target=go_on, name="meter", daemon=True)
    thread.start()
    try:
        yield meter
    finally:
        done.set()
        thread.join()


def cpu_seconds() -> float:
    """Return the CPU seconds of this process and of the children it has waited for."""
    usages = [resource.getrusage(who) for who in _WHOSE]
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)


_WHOSE = (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)


def peak_mb(usage: Any) -> float:
    """Return the most resident memory of a `getrusage`, in MB of 10^6 bytes."""
    unit = 1 if sys.platform == "darwin" else 1024
    return usage.ru_maxrss * unit / 1e6


def kwh(cost: Mapping[str, Any], watts_per_core: float) -> float:
    """Return the energy of a cost, estimated for the processor if it was not counted.

    Args:
      cost: with `cpu_seconds`; `cpu_joules` and `gpu_joules` if they are known.
      watts_per_core: of a core at work.
    """
    joules = cost.get("cpu_joules")
    if joules is None:
        joules = cost["cpu_seconds"] * watts_per_core
    return (joules + (cost.get("gpu_joules") or 0.0)) / JOULES_PER_KWH


class _Gpus:
    """Counters of NVIDIA's GPUs, through the driver's own library."""

    def __init__(self) -> None:
        try:
            self._nvml = ctypes.CDLL("libnvidia-ml.so.1")
        except OSError:  # no driver: no GPU
            self._nvml = None
        self._handles = self._found() if self._nvml else []

    def _found(self) -> list[ctypes.c_void_p]:
        count = ctypes.c_uint()
        if self._nvml.nvmlInit_v2() or self._nvml.nvmlDeviceGetCount_v2(
            ctypes.byref(count)
        ):
            return []
        handles = [ctypes.c_void_p() for _ in range(count.value)]
        return [
            handle
            for number, handle in enumerate(handles)
            if not self._nvml.nvmlDeviceGetHandleByIndex_v2(
                ctypes.c_uint(number), ctypes.byref(handle)
            )
        ]

    def joules(self) -> float | None:
        """Return the sum of the counters; None if there are none.

        GPUs before Volta have none.
        """
        total = 0.0
        for handle in self._handles:
            millijoules = ctypes.c_ulonglong()
            if self._nvml.nvmlDeviceGetTotalEnergyConsumption(
                handle, ctypes.byref(millijoules)
            ):
                return None
            total += millijoules.value / 1000
        return total if self._handles else None


def _busy_seconds() -> float:
    """Return the CPU seconds that all processes of the machine used since it started.

    Time of guests is counted by the system as user time too.
    """
    times = psutil.cpu_times()
    return float(times.user + times.nice + times.system)


def _is_counted(zone: Path) -> bool:
    """Return whether a RAPL zone is a package whose counter may be read.

    Others are a part of one (`core`, `dram`), or (`psys`) hold them all.
    """
    try:
        _number(zone / "energy_uj")
        return (zone / "name").read_text("ascii").startswith("package")
    except OSError:
        return False


def _number(path: Path) -> int:
    return int(path.read_text("ascii"))
