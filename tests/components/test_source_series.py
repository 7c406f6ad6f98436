"""Windows of time series: known ones, what may lie in which split, what is refused."""

import datetime
import gzip
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from components.sources import (
    files,
    series,
    series_clock,
    series_csv,
    series_survey,
    series_windows,
)
from recipes.errors import BadInputError

DATA = Path(__file__).parents[3] / "shared/data/etth1/ETTh1.csv"
SOURCE = {"time": "t", "context": 3, "horizon": 2, "stride": 1}
SOURCE |= {"columns": None, "targets": None, "key": None, "rows": None}
SHARES = {"train": 2, "eval": 1, "test": 1}
WHOLE = dict.fromkeys(SHARES, "all")  # nothing is cut
HOUR = datetime.timedelta(hours=1)
START = datetime.datetime(2024, 2, 28, 20)


def write(path, rows, header="t,a,b"):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join([header, *(",".join(map(str, r)) for r in rows), ""]))
    return path


def ramp(count, start=0):
    """Return rows of a time, a = 0, 1, 2, ... and b = -a."""
    return [(START + i * HOUR, i, -i) for i in range(start, start + count)]


def read(path, splits=SHARES, **options):
    """Return the windows of a path by split, the notes, and the pieces."""
    path = {p: str(v) for p, v in path.items()} if isinstance(path, dict) else str(path)
    found = files.list_files(files.resolve(path, None, Path("/")), series.SUFFIXES)
    pieces = series.pieces({**SOURCE, **options}, found, splits)
    windows, notes = {}, Counter()
    for piece in pieces:
        for batch in series.read(piece):
            notes.update(batch.notes)
            if batch.table is None:
                continue
            rows = batch.table.to_pylist()
            named = zip(batch.names, rows, strict=True)
            split = batch.split or piece.part
            windows.setdefault(split, []).extend({"name": n, **r} for n, r in named)
    return windows, notes


def test_windows_of_a_ramp_are_those_made_by_hand(tmp_path):
    windows, _ = read(write(tmp_path / "r.csv", ramp(20)))
    # 10 rows, 5 rows and 5 rows: horizons begin at 3..8, 10..13 and 15..18.
    begins = {s: [w["context"][4] + 1 for w in some] for s, some in windows.items()}
    assert begins == {
        "train": [3, 4, 5, 6, 7, 8],
        "eval": [10, 11, 12, 13],
        "test": [15, 16, 17, 18],
    }
    assert windows["eval"][0] == {
        "name": "r.csv row 11",
        "context": [7, -7, 8, -8, 9, -9],
        "horizon": [10, -10, 11, -11],
        "time": "2024-02-29T06:00:00",
    }


def test_windows_over_a_cut_are_counted(tmp_path):
    _, notes = read(write(tmp_path / "r.csv", ramp(20)))
    assert notes == {series_windows.CROSSES_CUT: 2, "channels: a, b": 1}


def test_rows_beyond_those_wanted_are_in_no_split(tmp_path):
    rows = [((START + i * HOUR).isoformat(), i) for i in range(20)]
    path = write(tmp_path / "a.csv", rows, "t,a")
    got, _ = read(path, rows=16)
    want, _ = read(write(path, rows[:16], "t,a"))
    assert got == want


@pytest.mark.parametrize("stride", [1, 3, 7])
@pytest.mark.parametrize(("context", "horizon"), [(1, 1), (5, 2), (2, 9)])
def test_no_window_is_lost_between_blocks(
    tmp_path, monkeypatch, stride, context, horizon
):
    path = write(tmp_path / "r.csv", ramp(100))
    monkeypatch.setattr(series_csv, "BLOCK_BYTES", 200)  # about 7 rows
    shape = {"context": context, "horizon": horizon, "stride": stride}
    windows, _ = read({"all": path}, WHOLE, **shape)
    firsts = [window["context"][0] for window in windows["all"]]
    assert firsts == list(range(0, 100 - context - horizon + 1, stride))


def test_no_training_target_is_as_new_as_the_first_cut(tmp_path):
    windows, _ = read(write(tmp_path / "r.csv", ramp(97)), horizon=7)
    newest = {s: max(max(w["horizon"]) for w in some) for s, some in windows.items()}
    oldest = {s: min(w["horizon"][0] for w in some) for s, some in windows.items()}
    assert newest["train"] < oldest["eval"] <= newest["eval"] < oldest["test"]


