"""Does the real server serve the candidate: the same answers, soon, and how costly?

The candidate is published in a folder of the exam as a push would publish it, warm-up
requests included, and served by `python -m serving` in a fresh process. Asked are
`serving_default` over REST and `serve_raw` over gRPC, on the same test examples as the
SavedModel is asked here; then single examples over REST, one after the other on one
connection, for the time that an answer takes. Numbers are of this machine as it was:
of the 95th percentile the interval is given, and the bound is missed only if the whole
interval lies beyond it.
"""

import json
import math
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from scipy import stats

from components import model_process, publish, server_answers
from components.exams import Verdict, changes, judged
from components.exams.case import Arrays, Case
from components.model_process import NotServedError

RECORD, ANSWERS, LOG = "served.json", "answers.npz", "server.log"
NUM_COMPARED = 32
_NAME = "candidate"
_MB = 1e6


def collect(case: Case, section: Mapping[str, Any], folder: Path) -> None:
    """Serve the candidate; write what it answered here and there, and its costs.

    Raises:
      StrataError: the server could not be tried: see `model_process.started`.
    """
    examples = case.test[:NUM_COMPARED]
    raw = case.candidate.raw(examples)
    offline = {
        "serving_default": case.candidate.ask_examples(examples),
        "serve_raw": case.candidate.ask(raw),
    }
    record: dict[str, Any] = {"error": None}
    answers: dict[str, Arrays] = {}
    with tempfile.TemporaryDirectory(dir=folder) as directory:
        base_path = _published(case, Path(directory))
        record["size_bytes"] = _size_bytes(base_path / "1")
        try:
            # A version that fails fails at once: nobody will mend it meanwhile.
            flags = ["--max_num_load_retries=0"]
            log = folder / LOG
            with model_process.started(_NAME, base_path, log, flags) as server:
                answers["serving_default"] = server_answers.over_rest(
                    server, examples, offline["serving_default"]
                )
                answers["serve_raw"] = server_answers.over_grpc(server, raw)
                record |= server_answers.timed(server, examples, section["requests"])
        except (NotServedError, server_answers.AnswerError) as error:
            record["error"] = str(error)
    (folder / RECORD).write_text(json.dumps(record), "utf-8")
    _write(folder / ANSWERS, {"offline": offline, "served": answers})


def judge(folder: Path, section: Mapping[str, Any]) -> Verdict:
    """Refuse a candidate that is not served, or otherwise than here, or too costly."""
    record = json.loads((folder / RECORD).read_text("utf-8"))
    if record["error"]:
        line = f"the server does not serve it: {record['error'].splitlines()[-1]}"
        return judged(line, (line,), error=record["error"])
    gaps = _gaps(folder / ANSWERS)
    found = _figures(record, section["price_per_core_hour"])
    return judged(
        f"served as here (within {max(gaps.values()):.1g}) · "
        f"p50 {found['p50_ms']:.2f} ms, p95 {found['p95_ms']:.2f} · "
        f"{found['memory_mb']:.0f} MB memory, {found['size_mb']:.2g} MB on disk · "
        f"{found['cpu_seconds_per_1000']:.2g} CPU seconds per 1,000 answers",
        tuple(_refusals(gaps, found, section)),
        gaps={n: gap if math.isfinite(gap) else None for n, gap in gaps.items()},
        **found,
    )


def _refusals(
    gaps: Mapping[str, float], found: Mapping[str, Any], section: Mapping[str, Any]
) -> Iterator[str]:
    within = section["equal_within"]
    for name, gap in gaps.items():
        if gap > within:
            yield (
                f"{name} differs by up to {gap:.3g} when served, "
                f"expected at most {within:g}"
            )
    bounds = (
        ("p95_ms_at_most", "p95_ms_low", "p95 latency is at least", "ms"),
        ("memory_mb_at_most", "memory_mb", "memory is", "MB"),
        ("size_mb_at_most", "size_mb", "size is", "MB"),
    )
    for key, figure, what, unit in bounds:
        bound, value = section[key], found[figure]
        if bound is not None and value > bound:
            yield f"{what} {value:.4g} {unit}, expected at most {bound:g}"


def _published(case: Case, base_path: Path) -> Path:
    artifact = case.candidate.directory.parent
    publish.publish(
        str(artifact), str(case.examples), base_path / _NAME, scratch=base_path
    )
    return base_path / _NAME


def _size_bytes(directory: Path) -> int:
    return sum(p.stat().st_size for p in directory.rglob("*") if p.is_file())


def _write(path: Path, answers: Mapping[str, Mapping[str, Arrays]]) -> None:
    """Store answers as `<where>/<signature>/<output>`, bytes as text."""
    arrays = {
        f"{where}/{signature}/{name}": changes.as_text(value)
        for where, by_signature in answers.items()
        for signature, outputs in by_signature.items()
        for name, value in outputs.items()
    }
    np.savez_compressed(path, **arrays)


def _gaps(path: Path) -> dict[str, float]:
    """Return by how much each output differs at most: see `largest_gap`."""
    with np.load(path) as stored:
        return {
            name.removeprefix("offline/"): largest_gap(
                stored[name], stored[name.replace("offline", "served", 1)]
            )
            for name in stored.files
            if name.startswith("offline/")
        }


def largest_gap(one: np.ndarray, other: np.ndarray) -> float:
    """Return the largest difference, of texts 0 or 1.

    Where the first has values above 1 it is relative to the largest of them: what a sum
    is rounded by is of the size of its terms.

    Infinity where shapes differ, or a number is none, or without end, on one side.
    """
    if one.shape != other.shape:
        return float("inf")
    if one.dtype.kind == "U":
        return float((one != other).any())
    same = (one == other) | ((one != one) & (other != other))  # NaN is not itself
    first, second = (values[~same].astype(np.float64) for values in (one, other))
    if not (np.isfinite(first) & np.isfinite(second)).all():
        return float("inf")
    sizes = np.abs(one[np.isfinite(one)])
    return float(np.abs(first - second).max(initial=0) / sizes.max(initial=1))


def _figures(record: Mapping[str, Any], price: float | None) -> dict[str, Any]:
    latencies = record["latencies_ms"]
    low, high = percentile_interval(latencies, 0.95)
    per_1000 = 1000 * record["cpu_seconds"] / len(latencies)
    return {
        "p50_ms": float(np.percentile(latencies, 50)),
        "p95_ms": float(np.percentile(latencies, 95)),
        "p95_ms_low": low,
        "p95_ms_high": high,
        "start_seconds": record["start_seconds"],
        "memory_mb": record["memory_bytes"] / _MB,
        "size_mb": record["size_bytes"] / _MB,
        "cpu_seconds_per_1000": per_1000,
        "cost_per_1000": None if price is None else price * per_1000 / 3600,
        "num_requests": len(latencies),
    }


def percentile_interval(values: Sequence[float], share: float) -> tuple[float, float]:
    """Return two of the values that have the percentile between them, 19 times of 20.

    How many of n values lie below it is binomial, whatever their distribution. Where
    they are too few for one that is surely below, the first is 0.
    """
    ordered = np.sort(values)
    below, above = stats.binom.ppf([0.025, 0.975], len(ordered), share).astype(int)
    low = float(ordered[below - 1]) if below else 0.0
    return low, float(ordered[min(above, len(ordered) - 1)])
