"""A workspace with recorded runs: real history, real versions, steps of one file."""

import json
from pathlib import Path

from components import versions
from components.sources.files import Pattern
from components.sources.locate import Located
from pipeline import provenance
from pipeline.history import History, StepRecord
from pipeline.plan import StepPlan
from pipeline.steps import BY_NAME
from pipeline.workspace import Workspace

ORDER = ("ingest", "schema", "train", "evaluate", "judge", "push")
PASSED = {"status": "passed", "summary": "fine", "refusals": [], "figures": {}}
RECIPE = {
    "name": "digits",
    "model": {"family": "mlp", "arguments": {}},
    "train": {"epochs": 3},
    "evaluate": {"metrics": {"accuracy": {"at_least": 0.9}}},
    "push": {"base_path": None},
}
TRAINED = {
    "parameters": 123,
    "updates": 10,
    "exported_epoch": 1,
    "stopped": None,
    "seconds": 1.5,
    "examples_per_second": 99.5,
    "strategy": "default",
    "replicas": 1,
    "precision": "float32",
    "epochs": [],
}
CALIBRATED = {
    "ece": 0.02,
    "bins": [{"confidence": 0.9, "accuracy": 0.88, "count": 20}],
    "accuracy_of_surest": {"50%": 1.0, "100%": 0.9},
}
MISSED = "accuracy is 0.5000, expected at least 0.9"


def verdict(*refusals):
    """Return the judge's figures; with refusals, those of one exam."""
    status = "refused" if refusals else "passed"
    metrics = {"status": status, "summary": "accuracy 0.5", "refusals": list(refusals)}
    return {
        "summary": "1 of 2 exams passed" if refusals else "2 of 2 exams passed",
        "blessed": not refusals,
        "refusals": list(refusals),
        "verdicts": {
            "metrics": {**metrics, "figures": {}},
            "calibration": {**PASSED, "figures": CALIBRATED},
        },
    }


class Archive:
    """Runs of one recipe, `digits`, in a workspace of `root`."""

    def __init__(self, root):
        self.workspace = Workspace(root)
        self.history = History(self.workspace.history)
        self.base_path = self.workspace.models("digits")
        self.data = root / "data.csv"
        self.data.write_text("a,b\n1,2\n")

    def run(self, *refusals, accuracy=0.9, parts=None, reuse=(), status=None):
        """Record a run and what it left; return its number.

        Args:
          refusals: lines of the verdict; with any, nothing is pushed.
          accuracy: on the test split.
          parts: step -> parts of its fingerprint beside those that every step has.
          reuse: steps that stand as the last run left them.
          status: how it ended; by default what the verdict says.
        """
        run_id = self.history.begin_run("digits", json.dumps(RECIPE), now=100.0)
        plans, outputs = [], {}
        for step in ORDER[:-1] if refusals else ORDER:
            key, own = (
                self._key(step, run_id, step in reuse),
                (parts or {}).get(step, {}),
            )
            own = {"python": "3.11", "package keras": "3.15", **own}
            if step == "push":
                own["base_path"] = str(self.base_path)
            plans.append(StepPlan(BY_NAME[step], key, own, None, ()))
            if step in reuse:
                (record, *_) = self.history.done_steps("digits", step, key=key)
                outputs[step] = record.outputs
                continue
            outputs[step] = self._leave(step, run_id)
            figures = self._figures(step, outputs, refusals, accuracy)
            self._add(run_id, step, key, own, outputs[step], figures)
        located = Located({"csv": {"path": str(self.data)}}, (Pattern(str(self.data)),))
        provenance.record(
            self.history,
            run_id,
            plans=plans,
            located=located,
            recipe_path=self.data.parent / "digits.yaml",
            recipe_overrides=["train.epochs=3"],
        )
        ended = status or ("refused" if refusals else "done")
        self.history.end_run(run_id, ended, now=130.0)
        return run_id

    def _key(self, step, run_id, is_reused):
        return f"{step} {run_id - 1 if is_reused else run_id}"

    def _leave(self, step, run_id):
        if step == "evaluate":
            return {}
        name = {"ingest": "examples", "train": "model"}.get(step, step)
        path = self.workspace.artifacts("digits") / step / name / str(run_id)
        saved = path / "Format-Serving" if step == "train" else path
        saved.mkdir(parents=True)
        (saved / "schema.pbtxt").write_text(f"{step}\n")
        (saved / "content").write_text(f"{step} of run {run_id}")
        return {name: str(path)}

    def _figures(self, step, outputs, refusals, accuracy):
        if step == "judge":
            return verdict(*refusals)
        if step == "evaluate":
            return {"summary": "", "metrics": {"accuracy": accuracy}, "slices": {}}
        if step == "ingest":
            return {"summary": "", "source": "csv", "records": {"train": 1437}}
        if step != "push":
            figures = TRAINED if step == "train" else {}
            return {"summary": f"{step} went well", **figures}
        model = outputs["train"]["model"]
        source = Path(model) / "Format-Serving"
        version = versions.push(source, self.base_path, origin=model)
        path = str(self.base_path / str(version))
        return {"summary": "", "version": version, "path": path}

    def _add(self, run_id, step, key, parts, outputs, figures):
        record = StepRecord(
            run_id=run_id,
            step=step,
            key=key,
            parts=parts,
            execution_id=1,
            outputs=outputs,
            figures=figures,
            seconds=1.5,
        )
        self.history.add_step("digits", record)