@pytest.mark.parametrize("block_bytes", [200, 1 << 20])
def test_series_are_cut_at_the_same_times(tmp_path, monkeypatch, block_bytes):
    monkeypatch.setattr(series_csv, "BLOCK_BYTES", block_bytes)
    late = [(*row, "late") for row in ramp(12, start=8)]
    early = [(*row, "early") for row in ramp(20)]
    grouped = write(tmp_path / "g.csv", early + late, "t,a,b,site")
    mixed = write(tmp_path / "m.csv", sorted(early + late), "t,a,b,site")
    # 32 rows, 16 of them before hour 12; 24 before hour 16.
    windows, _ = read(grouped, key="site")
    targets = {
        s: {h for w in some for h in w["horizon"]} for s, some in windows.items()
    }
    assert {s: max(t) for s, t in targets.items()} == {
        "train": 11,
        "eval": 15,
        "test": 19,
    }
    assert Counter(w["key"] for w in windows["train"]) == {"early": 8}
    again, _ = read(mixed, key="site")
    for split, some in windows.items():
        bare = [{**window, "name": None} for window in some]
        assert all({**window, "name": None} in bare for window in again[split])
        assert len(again[split]) == len(some)


def test_windows_over_a_gap_are_left_out(tmp_path):
    rows = ramp(20)
    windows, notes = read(
        {"all": write(tmp_path / "r.csv", rows[:8] + rows[10:])}, WHOLE
    )
    # 18 rows have 14 windows of 5; those that begin in the 4 rows before the gap cross.
    assert len(windows["all"]) == 10
    assert notes[series_windows.CROSSES_GAP] == 4
    assert (
        notes[
            "r.csv: 1 gap in time, the first before r.csv row 9 (2024-02-29T06:00:00)"
        ]
        == 1
    )


def test_weekends_and_months_are_no_gaps():
    days = np.busday_offset("2024-01-01", np.arange(60), roll="forward")
    low, high = series_clock.regular_steps(np.diff(days).astype(float))
    assert (low < 1, high > 3, high < 7) == (True, True, True)
    months = np.arange("2000-01", "2010-01", dtype="datetime64[M]").astype("M8[D]")
    steps = np.diff(months).astype(float)
    low, high = series_clock.regular_steps(steps)
    assert low < 28
    assert 31 < high < 59


def test_windows_with_a_missing_value_are_left_out(tmp_path):
    rows = [list(row) for row in ramp(20)]
    rows[10][2] = "NA"  # of b, row 11
    path = {"all": write(tmp_path / "r.csv", rows)}
    windows, notes = read(path, WHOLE)
    assert (len(windows["all"]), notes[series_windows.HOLDS_MISSING]) == (11, 5)
    windows, notes = read(path, WHOLE, targets=["a"])
    # What is missing may be in the horizon, where b is not wanted.
    assert (len(windows["all"]), notes[series_windows.HOLDS_MISSING]) == (13, 3)
    windows, notes = read(path, WHOLE, columns=["a"])
    assert (len(windows["all"]), notes[series_windows.HOLDS_MISSING]) == (16, 0)


def test_infinite_values_are_missing(tmp_path):
    rows = [list(row) for row in ramp(20)]
    rows[0][1] = "inf"
    windows, _ = read({"all": write(tmp_path / "r.csv", rows)}, WHOLE)
    assert len(windows["all"]) == 15


def test_what_was_served_is_not_cut(tmp_path):
    path = {"train": write(tmp_path / "a.csv", ramp(20))}
    path["serving"] = write(tmp_path / "b.csv", ramp(10, start=100))
    windows, _ = read(path)
    assert {split: len(some) for split, some in windows.items()} == {
        "train": 6,
        "eval": 4,
        "test": 4,
        "serving": 6,
    }


@pytest.mark.parametrize(
    ("times", "told"),
    [
        (["2024-01-31", "2024-02-01", "2024-02-02"], "2024-02-02T00:00:00"),
        (
            ["2024-01-31T10:00Z", "2024-01-31T11:00Z", "2024-01-31T12:00Z"],
            "2024-01-31T12:00:00",
        ),
        (["31.01.2024", "01.02.2024", "02.02.2024"], "2024-02-02T00:00:00"),
        (["30/01/2024", "31/01/2024", "01/02/2024"], "2024-02-01T00:00:00"),
        (["01/30/2024", "01/31/2024", "02/01/2024"], "2024-02-01T00:00:00"),
        (["1/11/2023", "1/12/2023", "1/1/2024"], "2024-01-01T00:00:00"),
        (
            [
                "2024-01-01 00:00:00.25",
                "2024-01-01 00:00:00.50",
                "2024-01-01 00:00:00.75",
            ],
            "2024-01-01T00:00:00.750000",
        ),
        ([7, 8, 9], "9"),
        ([0.5, 1.0, 1.5], "1.5"),
    ],
)
def test_times_are_read_however_they_are_written(tmp_path, times, told):
    rows = [(time, i, i) for i, time in enumerate(times)]
    path = {"all": write(tmp_path / "r.csv", rows)}
    windows, _ = read(path, WHOLE, context=1, horizon=1)
    assert [window["time"] for window in windows["all"]][-1] == told


def test_packed_files_and_other_delimiters_are_read(tmp_path):
    plain = write(tmp_path / "r.csv", ramp(20))
    packed = tmp_path / "p" / "r.csv.gz"
    packed.parent.mkdir()
    packed.write_bytes(gzip.compress(plain.read_bytes().replace(b",", b";")))
    named = [{**w, "name": ""} for w in read(plain)[0]["train"]]
    assert [{**w, "name": ""} for w in read(packed)[0]["train"]] == named


