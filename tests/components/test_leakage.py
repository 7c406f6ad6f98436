"""Planted leaks are refused with their rows named; honest data are not."""

import csv
import gzip
import io
import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image
from sklearn.datasets import load_digits

from components import (
    feature_leaks,
    fingerprints,
    leakage,
    near_duplicates,
    near_images,
    near_texts,
    shards,
)
from recipes.transform import Transform
from recipes.validation import Leakage as Limits
from tests.components.artifacts import examples
from tests.components.records import example

DATA = Path(__file__).parents[2].parent / "shared/data"
RANDOM = np.random.default_rng(0)


def section(**values):
    """Return a transform section; unless given, the label is `y`, 0 or 1."""
    return Transform.model_validate_json(
        json.dumps({"label": {"feature": "y", "classes": [0, 1]}, **values})
    )


TABLE = section(numeric=["a", "b"])


def rows(count, seed):
    random = np.random.default_rng(seed)
    numbers = random.normal(size=(count, 3)).round(3)
    return [example(a=float(a), b=float(b), y=int(c > 0)) for a, b, c in numbers]


def png(pixels):
    encoded = io.BytesIO()
    Image.fromarray(pixels).save(encoded, "PNG")
    return encoded.getvalue()


def jpeg(pixels):
    encoded = io.BytesIO()
    Image.fromarray(pixels).save(encoded, "JPEG", quality=90)
    return encoded.getvalue()


def photo(seed):
    """Return a smooth random image, 40x40."""
    coarse = np.random.default_rng(seed).integers(0, 256, (5, 5), np.uint8)
    return np.asarray(Image.fromarray(coarse).resize((40, 40), Image.BICUBIC))


def lists(**columns):
    return pa.RecordBatch.from_pydict(
        {
            name: pa.array(values, pa.large_list(kind))
            for name, (kind, values) in columns.items()
        }
    )


def fingerprint(table):
    return fingerprints.of_records(fingerprints.cells(table), table.num_rows)


def test_a_fingerprint_depends_on_features_and_values_alone():
    ints, texts = pa.int64(), pa.large_binary()
    table = lists(a=(ints, [[1], [2], [1]]), b=(texts, [[b"x"], [b"x"], None]))
    one, other, gap = fingerprint(table)
    swapped = lists(b=(texts, [[b"x"]]), a=(ints, [[1]]))
    renamed = lists(a=(ints, [[1]]), c=(texts, [[b"x"]]))
    without = lists(a=(ints, [[1]]))
    assert fingerprint(swapped)[0] == one
    assert fingerprint(without)[0] == gap
    assert len({one, other, gap, fingerprint(renamed)[0]}) == 4


def test_a_list_is_fingerprinted_by_its_values_in_their_order():
    ints = pa.int64()
    values = [[1, 2], [2, 1], [1], [2], [1, 1], None]
    got = fingerprint(lists(a=(ints, values)))
    alone = [fingerprint(lists(a=(ints, [value])))[0] for value in values]
    assert got.tolist() == alone
    assert len(set(got.tolist())) == len(values)


def test_rounded_floats_are_equal_where_four_digits_are():
    values = [[1.2345], [1.23450001], [1.236], [0.99745], [0.9974501], [0.0], [-0.0]]
    got = fingerprints.cells(lists(a=(pa.float32(), values)), rounded=True)["a"]
    assert got[0] == got[1]
    assert got[0] != got[2]
    assert got[3] == got[4]
    assert got[5] == got[6] != 0


def test_whole_numbers_are_not_rounded():
    table = lists(a=(pa.int64(), [[1_500_000_001], [1_500_000_002]]))
    one, other = fingerprints.cells(table, rounded=True)["a"]
    assert one != other


def test_a_planted_duplicate_is_refused_with_both_rows_named(tmp_path):
    train, judged = rows(100, 1), rows(100, 2)
    judged[16] = train[2]
    uri = examples(tmp_path, train=train, eval=rows(50, 3), test=judged)
    found = leakage.examine(uri, TABLE, Limits())
    assert found["refusals"] == [
        "test: 1 of 100 records (1 %, limit 0.5 %) also stand in train: "
        "test: test.csv row 17 = train: train.csv row 3. Keep equal records in one "
        "split: shares in data.splits do; or raise validation.leakage.duplicates."
    ]
    assert found["duplicates"]["test"]["pairs"] == [
        {"row": "test.csv row 17", "train": "train.csv row 3", "index": 16, "of": 2}
    ]


