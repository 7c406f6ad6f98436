"""What a person and a program get to see of a run."""

import io
import json
import math
import os

import pytest

from pipeline import display
from pipeline.display import JsonLines, Lines, sparkline

EVENTS = (
    {"event": "started", "step": "train"},
    {
        "event": "progress",
        "step": "train",
        "epoch": 1,
        "epochs": 2,
        "loss": 0.9,
        "val_loss": 1.0,
        "val_accuracy": 0.5,
    },
    {
        "event": "progress",
        "step": "train",
        "epoch": 2,
        "epochs": 2,
        "loss": 0.1,
        "val_loss": 0.2,
        "val_accuracy": 0.75,
    },
    {"event": "tick"},
    {
        "event": "done",
        "step": "train",
        "seconds": 12.34,
        "figures": {"summary": "61 weights"},
        "outputs": {},
    },
    {"event": "reused", "step": "ingest", "from_run": 3, "figures": {}, "outputs": {}},
    {"event": "reused", "step": "infer_schema", "from_run": 3},
    {
        "event": "done",
        "step": "evaluate",
        "seconds": 1.0,
        "figures": {"summary": "test accuracy 0.1", "blessed": False},
    },
    {"event": "failed", "step": "validate", "seconds": 0.5, "cause": "no disk"},
)


class Terminal(io.StringIO):
    def isatty(self):
        return True


def shown(stream):
    lines = Lines(stream)
    for event in EVENTS:
        lines(event)
    lines.line(" end")
    lines.close()
    return stream.getvalue()


@pytest.mark.parametrize(
    ("values", "want"),
    [
        ([0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0], "▁▂▃▄▅▆▇█"),
        ([7.0, 0.0], "█▁"),
        ([2.0, 2.0, 2.0], "▁▁▁"),
        ([-1.0, 0.0, 1.0], "▁▅█"),  # 3.5 rounds to the even 4
    ],
)
def test_sparkline_draws_the_lowest_as_the_lowest_bar(values, want):
    assert sparkline(values) == want


def test_a_long_series_is_thinned_out_evenly_and_keeps_its_ends():
    assert sparkline([0.0] * 50 + [1.0] * 50, width=4) == "▁▁██"
    assert sparkline([5.0] + [1.0] * 98 + [0.0], width=3) == "█▂▁"


def test_plain_lines_where_there_is_no_terminal():
    assert shown(io.StringIO()).splitlines() == [
        "   epoch 1/2 loss 0.9000 val_accuracy 0.5000",
        "   epoch 2/2 loss 0.1000 val_accuracy 0.7500",
        " train          ✔  12.3 s  loss █▁  61 weights",
        " ingest         =          recipe, data, code, packages as in run 3",
        " evaluate       ✘   1.0 s  test accuracy 0.1",
        " validate       ✘   0.5 s  failed",
        " end",
    ]


def test_a_step_with_nothing_to_tell_is_shown_where_it_fails():
    stream = io.StringIO()
    done = {"event": "done", "step": "infer_schema", "seconds": 0.5, "figures": {}}
    Lines(stream)(done)
    assert stream.getvalue() == ""
    Lines(stream)({**done, "event": "failed", "cause": "no disk"})
    step, told = stream.getvalue().split("✘")
    assert step.strip() == "infer_schema"
    assert told.strip() == "0.5 s  failed"


def test_a_terminal_gets_one_live_line_that_is_cleared_in_the_end():
    text = shown(Terminal())
    assert "\r\x1b[2K train 0 s epoch 2/2 loss 0.1000 val_accuracy 0.7500" in text
    assert text.endswith("\r\x1b[2K")
    kept = [line.split("\x1b[2K")[-1] for line in text.splitlines()]
    assert " train          ✔  12.3 s  loss █▁  61 weights" in kept
    assert not any(line.startswith("   epoch") for line in kept)


def test_json_lines_give_back_each_event_but_ticks():
    stream = io.StringIO()
    lines = JsonLines(stream)
    for event in EVENTS:
        lines(event)
    lines.line(" end")
    lines.close()
    got = [json.loads(line) for line in stream.getvalue().splitlines()]
    want = [event for event in EVENTS if event["event"] != "tick"]
    assert got == [*want, {"event": "message", "text": " end"}]


def test_stderr_goes_to_the_log_and_comes_back(tmp_path, capfd):
    log = tmp_path / "logs" / "imports.log"
    with display.stderr_to(log):
        os.write(2, b"from C++\n")
    os.write(2, b"after\n")
    assert log.read_text() == "from C++\n"
    assert capfd.readouterr().err == "after\n"


def test_json_lines_are_json():
    s = io.StringIO()
    JsonLines(s)({"event": "progress", "loss": math.nan})
    json.loads(s.getvalue(), parse_constant=lambda c: pytest.fail(f"{c} is no JSON"))


def test_lines_write_to_the_stream_of_the_moment(capsys):
    Lines().line("hello")
    assert capsys.readouterr().out == "hello\n"


def test_a_failed_step_of_a_long_name_keeps_its_columns():
    s = io.StringIO()
    Lines(s)({"event": "failed", "step": "infer_schema", "seconds": 1, "cause": "x"})
    assert "infer_schema   ✘" in s.getvalue()
