"""Small tables whose every feature has a known use."""

import io
import json
import wave

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from PIL import Image

from components import look_columns, looks
from recipes.errors import BadInputError
from recipes.schema import Recipe
from tests.components.artifacts import examples
from tests.components.records import example

RANDOM = np.random.default_rng(0)


def texts(*values):
    return pd.Series([None if v is None else v.encode() for v in values], dtype=object)


def png(mode="RGB", size=(100, 50)):
    buffer = io.BytesIO()
    Image.new(mode, size).save(buffer, "png")
    return buffer.getvalue()


def wav(seconds):
    buffer = io.BytesIO()
    with wave.open(buffer, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(8000)
        file.writeframes(bytes(2 * int(8000 * seconds)))
    return buffer.getvalue()


def test_few_texts_are_classes_and_of_two_the_rarer_comes_second():
    section, majority, why = looks.choose_label("y", texts("spam", "ham", "ham", "ham"))
    assert section == {"feature": "y", "classes": ["ham", "spam"]}
    assert majority == 0.75
    assert "spam" in why


def test_whole_numbers_without_a_gap_are_classes_in_order():
    section, majority, _ = looks.choose_label("y", pd.Series([8, 3, 4, 5, 6, 7, 3]))
    assert section == {"feature": "y", "classes": [3, 4, 5, 6, 7, 8]}
    assert majority == pytest.approx(2 / 7)


@pytest.mark.parametrize(
    ("values", "bound"),
    [
        ([0.5, 1.0, 2.0, 7.0], 1.5),  # the median
        ([0.0, 1.0, 1.0, 1.0], 0.0),  # the median is the largest: nothing exceeds it
        ([-1, 1, 1], -1.0),  # whole, but with a gap
    ],
)
def test_other_numbers_become_a_question_with_both_answers(values, bound):
    section, majority, _ = looks.choose_label("y", pd.Series(values))
    assert section == {"feature": "y", "above": bound}
    assert 0.5 <= majority < 1


@pytest.mark.parametrize(
    ("values", "words"),
    [
        (texts("a", "a"), "'y' is 'a' in every record"),
        (texts(*map(str, range(5000))), "5,000 different texts. Expected at most 100"),
    ],
)
def test_a_label_that_cannot_be_learned_is_refused(values, words):
    with pytest.raises(BadInputError, match=words):
        looks.choose_label("y", values)


def test_every_kind_of_column_gets_what_fits_it():
    count = 60
    table = pd.DataFrame(
        {
            "amount": RANDOM.normal(size=count),
            "skewed": np.concatenate([RANDOM.uniform(size=59), [1e6]]),
            "code": np.arange(count) % 4,
            "row": np.arange(count) + 7,
            "price": RANDOM.permutation(count) * 1000,
            "same": [1] * count,
            "day": texts(*[f"2024-01-{1 + i % 28:02d}" for i in range(count)]),
            "hour": texts(*[f"2024-01-01T{i % 24:02d}:30:00" for i in range(count)]),
            "name": texts(*[f"n{i}" for i in range(count)]),
            "town": texts(*["Bonn", "Rom", None] * 20),
            "words": texts(*[f"some words number {i}" for i in range(count)]),
            "rare": [1.0] + [None] * 59,
            "list": [[1, 2]] * count,
        }
    )
    found = look_columns.choose(table)
    assert found.transform == {
        "numeric": ["amount", "price"],
        "buckets": {"skewed": 10},
        "vocabulary": {"code": 4, "town": 2},
        "calendar": {"day": ["month", "weekday"], "hour": ["month", "weekday", "hour"]},
    }
    left_out = {c.feature for c in found.reasons if c.does == "left out"}
    assert left_out == {"row", "same", "name", "words", "rare", "list"}


def test_a_text_alone_is_a_bag_of_words_and_an_image_wins_over_all():
    said = texts(*[f"a few words, {i} of them" for i in range(60)])
    alone = look_columns.choose(pd.DataFrame({"said": said}))
    assert alone.transform["text"]["feature"] == "said"
    both = pd.DataFrame({"said": said, "photo": [png()] * 60})
    assert look_columns.choose(both).transform == {
        "image": {"feature": "photo", "shape": [16, 32, 3], "normalize": "unit"}
    }


def test_another_label_is_no_feature_and_the_text_is_read():
    said = [f"what is the name of river {i}".encode() for i in range(60)]
    found = look_columns.choose(
        pd.DataFrame({"text": said, "label_fine": [i % 9 for i in range(60)]})
    )
    assert list(found.transform) == ["text"]
    assert found.transform["text"]["feature"] == "text"


def test_grey_images_keep_one_channel_and_their_size():
    found = look_columns.choose(pd.DataFrame({"image": [png("L", (28, 28))] * 3}))
    assert found.transform["image"]["shape"] == [28, 28, 1]


def test_the_length_of_sounds_covers_most_of_them():
    sounds = [wav(0.5)] * 99 + [wav(3.0)]
    found = look_columns.choose(pd.DataFrame({"audio": sounds}))
    assert found.transform["audio"] == {
        "feature": "audio",
        "sample_rate": 8000,
        "seconds": 0.5,
    }


def test_a_table_of_nothing_to_learn_from_says_what_each_column_is():
    with pytest.raises(BadInputError, match="same: it never changes"):
        look_columns.choose(pd.DataFrame({"same": [1, 1, 1]}))


@pytest.mark.parametrize(
    ("cells", "want"),
    [
        ([[1], [2]], [1, 2]),
        ([[1], None, [3]], [1, None, 3]),
        ([[1, 2], [3], []], [[1, 2], 3, None]),
        ([None, None], [None, None]),
    ],
)
def test_values_of_records_keep_their_places(cells, want):
    found = looks.values(pa.array(cells)).tolist()
    assert [None if v is None or v != v else v for v in found] == want


@pytest.fixture(scope="module")
def uri(tmp_path_factory):
    """Write 200 examples: `x` is a hint at `y`, `copy` tells it, `odd` is in test."""

    def rows(count, start, last="c"):
        return [
            example(
                x=float(i % 3) + float(RANDOM.normal()),
                copy="pqr"[i % 3],
                y="abc"[i % 3] if i < start + count - 1 else last,
            )
            for i in range(start, start + count)
        ]

    folder = tmp_path_factory.mktemp("examples")
    return examples(
        folder, train=rows(150, 0), eval=rows(20, 150), test=rows(30, 170, "odd")
    )


def test_choices_make_a_recipe_without_copies_and_with_every_class(uri):
    choices = looks.choose(uri, "y", 150)
    assert choices.label["classes"] == ["a", "b", "c", "odd"]
    assert choices.transform == {"numeric": ["x"]}
    (copy,) = (c for c in choices.reasons if c.feature == "copy")
    assert copy.does == "left out"
    recipe = {
        "name": "r",
        "data": {"csv": "r.csv"},
        "transform": {"label": choices.label, **choices.transform},
        "model": choices.model,
        "train": choices.train,
        "evaluate": choices.evaluate,
    }
    Recipe.model_validate_json(json.dumps(recipe))


def test_records_in_two_splits_are_allowed_only_where_the_data_come_so(tmp_path):
    numbers = RANDOM.normal(size=(150, 3)).tolist()
    rows = [
        example(u=u, v=v, w=w, y="abc"[i % 3]) for i, (u, v, w) in enumerate(numbers)
    ]
    twins = examples(tmp_path, train=rows, eval=rows[:2] + rows[140:], test=rows[:30])
    assert looks.choose(twins, "y", 150).validation == {}
    published = looks.choose(twins, "y", 150, own_parts=True)
    assert published.validation == {"leakage": {"duplicates": 1.0}}
    assert "100.0% of test also" in published.why["leakage"]


def test_an_unknown_label_names_the_features_there_are(uri):
    with pytest.raises(BadInputError, match=r"no feature 'z'.*copy, x, y"):
        looks.choose(uri, "z", 150)
