"""How much energy and carbon did the training of the candidate take?

What was counted, or the CPU seconds an estimate is made from, is in the record of the
training: see `components/power.py`. Of a training on several hosts it is the chief's;
of one that was broken off, what it took since it resumed.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from components import power
from components.exams import NotApplicableError, Verdict, judged
from components.exams.case import Case

FILE_NAME = "cost.json"


def collect(case: Case, section: Mapping[str, Any], folder: Path) -> None:
    """Keep what the training cost."""
    del section
    record = json.loads((case.model_run / "training.json").read_text("utf-8"))
    if "used" not in record:
        raise NotApplicableError("its training kept no record of what it used")
    kept = record["used"] | {"resumed_at_step": record["resumed_at_step"]}
    (folder / FILE_NAME).write_text(json.dumps(kept), "utf-8")


def judge(folder: Path, section: Mapping[str, Any]) -> Verdict:
    """Refuse a candidate whose training took more energy than is allowed."""
    cost = json.loads((folder / FILE_NAME).read_text("utf-8"))
    is_estimated = cost["cpu_joules"] is None
    energy = power.kwh(cost, section["watts_per_core"])
    grams = energy * section["grams_per_kwh"]
    how = "measured"
    if is_estimated:
        watts = section["watts_per_core"]
        how = f"estimated: {cost['cpu_seconds']:.0f} CPU seconds at {watts:g} W"
        how += "" if cost["gpu_joules"] is None else ", GPUs measured"
    if cost["resumed_at_step"]:
        how += f"; only from update {cost['resumed_at_step']:,} on, where it resumed"
    bound, refusals = section["kwh_at_most"], ()
    if bound is not None and energy > bound:
        line = f"training took {energy:.3g} kWh ({how}), expected at most {bound:g}"
        refusals = (line,)
    return judged(
        f"training took {1000 * energy:.3g} Wh, {grams:.2g} g of CO2 ({how})",
        refusals,
        kwh=energy,
        grams=grams,
        is_estimated=is_estimated,
        **{name: value for name, value in cost.items() if name != "resumed_at_step"},
    )
