"""Run the steps of a plan on this machine, each through TFX's own launcher.

TensorFlow and TFX are imported once, here; each step runs in a child forked from this
process, so that imports are paid once, a step's memory is given back when it ends, and
steps that do not need each other run side by side. Nothing here may run a TensorFlow
operation: a forked child cannot use its parent's threads.
"""

import ctypes
import importlib
import json
import logging
import os
import resource
import selectors
import shutil
import signal
import sys
import time
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import tensorflow_model_analysis  # noqa: F401 (imported before the fork, not in it)
from ml_metadata.proto import metadata_store_pb2
from tfx.dsl.compiler import constants
from tfx.dsl.compiler.compiler import Compiler
from tfx.orchestration import metadata
from tfx.orchestration.local import runner_utils
from tfx.orchestration.portable import (
    cache_utils,
    execution_publish_utils,
    inputs_utils,
    launcher,
    runtime_parameter_utils,
)
from tfx.orchestration.portable.mlmd import context_lib

from components import power
from components.training_progress import progress
from pipeline import beam_memos, graph
from pipeline.graph import Places
from pipeline.plan import StepPlan
from pipeline.steps import BY_NAME
from pipeline.workspace import FULL_DISK, is_full_disk
from recipes.errors import StrataError
from recipes.schema import DataRecipe

# Kept with each execution in ML Metadata: what it was run from; see pipeline/plan.py.
FINGERPRINT = "strata_fingerprint"

Event = dict[str, Any]
Report = Callable[[Event], None]


class StepFailedError(StrataError):
    """A step ended with an error; the message is its cause and where its log is."""

    def __init__(self, step: str, cause: str, *, log: Path, exit_code: int):
        super().__init__(f"{step}: {cause}\n  log: {log}")
        self.exit_code = exit_code


@dataclass
class _Child:
    plan_name: str
    pid: int
    pipe: int
    log: Path
    started: float
    unread: bytes = b""
    result: Event = field(default_factory=dict)


