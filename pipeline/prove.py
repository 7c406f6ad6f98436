"""Prove that a rollover loses nothing: swap versions under load and count failures.

The server runs on free ports over a private copy of the newest live version; what is
served meanwhile is not touched. New versions are copies of it with higher numbers, so
every answer must hold the same numbers.
"""

import json
import math
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

from components import model_process, versions
from components.model_process import HOST, ModelProcess
from pipeline import ask
from pipeline.broken_versions import BROKEN as BROKEN_VERSIONS
from pipeline.broken_versions import publish
from pipeline.sample_request import sample_request
from pipeline.workspace import Workspace
from recipes.errors import StrataError
from serving import load
from serving.load import Bounds, Outcome, Target
from serving.load.clients import answered_values

SWAPPING, BROKEN = "while versions swap", "while a broken version lies there"
MAX_RATIO = 2.0  # of p99 while one of these goes on to p99 while none does
NUM_CLIENTS = 4  # of each protocol
_NUM_SWAPS = 5
_FIRST_BROKEN = 100  # its number; higher than those of the good versions
_STEADY_SECONDS = 4.0
_BROKEN_SECONDS = 4.0  # a broken version lies there for some polls, one each second
_SWAP_SECONDS = 60.0
_BEFORE_STOP_SECONDS = 2.0
_POLL_SECONDS = 0.02
_TIMEOUT_SECONDS = 60.0
# The server did not take these on, and said so: they are not lost.
_NOT_ACCEPTED = {"refused", "status 503", "status 14"}

Say = Callable[[str], None]
States = dict[int, tuple[str, str]]  # state and error code of each version


@dataclass(frozen=True)
class Span:
    """A time in which something went on, by `time.monotonic()`.

    Attributes:
      kind: SWAPPING or BROKEN.
      start: the first sign of it in the server's status.
    """

    kind: str
    begun: float  # the directory was changed
    start: float
    end: float


@dataclass(frozen=True)
class Report:
    """What happened.

    Attributes:
      outcomes: of the load during which versions changed.
      stopped: of the load during which the server was told to stop.
      exit_code: of the server.
      stop_seconds: from SIGTERM to its end.
    """

    outcomes: list[Outcome]
    spans: list[Span]
    stopped: list[Outcome]
    exit_code: int
    stop_seconds: float

    @property
    def num_lost(self) -> int:
        """Requests that the stopping server took on and did not answer well."""
        return sum(
            number
            for outcome in self.stopped
            for kind, number in outcome.failures.items()
            if kind not in _NOT_ACCEPTED
        )

    def p99(self, outcome: Outcome, kind: str) -> float:
        """Return p99 in seconds while something of this kind went on."""
        found: list[float] = []
        for span in self.spans:
            if span.kind == kind:
                found += outcome.between(span.start, span.end)
        return load.quantile(found, 0.99)

    def num_empty_spans(self, outcome: Outcome) -> int:
        """Return in how many spans nothing was answered: they prove nothing."""
        return sum(not outcome.between(one.start, one.end) for one in self.spans)

    def steady_p99(self, outcome: Outcome) -> float:
        """Return p99 in seconds while nothing went on, without the first second.

        nan: nothing was answered then.
        """
        if not outcome.ended:
            return math.nan
        starts = [min(outcome.ended) + 1.0, *(span.end for span in self.spans)]
        ends = [*(span.begun for span in self.spans), max(outcome.ended)]
        found: list[float] = []
        for start, end in zip(starts, ends, strict=True):
            found += outcome.between(start, end)
        return load.quantile(found, 0.99)


