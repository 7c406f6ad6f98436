"""What a recipe's data section may ask of its source as a whole."""

import pytest

from components.sources.locate import locate
from recipes.data import Data
from recipes.errors import BadInputError


def located(folder, **section):
    data = Data.model_validate(section).model_dump(mode="json")
    return locate(data, folder, tfds_dir=folder / "tfds")


@pytest.fixture
def parts(tmp_path):
    names = ("train", "eval", "test", "serving", "north")
    for name in names:
        (tmp_path / f"{name}.csv").write_text("a,b\n1,2\n")
    return lambda *chosen: {name: f"{name}.csv" for name in chosen}


@pytest.mark.parametrize("judged", ["eval", "test"])
def test_shares_do_not_train_on_a_part_that_is_called_like_a_split(
    tmp_path, parts, judged
):
    path = parts("train", judged)
    with pytest.raises(BadInputError, match=f"'{judged}' would be trained on"):
        located(tmp_path, csv={"path": path})
    by_name = {"train": "train[:90%]", "eval": "train[90%:]", "test": judged}
    found = located(tmp_path, csv={"path": path}, splits=by_name)
    assert {pattern.part for pattern in found.patterns} == {"train", judged}


@pytest.mark.parametrize("chosen", [("train", "serving"), ("train", "north")])
def test_shares_pool_parts_of_other_names(tmp_path, parts, chosen):
    assert len(located(tmp_path, csv={"path": parts(*chosen)}).patterns) == 2


def test_bad_rows_cannot_be_left_out_of_a_series(tmp_path, parts):
    series = {"path": "train.csv", "time": "a", "context": 1, "horizon": 1}
    with pytest.raises(BadInputError, match="max_bad_rows: expected none with series"):
        located(tmp_path, series=series, max_bad_rows=0.1)
    assert located(tmp_path, series=series).kind == "series"
