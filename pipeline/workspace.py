"""Where state lives: `./workspace`, or `STRATA_HOME`."""

import os
from dataclasses import dataclass
from pathlib import Path

from recipes.errors import BadInputError


@dataclass(frozen=True)
class Workspace:
    """The folders of one workspace."""

    root: Path

    @property
    def metadata(self) -> Path:
        """ML Metadata's SQLite file."""
        return self.root / "metadata.db"

    @property
    def history(self) -> Path:
        return self.root / "history.db"

    @property
    def tfds(self) -> Path:
        """Where TFDS keeps prepared data sets."""
        return self.root / "tfds"

    def artifacts(self, pipeline: str) -> Path:
        return self.root / "artifacts" / pipeline

    def models(self, pipeline: str) -> Path:
        return self.root / "models" / pipeline

    def checkpoints(self, pipeline: str, key: str) -> Path:
        """Where one training keeps its checkpoints until it is done."""
        return self.root / "checkpoints" / pipeline / key[:16]

    def exam_sets(self, pipeline: str) -> Path:
        """Examples that exams keep for those of later runs."""
        return self.root / "exam_sets" / pipeline

    def run(self, run_id: int) -> Path:
        return self.root / "runs" / str(run_id)

    def last_run(self) -> int:
        """Return the highest id that a run's folder has, 0 if there is none."""
        found = self.run(0).parent.glob("[0-9]*")
        return max((int(p.name) for p in found if p.name.isdecimal()), default=0)

    def lock(self, pipeline: str) -> Path:
        return self.root / "locks" / f"{pipeline}.lock"

    def baseline(self, pipeline: str, version: int) -> Path:
        """A live version in the layout of a TFX Model artifact (a link)."""
        return self.root / "live" / pipeline / str(version)


FULL_DISK = (
    "No space left on the disk of the workspace. Free some, or set STRATA_HOME to a "
    "folder on another disk; a new run goes on from the last finished step."
)


def is_full_disk(error: BaseException) -> bool:
    """Whether an error says, in whichever library's words, that the disk is full."""
    words = ("No space left on device", "disk is full", "disk I/O error")
    return any(word in str(error) for word in words)


def open_workspace() -> Workspace:
    """Return the workspace of this process, made if it is not there.

    Raises:
      BadInputError: it cannot be made or written to.
    """
    root = Path(os.environ.get("STRATA_HOME") or "workspace").absolute()
    try:
        root.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise _unusable(root, error.strerror or str(error)) from error
    if not os.access(root, os.W_OK | os.X_OK):
        raise _unusable(root, "no permission to write")
    return Workspace(root)


def _unusable(root: Path, reason: str) -> BadInputError:
    return BadInputError(
        f"Cannot keep state in {root}: {reason}. Set STRATA_HOME to a folder you own."
    )
