"""Is the candidate worse than the live model on examples of older spans?

When a span is first the newest of those that are read (`data.spans`), some of its test
examples are kept for good in `Case.kept`. All later candidates answer them beside the
live model. A set is never changed: delete its folder there to have one taken anew.

Data must be read a span at a time (`spans: {last: 1}`): of several read at once nobody
knows which example is whose. With splits by a hash no later candidate has trained on
them. With splits by time a rolling window may train tomorrow on what it tests today;
then only forgetting what was learned is measured.
"""

import json
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from components import ingest
from components.exams import NotApplicableError, Verdict, judged, paired
from components.exams.case import Case, read, reason

ERRORS, UNFIT = "errors.npz", "unfit.json"
_SHARD = "examples-00000-of-00001.gz"
_MODELS = ("candidate", "live")


def collect(case: Case, section: Mapping[str, Any], folder: Path) -> None:
    """Keep the examples of a new span; write what both models got wrong on older ones.

    A kept set that a model cannot read, as of a span without a column that is needed by
    now, is listed with the reason.
    """
    report = json.loads((case.examples / ingest.FILE_NAME).read_text("utf-8"))
    if not report["spans"]:
        raise NotApplicableError("its data have no spans")
    if len(report["spans"]) > 1:
        raise NotApplicableError(
            "of several spans read at once: which example is whose?"
        )
    (newest,) = report["spans"]
    _keep(case, newest, section["examples"])
    if case.live is None:
        raise NotApplicableError("no model is live yet")
    older = sorted(span for span in kept_spans(case.kept) if span < newest)
    if not older:
        raise NotApplicableError("no older span was seen yet")
    found, unfit = {}, {}
    for span in older:
        examples = read(case.kept / str(span), section["examples"])
        try:
            ours, theirs = case.errors(case.live, examples)
        except NotApplicableError as error:
            unfit[span] = str(error)
        except tf.errors.InvalidArgumentError as error:
            unfit[span] = f"the candidate cannot read them: {reason(error)}"
        else:
            found |= {f"candidate {span}": ours, f"live {span}": theirs}
    if not found:
        raise NotApplicableError(f"no older span can be compared: {unfit[older[-1]]}")
    np.savez_compressed(folder / ERRORS, **found)
    (folder / UNFIT).write_text(json.dumps(unfit), "utf-8")


def judge(folder: Path, section: Mapping[str, Any]) -> Verdict:
    """Refuse a candidate that lost more than is allowed on any span, beyond chance.

    The more spans, the wider the interval of each: they are to hold all at once.
    """
    unfit = json.loads((folder / UNFIT).read_text("utf-8"))
    with np.load(folder / ERRORS) as stored:
        errors = {name: stored[name] for name in stored.files}
    spans = [int(name.split()[1]) for name in errors if name.startswith("live ")]
    confidence = 1 - (1 - section["confidence"]) / len(spans)
    found = {
        span: paired.difference(
            errors[f"candidate {span}"], errors[f"live {span}"], confidence=confidence
        )
        for span in spans
    }
    measure = "wrong answers" if errors[f"live {spans[0]}"].dtype == bool else "loss"
    lines = {
        span: f"span {span}: {measure} {each.mean:+.4f} against the live model "
        f"({each.low:+.4f} to {each.high:+.4f})"
        for span, each in found.items()
    }
    worst = max(spans, key=lambda span: found[span].low)
    allowed = section["drop_at_most"]
    return judged(
        f"{_words(found, unfit)} · {lines[worst]}",
        tuple(
            f"{lines[span]}, allowed {allowed:+g}"
            for span in spans
            if found[span].low > allowed
        ),
        spans={
            str(span): vars(each)
            | {name: float(errors[f"{name} {span}"].mean()) for name in _MODELS}
            | {"num_examples": len(errors[f"live {span}"])}
            for span, each in found.items()
        },
        unfit=unfit,
    )


def kept_spans(kept: Path) -> list[int]:
    """Return the spans whose examples are kept."""
    return [int(path.name) for path in kept.glob("[0-9]*")]


def _words(found: Mapping[int, paired.Difference], unfit: Mapping[str, str]) -> str:
    worse = sum(each.low > 0 for each in found.values())
    words = f"worse on {worse} of {len(found)} older spans"
    return f"{words}, {len(unfit)} cannot be read now" if unfit else words


def _keep(case: Case, span: int, most: int) -> None:
    """Keep test examples of a span that has none yet; all or nothing."""
    place = case.kept / str(span)
    if place.exists():
        return
    draft = case.kept / f".{span}.{os.getpid()}"
    shutil.rmtree(draft, ignore_errors=True)
    draft.mkdir(parents=True)
    with tf.io.TFRecordWriter(str(draft / _SHARD), "GZIP") as file:
        for serialized in read(case.examples / "Split-test", most):
            file.write(serialized)
    draft.rename(place)
