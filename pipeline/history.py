"""What ran, with what, why, and what came of it: one small SQLite file.

ML Metadata keeps the lineage of artifacts; this file answers in milliseconds, without
TensorFlow, which steps are up to date and what is live since when.
"""

import json
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_SCHEMA = """
CREATE TABLE IF NOT EXISTS runs (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    pipeline TEXT NOT NULL,
    recipe TEXT NOT NULL,
    started REAL NOT NULL,
    ended REAL,
    status TEXT NOT NULL  -- running, done, refused, failed, died
);
CREATE TABLE IF NOT EXISTS steps (
    run_id INTEGER NOT NULL REFERENCES runs (id),
    pipeline TEXT NOT NULL,
    step TEXT NOT NULL,
    key TEXT NOT NULL,
    parts TEXT NOT NULL,
    status TEXT NOT NULL,  -- done, failed
    execution_id INTEGER,
    outputs TEXT NOT NULL,
    figures TEXT NOT NULL,
    seconds REAL NOT NULL,
    error TEXT
);
CREATE INDEX IF NOT EXISTS steps_by_key ON steps (pipeline, step, key);
CREATE INDEX IF NOT EXISTS steps_by_run ON steps (run_id);
CREATE INDEX IF NOT EXISTS steps_by_step ON steps (step);
CREATE TABLE IF NOT EXISTS digests (
    path TEXT PRIMARY KEY,
    size INTEGER NOT NULL,
    mtime_ns INTEGER NOT NULL,
    sha256 TEXT NOT NULL
);
CREATE TABLE IF NOT EXISTS provenance (
    run_id INTEGER PRIMARY KEY REFERENCES runs (id),
    code TEXT NOT NULL,
    recipe_path TEXT NOT NULL,
    recipe_overrides TEXT NOT NULL,
    keys TEXT NOT NULL
);
CREATE TABLE IF NOT EXISTS data_files (
    digest TEXT PRIMARY KEY,
    files BLOB NOT NULL  -- JSON, compressed: a folder of images has many
);
CREATE TABLE IF NOT EXISTS overrides (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    run_id INTEGER NOT NULL REFERENCES runs (id),
    pipeline TEXT NOT NULL,
    model TEXT NOT NULL,
    who TEXT NOT NULL,
    at REAL NOT NULL,
    reason TEXT NOT NULL,
    refusals TEXT NOT NULL,
    version INTEGER  -- NULL: the push did not end
);
"""


@dataclass(frozen=True)
class StepRecord:
    """One execution of a step, finished or failed."""

    run_id: int
    step: str
    key: str
    parts: Mapping[str, str]
    execution_id: int | None
    outputs: Mapping[str, str]
    figures: Mapping[str, Any]
    seconds: float
    error: str | None = None

    def as_reused(self) -> dict[str, Any]:
        """Return the event that says that this execution stands in a later run."""
        return {
            "event": "reused",
            "step": self.step,
            "figures": dict(self.figures),
            "outputs": dict(self.outputs),
            "from_run": self.run_id,
        }


@dataclass(frozen=True)
class Override:
    """A refused candidate that a person pushed all the same.

    Attributes:
      run_id: the run that refused it.
      model: URI of the candidate.
      who: name of the user.
      at: when, in seconds since the epoch.
      refusals: a line for each, as the judge wrote them.
      version: what it was pushed as; None if the push did not end.
    """

    run_id: int
    pipeline: str
    model: str
    who: str
    at: float
    reason: str
    refusals: tuple[str, ...]
    version: int | None = None


@dataclass(frozen=True)
class RunRecord:
    """One run of a pipeline; times in seconds since the epoch."""

    id: int
    pipeline: str
    recipe: Mapping[str, Any]
    started: float
    ended: float | None
    status: str
    override: Override | None = None