def rollover(name: str, workspace: Workspace, bounds: Bounds, say: Say) -> int:
    """Swap, roll back, break and stop under load; return 0 if nothing was lost, else 1.

    Args:
      name: the recipe whose newest version is used.
      workspace: where it was pushed.
      bounds: send at least `num_requests`, but end after `seconds`.
      say: is told each line of the report.

    Raises:
      BadInputError: nothing of this name has been pushed.
      StrataError: the server does not start, or does not follow the directory.
    """
    live = ask.pushed_to(name, workspace)
    newest = live / str(max(versions.versions(live)))
    with tempfile.TemporaryDirectory(prefix="strata-prove-") as folder:
        base_path = Path(folder)
        source = publish(newest, base_path, 1)
        log = workspace.root / "prove.log"
        with model_process.started(name, base_path, log) as server:
            say(f" {name} · a copy of version {newest.name}, served on {HOST}")
            targets = _targets(server)
            drill = _Drill(server, source, base_path, say)
            outcomes = drill.run(targets, bounds)
            report = _stop_under_load(server, targets, outcomes, drill.spans)
    return judge(report, bounds.num_requests or 0, say)


def _targets(server: ModelProcess) -> list[Target]:
    """Say what to ask over each protocol; answers must equal the first one."""
    sample = sample_request(server.name, f"{HOST}:{server.port}")
    path = f"/v1/models/{server.name}:predict"
    url = f"http://{HOST}:{server.rest_port}{path}"
    with urlopen(Request(url, sample.document), timeout=_TIMEOUT_SECONDS) as reply:
        expected = tuple(answered_values("rest", reply.read()))
    rest = Target("rest", server.rest_port, path, sample.document, NUM_CLIENTS)
    grpc = Target("grpc", server.port, load.PREDICT, sample.message, NUM_CLIENTS)
    return [replace(target, expected=expected) for target in (rest, grpc)]


@dataclass
class _Drill:
    """The changes of version, one after the other."""

    server: ModelProcess
    source: Path
    base_path: Path
    say: Say
    spans: list[Span] = field(default_factory=list)

    def run(self, targets: list[Target], bounds: Bounds) -> list[Outcome]:
        running = load.start(targets, Bounds(seconds=bounds.seconds))
        time.sleep(_STEADY_SECONDS)
        broken = list(enumerate(BROKEN_VERSIONS, start=_FIRST_BROKEN))
        for number in range(2, _NUM_SWAPS + 2):
            self._swap(number)
            if broken:
                self._break(*broken.pop(0))
            time.sleep(_STEADY_SECONDS / _NUM_SWAPS)
        self._roll_back(_NUM_SWAPS + 1)
        while running.num_sent() < (bounds.num_requests or 0) and running.is_alive():
            time.sleep(_POLL_SECONDS)
        running.stop()
        return running.outcomes()

    def _swap(self, number: int) -> None:
        with self._span(f"swap to {number}", SWAPPING) as sign:
            publish(self.source, self.base_path, number)
            self._wait(sign, lambda states: _serves_only(states, number))

    def _roll_back(self, number: int) -> None:
        with self._span(f"roll back to {number - 1}", SWAPPING) as sign:
            shutil.rmtree(self.base_path / str(number))
            self._wait(sign, lambda states: _serves_only(states, number - 1))

    def _break(self, number: int, kind: str) -> None:
        """Let a broken version lie there for a while; it must never be served."""
        found = "not listed"
        with self._span(f"{kind} version", BROKEN) as sign:
            path = BROKEN_VERSIONS[kind](self.source, self.base_path, number)
            end = time.monotonic() + _BROKEN_SECONDS
            while time.monotonic() < end:
                state, code = self._look(sign).get(number, ("", ""))
                if state == "AVAILABLE":
                    raise StrataError(f"The {kind} version is served.")
                found = f"{state} {code}" if state else found
                time.sleep(_POLL_SECONDS)
            shutil.rmtree(path)
        self.say(f"   its status: {found}")

    @contextmanager
    def _span(self, what: str, kind: str) -> Iterator["_Sign"]:
        sign = _Sign(self._states())
        begun = time.monotonic()
        yield sign
        end = time.monotonic()
        self.spans.append(Span(kind, begun, sign.seen or begun, end))
        self.say(f" {what}: {end - begun:.1f} s")

    def _wait(self, sign: "_Sign", is_reached: Callable[[States], bool]) -> None:
        deadline = time.monotonic() + _SWAP_SECONDS
        while not is_reached(states := self._look(sign)):
            if time.monotonic() > deadline:
                text = f"The server does not follow its directory: {states}"
                raise StrataError(f"{text}; see {self.server.log}")
            time.sleep(_POLL_SECONDS)

    def _look(self, sign: "_Sign") -> States:
        asked = time.monotonic()
        states = self._states()
        if sign.seen is None and states != sign.before:
            sign.seen = asked - _POLL_SECONDS  # it may have shown since the last look
        return states

    def _states(self) -> States:
        url = f"http://{HOST}:{self.server.rest_port}/v1/models/{self.server.name}"
        with urlopen(url, timeout=_TIMEOUT_SECONDS) as reply:
            found: list[dict[str, Any]] = json.load(reply)["model_version_status"]
        return {
            int(item["version"]): (item["state"], item["status"]["error_code"])
            for item in found
        }