def test_below_the_limit_is_a_warning(tmp_path):
    train, judged = rows(100, 1), rows(100, 2)
    judged[0] = train[99]
    uri = examples(tmp_path, train=train, eval=[], test=judged)
    found = leakage.examine(uri, TABLE, Limits(duplicates=0.01))
    assert found["refusals"] == []
    assert found["warnings"] == [
        "test: 1 of 100 records (1 %, limit 1 %) also stand in train: "
        "test: test.csv row 1 = train: train.csv row 100."
    ]


def test_what_was_served_may_be_what_was_trained_on(tmp_path):
    train = rows(60, 1)
    uri = examples(
        tmp_path, train=train, eval=rows(9, 2), test=rows(9, 3), serving=train
    )
    found = leakage.examine(uri, TABLE, Limits())
    assert found["refusals"] == found["warnings"] == []


def test_rows_of_few_values_are_equal_by_chance(tmp_path):
    def people(count, seed):
        random = np.random.default_rng(seed)
        return [
            example(a=int(a), b="xyz"[b], y=int(y))
            for a, b, y in random.integers(0, (5, 3, 2), (count, 3))
        ]

    transform = section(numeric=["a"], vocabulary={"b": 3})
    uri = examples(tmp_path, train=people(200, 1), eval=[], test=people(50, 2))
    found = leakage.examine(uri, transform, Limits())
    assert found["refusals"] == []
    assert found["duplicates"]["test"]["by_chance"] == 50


def test_rows_equal_but_for_rounding_and_row_number_are_near(tmp_path):
    numbers = np.random.default_rng(0).uniform(1, 9, (200, 3)).astype("float32")

    def row(values, number, factor=1.0):
        a, b, c = (float(v) * factor for v in values)
        return example(a=a, b=b, c=c, y=number % 2, number=f"row {number}")

    train = [row(values, i) for i, values in enumerate(numbers[:150])]
    judged = [row(values, 500 + i) for i, values in enumerate(numbers[150:])]
    judged[4] = row(numbers[8], 504, factor=1 + 1e-6)
    uri = examples(tmp_path, train=train, eval=[], test=judged)
    found = leakage.examine(uri, TABLE, Limits(near_duplicates=0.01))
    assert found["duplicates"]["test"]["found"] == 0
    assert found["refusals"] == [
        "test: 1 of 50 records (2 %, limit 1 %) are almost the same as one of train: "
        "test: test.csv row 5 = train: train.csv row 9. Remove copies, or keep them in "
        "one split by data.split_by.key; or raise validation.leakage.near_duplicates."
    ]


@pytest.mark.parametrize("transform", [None, section(image={"shape": [40, 40, 1]})])
def test_a_reencoded_image_is_near(transform, tmp_path):
    train = [example(image=png(photo(i)), y=0) for i in range(30)]
    judged = [example(image=png(photo(100 + i)), y=1) for i in range(20)]
    judged[7] = example(image=jpeg(photo(3)), y=1)
    uri = examples(tmp_path, train=train, eval=[], test=judged)
    found = leakage.examine(uri, transform, Limits())
    assert found["kind"] == "image"
    assert found["near_duplicates"]["test"]["pairs"] == [
        {"row": "test.csv row 8", "train": "train.csv row 4", "index": 7, "of": 3}
    ]
    assert len(found["refusals"]) == 1


def test_brightness_contrast_and_size_do_not_hide_an_image():
    image = photo(1)
    changed = [
        (image * 0.7 + 40).astype(np.uint8),
        np.asarray(Image.fromarray(image).resize((90, 70))),
    ]
    small = near_images.thumbnails([png(photo(i)) for i in range(5)])
    got = near_images.nearest(small, near_images.thumbnails(map(png, changed)))
    assert got.tolist() == [1, 1]