class LocalRun:
    """One run of a pipeline: which steps are done, which are running."""

    def __init__(
        self, recipe: DataRecipe, places: Places, *, run_name: str, logs: Path
    ):
        beam_memos.install()
        _quiet()
        compiled = Compiler().compile(graph.create(recipe, places))
        runtime_parameter_utils.substitute_runtime_parameter(
            compiled, {constants.PIPELINE_RUN_ID_PARAMETER_NAME: run_name}
        )
        self._pipeline = compiled
        self._deployment = runner_utils.extract_local_deployment_config(compiled)
        config = self._deployment.metadata_connection_config
        self._connection = getattr(config, config.WhichOneof("connection_config"))
        self._metadata = places.metadata
        self._nodes = {
            node.pipeline_node.node_info.id: node.pipeline_node
            for node in compiled.nodes
        }
        self._logs = logs
        self._root = places.root
        logs.mkdir(parents=True, exist_ok=True)

    def bury_dead_executions(self) -> None:
        """Fail executions that were killed and delete what they left behind.

        Call it with the pipeline's lock held: then no execution of it can be running.
        """
        if not self._metadata.exists():
            return
        with metadata.Metadata(self._connection) as handle:
            context = handle.store.get_context_by_type_and_name(
                "pipeline", self._pipeline.pipeline_info.id
            )
            if context is None:
                return
            running = metadata_store_pb2.Execution.RUNNING
            dead = [
                execution
                for execution in handle.store.get_executions_by_context(context.id)
                if execution.last_known_state == running
            ]
            for execution in dead:
                execution.last_known_state = metadata_store_pb2.Execution.FAILED
                for left in self._root.glob(f"*/*/{execution.id}"):
                    shutil.rmtree(left, ignore_errors=True)
                for left in self._root.glob(f"*/.system/*/{execution.id}"):
                    shutil.rmtree(left, ignore_errors=True)
            if dead:
                handle.store.put_executions(dead)

    def run(
        self, plans: list[StepPlan], *, report: Report, max_children: int
    ) -> dict[str, Event]:
        """Run what must run, reuse the rest; return the result of each step.

        Args:
          plans: every step, in an order in which each comes after those it needs.
          report: called with each event: started, progress, done, reused, failed.
          max_children: how many steps may run at once.

        Raises:
          StepFailedError: a step failed; steps beside it are stopped.
        """
        for plan in plans:
            fingerprint = self._nodes[plan.step.name].parameters.parameters[FINGERPRINT]
            fingerprint.field_value.string_value = plan.key
        done: dict[str, Event] = {}
        waiting = {plan.step.name: plan for plan in plans}
        children: dict[int, _Child] = {}
        selector = selectors.DefaultSelector()
        if "live" in self._nodes:
            self._launch("live")
        try:
            while waiting or children:
                for plan in _ready(waiting, done):
                    if plan.earlier:
                        done[plan.step.name] = self._reuse(plan, report)
                        del waiting[plan.step.name]
                    elif _refused(plan, done):
                        del waiting[plan.step.name]
                    elif len(children) < max_children:
                        child = self._fork(plan.step.name, report)
                        children[child.pipe] = child
                        selector.register(child.pipe, selectors.EVENT_READ)
                        del waiting[plan.step.name]
                self._await(children, selector, done, report)
        finally:
            for child in children.values():
                os.kill(child.pid, signal.SIGKILL)
                os.waitpid(child.pid, 0)
        return done

    def _await(
        self,
        children: dict[int, _Child],
        selector: selectors.BaseSelector,
        done: dict[str, Event],
        report: Report,
    ) -> None:
        if not children:
            return
        for ready, _ in selector.select(timeout=1.0):
            child = children[ready.fd]
            chunk = os.read(child.pipe, 1 << 16)
            if chunk:
                _take(child, chunk, report)
                continue
            selector.unregister(child.pipe)
            os.close(child.pipe)
            del children[child.pipe]
            _, status, usage = os.wait4(child.pid, 0)
            done[child.plan_name] = _finished(child, status, usage, report)
        report({"event": "tick"})

    def _reuse(self, plan: StepPlan, report: Report) -> Event:
        """Publish the outputs of an earlier execution as those of this run."""
        earlier = plan.earlier
        if earlier is None or earlier.execution_id is None:
            raise ValueError(f"step {plan.step.name} has nothing to reuse")
        node = self._nodes[plan.step.name]
        with metadata.Metadata(self._connection) as handle:
            contexts = context_lib.prepare_contexts(handle, node.contexts)
            resolved = inputs_utils.resolve_input_artifacts(
                pipeline_node=node, metadata_handle=handle
            )
            execution = execution_publish_utils.register_execution(
                metadata_handle=handle,
                execution_type=node.node_info.type,
                contexts=contexts,
                input_artifacts=resolved[0],
            )
            execution_publish_utils.publish_cached_executions(
                metadata_handle=handle,
                contexts=contexts,
                executions=[execution],
                output_artifacts_maps=[
                    cache_utils._get_outputs_of_execution(handle, earlier.execution_id)
                ],
            )
        event = earlier.as_reused()
        report(event)
        return event

    def _fork(self, name: str, report: Report) -> _Child:
        report({"event": "started", "step": name})
        log = self._logs / f"{name}.log"
        sys.stdout.flush()
        sys.stderr.flush()
        reading, writing = os.pipe()
        parent = os.getpid()
        pid = os.fork()
        if pid == 0:
            os.close(reading)
            _die_with(parent)
            self._child(name, writing, log)
        os.close(writing)
        return _Child(name, pid, reading, log, time.monotonic())

    def _child(self, name: str, pipe: int, log: Path) -> None:
        """Run one step and leave the process; never returns."""
        status = 1
        try:
            signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent ends us
            _log_to(log)
            with os.fdopen(pipe, "w", buffering=1) as stream:
                _forward_progress(stream)
                try:
                    result = self._launch(name)
                    status = 0
                except BaseException as error:  # noqa: BLE001 (the boundary)
                    traceback.print_exc()
                    result = _failure(name, error)
                stream.write(json.dumps(result) + "\n")
            sys.stdout.flush()
            sys.stderr.flush()
        finally:
            os._exit(status)

    def _launch(self, name: str) -> Event:
        """Launch one node in this process; return its outputs and figures."""
        info = launcher.Launcher(
            pipeline_node=self._nodes[name],
            mlmd_connection=metadata.Metadata(self._connection),
            pipeline_info=self._pipeline.pipeline_info,
            pipeline_runtime_spec=self._pipeline.runtime_spec,
            executor_spec=runner_utils.extract_executor_spec(self._deployment, name),
            custom_driver_spec=runner_utils.extract_custom_driver_spec(
                self._deployment, name
            ),
        ).launch()
        outputs = {key: found[0].uri for key, found in info.output_dict.items()}
        return {
            "event": "done",
            "execution_id": info.execution_id,
            "outputs": outputs,
            "figures": _figures(name, outputs),
        }