@dataclass
class _Sign:
    """When the server's status first differed from what it was."""

    before: States
    seen: float | None = None


def _serves_only(states: States, number: int) -> bool:
    available = [each for each, (state, _) in states.items() if state == "AVAILABLE"]
    return available == [number]


def _stop_under_load(
    server: ModelProcess,
    targets: list[Target],
    outcomes: list[Outcome],
    spans: list[Span],
) -> Report:
    running = load.start(targets, Bounds(seconds=_TIMEOUT_SECONDS))
    time.sleep(_BEFORE_STOP_SECONDS)
    exit_code, seconds = server.terminate()
    running.stop()
    return Report(outcomes, spans, running.outcomes(), exit_code, seconds)


def judge(report: Report, num_requests: int, say: Say) -> int:
    """Tell what was found; return 0 if that proves it, else 1."""
    num_sent = sum(outcome.num_sent for outcome in report.outcomes)
    num_failed = sum(outcome.num_failed for outcome in report.outcomes)
    say(f" requests {num_sent:,} (at least {num_requests:,}), failed {num_failed}")
    # A list, so that each protocol is told of.
    quick = [_is_quick(report, outcome, say) for outcome in report.outcomes]
    say(
        f" SIGTERM under load: exit code {report.exit_code} after "
        f"{report.stop_seconds:.2f} s, {report.num_lost} accepted requests lost"
    )
    for outcome in (*report.outcomes, *report.stopped):
        for text in outcome.examples if report.num_lost or num_failed else ():
            say(f"   {outcome.target.protocol} {text}")
    is_proved = num_sent >= num_requests and not num_failed and not report.num_lost
    is_proved &= bool(quick) and all(quick) and report.exit_code == 0
    say(" proved" if is_proved else " NOT proved")
    return 0 if is_proved else 1


def _is_quick(report: Report, outcome: Outcome, say: Say) -> bool:
    """Tell the latencies over one protocol; return whether all are known and fine."""
    steady = report.steady_p99(outcome)
    num_empty = report.num_empty_spans(outcome)
    say(
        f" {outcome.target.protocol}: p99 {steady * 1e3:.2f} ms steady, "
        f"{num_empty} of {len(report.spans)} changes without an answer"
    )
    ratios = []
    for kind in (SWAPPING, BROKEN):
        found = report.p99(outcome, kind)
        ratios.append(found / steady)
        say(
            f"   {found * 1e3:.2f} ms {kind}: {ratios[-1]:.2f} times "
            f"(at most {MAX_RATIO:g})"
        )
    # Not their maximum: comparing with nan, which is no proof, would be left to chance.
    return not num_empty and all(ratio <= MAX_RATIO for ratio in ratios)
