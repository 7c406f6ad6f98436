"""What does treating women and men alike cost on Adult?

    python benchmarks/fairness.py --data FOLDER [--seeds 3]

Trains the recipe `adult_mlp` without and with each mitigation, and reads gaps and
accuracy from its exam `fairness`, on all of the official test set. FOLDER holds
`adult/adult.data` and `adult.test`. Writes `results/fairness.csv` and
`results/fairness.svg`, the trade-off.
"""

import argparse
import datetime
import json
import os
import statistics
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import measuring

sys.path.insert(0, str(measuring.HERE.parent))

RESULTS = measuring.RESULTS / "fairness.csv"
PLOT = RESULTS.with_suffix(".svg")
RECIPE = "adult_mlp"
THRESHOLDS = "export.thresholds={column: sex, rule: %s}"
MITIGATIONS = {
    "none": (),
    "reweigh": ("train.reweigh=[sex]",),
    "equal opportunity": (THRESHOLDS % "equal_opportunity",),
    "demographic parity": (THRESHOLDS % "demographic_parity",),
}
COLUMNS = ("sex", "race", ("sex", "race"))
RATES = {"selection": "selection rate", "tpr": "TPR", "fpr": "FPR"}


@dataclass(frozen=True)
class Measurement:
    """One training, a row of the CSV; gaps are the highest rate less the lowest."""

    date: str
    commit: str
    hardware: str
    load_average: float  # over the minute before
    mitigation: str
    seed: int
    accuracy: float
    sex_selection: float
    sex_tpr: float
    sex_fpr: float
    race_selection: float
    race_tpr: float
    race_fpr: float
    sex_race_selection: float
    sex_race_tpr: float
    sex_race_fpr: float


def main() -> None:
    """Measure, write, draw, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--seeds", type=int, default=3, help="0, 1, ... so many")
    arguments = parser.parse_args()
    os.environ["STRATA_DATA"] = str(arguments.data.resolve())
    measurements = []
    with tempfile.TemporaryDirectory(prefix="fairness-") as scratch:
        for seed in range(arguments.seeds):
            for mitigation in MITIGATIONS:
                found = measure(mitigation, seed, Path(scratch))
                print(_line(mitigation, [found]), flush=True)
                measurements.append(found)
    measuring.write(measurements, RESULTS)
    draw(measurements, PLOT)
    print(f"\nmeans of {arguments.seeds} seeds: accuracy, and gaps of sex")
    for mitigation in MITIGATIONS:
        print(_line(mitigation, _of(measurements, mitigation)))


def measure(mitigation: str, seed: int, workspace: Path) -> Measurement:
    """Train once; the data are brought in by the first run of a workspace alone."""
    load = os.getloadavg()[0]
    overrides = (f"train.seed={seed}", *_only_fairness(), *MITIGATIONS[mitigation])
    command = (sys.executable, "-m", "pipeline.cli", "run", RECIPE, *overrides)
    measuring.run(command, workspace)
    figures = _figures(workspace)
    gaps = {
        f"{by.replace(', ', '_')}_{rate}": round(found["gaps"][rate]["gap"], 4)
        for by, found in figures["by"].items()
        for rate in RATES
    }
    return Measurement(
        date=datetime.date.today().isoformat(),
        commit=measuring.commit(),
        hardware=measuring.hardware(),
        load_average=round(load, 2),
        mitigation=mitigation,
        seed=seed,
        accuracy=round(figures["accuracy"], 4),
        **gaps,
    )


def draw(measurements: Sequence[Measurement], path: Path) -> None:
    """Draw accuracy over each gap: a small dot a training, a large one the mean."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 3.6), layout="constrained")
    for axes, rate in zip(figure.subplots(1, 3, sharey=True), RATES, strict=True):
        for mitigation in MITIGATIONS:
            found = _of(measurements, mitigation)
            gaps = [getattr(one, f"sex_{rate}") for one in found]
            accuracies = [one.accuracy for one in found]
            (dots,) = axes.plot(gaps, accuracies, ".", alpha=0.5)
            means = (statistics.mean(gaps), statistics.mean(accuracies))
            axes.plot(*means, "o", color=dots.get_color(), label=mitigation)
        axes.set(xlabel=f"gap of the {RATES[rate]}, women and men")
        axes.set_xlim(left=0)
        axes.grid(alpha=0.3)
    figure.axes[0].set_ylabel("accuracy")
    figure.legend(
        *figure.axes[0].get_legend_handles_labels(), loc="outside upper center", ncols=4
    )
    figure.savefig(path, metadata={"Date": None})


def _only_fairness() -> tuple[str, ...]:
    """Return overrides: fairness is measured alone, and nothing is refused."""
    from recipes.examine import Examine

    exams: dict[str, Any] = dict.fromkeys(set(Examine.model_fields) - {"examples"})
    exams["fairness"] = {"columns": COLUMNS}
    metrics = {"AUC": {"at_least": 0.5}}
    return (
        f"examine={json.dumps(exams, sort_keys=True)}",
        f"evaluate={json.dumps({'metrics': metrics})}",
    )


def _figures(workspace: Path) -> Mapping[str, Any]:
    """Return what the exam of the last run measured."""
    from pipeline.history import History
    from pipeline.workspace import Workspace

    history = History(Workspace(workspace).history)
    (step,) = history.done_steps(RECIPE, "examine", limit=1)
    figures: Mapping[str, Any] = step.figures["verdicts"]["fairness"]["figures"]
    return figures


def _of(measurements: Sequence[Measurement], mitigation: str) -> list[Measurement]:
    return [one for one in measurements if one.mitigation == mitigation]


def _line(name: str, found: Sequence[Measurement]) -> str:
    accuracy = statistics.mean(one.accuracy for one in found)
    gaps = [
        f"{rate} {statistics.mean(getattr(one, f'sex_{rate}') for one in found):.3f}"
        for rate in RATES
    ]
    return f"{name:<20} {accuracy:.4f}  {'  '.join(gaps)}"


if __name__ == "__main__":
    main()
