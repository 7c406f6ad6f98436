"""Bring a source in as tf.Example shards: read, split, write, count.

Beside the shards of each split the artifact holds `origins/`, which names the record
that each example was made from, line by line, and `ingest.json`, what was found.
"""

import json
import pickle
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import apache_beam as beam
import numpy as np
import pyarrow as pa
from tfx.components.util import examples_utils
from tfx.dsl.components.base import base_beam_component, executor_spec
from tfx.dsl.components.base.base_beam_executor import BaseBeamExecutor
from tfx.proto import example_gen_pb2
from tfx.types import artifact_utils, standard_artifacts
from tfx.types.channel_utils import as_channel
from tfx.types.component_spec import (
    ChannelParameter,
    ComponentSpec,
    ExecutionParameter,
)

from components import records, sources, splits
from components.shard_writer import ShardWriter
from components.sources import BadRow, Batch, Piece
from components.sources.locate import Located, locate
from recipes.errors import BadInputError, StrataError

FILE_NAME = "ingest.json"

BUNDLE_BYTES = 64 << 20  # of the source: what one worker reads before it is done
NUM_SAMPLES = 20  # bad rows kept to be shown
ENOUGH_BAD = 1_000  # where none is allowed, no more are looked for

MakePipeline = Callable[[], beam.Pipeline]
Bundle = Sequence[Piece]


@dataclass
class Summary:
    """What was read, in one bundle or in all."""

    records: Counter = field(default_factory=Counter)  # by split
    left_out: int = 0  # in a part that no split asks for
    bad_rows: int = 0
    bad_samples: list[BadRow] = field(default_factory=list)
    columns: dict[str, str] = field(default_factory=dict)
    notes: Counter = field(default_factory=Counter)

    def add(self, other: "Summary") -> None:
        """Add what another bundle held."""
        self.records += other.records
        self.left_out += other.left_out
        self.bad_rows += other.bad_rows
        self.bad_samples = [*self.bad_samples, *other.bad_samples][:NUM_SAMPLES]
        self.columns = {**other.columns, **self.columns}
        self.notes += other.notes

    def take_bad(self, bad: Sequence[BadRow]) -> None:
        """Count records that were left out; keep the first ones."""
        self.bad_rows += len(bad)
        self.bad_samples += bad[: NUM_SAMPLES - len(self.bad_samples)]

    @property
    def rows_in(self) -> int:
        return sum(self.records.values()) + self.left_out + self.bad_rows


class _Spec(ComponentSpec):
    PARAMETERS = {"located": ExecutionParameter(type=str)}
    INPUTS: dict[str, ChannelParameter] = {}
    OUTPUTS = {"examples": ChannelParameter(type=standard_artifacts.Examples)}


class _Executor(BaseBeamExecutor):
    def Do(self, input_dict: Any, output_dict: Any, exec_properties: Any) -> None:
        (examples,) = output_dict["examples"]
        located = Located.from_json(exec_properties["located"])
        report = write(located, Path(examples.uri), self._make_beam_pipeline)
        examples.split_names = artifact_utils.encode_split_names(
            list(report["records"])
        )
        examples_utils.set_payload_format(
            examples, example_gen_pb2.PayloadFormat.FORMAT_TF_EXAMPLE
        )
        examples_utils.set_file_format(examples, "tfrecords_gzip")


class Ingest(base_beam_component.BaseBeamComponent):
    """Write the examples of a located source, split, as gzipped TFRecords."""

    SPEC_CLASS = _Spec
    EXECUTOR_SPEC = executor_spec.BeamExecutorSpec(_Executor)

    def __init__(self, located: Located):
        examples = as_channel([standard_artifacts.Examples()])
        super().__init__(_Spec(located=located.to_json(), examples=examples))


def run(
    data: Mapping[str, Any], folder: Path, output: Path, *, tfds_dir: Path
) -> dict[str, Any]:
    """Do the whole step without TFX around it; return what `ingest.json` holds.

    Args:
      data: the recipe's section of that name, as plain JSON values.
      folder: where its relative paths start.
      output: directory to write, as an Examples artifact has it.
      tfds_dir: where TFDS keeps prepared data sets.
    """
    runner = "apache_beam.runners.portability.fn_api_runner.FnApiRunner"
    return write(
        locate(data, folder, tfds_dir=tfds_dir), output, lambda: beam.Pipeline(runner)
    )


