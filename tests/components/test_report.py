"""The report: written from what is recorded of a run, read again as HTML."""

import base64
import io
import re
from html.parser import HTMLParser
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
from PIL import Image

import components
from components import report
from components.report import elements, environment, plots
from components.report.pictures import PICTURES
from components.report.record import Record, bounds, number
from tests.components import recorded_run, records
from tests.components.recorded_run import ENVIRONMENT, verdict

EVIL = "<script>alert(1)</script>"


class Page(HTMLParser):
    """Elements of a page by name, each with its attributes; and all its text."""

    def __init__(self, text):
        super().__init__()
        self.elements, self.words = [], []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attributes):
        self.elements.append((tag, dict(attributes)))

    def handle_data(self, data):
        self.words.append(data)

    def values(self, *names):
        """Return the values of attributes, whichever element has them."""
        return [a[n] for _, a in self.elements for n in names if n in a]


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """The workspace of a run with all there is, and the text of its report."""
    workspace = tmp_path_factory.mktemp("workspace")
    return workspace, written(workspace, steps=recorded_run.steps(workspace))


def without_pictures(workspace):
    steps = recorded_run.steps(workspace)
    return {name: steps[name] for name in ("evaluate", "examine", "judge")}


def written(workspace, **changes):
    """Return the text of the report of a run, of whose steps few are shown."""
    changes = {"steps": without_pictures(workspace)} | changes
    folder = workspace / "runs" / "1"
    folder.mkdir(parents=True)
    path = folder / report.FILE_NAME
    report.write(path, recorded_run.facts(workspace, **changes), ENVIRONMENT)
    assert list(folder.iterdir()) == [path]  # no draft is left
    return path.read_text("utf-8")


def test_page_asks_for_nothing_outside_itself(whole):
    _, text = whole
    page = Page(text)
    assert not {tag for tag, _ in page.elements} & {"script", "iframe", "object"}
    links = page.values("src", "href", "action", "srcset", "poster")
    assert links
    for link in links:
        assert not re.match(r"(?!data:)[a-z]+:|//", link), link
    style = text[text.index("<style>") : text.index("</style>")]
    assert "@import" not in style
    assert "url(" not in style


def test_links_lead_to_the_artifacts(whole):
    workspace, text = whole
    page, folder = Page(text), workspace / "runs" / "1"
    linked = {(folder / link).resolve() for link in page.values("href")}
    for step in ("ingest", "train", "evaluate", "judge", "examine/calibration"):
        assert workspace / "artifacts" / step in linked


def test_links_within_the_page_have_a_target(whole):
    page = Page(whole[1])
    names = page.values("id")
    assert len(names) == len(set(names))
    targets = [link[1:] for link in page.values("href") if link.startswith("#")]
    for value in page.values("clip-path", "style"):
        targets += re.findall(r"url\(#([^)]+)\)", value)
    assert set(targets) <= set(names)


def test_refusal_comes_first_with_each_missed_bound(tmp_path):
    lines = ["auc is 0.8, expected at least 0.85", "calibration error is 0.2"]
    verdicts = {
        "metrics": verdict("metrics", "refused", refusals=lines[:1]),
        "calibration": verdict("calibration", "refused", refusals=lines[1:]),
        "served": verdict("served"),
    }
    text = written(tmp_path, verdicts=verdicts)
    box = text[
        text.index('<div class="verdict refused">') : text.index('<div class="tiles">')
    ]
    assert "Refused: it does not go live" in box
    for line in lines:
        assert f"<li>{line}</li>" in box


def test_model_that_a_person_pushed_is_told_with_who_and_why(tmp_path):
    override = {"text": "version 3 pushed by override of 1 refusal: needed (ann)"}
    verdicts = {"served": verdict("served", "refused", refusals=["too slow"])}
    pushed = {"version": 3, "path": None, "override": override}
    text = written(tmp_path, verdicts=verdicts, pushed=pushed)
    assert "Refused, and pushed as version 3 by a person" in text
    assert override["text"] in text


def test_run_that_failed_says_where(tmp_path):
    steps = recorded_run.steps(tmp_path)
    steps = {"ingest": steps["ingest"], "validate": steps["validate"] | {"figures": {}}}
    steps["validate"]["error"] = "no examples"
    text = written(tmp_path, steps=steps, verdict=None, status="failed")
    assert "Not judged: the run is failed" in text
    assert "validate failed: no examples" in text
    assert 'id="training"' not in text


@pytest.mark.parametrize("failed", ["ingest", "train", "evaluate"])
def test_step_that_failed_has_no_figures_but_what_it_cost(tmp_path, failed):
    steps = recorded_run.steps(tmp_path)
    steps[failed] |= {"error": "out of memory", "figures": {"cost": {"kwh": 0.1}}}
    text = written(tmp_path, steps=steps, verdict=None, status="failed")
    assert f"{failed} failed: out of memory" in text


