"""The data page: written from real artifacts, read again as text."""

import json
import re
from pathlib import Path

import apache_beam as beam
import pytest
import tensorflow_data_validation as tfdv
from apache_beam.runners.portability.fn_api_runner import FnApiRunner
from google.protobuf import text_format
from tensorflow_metadata.proto.v0 import schema_pb2, statistics_pb2

from components import (
    anomalies,
    data_page,
    ingest,
    label_audit,
    leakage,
    page_features,
    page_records,
    schema,
    statistics,
    validate,
)
from recipes.data import Data
from recipes.transform import Transform
from recipes.validation import Leakage, Validation
from tests.components.sections import section

pytestmark = pytest.mark.slow  # real statistics first

DATA = Path(__file__).parents[3] / "shared/data"
EVIL = "<script>alert(1)</script>"
ESCAPED = "&lt;script&gt;alert(1)&lt;/script&gt;"
FILE = "<script>.csv"
TRANSFORM = section(
    label={"feature": "kind", "classes": ["no", "yes", "maybe"]},
    numeric=["age"],
    vocabulary={"town": 5},
)
TOWNS = [EVIL if i % 5 else "b" for i in range(30)]
KEYS = [i * 7919 % 10007 / 8 for i in range(30)]  # twins are none by chance
TRAIN = [f"{'no' if i < 10 else 'yes'},{i},{TOWNS[i]},{KEYS[i]}" for i in range(30)]
TRAIN[7] = f"no,,{EVIL},1.5"  # nobody knows the age
ROWS = {
    "train": TRAIN,
    "eval": ["yes,10,b,1.1", "yes,11,b,1.2", "yes,12,b,1.3", "yes,13,mars,1.4"],
    "test": ["no,20,b,1.6", TRAIN[20]],
}
AUDIT = {
    "applicable": True,
    "records": 30,
    "examined": 30,
    "accuracy": 0.9,
    "suspects": 1,
    "worst": [
        {"name": EVIL, "index": 12, "label": "yes", "likely": "no", "score": 0.01}
    ],
}


@pytest.fixture(scope="module")
def outputs(tmp_path_factory):
    """Artifacts of data with a new town in `eval` and a copy of a row in `test`."""
    folder = tmp_path_factory.mktemp("run")
    for part, rows in ROWS.items():
        (folder / part).mkdir()
        lines = [f"kind,age,town,{EVIL}", *rows]
        (folder / part / FILE).write_text("\n".join(lines))
    parts = {part: part for part in ROWS}
    data = Data.model_validate({"csv": {"path": parts}, "splits": parts})
    made = {step: folder / step for step in ("ingest", "statistics", "schema")}
    made["ingest"].mkdir()
    as_json = data.model_dump(mode="json")
    ingest.run(as_json, folder, made["ingest"], tfds_dir=folder)
    described(made["ingest"], made["statistics"])
    return judged(made)


def described(taken, folder):
    pipeline = beam.Pipeline(FnApiRunner())
    statistics.write(str(taken), str(folder), list(ROWS), pipeline)


def judged(made):
    """Write what the steps after `statistics` do; return all outputs."""
    folder = made["schema"].parent
    by_split = {s: statistics.load(str(made["statistics"]), s) for s in ROWS}
    limits = Validation().model_dump(mode="json")
    curated = schema.curate(tfdv.infer_schema(by_split["train"]), TRANSFORM, limits)
    write(made["schema"] / schema.FILE_NAME, text_format.MessageToString(curated))
    for split, report in anomalies.find(by_split, curated).items():
        path = folder / "anomalies" / f"Split-{split}" / anomalies.FILE_NAME
        path.parent.mkdir(parents=True)
        path.write_bytes(report.SerializeToString())
    transform = Transform.model_validate_json(json.dumps(TRANSFORM))
    leaks = leakage.examine(str(made["ingest"]), transform, Leakage())
    write(folder / "leakage" / leakage.FILE_NAME, json.dumps(leaks))
    write(folder / "audit" / label_audit.FILE_NAME, json.dumps(AUDIT))
    return {
        "ingest": {"examples": str(made["ingest"])},
        "statistics": {"statistics": str(made["statistics"])},
        "schema": {"schema": str(made["schema"])},
        "find_anomalies": {"anomalies": str(folder / "anomalies")},
        "leakage": {"report": str(folder / "leakage")},
        "label_audit": {"report": str(folder / "audit")},
    }


def write(path, text):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def written(folder, outputs, *, without=()):
    path = folder / "data.html"
    kept = {step: uris for step, uris in outputs.items() if step not in without}
    data_page.write(path, "towns", kept)
    return path.read_text("utf-8")


