"""The pages of a run, opened in a browser that reaches no network."""

import json
import re
import shutil
import subprocess

import pytest

from components import model_card, report

pytestmark = pytest.mark.e2e

BROWSERS = ("chromium", "chromium-browser", "google-chrome")
BROWSER = next(filter(None, map(shutil.which, BROWSERS)), None)
needs_browser = pytest.mark.skipif(
    BROWSER is None, reason=f"none of {', '.join(BROWSERS)} is installed"
)
ITS_OWN = "not an origin"  # what the browser asks for of its own accord


@pytest.fixture(scope="module")
def pages(shared_strata):
    """The folder of a run that was refused, after one that passed."""
    first = shared_strata("run", "digits", "train.epochs=8")
    assert first.returncode == 0, first.stdout + first.stderr
    second = shared_strata("run", "digits", "train.epochs=1")
    assert second.returncode == 4, second.stdout + second.stderr
    return shared_strata.newest("runs/*/recipe.json").parent


def opened(page, folder, *, width=1200):
    """Open a page; return its DOM, console messages, and URLs it asked for outside."""
    log = folder / "net.json"
    result = subprocess.run(
        [
            BROWSER,
            "--headless=new",
            "--no-sandbox",
            "--disable-gpu",
            "--no-first-run",
            "--host-resolver-rules=MAP * ~NOTFOUND",
            f"--user-data-dir={folder / 'profile'}",
            f"--window-size={width},900",
            "--enable-logging=stderr",
            f"--log-net-log={log}",
            "--virtual-time-budget=3000",
            "--dump-dom",
            page.as_uri(),
        ],
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    console = [line for line in result.stderr.splitlines() if "CONSOLE" in line]
    return result.stdout, console, requests(json.loads(log.read_text("utf-8")))


def requests(log):
    kinds = log["constants"]["logEventTypes"]
    start = kinds["URL_REQUEST_START_JOB"]  # the end of a job has no URL
    found = [e["params"] for e in log["events"] if e["type"] == start and "params" in e]
    return [
        asked["url"]
        for asked in found
        if asked.get("initiator") != ITS_OWN and asked.get("url", "").startswith("http")
    ]


@needs_browser
def test_what_a_page_must_not_do_would_be_seen(tmp_path):
    page = tmp_path / "bad.html"
    page.write_text(
        '<img src="http://127.0.0.1:9/x.png"><script>console.error("bad")</script>'
    )
    _, console, asked = opened(page, tmp_path)
    assert any('"bad"' in line for line in console)
    assert asked == ["http://127.0.0.1:9/x.png"]


@needs_browser
@pytest.mark.parametrize("name", [report.FILE_NAME, model_card.HTML_NAME])
@pytest.mark.parametrize("width", [1200, 390])
def test_pages_open_without_a_word_or_a_request(pages, tmp_path, name, width):
    dom, console, asked = opened(pages / name, tmp_path, width=width)
    assert console == []
    assert asked == []
    assert "Refused: it does not go live" in dom


def test_report_of_a_real_run_shows_what_was_examined(pages):
    text = (pages / report.FILE_NAME).read_text("utf-8")
    verdicts = json.loads((pages / model_card.JSON_NAME).read_text("utf-8"))
    exams = verdicts["facts"]["exams"]
    assert {"metrics", "against_live", "calibration", "confusion"} <= exams.keys()
    for exam in exams.values():
        assert exam["value"]["status"] in ("passed", "refused", "not applicable")
    assert "<h4>Surest of its wrong answers</h4>" in text
    assert text.count("data:image/png") >= 5
    assert len(re.findall(r"<svg ", text)) >= 6


def test_sources_on_the_card_of_a_real_run_are_there(pages):
    card = json.loads((pages / model_card.JSON_NAME).read_text("utf-8"))
    sources = {
        fact["source"]
        for section in card["facts"].values()
        for fact in section.values()
        if fact["source"]
    }
    assert len(sources) >= 10
    for source in sources:
        assert (pages / source).exists(), source
