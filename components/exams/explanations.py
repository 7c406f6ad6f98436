"""What speaks for its answers, by its signature `explain`, on a few test examples?

Attributions are in logits of the answered class and should add up to that logit less
the baseline's (`components/explain.py`). `gap` is by how much they do not, at most,
relative to the sum of their sizes: near 1 they explain nothing.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from components.exams import NotApplicableError, Verdict, changes, judged
from components.exams.case import Case

SIGNATURE = "explain"
OUTPUTS, EXAMPLES, CLASSES = "outputs.npz", "examples.gz", "classes.json"
COLUMN = "attributions_"


def collect(case: Case, section: Mapping[str, Any], folder: Path) -> None:
    """Write examples from all over the test split, and how they are explained."""
    if SIGNATURE not in case.candidate.signature_defs:
        raise NotApplicableError("it was exported without `export.explain`")
    examples = case.test[:: max(1, len(case.test) // section["examples"])]
    examples = examples[: section["examples"]]
    outputs = case.candidate.ask(case.candidate.raw(examples), signature=SIGNATURE)
    if "tokens" in outputs:
        outputs["tokens"] = changes.as_text(outputs["tokens"])
    np.savez_compressed(folder / OUTPUTS, **outputs)
    with tf.io.TFRecordWriter(str(folder / EXAMPLES), options="GZIP") as writer:
        for example in examples:
            writer.write(example)
    classes = json.dumps(changes.classes(case.transform))
    (folder / CLASSES).write_text(classes, "utf-8")


def judge(folder: Path, section: Mapping[str, Any]) -> Verdict:
    """Refuse explanations that do not add up to what they explain."""
    with np.load(folder / OUTPUTS) as stored:
        outputs = {name: stored[name] for name in stored.files}
    values = {n: v for n, v in outputs.items() if n.startswith("attributions")}
    count = len(outputs["completeness_gap"])
    sizes = sum(np.abs(v).reshape(count, -1).sum(axis=1) for v in values.values())
    gaps = outputs["completeness_gap"] / np.maximum(sizes, np.finfo(np.float32).tiny)
    gap, bound = float(gaps.max()), section["gap_at_most"]
    refusals = ()
    if bound is not None and gap > bound:
        line = f"explanations miss {gap:.4f} of what they explain, expected at most "
        refusals = (f"{line}{bound:g}",)
    columns = {
        name.removeprefix(COLUMN): float(np.abs(value).mean())
        for name, value in values.items()
        if name.startswith(COLUMN)
    }
    most = max(columns, key=lambda name: columns[name], default="")
    classes = json.loads((folder / CLASSES).read_text("utf-8"))
    return judged(
        f"explanations of {count} answers miss at most {gap:.4f} of what they explain"
        + (f" · {most} speaks loudest" if most else ""),
        refusals,
        gap=gap,
        columns=columns,
        answers=[classes[place] for place in outputs["classes"].reshape(-1)],
        num_examples=count,
    )
