"""Tell a person, or a program, how a run goes: one line a step."""

import os
import shutil
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TextIO

from components.strict_json import dumps
from pipeline.steps import BY_NAME

Event = Mapping[str, Any]
_BARS = "▁▂▃▄▅▆▇█"


class Lines:
    """One line for each finished step; on a terminal, one live line below them."""

    def __init__(self, stream: TextIO | None = None):
        self._stream = stream or sys.stdout
        self._live = self._stream.isatty()
        self._running: dict[str, float] = {}
        self._progress: dict[str, str] = {}
        self._losses: list[float] = []
        self._epoch = 0

    def __call__(self, event: Event) -> None:
        kind, step = event["event"], event.get("step", "")
        if kind == "started":
            self._running[step] = time.monotonic()
        elif kind == "progress" and "trial" in event:
            self._trial(event)
        elif kind == "progress":
            self._train(event)
        elif kind == "reused":
            self._step(
                step,
                "=",
                "",
                f"recipe, data, code, packages as in run {event['from_run']}",
            )
        elif kind in ("done", "failed"):
            self._running.pop(step, None)
            self._progress.pop(step, None)
            self._finished(kind, step, event)
        self._redraw()

    def line(self, text: str) -> None:
        """Print a line of its own above the live one."""
        self._clear()
        print(text, file=self._stream, flush=True)
        self._redraw()

    def close(self) -> None:
        """Leave the terminal clean."""
        self._running.clear()
        self._clear()

    def _finished(self, kind: str, step: str, event: Event) -> None:
        if kind == "failed":
            self._step(step, "✘", f"{event['seconds']:.1f} s", "failed")
            return
        figures = event["figures"]
        if figures:
            text = str(figures["summary"])
            if step == "train" and len(self._losses) > 1:
                text = f"loss {sparkline(self._losses)}  {text}"
            mark = "✘" if figures.get("blessed") is False else "✔"
            self._step(step, mark, f"{event['seconds']:.1f} s", text)

    def _step(self, step: str, mark: str, seconds: str, text: str) -> None:
        if BY_NAME[step].module or mark == "✘":
            self.line(f" {step:<14} {mark} {seconds:>7}  {text}")

    def _train(self, event: Event) -> None:
        values = {
            name: f"{event[name]:.4f}"
            for name in ("loss", "accuracy", "val_accuracy")
            if name in event
        }
        text = f"epoch {event['epoch']}/{event['epochs']}"
        if "updates" in event:
            text += f" update {event['update']}/{event['updates']}"
        text += "".join(f" {name} {value}" for name, value in values.items())
        step = event["step"]
        self._progress[step] = text
        if "val_loss" in event and step == "train":
            self._losses.append(float(event["loss"]))
            if not self._live:
                self.line(f"   {text}")

    def _trial(self, event: Event) -> None:
        """Show a trial of a search, before it and, with its score, after it."""
        number = f"{event['trial']}/{event['trials'] or '?'}"
        values = ", ".join(f"{name} {value}" for name, value in event["values"].items())
        text = f"trial {number} {values}"
        self._progress[event["step"]] = text
        if "score" in event or "error" in event:
            outcome = event.get("error") or f"{event['score']:.4f}"
            self.line(f"   {text}: {outcome}")

    def _redraw(self) -> None:
        if not self._live or not self._running:
            return
        now = time.monotonic()
        text = " · ".join(
            f"{step} {now - started:.0f} s {self._progress.get(step, '')}".rstrip()
            for step, started in self._running.items()
        )
        width = shutil.get_terminal_size().columns - 1
        self._stream.write(f"\r\x1b[2K{f' {text}'[:width]}")
        self._stream.flush()

    def _clear(self) -> None:
        if self._live:
            self._stream.write("\r\x1b[2K")
            self._stream.flush()


class JsonLines:
    """One JSON object for each event."""

    def __init__(self, stream: TextIO | None = None):
        self._stream = stream or sys.stdout

    def __call__(self, event: Event) -> None:
        if event["event"] != "tick":
            print(dumps(event), file=self._stream, flush=True)

    def line(self, text: str) -> None:
        self({"event": "message", "text": text})

    def close(self) -> None:
        """Nothing is held back."""


@contextmanager
def stderr_to(log: Path) -> Iterator[None]:
    """Send what this process writes to stderr to a file.

    C++ libraries print there while they are loaded, whatever Python is told.
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    kept = os.dup(2)
    with log.open("ab") as file:
        os.dup2(file.fileno(), 2)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)


def sparkline(values: list[float], *, width: int = 12) -> str:
    """Draw values as bars, lowest to highest; long series are thinned out."""
    if len(values) > width:
        step = (len(values) - 1) / (width - 1)
        values = [values[round(i * step)] for i in range(width)]
    low, high = min(values), max(values)
    span = (high - low) or 1.0
    return "".join(_BARS[round((v - low) / span * (len(_BARS) - 1))] for v in values)