def test_model_that_passed_was_not_refused_whatever_was_pushed_before(tmp_path):
    pushed = {"version": 3, "path": None, "override": {"text": "by override (ann)"}}
    text = written(tmp_path, verdicts={"served": verdict("served")}, pushed=pushed)
    assert "Passed, pushed as version 3" in text


def test_data_alone_make_a_page(tmp_path):
    recipe = {"name": "towns", "data": {}, "validation": {}}
    steps = {"ingest": recorded_run.steps(tmp_path)["ingest"]}
    text = written(tmp_path, recipe=recipe, steps=steps, verdict=None)
    assert "100 train" in text


def test_what_was_recorded_is_not_taken_for_html(tmp_path):
    verdicts = {
        "unheard_of": {
            "status": "refused",
            "summary": EVIL,
            "refusals": [EVIL],
            "figures": {EVIL: EVIL, "rows": [{EVIL: EVIL}], "by": {EVIL: {EVIL: 1}}},
        },
        "slices": verdict(
            "slices",
            figures={
                "accuracy": 0.5,
                "slices": [
                    {"name": EVIL, "count": 1, "accuracy": 0.5, "low": 0, "high": 1}
                ],
            },
        ),
        "confusion": verdict(
            "confusion",
            figures={
                "classes": [EVIL, "b"],
                "matrix": [[1, 2], [3, 4]],
                "pairs": [],
                "wrong": [],
            },
        ),
    }
    recipe = recorded_run.recipe()
    recipe["model"]["arguments"] = {EVIL: EVIL}
    text = written(tmp_path, verdicts=verdicts, recipe=recipe, pipeline=EVIL)
    assert EVIL not in text
    assert text.count("&lt;script&gt;") >= 10


def test_every_exam_with_a_picture_exists_and_is_shown(whole):
    exams = Path(components.__file__).parent / "exams"
    for name in PICTURES:
        assert (exams / f"{name}.py").is_file()
        assert f'id="exam-{name}"' in whole[1]
        assert f"<p>{name} was measured</p>" in whole[1]


def test_figures_of_an_exam_without_a_picture_are_listed(tmp_path):
    page = Page(written(tmp_path, verdicts={"unheard_of": verdict("unheard_of")}))
    for word in ("some figure", "12.5", "0.02 (0.01 to 0.03)"):
        assert word in page.words


def test_exam_tells_its_bounds_or_that_it_has_none(tmp_path):
    verdicts = {n: verdict(n, figures={}) for n in ("calibration", "slices")}
    text = written(tmp_path, verdicts=verdicts)
    assert text.count("Bounds: error at most 0.05") == 1
    assert text.count("No bound: it measures.") == 1


def test_bounds_are_found_in_parts_and_in_words():
    options = {
        "must_win": True,
        "confidence": 0.95,
        "error_at_most": None,
        "minimum": [{"name": "towns", "accuracy_at_least": 1.0}, {"by_at_most": 0}],
        "AUC": {"at_least": 0.85, "at_most": None},
    }
    assert bounds(options) == {
        "must_win": True,
        "minimum towns accuracy_at_least": 1.0,
        "minimum 2 by_at_most": 0,
        "AUC at_least": 0.85,
    }
    assert bounds({"must_win": False}) == {}


def test_exam_that_was_not_applicable_is_named_without_evidence(tmp_path):
    verdicts = {"attack": verdict("attack", "not applicable", figures={})}
    text = written(tmp_path, verdicts=verdicts)
    assert "attack was measured" in text
    assert "exam-attack" not in text


def test_slices_are_listed_the_worst_first(whole):
    words = Page(whole[1]).words
    assert words.index("all of test") < words.index("town=b") < words.index("town=a")


def test_confusion_counts_are_in_their_cells(tmp_path):
    text = written(tmp_path, verdicts={"confusion": verdict("confusion")})
    found = re.findall(r'<td class="(right|wrong|none)"[^>]*>(\d+)</td>', text)
    assert found == [("right", "70"), ("wrong", "3"), ("wrong", "5"), ("right", "22")]


def test_wrong_answers_are_shown_with_their_pictures_and_not_their_label(tmp_path):
    folder = tmp_path / "artifacts" / "examine" / "confusion"
    folder.mkdir(parents=True)
    image = io.BytesIO()
    Image.new("L", (8, 8), 200).save(image, "png")
    records.write(folder / "wrong.gz", [records.example(scan=image.getvalue(), kind=7)])
    wrong = [{"label": EVIL, "answer": "no", "confidence": 0.756}]
    figures = recorded_run.FIGURES["confusion"] | {"wrong": wrong}
    verdicts = {"confusion": verdict("confusion", figures=figures)}
    text = written(tmp_path, verdicts=verdicts)
    assert "said <b>no</b> (76%), is &lt;script&gt;" in text
    assert 'src="data:image/png;base64,' in text
    assert "<b>kind</b>" not in text


