"""Follow a model's directory: serve its newest version, let go of the one before.

A version is a directory named by an integer. `ModelVersions` asks the loader it is
given, so this file knows nothing of TensorFlow.
"""

import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from serving.errors import ServingError, not_found

if TYPE_CHECKING:
    from serving.saved_model import SavedModel

logger = logging.getLogger(__name__)

MAX_VERSION = 2**63 - 1
Snapshot = tuple[tuple[str, int, int], ...]  # (path, bytes, nanoseconds) of each file


@dataclass(frozen=True)
class VersionStatus:
    """State is START, LOADING, AVAILABLE, UNLOADING or END, as in ModelService."""

    version: int
    state: str
    error_code: str = "OK"
    error_message: str = ""


class ServedVersion:
    """A loaded model and the number of requests that use it at this moment."""

    def __init__(self, number: int, model: "SavedModel") -> None:
        self.number = number
        self.model = model
        self.num_users = 0
        self.retired = False
        self.run_seconds = 0.01  # moving average; starts as "not known to be fast"


class ModelVersions:
    """The versions of one model, followed by `poll`."""

    def __init__(
        self, name: str, base_path: Path, load: Callable[[Path], "SavedModel"]
    ) -> None:
        self.name = name
        self.base_path = base_path
        self._load = load
        self._lock = threading.Lock()  # guards _ready, _statuses and the user counts
        self._ready: dict[int, ServedVersion] = {}
        self._statuses: dict[int, VersionStatus] = {}
        self._failed: dict[int, Snapshot] = {}
        self._seen: dict[int, Snapshot] = {}

    @contextmanager
    def use(self, version: int | None = None) -> Iterator[ServedVersion]:
        """Lend a version, the newest by default; it stays loaded until given back.

        Raises:
          ServingError: NOT_FOUND, the version is not available.
        """
        with self._lock:
            number = max(self._ready, default=None) if version is None else version
            served = self._ready.get(number) if number is not None else None
            if served is None:
                raise no_such_servable(self.name, version)
            served.num_users += 1
        try:
            yield served
        finally:
            with self._lock:
                served.num_users -= 1
                idle = served.retired and served.num_users == 0
            if idle:
                self._close(served)

    def available(self) -> list[int]:
        """List the versions that answer requests, newest first."""
        with self._lock:
            return sorted(self._ready, reverse=True)

    def statuses(self, version: int | None = None) -> list[VersionStatus]:
        """List the state of every version known, newest first, or of the one asked for.

        Raises:
          ServingError: NOT_FOUND, there is none.
        """
        with self._lock:
            known = sorted(self._statuses.items(), reverse=True)
        found = [status for number, status in known if version in (None, number)]
        if not found:
            raise no_such_version(self.name, version)
        return found

    def failures(self) -> list[VersionStatus]:
        """List the versions that did not load, newest first."""
        with self._lock:
            known = sorted(self._statuses.items(), reverse=True)
        return [status for _, status in known if status.error_code != "OK"]

    def poll(self, *, wait_until_stable: bool = True) -> None:
        """Look at the directory once and serve the newest version that loads.

        Args:
          wait_until_stable: load a new version only when its files are the same as
            one poll before, so that one still being copied is left alone.
        """
        numbers = self._list_versions()
        if numbers is None:
            return
        for number in sorted(numbers, reverse=True):
            if number in self._ready:
                self._retire_all_but(number)
                return
            snapshot = _snapshot(numbers[number])
            if self._failed.get(number) == snapshot:
                continue
            if wait_until_stable and self._seen.get(number) != snapshot:
                self._seen[number] = snapshot
                self._note(VersionStatus(number, "START"))
                return
            if self._serve(number, numbers[number]):
                self._retire_all_but(number)
                return
            self._failed[number] = snapshot
        if not numbers:
            self._retire_all_but(None)

    def follow(self, stop: threading.Event, *, poll_wait_seconds: float) -> None:
        """Poll until `stop` is set."""
        while not stop.wait(poll_wait_seconds):
            try:
                self.poll()
            except Exception:
                logger.exception("model %s: cannot look for versions", self.name)

    def _list_versions(self) -> dict[int, Path] | None:
        try:
            children = sorted(self.base_path.iterdir())
        except OSError as error:
            logger.error("model %s: goes on as it is, %s", self.name, error)
            return None
        return {
            int(child.name): child
            for child in children
            if child.name.isascii()
            and child.name.isdigit()
            and int(child.name) <= MAX_VERSION
            and child.is_dir()
        }

    def _serve(self, number: int, path: Path) -> bool:
        self._note(VersionStatus(number, "LOADING"))
        start = time.monotonic()
        try:
            model = self._load(path)
        except Exception as error:  # noqa: BLE001 - loaders raise IndexError, OSError, protobuf's and TensorFlow's errors for damaged files
            logger.error("model %s version %d: %s", self.name, number, error)
            self._note(VersionStatus(number, "END", *_code_and_text(error)))
            return False
        with self._lock:
            self._ready[number] = ServedVersion(number, model)
        self._note(VersionStatus(number, "AVAILABLE"))
        self._failed.pop(number, None)
        seconds = time.monotonic() - start
        logger.info("loaded %s version %d in %.1f s", self.name, number, seconds)
        return True

    def _retire_all_but(self, keep: int | None) -> None:
        with self._lock:
            numbers = [number for number in self._ready if number != keep]
            retired = [self._ready.pop(number) for number in numbers]
            for served in retired:
                served.retired = True
                status = VersionStatus(served.number, "UNLOADING")
                self._statuses[served.number] = status
            idle = [served for served in retired if served.num_users == 0]
        for served in idle:
            self._close(served)

    def _close(self, served: ServedVersion) -> None:
        served.model.close()
        self._note(VersionStatus(served.number, "END"))
        logger.info("unloaded %s version %d", self.name, served.number)

    def _note(self, status: VersionStatus) -> None:
        with self._lock:
            self._statuses[status.version] = status


def no_such_servable(name: str, version: int | None) -> ServingError:
    wanted = f"Latest({name})" if version is None else f"Specific({name}, {version})"
    return not_found(f"Servable not found for request: {wanted}")


def no_such_version(name: str, version: int | None) -> ServingError:
    wanted = "any versions" if version is None else f"version {version}"
    return not_found(f"Could not find {wanted} of model {name}")


def _snapshot(path: Path) -> Snapshot:
    try:
        stats = [(str(file), file.lstat()) for file in sorted(path.rglob("*"))]
    except OSError:  # a file went away meanwhile: differs from the next look
        return ()
    return tuple((name, stat.st_size, stat.st_mtime_ns) for name, stat in stats)


def _code_and_text(error: Exception) -> tuple[str, str]:
    if isinstance(error, ServingError):
        return error.code, error.message
    return ("NOT_FOUND" if isinstance(error, OSError) else "INTERNAL"), str(error)