def _ready(
    waiting: Mapping[str, StepPlan], done: Mapping[str, Event]
) -> list[StepPlan]:
    return [
        plan for plan in waiting.values() if all(n in done for n in plan.step.after)
    ]


def _refused(plan: StepPlan, done: Mapping[str, Event]) -> bool:
    return plan.step.name == "push" and not done["judge"]["figures"]["blessed"]


def _take(child: _Child, chunk: bytes, report: Report) -> None:
    *lines, child.unread = (child.unread + chunk).split(b"\n")
    for line in lines:
        event = json.loads(line)
        if event.pop("event", None) in ("done", "failed"):
            child.result = event
        else:
            report({"event": "progress", "step": child.plan_name, **event})


def _finished(
    child: _Child, status: int, usage: resource.struct_rusage, report: Report
) -> Event:
    seconds = round(time.monotonic() - child.started, 2)
    # Of the child and all it has waited for; its memory begins with what it shares
    # with this process.
    used = round(usage.ru_utime + usage.ru_stime, 2)
    cost = {"cpu_seconds": used, "peak_mb": round(power.peak_mb(usage))}
    result = {"step": child.plan_name, "seconds": seconds, "cost": cost, **child.result}
    if os.waitstatus_to_exitcode(status) == 0 and child.result:
        report({"event": "done", **result})
        return result
    code = os.waitstatus_to_exitcode(status)
    cause = child.result.get("cause") or f"the process ended with status {code}"
    if code == -signal.SIGKILL:
        cause = "the process was killed (SIGKILL); often memory ran out"
    report({"event": "failed", **result, "cause": cause, "log": str(child.log)})
    raise StepFailedError(
        child.plan_name,
        cause,
        log=child.log,
        exit_code=int(child.result.get("code", 1)),
    )


def _figures(name: str, outputs: Mapping[str, str]) -> Event:
    module = BY_NAME[name].module if name in BY_NAME else None
    if module is None:
        return {}
    figures: Event = importlib.import_module(module).figures(outputs)
    return figures


def _failure(step: str, error: BaseException) -> Event:
    """Return the cause of an error in one line: our own words where there are any."""
    chain = [error]
    while (
        below := chain[-1].__cause__ or chain[-1].__context__
    ) and below not in chain:
        chain.append(below)
    for link in chain:
        if isinstance(link, StrataError):
            return {"event": "failed", "cause": str(link), "code": link.exit_code}
    if any(is_full_disk(link) for link in chain):
        return {"event": "failed", "cause": FULL_DISK, "code": 1}
    root = chain[-1]
    line = str(root).strip().splitlines()[0] if str(root).strip() else ""
    is_bad_data = step == "ingest" and isinstance(root, ValueError)
    cause = line if is_bad_data else f"{type(root).__name__}: {line}"
    return {"event": "failed", "cause": cause, "code": 2 if is_bad_data else 1}


def _die_with(parent: int) -> None:
    """Have the system end this process when its parent ends, however that happens."""
    pr_set_pdeathsig = 1
    ctypes.CDLL(None).prctl(pr_set_pdeathsig, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)  # it ended before it could be asked for


def _log_to(log: Path) -> None:
    """Send all output of this process, of C++ libraries too, to a file."""
    handle = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
    for stream in (1, 2):
        os.dup2(handle, stream)
    os.close(handle)
    logging.basicConfig(level=logging.INFO, stream=sys.stderr, force=True)


def _forward_progress(stream: Any) -> None:
    handler = logging.StreamHandler(stream)
    handler.setFormatter(logging.Formatter("%(message)s"))
    progress.addHandler(handler)
    progress.setLevel(logging.INFO)


def _quiet() -> None:
    """Keep what libraries say while the graph is built off the terminal."""
    logging.getLogger().handlers.clear()
    logging.getLogger().addHandler(logging.NullHandler())
    for name in ("absl", "tensorflow", "apache_beam"):
        logging.getLogger(name).setLevel(logging.ERROR)