def write(
    located: Located, output: Path, make_pipeline: MakePipeline
) -> dict[str, Any]:
    """Read, split and write; return what `ingest.json` holds.

    Raises:
      BadInputError: the source cannot be used, or more of its records than
        `max_bad_rows` allows.
    """
    reader = sources.reader(located.kind)
    pieces = reader.pieces(
        located.source, located.files(reader.SUFFIXES), located.data["splits"]
    )
    bundles = bundled(pieces)
    job = _Job(located.kind, located.data, output)
    parts = {piece.part for piece in pieces}
    scanned = None
    if splits.needs_scan(located.data):
        found = _each(make_pipeline, _Scan(job), bundles, output / "scanned")
        scanned = splits.merge(found)
    assigner = splits.assigner(located.data, parts, scanned)
    summary = Summary()
    for part in _each(make_pipeline, _Write(job, assigner), bundles, output / "done"):
        summary.add(part)
    _check(summary, located)
    report = _report(summary, located, assigner.names, len(pieces))
    for name in assigner.names:
        (output / f"Split-{name}").mkdir(parents=True, exist_ok=True)
    (output / FILE_NAME).write_text(json.dumps(report, indent=1))
    return report


def bundled(pieces: Sequence[Piece]) -> list[list[Piece]]:
    """Group pieces, in order, into bundles of about `BUNDLE_BYTES`."""
    bundles: list[list[Piece]] = []
    size = BUNDLE_BYTES
    for piece in pieces:
        if size + piece.size_bytes > BUNDLE_BYTES:
            bundles.append([])
            size = 0
        bundles[-1].append(piece)
        size += piece.size_bytes
    return bundles


def figures(outputs: Mapping[str, str]) -> dict[str, Any]:
    """Return the number of records in each split, and of those left out."""
    report = json.loads((Path(outputs["examples"]) / FILE_NAME).read_text())
    parts = [f"{count:,} {split}" for split, count in report["records"].items()]
    if report["bad_rows"]:
        parts.append(f"{report['bad_rows']:,} unreadable left out")
    return {"summary": " · ".join(parts), **report}


@dataclass(frozen=True)
class _Job:
    """What every worker needs to know."""

    kind: str
    data: Mapping[str, Any]
    output: Path

    def read(
        self, bundle: Bundle, columns: dict[str, str] | None = None
    ) -> Iterator[tuple[str, Batch, list[bytes]]]:
        """Yield the part, the batch without bad rows, and the encoded records.

        The types of columns are put into `columns`, by the names they have in the data.
        """
        reader = sources.reader(self.kind)
        for piece in bundle:
            for batch in reader.read(piece):
                if columns is not None and batch.table is not None:
                    columns |= _types(batch.table) | columns
                finite = records.without_infinite(records.with_feature_names(batch))
                encoded = (
                    records.encode(finite.table)
                    if finite.table is not None
                    else finite.records
                )
                yield piece.part, finite, encoded or []


@dataclass(frozen=True)
class _Scan:
    job: _Job

    def __call__(self, index: int, bundle: Bundle) -> Any:
        return splits.merge(
            splits.scan(self.job.data, batch, encoded, part=part)
            for part, batch, encoded in self.job.read(bundle)
        )


@dataclass(frozen=True)
class _Write:
    """Writes the shards of one bundle."""

    job: _Job
    assigner: splits.Assigner

    def __call__(self, index: int, bundle: Bundle) -> Summary:
        summary = Summary()
        with ShardWriter(self.job.output, index) as shards:
            for part, batch, encoded in self.job.read(bundle, summary.columns):
                summary.take_bad(batch.bad)
                summary.notes.update(batch.notes)
                if summary.bad_rows >= ENOUGH_BAD and not self.job.data["max_bad_rows"]:
                    break
                if encoded:
                    self._split(part, batch, encoded, shards, summary)
        return summary

    def _split(
        self,
        part: str,
        batch: Batch,
        encoded: list[bytes],
        shards: ShardWriter,
        summary: Summary,
    ) -> None:
        chosen = self.assigner.assign(part, batch, encoded)
        for number, name in enumerate(self.assigner.names):
            (rows,) = np.nonzero(chosen == number)
            if len(rows):
                shards.write(name, encoded, batch.names, rows)
                summary.records[name] += len(rows)
        summary.left_out += int(np.count_nonzero(chosen < 0))