def explained(workspace, answers, *, columns=None, **outputs):
    """Return the report of a run whose answers were explained."""
    folder = workspace / "artifacts" / "examine" / "explanations"
    folder.mkdir(parents=True)
    np.savez(folder / "outputs.npz", **outputs)
    records.write(folder / "examples.gz", [records.example(kind=1)] * len(answers))
    figures = {"gap": 0.1, "columns": columns or {}, "answers": answers}
    verdicts = {"explanations": verdict("explanations", figures=figures)}
    return written(workspace, verdicts=verdicts)


def test_words_are_coloured_by_what_they_speak_for(tmp_path):
    text = explained(
        tmp_path,
        ["spam"],
        tokens=np.array([["win", EVIL, ""]]),
        attributions=np.array([[2.0, -1.0, 0.0]]),
    )
    assert '--share:100%;--side:rgb(214, 125, 30)">win<' in text
    assert '--share:50%;--side:rgb(42, 120, 214)">&lt;script' in text


def test_map_of_a_picture_is_clear_where_attributions_are_large(tmp_path):
    text = explained(
        tmp_path, ["7"], attributions=np.array([[[[4.0], [-2.0]], [[0.0], [1.0]]]])
    )
    shown = re.search(r'class="map"[^>]*base64,([^"]+)"', text).group(1)
    pixels = np.asarray(Image.open(io.BytesIO(base64.b64decode(shown))))
    np.testing.assert_array_equal(pixels[..., 3], [[255, 128], [0, 64]])
    assert pixels[0, 0, :3].tolist() == [214, 125, 30]
    assert pixels[0, 1, :3].tolist() == [42, 120, 214]


def test_columns_are_drawn_the_loudest_first(tmp_path):
    columns = {"town": 0.5, "age": 2.0}
    text = explained(tmp_path, ["no"], columns=columns, classes=np.array([0]))
    assert 0 < text.index(">age</text>") < text.index(">town</text>")


def test_pictures_are_well_formed_and_take_the_colours_of_the_page(whole):
    text = whole[1]
    drawn = re.findall(r"<svg.*?</svg>", text, re.DOTALL)
    assert len(drawn) >= 12
    for picture in drawn:
        ElementTree.fromstring(picture)
        assert re.search("<title>.+</title>", picture)
        assert not re.search(r"(?:fill|stroke): #", picture)
    style = text[text.index("<style>") : text.index("</style>")]
    for variable in set(re.findall(r"var\((--[a-z0-9-]+)\)", "".join(drawn))):
        assert style.count(f"{variable}:") == 2, variable  # light and dark


def test_lengths_of_bars_are_their_values():
    picture = plots.bars({"a": 2.0, "b": 1.0, "c": 4.0}, label="lengths")
    paths = re.findall(r'd="([^"]*)"[^>]*fill: var\(--series-1\)', picture)
    widths = []
    for path in paths:
        xs = [float(x) for x in re.findall(r"[ML] ([\d.]+) ", path)]
        widths.append(max(xs) - min(xs))
    assert [width / widths[1] for width in widths] == pytest.approx([2, 1, 4], rel=1e-3)


def test_dollar_in_a_name_is_a_dollar():
    picture = plots.bars({"$a_1$": 1.0, "$\\frac$": 2.0}, label="prices")
    assert ">$a_1$<" in picture
    assert ">$\\frac$<" in picture


def test_same_run_gives_the_same_page(tmp_path):
    verdicts = {"robustness": verdict("robustness"), "attack": verdict("attack")}
    one, other = tmp_path / "one", tmp_path / "other"
    assert written(one, verdicts=verdicts) == written(other, verdicts=verdicts)


def test_numbers_are_read_easily():
    shown = [number(v) for v in (1234567, 1234.0, 0.123456, 1e-7, None, True, "a")]
    assert shown == ["1,234,567", "1,234", "0.1235", "1e-07", "–", "yes", "a"]


def test_nested_figures_become_tables():
    text = elements.figures({"by": {"a": {"n": 1}, "b": {"m": 2}}, "list": [1, 2]})
    assert "<td>1, 2</td>" in text
    assert '<th scope="col">n</th><th scope="col">m</th>' in text


def test_source_outside_of_the_workspace_is_named_in_full(tmp_path):
    record = Record({}, tmp_path / "deep" / "runs" / "1")
    assert ">/elsewhere/data</a>" in record.source("/elsewhere/data")
    assert record.source(None) == ""


def test_environment_names_the_machine_and_the_packages():
    found = environment.describe()
    assert found["cores"] >= 1
    assert found["memory_gb"] > 0
    assert found["packages"]["keras"].count(".") == 2