def replaced(rows, row, column, cell):
    rows = [list(row) for row in rows]
    rows[row - 1][column] = cell
    return rows


def test_times_that_may_mean_two_things_are_refused(tmp_path):
    rows = [(f"{i}/1/2024", i, i) for i in range(1, 9)]
    with pytest.raises(BadInputError, match="'1/1/2024' may be %m/%d/%Y or %d/%m/%Y"):
        read(write(tmp_path / "r.csv", rows))


@pytest.mark.parametrize(
    ("rows", "options", "message"),
    [
        (
            replaced(ramp(20), 7, 0, START),
            {},
            "row 7 .*expected a time after 2024-02-29",
        ),
        (replaced(ramp(20), 7, 0, START + 5 * HOUR), {}, "row 7 .*after.*01:00:00"),
        (replaced(ramp(20), 7, 0, "soon"), {}, "expected times like"),
        (replaced(ramp(20), 7, 1, "x"), {}, "row 7: expected a number in column 'a'"),
        (replaced(ramp(20), 7, 1, "1,2"), {}, "row 7: expected 3 cells. Received: 4"),
        (ramp(4), {}, "needs 5 rows of one series. The longest series has 4"),
        (ramp(0), {}, "has a header, but no row"),
        (ramp(9), {"columns": ["c"]}, "has no column 'c'"),
        (ramp(9), {"time": "date"}, "has no column 'date'.*Received: 't', 'a', 'b'"),
        (ramp(9), {"targets": ["c"]}, "'c' is no channel. Expected some of 'a', 'b'"),
        (ramp(9), {"splits": {"train": "x[:80%]"}}, "windows that overlap"),
    ],
)
def test_what_cannot_be_used_is_refused(tmp_path, rows, options, message):
    path = write(tmp_path / "r.csv", rows)
    with pytest.raises(BadInputError, match=message):
        read(path, **{"splits": SHARES, **options})


@pytest.mark.parametrize("row", range(2, 20))
def test_time_that_stands_still_is_named_wherever_a_block_ends(
    tmp_path, monkeypatch, row
):
    monkeypatch.setattr(series_csv, "BLOCK_BYTES", 200)  # about 7 rows
    rows = ramp(20)
    path = write(tmp_path / "r.csv", replaced(rows, row, 0, rows[row - 2][0]))
    with pytest.raises(
        BadInputError, match=rf"r\.csv row {row} .*expected a time after"
    ):
        read(path)


def test_a_broken_time_far_down_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr(series_csv, "HEAD_BYTES", 400)
    monkeypatch.setattr(series_csv, "BLOCK_BYTES", 400)
    path = write(tmp_path / "r.csv", replaced(ramp(99), 77, 0, "soon"))
    with pytest.raises(BadInputError, match="row 77: expected a time.*'soon'"):
        read(path)


def test_two_columns_of_one_name_are_refused(tmp_path):
    path = write(tmp_path / "r.csv", ramp(20), "t,a,a")
    with pytest.raises(BadInputError, match="two columns are named 'a'"):
        read(path)


def test_a_long_time_axis_is_joined_and_still_cut_in_shares(monkeypatch):
    monkeypatch.setattr(series_survey, "MAX_TIMES", 100)
    axes = [
        series_survey.Axis(np.arange(i, 10_000.0, 7), np.ones(1429 - (i > 3), np.int64))
        for i in range(7)
    ]
    merged = series_survey.merge(axes)
    assert (len(merged.times) <= 100, merged.counts.sum()) == (True, 10_000)
    assert series_survey.cuts(merged, (8, 1, 1)) == pytest.approx([8000, 9000], abs=256)


@pytest.mark.skipif(not DATA.exists(), reason="needs ../shared/data")
def test_etth1_has_the_published_windows(tmp_path):
    """12, 4 and 4 months: 8,640, 2,880 and 2,880 rows (Zhou et al., AAAI 2021).

    Counts by hand: 8640 - 336 - 96 + 1 windows to train on, and 2880 - 96 + 1 each to
    watch and to judge, since their context reaches back.
    """
    lines = DATA.read_text().splitlines(keepends=True)
    path = tmp_path / "ETTh1.csv"
    path.write_text("".join(lines[: 1 + 14_400]))
    source = {**SOURCE, "time": "date", "context": 336, "horizon": 96}
    found = files.list_files([files.Pattern(str(path))])
    (piece,) = series.pieces(source, found, {"train": 3, "eval": 1, "test": 1})
    counts, notes = Counter(), Counter()
    for batch in series.read(piece):
        counts[batch.split] += len(batch.names)
        notes.update(batch.notes)
    del counts[None]
    assert counts == {"train": 8209, "eval": 2785, "test": 2785}
    assert notes[series_windows.CROSSES_CUT] == 2 * 95
