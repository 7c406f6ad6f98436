"""A line whose steps end at once: the plan, the records and the versions are real."""

from pathlib import Path

from components import frozen, versions
from components.sources.locate import locate
from pipeline import plan
from pipeline.history import History, StepRecord
from recipes import load


class Line:
    """One recipe in a workspace folder, run without TensorFlow."""

    def __init__(self, root, name, *, path=None):
        self.root = root
        self.path = path or load.find(name)
        self.history = History(root / "history.db")
        self.base_path = root / "models" / name
        schema = frozen.path_of(self.path, name)
        self.frozen_schema = schema.read_text("utf-8") if schema.exists() else ""
        self._runs = 0

    def plans(self, *overrides):
        recipe = load.load(self.path, overrides)
        return plan.make(
            recipe,
            self.history,
            located=self.located(recipe),
            base_path=self.base_path,
            frozen_schema=self.frozen_schema,
        )

    def located(self, recipe):
        return locate(
            recipe.data.model_dump(mode="json"),
            self.path.parent,
            tfds_dir=self.root / "tfds",
        )

    def stale(self, *overrides):
        """Return step -> reasons of the steps that must run."""
        return {p.step.name: p.reasons for p in self.plans(*overrides) if not p.earlier}

    def run(self, *overrides, until=None):
        """Record what a run leaves behind; return the steps it ran.

        Args:
          overrides: of the recipe.
          until: step that fails; it and those behind it leave no outputs.
        """
        self._runs += 1
        ran, outputs = [], {}
        for planned in self.plans(*overrides):
            step = planned.step.name
            if planned.earlier:
                outputs[step] = planned.earlier.outputs
                continue
            if step == until:
                self._record(planned, {}, error="it broke")
                break
            outputs[step] = self._outputs(step)
            if step == "push":
                model = outputs["train"]["model"]
                versions.push(Path(model), self.base_path, origin=model)
            self._record(planned, outputs[step])
            ran.append(step)
        return ran

    def _outputs(self, step):
        name = "model" if step == "train" else "output"
        path = self.root / "artifacts" / step / name / str(self._runs)
        path.mkdir(parents=True)
        (path / "made_by.txt").write_text(f"run {self._runs}")
        return {name: str(path)}

    def _record(self, planned, outputs, error=None):
        record = StepRecord(
            run_id=self._runs,
            step=planned.step.name,
            key=planned.key,
            parts=planned.parts,
            execution_id=1,
            outputs=outputs,
            figures={"summary": "", "blessed": True, "refusals": []},
            seconds=0.1,
            error=error,
        )
        self.history.add_step(self.path.stem, record)