@dataclass(frozen=True)
class _Failure:
    """An error for the user, carried as a value: runners wrap what is raised."""

    error: StrataError


def _each(
    make_pipeline: MakePipeline,
    function: Callable[[int, Bundle], Any],
    bundles: Sequence[Bundle],
    scratch: Path,
) -> list[Any]:
    """Return what a function makes of each bundle, in order, run by Beam."""

    def work(numbered: tuple[int, Bundle]) -> None:
        index, bundle = numbered
        try:
            result = function(index, bundle)
        except StrataError as error:
            result = _Failure(error)
        (scratch / f"{index:05d}").write_bytes(pickle.dumps(result))

    scratch.mkdir(parents=True, exist_ok=True)
    with make_pipeline() as pipeline:
        _ = (
            pipeline
            | beam.Create(list(enumerate(bundles)))
            | beam.Reshuffle()
            | beam.Map(work)
        )
    results = []
    for path in sorted(scratch.iterdir()):
        results.append(pickle.loads(path.read_bytes()))  # written above
        path.unlink()
    scratch.rmdir()
    for result in results:
        if isinstance(result, _Failure):
            raise result.error
    return results


def _check(summary: Summary, located: Located) -> None:
    """Refuse a source of which too much cannot be read.

    Raises:
      BadInputError: the rows are named.
    """
    if not summary.rows_in:
        raise BadInputError(
            f"[data] {located.kind}: there is not one record in "
            f"{', '.join(p.glob for p in located.patterns) or located.source['name']}."
        )
    share = summary.bad_rows / summary.rows_in
    limit = located.data["max_bad_rows"]
    if share <= limit:
        return
    shown = "; ".join(
        f"{row.where}: {row.why.rstrip('.')}"
        + (f" ({row.text[:60]!r})" if row.text else "")
        for row in summary.bad_samples[:3]
    )
    more = f"; and {summary.bad_rows - 3} more" if summary.bad_rows > 3 else ""
    raise BadInputError(
        f"{summary.bad_rows:,} of {summary.rows_in:,} records cannot be used, "
        f"{share:.2%}, allowed {limit:.2%}: {shown}{more}. Mend them, or set "
        f"data.max_bad_rows to leave them out."
    )


def _report(
    summary: Summary, located: Located, names: Iterable[str], num_pieces: int
) -> dict[str, Any]:
    return {
        "source": located.kind,
        "records": {name: summary.records[name] for name in names},
        "rows_in": summary.rows_in,
        "left_out": summary.left_out,
        "bad_rows": summary.bad_rows,
        "bad_samples": [asdict(row) for row in summary.bad_samples],
        "columns": {sources.feature_name(c): t for c, t in summary.columns.items()},
        "renamed": {
            name: column
            for column in summary.columns
            if (name := sources.feature_name(column)) != column
        },
        "notes": dict(summary.notes),
        "pieces": num_pieces,
        "spans": sorted({p.span for p in located.patterns if p.span is not None}),
    }


def _types(table: pa.RecordBatch) -> dict[str, str]:
    return {f.name: _type_name(f.type) for f in table.schema}


def _type_name(kind: pa.DataType) -> str:
    if records.is_list(kind):
        return f"list of {_type_name(kind.value_type)}"
    if pa.types.is_integer(kind) or pa.types.is_boolean(kind):
        return "int"
    if pa.types.is_floating(kind) or pa.types.is_decimal(kind):
        return "float"
    is_bytes = pa.types.is_binary(kind) or pa.types.is_large_binary(kind)
    return "bytes" if is_bytes else "text"