class History:
    """The file. A connection lives for one statement: the runner forks."""

    def __init__(self, path: Path):
        self._path = path
        with self.connection() as db:
            db.executescript(_SCHEMA)

    def begin_run(
        self, pipeline: str, recipe: str, *, now: float, after: int = 0
    ) -> int:
        """Record a started run; return its id, which is greater than `after`."""
        with self.connection() as db:
            row = db.execute(
                "INSERT INTO runs (id, pipeline, recipe, started, status) VALUES "
                "(max(?, (SELECT coalesce(max(id), 0) FROM runs)) + 1, "
                "?, ?, ?, 'running') RETURNING id",
                (after, pipeline, recipe, now),
            ).fetchone()
        return int(row[0])

    def end_run(self, run_id: int, status: str, *, now: float) -> None:
        with self.connection() as db:
            db.execute(
                "UPDATE runs SET status = ?, ended = ? WHERE id = ?",
                (status, now, run_id),
            )

    def bury_dead_runs(self, pipeline: str) -> None:
        """Mark runs that were killed. Call it with the pipeline's lock held."""
        with self.connection() as db:
            db.execute(
                "UPDATE runs SET status = 'died' "
                "WHERE pipeline = ? AND status = 'running'",
                (pipeline,),
            )

    def runs(self, pipeline: str | None = None, *, limit: int = 20) -> list[RunRecord]:
        """Return the newest runs, newest first."""
        return self._runs(
            "? IS NULL OR pipeline = ? ORDER BY id DESC LIMIT ?",
            (pipeline, pipeline, limit),
        )

    def run(self, run_id: int) -> RunRecord | None:
        found = self._runs("id = ?", (run_id,))
        return found[0] if found else None

    def _runs(self, where: str, values: tuple[Any, ...]) -> list[RunRecord]:
        with self.connection() as db:
            rows = db.execute(
                "SELECT id, pipeline, recipe, started, ended, status FROM runs "
                f"WHERE {where}",
                values,
            ).fetchall()
        by_run = {override.run_id: override for override in self.overrides()}
        return [
            RunRecord(
                id=row[0],
                pipeline=row[1],
                recipe=json.loads(row[2]),
                started=row[3],
                ended=row[4],
                status=row[5],
                override=by_run.get(row[0]),
            )
            for row in rows
        ]

    def add_step(self, pipeline: str, record: StepRecord) -> None:
        with self.connection() as db:
            db.execute(
                "INSERT INTO steps VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                (
                    record.run_id,
                    pipeline,
                    record.step,
                    record.key,
                    json.dumps(dict(record.parts)),
                    "failed" if record.error else "done",
                    record.execution_id,
                    json.dumps(dict(record.outputs)),
                    json.dumps(dict(record.figures)),
                    record.seconds,
                    record.error,
                ),
            )

    def done_steps(
        self, pipeline: str, step: str, *, key: str | None = None, limit: int = -1
    ) -> list[StepRecord]:
        """Return the successful executions of a step, newest first.

        Args:
          pipeline: of which.
          step: of which.
          key: only those with this fingerprint.
          limit: at most so many; -1 for all.
        """
        return self._steps(
            "pipeline = ? AND step = ? AND (? IS NULL OR key = ?) AND status = 'done' "
            "ORDER BY rowid DESC LIMIT ?",
            (pipeline, step, key, key, limit),
        )

    def steps_of(self, run_id: int) -> list[StepRecord]:
        """Return what a run executed, in that order, failed steps included."""
        return self._steps("run_id = ? ORDER BY rowid", (run_id,))

    def maker_of(self, step: str, output: str, uri: str) -> StepRecord | None:
        """Return the execution of a step, in any pipeline, that wrote an output."""
        found = self._steps(
            "step = ? AND status = 'done' AND json_extract(outputs, ?) = ? "
            "ORDER BY rowid DESC LIMIT 1",
            (step, f"$.{output}", uri),
        )
        return found[0] if found else None

    def push_of(self, path: Path) -> StepRecord | None:
        """Return the push that made a version, by the directory of the version."""
        found = self._steps(
            "step = 'push' AND status = 'done' AND json_extract(figures, '$.path') = ? "
            "ORDER BY rowid LIMIT 1",
            (str(path),),
        )
        return found[0] if found else None

    def _steps(self, where: str, values: tuple[Any, ...]) -> list[StepRecord]:
        with self.connection() as db:
            rows = db.execute(
                "SELECT run_id, step, key, parts, execution_id, outputs, figures, "
                f"seconds, error FROM steps WHERE {where}",
                values,
            ).fetchall()
        return [
            StepRecord(
                run_id=row[0],
                step=row[1],
                key=row[2],
                parts=json.loads(row[3]),
                execution_id=row[4],
                outputs=json.loads(row[5]),
                figures=json.loads(row[6]),
                seconds=row[7],
                error=row[8],
            )
            for row in rows
        ]

    def forget_steps(self) -> None:
        """Forget all executions: ML Metadata, which holds their outputs, is gone."""
        with self.connection() as db:
            db.execute("DELETE FROM steps")

    def add_override(self, override: Override) -> None:
        with self.connection() as db:
            db.execute(
                "INSERT INTO overrides (run_id, pipeline, model, who, at, reason, "
                "refusals, version) VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                (
                    override.run_id,
                    override.pipeline,
                    override.model,
                    override.who,
                    override.at,
                    override.reason,
                    json.dumps(list(override.refusals)),
                    override.version,
                ),
            )

    def end_override(self, run_id: int, version: int) -> None:
        """Keep what the last override of a run was pushed as."""
        with self.connection() as db:
            db.execute(
                "UPDATE overrides SET version = ? "
                "WHERE id = (SELECT max(id) FROM overrides WHERE run_id = ?)",
                (version, run_id),
            )

    def overrides(self, *, model: str | None = None) -> list[Override]:
        """Return the overrides, or those of one candidate by its URI, oldest first."""
        with self.connection() as db:
            rows = db.execute(
                "SELECT run_id, pipeline, model, who, at, reason, refusals, version "
                "FROM overrides WHERE ? IS NULL OR model = ? ORDER BY id",
                (model, model),
            ).fetchall()
        return [
            Override(
                run_id=row[0],
                pipeline=row[1],
                model=row[2],
                who=row[3],
                at=row[4],
                reason=row[5],
                refusals=tuple(json.loads(row[6])),
                version=row[7],
            )
            for row in rows
        ]

    def digest(self, path: Path, size: int, mtime_ns: int) -> str | None:
        """Return the remembered sha256 of a file that has not been written since."""
        with self.connection() as db:
            row = db.execute(
                "SELECT sha256 FROM digests "
                "WHERE path = ? AND size = ? AND mtime_ns = ?",
                (str(path), size, mtime_ns),
            ).fetchone()
        return str(row[0]) if row else None

    def remember_digest(
        self, path: Path, size: int, mtime_ns: int, sha256: str
    ) -> None:
        with self.connection() as db:
            db.execute(
                "INSERT OR REPLACE INTO digests VALUES (?, ?, ?, ?)",
                (str(path), size, mtime_ns, sha256),
            )

    @contextmanager
    def connection(self) -> Iterator[sqlite3.Connection]:
        """Open the file for one transaction."""
        with closing(sqlite3.connect(self._path, timeout=30)) as db, db:
            yield db