@pytest.fixture(scope="module")
def page(outputs, tmp_path_factory):
    return written(tmp_path_factory.mktemp("page"), outputs)


def section_of(page, title):
    """Return a section as lines of text, without charts."""
    (part,) = re.findall(f"<h2>{title}</h2>(.*?)(?=<h2>|</body>)", page, re.DOTALL)
    part = re.sub("<svg.*?</svg>|<[^/][^>]*>", "", part, flags=re.DOTALL)
    return re.sub("</t[dh]>", "|", part).replace("</", "\n</")


def test_the_page_opens_with_the_records_of_each_split(page):
    (head,) = re.findall("<p>csv, 36 records: (.*?)</p>", page)
    assert re.sub("<[^>]*>", "", head) == "■ 30 train · ■ 4 eval · ■ 2 test"


def test_classes_are_counted_also_those_without_an_example(page):
    shown = re.sub(r"\n</\w+>", "", section_of(page, "Classes: kind"))
    assert "no|10 (33.3 %)|0|1 (50 %)|" in shown
    assert "yes|20 (66.7 %)|4 (100 %)|1 (50 %)|" in shown
    assert "maybe|0|0|0|" in shown
    assert page.count('<span class="bad">0</span>') == 4


def test_classes_are_those_of_a_feature_called_label_where_nothing_says_otherwise():
    found = statistics_pb2.DatasetFeatureStatisticsList()
    feature = found.datasets.add(num_examples=4).features.add()
    feature.path.step.append("label")
    counts = feature.custom_stats.add(name="value_counts").rank_histogram
    counts.buckets.add(label="10", sample_count=3)
    counts.buckets.add(label="9", sample_count=1)
    shown = page_features.classes({"train": found}, schema_pb2.Schema())
    assert shown.startswith("<h2>Classes: label</h2>")
    cells = re.findall("<td>(.*?)</td>", shown)
    assert cells == ["9", "1 (25 %)", "10", "3 (75 %)"]


def test_nothing_of_the_data_becomes_markup(page):
    assert "<script" not in page
    for said in (
        f"column &#x27;{ESCAPED}&#x27;",  # the header of the CSV
        f"<title>{ESCAPED}: 80.0% of train</title>",  # a bar
        f"<b>town</b> {ESCAPED}",  # a sample
        "<i>&lt;script&gt;.csv row 1</i>",  # where it came from
        f"<td>{ESCAPED}</td>",  # a suspect
    ):
        assert said in page, said


def test_names_of_features_do_not_become_markup():
    found = statistics_pb2.DatasetFeatureStatisticsList()
    feature = found.datasets.add(num_examples=4).features.add()
    feature.path.step.append(EVIL)
    feature.num_stats.common_stats.num_non_missing = 4
    shown = page_features.features({"train": found}, schema_pb2.Schema(), {})
    shown += page_records.shown({EVIL: [1], f"{EVIL}2": [0.5] * 9}, EVIL)
    assert "<script" not in shown
    assert shown.count(ESCAPED) == 5  # a row, a value, a wave twice, a record


def test_anomalies_are_in_red_at_the_top_and_beside_their_feature(page):
    (box,) = re.findall('<div class="box bad">(.*?)</div>', page)
    assert "mars" in box
    (cell,) = re.findall('<td>(<b class="bad">town</b>.*?)</td>', page)
    assert re.search('<span class="bad"><br>eval: .*mars', cell)
    assert '<b class="bad">age</b>' not in page


def test_what_is_missing_is_told_by_split(page):
    (cell,) = re.findall(r'<b class="">age</b>.*?</td><td>(.*?)</td>', page)
    shown = [line.split() for line in re.sub("<(?!br)[^>]*>", "", cell).split("<br>")]
    assert shown == [["3.33", "%", "train"], ["0", "%", "eval"], ["0", "%", "test"]]


def test_features_the_recipe_does_not_use_are_folded(page):
    (folded,) = re.findall("<details>(.*?)</details>", page)
    assert "<summary>1 not used</summary>" in folded
    assert "script_alert_1_script" in folded


def test_a_feature_that_no_split_has_is_listed_with_what_is_wrong(outputs, tmp_path):
    report = anomalies.load(outputs["find_anomalies"]["anomalies"])["train"]
    info = report.anomaly_info["gone"]
    info.path.step.append("gone")
    info.reason.add(description="it is not there")
    path = tmp_path / "anomalies" / "Split-train" / anomalies.FILE_NAME
    path.parent.mkdir(parents=True)
    path.write_bytes(report.SerializeToString())
    page = written(
        tmp_path,
        {**outputs, "find_anomalies": {"anomalies": str(tmp_path / "anomalies")}},
    )
    assert '<b class="bad">gone</b>' in page
    assert "train: it is not there" in page