def test_blank_and_broken_images_resemble_nothing():
    blank = np.full((32, 32), 7, np.uint8)
    faint = blank + (np.arange(32) // 8 % 2).astype(np.uint8)
    cut = png(photo(0))[:40]
    small = near_images.thumbnails([png(blank), png(faint), cut, b"no image", None])
    assert near_images.nearest(small, small).tolist() == [-1] * 5


def test_similarity_of_texts_is_that_of_their_runs_of_three_words():
    text = b"one two three four five six seven eight nine ten"
    # 8 runs; with one more word at the end 9, of which 8 are common.
    values, lengths = near_texts.runs([text, text.upper() + b", eleven!", b"a b c d"])
    assert lengths.tolist() == [8, 9, 0]
    one, other, _ = np.split(values, np.cumsum(lengths)[:-1])
    assert near_texts.similarity(one, other) == 8 / 9
    assert one.tolist() == other[:8].tolist()


def test_a_text_with_a_word_added_is_near(tmp_path):
    words = [f"word{i}" for i in range(500)]
    random = np.random.default_rng(0)
    texts = [" ".join(random.choice(words, 12)) for _ in range(80)]
    train = [example(text=text, y=0) for text in texts[:50]]
    judged = [example(text=text, y=1) for text in texts[50:]]
    judged[2] = example(text=texts[40].upper() + "! indeed", y=1)
    uri = examples(tmp_path, train=train, eval=[], test=judged)
    found = leakage.examine(uri, section(text={}), Limits())
    assert found["near_duplicates"]["test"]["pairs"] == [
        {"row": "test.csv row 3", "train": "train.csv row 41", "index": 2, "of": 40}
    ]


def test_a_large_set_is_sampled_and_that_is_said(monkeypatch, tmp_path):
    monkeypatch.setattr(near_duplicates, "MAX_JUDGED", 10)
    train = [example(image=png(photo(i)), y=0) for i in range(8)]
    judged = [example(image=jpeg(photo(i % 8)), y=0) for i in range(40)]
    uri = examples(tmp_path, train=train, eval=[], test=judged)
    found = leakage.examine(uri, section(image={"shape": [40, 40, 1]}), Limits())
    assert found["near_duplicates"]["test"]["share"] == 1.0
    assert "Near duplicates were looked for in 10 of 40 test." in found["warnings"]


def table_with(count=400, **columns):
    random = np.random.default_rng(0)
    labels = random.integers(0, 2, count)
    made = {name: make(labels, random) for name, make in columns.items()}
    return [
        example(y=int(labels[i]), **{name: made[name][i] for name in made})
        for i in range(count)
    ]


def examine_table(tmp_path, records, transform, **limits):
    uri = examples(tmp_path, train=records, eval=[], test=[])
    return leakage.examine(uri, transform, Limits(**limits))


def test_a_copy_of_the_label_is_refused(tmp_path):
    records = table_with(
        paid=lambda y, _: [["no", "yes"][v] for v in y],
        noise=lambda y, random: random.normal(size=len(y)).tolist(),
    )
    transform = section(vocabulary={"paid": 2}, numeric=["noise"])
    found = examine_table(tmp_path, records, transform)
    [line] = found["refusals"]
    assert line.startswith("Feature 'paid' alone tells 100 % of the labels")
    assert "as in train.csv row 1: paid='yes', label 1" in line
    assert "validation.leakage.allow" in line


def test_what_is_allowed_is_reported_but_not_refused(tmp_path):
    records = table_with(paid=lambda y, _: y.tolist())
    transform = section(numeric=["paid"])
    found = examine_table(tmp_path, records, transform, allow=("paid",))
    assert found["refusals"] == []
    assert [c["feature"] for c in found["label_copies"]] == ["paid"]


def test_a_number_proportional_to_the_label_is_a_copy(tmp_path):
    random = np.random.default_rng(1)
    tips, fares = random.uniform(0, 9, 400), random.uniform(5, 30, 400)
    records = [
        example(tips=float(t), fare=float(f), cents=float(t / f * 100))
        for t, f in zip(tips, fares, strict=True)
    ]
    label = {"feature": "tips", "divide_by": "fare", "above": 0.2}
    transform = section(label=label, numeric=["fare", "cents"])
    found = examine_table(tmp_path, records, transform)
    assert [c["feature"] for c in found["label_copies"]] == ["cents"]


def test_a_feature_that_is_missing_where_the_label_is_1_is_a_copy(tmp_path):
    records = table_with(
        died=lambda y, random: [None if v else float(random.random()) for v in y]
    )
    found = examine_table(tmp_path, records, section(numeric=["died"]))
    assert [c["feature"] for c in found["label_copies"]] == ["died"]


def test_a_rare_label_is_not_told_by_guessing_the_frequent_one(tmp_path):
    records = [example(a=float(i % 7), y=int(i % 300 == 0)) for i in range(600)]
    found = examine_table(tmp_path, records, section(numeric=["a"]))
    assert found["label_copies"] == []


def test_a_column_with_a_value_of_its_own_in_each_row_is_an_id(tmp_path):
    columns = {
        "user": [f"user {i}" for i in range(60)],
        "town": [f"town {i % 50}" for i in range(60)],
        "code": [7 * i * i for i in range(60)],
        "nickname": [f"nick {i}" if i < 40 else None for i in range(60)],  # too few
        "number": list(range(1000, 1060)),
        "price": [7 * i * i for i in range(60)],  # an amount: numbers, with gaps
        "weight": [i / 7 for i in range(60)],
        "time": [86_400 * i for i in range(60)],  # of which the hour is used
    }
    records = [
        example(y=i % 2, **{name: values[i] for name, values in columns.items()})
        for i in range(60)
    ]
    transform = section(
        vocabulary=dict.fromkeys(("user", "town", "code", "nickname"), 9),
        numeric=["number", "price", "weight"],
        calendar={"time": ["hour"]},
    )
    found = examine_table(tmp_path, records, transform, allow=("code",))
    assert {f["feature"] for f in found["id_like"]} == {"user", "code", "number"}
    assert sorted(found["refusals"])[1] == (
        "Feature 'user' has 100 % different values in 60 records (limit 95 %), such as "
        "'user 0': an id, from which nothing can be learned. Take it out of transform, "
        "or, if it is known when the model is asked, add 'user' to "
        "validation.leakage.allow."
    )


def test_the_share_of_different_values_is_kept_in_bounded_memory(monkeypatch):
    monkeypatch.setattr(feature_leaks, "_MAX_KEPT", 10_000)
    # 20,000 values that stand once, 10,000 that stand twice: 30 of 40 thousand.
    numbers = np.concatenate([np.arange(30_000), np.arange(10_000)])
    values = feature_leaks.Values()
    for part in np.array_split(numbers, 8):
        column = lists(v=(pa.int64(), part[:, None].tolist()))
        values.add(column.column(0), fingerprints.cells(column)["v"])
    assert values.share() == pytest.approx(0.75, abs=0.02)
    assert values.present == 40_000


@pytest.mark.parametrize("batch_bytes", [1, 1 << 20])
def test_records_are_selected_by_number_across_shards(
    batch_bytes, monkeypatch, tmp_path
):
    monkeypatch.setattr(shards, "BATCH_BYTES", batch_bytes)
    monkeypatch.setattr(shards, "_STEP_BYTES", batch_bytes)
    uri = examples(tmp_path, train=[example(y=i) for i in range(10)])
    tables = list(shards.select(uri, "train", [0, 4, 5, 9]))
    assert [v for t in tables for [v] in t.column("y").to_pylist()] == [0, 4, 5, 9]
    assert shards.names(uri, "train", [9, 4]) == {
        4: "train.csv row 5",
        9: "train.csv row 10",
    }


def test_the_step_writes_what_the_gate_reads(tmp_path):
    uri = examples(tmp_path / "in", train=rows(60, 1), eval=rows(9, 2), test=rows(9, 3))
    found = leakage.examine(uri, None, Limits())
    (tmp_path / leakage.FILE_NAME).write_text(json.dumps(found))
    figures = leakage.figures({"report": str(tmp_path)})
    assert figures["summary"] == "no record in two splits, no feature tells the label"
    assert figures["refusals"] == []


def test_without_training_records_there_is_nothing_to_say(tmp_path):
    found = leakage.examine(examples(tmp_path, train=[]), TABLE, Limits())
    assert found["refusals"] == found["warnings"] == []


def shared(records, seed=0):
    """Return records in shares of 8, 1 and 1; equal ones stay together."""
    shares = {"train": [], "eval": [], "test": []}
    for record in records:
        share = np.random.default_rng([seed, *record]).integers(10)
        shares["train" if share < 8 else ("eval", "test")[share - 8]].append(record)
    return shares


def test_digits_are_not_refused(tmp_path):
    digits = load_digits()
    images = np.round(digits.images * (255 / 16)).astype(np.uint8)
    records = [
        example(image=png(image), y=int(y))
        for image, y in zip(images, digits.target, strict=True)
    ]
    uri = examples(tmp_path, train=records[:1500], eval=[], test=records[1500:])
    transform = section(image={"shape": [8, 8, 1]})
    found = leakage.examine(uri, transform, Limits())
    assert found["refusals"] == found["warnings"] == []


@pytest.mark.slow
def test_fashion_mnist_has_few_look_alikes(tmp_path):
    folder = DATA / "fashion-mnist"
    if not folder.exists():
        pytest.skip("needs ../shared/data/fashion-mnist")
    splits = {}
    for split, name in (("train", "train"), ("test", "t10k")):
        with gzip.open(folder / f"{name}-images-idx3-ubyte.gz") as file:
            pixels = np.frombuffer(file.read(), np.uint8, offset=16)
        images = pixels.reshape(-1, 28, 28)
        splits[split] = [example(image=png(image), y=0) for image in images]
    uri = examples(tmp_path, eval=[], **splits)
    found = leakage.examine(uri, section(image={"shape": [28, 28, 1]}), Limits())
    assert found["refusals"] == []
    assert 20 <= found["near_duplicates"]["test"]["found"] <= 150


@pytest.mark.slow
def test_adult_has_a_few_honest_duplicates(tmp_path):
    folder = DATA / "adult"
    if not folder.exists():
        pytest.skip("needs ../shared/data/adult")

    def people(name, skip):
        lines = (folder / name).read_text().splitlines()[skip:]
        for line in filter(str.strip, lines):
            cells = enumerate(line.rstrip(".").split(", "))
            values = {f"c{i}": v for i, v in cells if v != "?"}
            yield example(
                **{n: int(v) if v.isdigit() else v for n, v in values.items()}
            )

    uri = examples(
        tmp_path,
        train=list(people("adult.data", 0)),
        eval=[],
        test=list(people("adult.test", 1)),
    )
    transform = section(
        label={"feature": "c14", "classes": ["<=50K", ">50K"]},
        numeric=["c0", "c2", "c4", "c10", "c11", "c12"],
        vocabulary={f"c{i}": 50 for i in (1, 3, 5, 6, 7, 8, 9, 13)},
    )
    found = leakage.examine(uri, transform, Limits())
    assert found["refusals"] == []
    assert found["duplicates"]["test"]["found"] == 23


@pytest.mark.slow
def test_wine_is_not_refused_though_its_rows_repeat(tmp_path):
    path = DATA / "wine-quality/winequality-red.csv"
    if not path.exists():
        pytest.skip("needs ../shared/data/wine-quality")
    with path.open() as file:
        wines = list(csv.DictReader(file, delimiter=";"))
    names = {n: n.replace(" ", "_") for n in wines[0] if n != "quality"}
    records = [
        example(y=int(w["quality"]), **{names[n]: float(w[n]) for n in names})
        for w in wines
    ]
    transform = section(
        label={"feature": "y", "above": 5.5}, numeric=list(names.values())
    )
    found = leakage.examine(examples(tmp_path, **shared(records)), transform, Limits())
    assert found["refusals"] == []


@pytest.mark.slow
def test_one_message_in_thirty_has_a_near_copy_in_sms_spam(tmp_path):
    path = DATA / "sms-spam/SMSSpamCollection"
    if not path.exists():
        pytest.skip("needs ../shared/data/sms-spam")
    lines = path.read_text("utf-8").split("\n")
    records = [
        example(y=y, text=text)
        for y, _, text in (x.partition("\t") for x in lines)
        if y
    ]
    uri = examples(tmp_path, **shared(records))
    found = leakage.examine(uri, section(text={}), Limits())
    assert found["duplicates"]["test"]["found"] == 0
    assert 0.005 < found["near_duplicates"]["test"]["share"] < 0.05