def test_a_suspected_label_is_shown_with_its_record(page):
    assert "1 of 30 labels of train" in section_of(page, "Labels that look wrong")
    (row,) = re.findall(f"<tr><td>{re.escape(ESCAPED)}</td>(.*?)</tr>", page)
    assert "<td>yes</td><td>no</td><td>0.010</td>" in row
    assert "<b>age</b> 12<br>" in row


def test_twins_are_shown_side_by_side(page):
    (row,) = re.findall(r"<tr><td>duplicates</td><td>test</td>(.*?)</tr>", page)
    twin, of_train = row.split("</td><td>")
    assert "&lt;script&gt;.csv row 2" in twin
    assert "&lt;script&gt;.csv row 21" in of_train
    assert "<b>age</b> 20<br>" in twin
    assert "<b>age</b> 20<br>" in of_train


@pytest.mark.parametrize(
    ("without", "said", "gone"),
    [
        (["schema"], "<h2>Features</h2>", "<h2>Classes"),
        (["label_audit"], "<h2>Leakage</h2>", "<h2>Labels"),
        (["leakage"], "<b>1 finding</b>", "<h2>Leakage"),
        (
            ["leakage", "find_anomalies"],
            "Not looked for: leakage and anomalies.",
            '<div class="box bad">',
        ),
    ],
)
def test_a_run_that_stopped_early_has_a_page_of_what_there_is(
    outputs, tmp_path, without, said, gone
):
    page = written(tmp_path, outputs, without=without)
    assert said in page
    assert gone not in page
    assert "No anomaly" not in page


def test_hints_are_shown_and_warnings_of_leakage_once(outputs, tmp_path):
    report = Path(outputs["leakage"]["report"], leakage.FILE_NAME)
    leaks = json.loads(report.read_text())
    leaks["warnings"] = ["some look alike"]
    write(tmp_path / "leaks" / leakage.FILE_NAME, json.dumps(leaks))
    hints = {"hints": ["3 of 3 classes are small", "some look alike"]}
    write(tmp_path / "verdict" / validate.FILE_NAME, json.dumps(hints))
    more = {
        "validate": {"verdict": str(tmp_path / "verdict")},
        "leakage": {"report": str(tmp_path / "leaks")},
    }
    page = written(tmp_path, {**outputs, **more})
    assert "<h2>Hints</h2><ul><li>3 of 3 classes are small</li></ul>" in page
    assert page.count("some look alike") == 1


def test_the_page_loads_nothing(page):
    assert "http" not in page
    assert not re.findall(r'(?:src|href)="(?!data:)', page)


def test_a_page_that_cannot_be_made_leaves_the_old_one(outputs, tmp_path):
    old = written(tmp_path, outputs)
    leaks = tmp_path / "leaks"
    write(leaks / leakage.FILE_NAME, "{")
    with pytest.raises(json.JSONDecodeError):
        written(tmp_path, {**outputs, "leakage": {"report": str(leaks)}})
    assert (tmp_path / "data.html").read_text("utf-8") == old
    assert [p.name for p in tmp_path.iterdir() if p.is_file()] == ["data.html"]


@pytest.mark.slow
@pytest.mark.skipif(not DATA.exists(), reason="needs ../shared/data")
@pytest.mark.parametrize(
    ("source", "media", "counts"),
    [
        (
            {"tfds": "digits"},
            "<img",
            [178, 182, 177, 183, 181, 182, 181, 179, 174, 180],
        ),
        ({"images": str(DATA / "sign-digits/sample")}, "<img", [20] * 10),
        (
            {
                "audio": {
                    "path": str(DATA / "spoken-digits/recordings_3_speakers.zip"),
                    "name": "{label}_{speaker}_{take}",
                }
            },
            "<audio",
            [150] * 10,
        ),
    ],
)
def test_real_pictures_and_sounds_are_shown_and_their_classes_add_up(
    source, media, counts, tmp_path
):
    data = Data.model_validate(source).model_dump(mode="json")
    (tmp_path / "ingest").mkdir()
    ingest.run(data, tmp_path, tmp_path / "ingest", tfds_dir=tmp_path / "tfds")
    described(tmp_path / "ingest", tmp_path / "statistics")
    outputs = {
        "ingest": {"examples": str(tmp_path / "ingest")},
        "statistics": {"statistics": str(tmp_path / "statistics")},
    }
    page = written(tmp_path, outputs)
    assert page.count(media) == 3 * data_page.NUM_SAMPLES
    rows = re.findall(r"<tr><td>\d</td>(.*?)</tr>", page)
    cells = [re.findall(r"<td>(\d+)", row) for row in rows]
    assert [sum(map(int, row)) for row in cells] == counts
