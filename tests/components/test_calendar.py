"""Parts of times against Python's own calendar."""

import datetime

import numpy as np
import pytest
import tensorflow as tf

from components import calendar

UTC = datetime.UTC


def ids(values, part):
    return calendar.ids(tf.constant(values)[:, None], part).numpy()[:, 0].tolist()


def expected(time, part):
    return {
        "hour": time.hour,
        "weekday": time.weekday(),
        "day": time.day - 1,
        "month": time.month - 1,
        "day_of_year": time.timetuple().tm_yday - 1,
        "weekend": int(time.weekday() >= 5),
    }[part]


def every_day(first, last):
    start = datetime.datetime(first, 1, 1, 0, 34, 56, tzinfo=UTC)
    count = (datetime.datetime(last, 12, 31, tzinfo=UTC) - start).days + 1
    return [start + datetime.timedelta(days=i, hours=i % 24) for i in range(count)]


DAYS = every_day(1895, 2105)  # 1900 and 2100 had and have no leap day
TEXTS = [day.strftime("%Y-%m-%d %H:%M:%S") for day in DAYS]
SECONDS = np.array([int(day.timestamp()) for day in DAYS])


@pytest.mark.parametrize("part", calendar.NUM_IDS)
def test_every_day_of_two_centuries_is_that_of_python(part):
    want = [expected(day, part) for day in DAYS]
    assert ids(TEXTS, part) == want
    assert ids(SECONDS, part) == want
    assert ids(SECONDS.astype(float), part) == want
    assert max(want) == calendar.NUM_IDS[part] - 1
    assert min(want) == 0


@pytest.mark.parametrize(
    ("text", "hour", "day"),
    [
        ("2016-07-01", 0, 0),
        ("2016-07-01 13:45", 13, 0),
        ("2016-07-01T13:45:59", 13, 0),
        ("2016-07-01T13:45:59.999999Z", 13, 0),
        ("2016-12-31 23:59:60", 23, 30),  # a leap second
        ("2016-07-01T13:45:00+02:00", 11, 0),
        ("2016-07-01T01:45:00+0230", 23, 29),
        ("2016-07-01 23:30-01", 0, 1),
        (" 2016-07-01 13:45\n", 13, 0),
        ("0001-01-01", 0, 0),
        ("9999-12-31T23:59", 23, 30),
    ],
)
def test_a_time_may_be_written_in_several_ways(text, hour, day):
    assert ids([text], "hour") == [hour]
    assert ids([text], "day") == [day]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "yesterday",
        "2015-02-29",
        "2016-02-30",
        "2016-04-31",
        "2016-13-01",
        "2016-00-10",
        "2016-7-1",
        "2016-07-01T24:00",
        "2016-07-01x13:45",
        "2016-07-01 13:45 or so",
        "01.07.2016",
        b"2016-07-01\xff",
    ],
)
@pytest.mark.parametrize("part", ["hour", "day_of_year"])
def test_what_is_no_time_has_an_id_of_its_own(text, part):
    assert ids([text, "2016-07-01"], part)[0] == calendar.NUM_IDS[part]


def test_numbers_that_are_no_seconds_count_as_missing():
    milliseconds = 1_467_381_600_000
    floats = [np.nan, np.inf, -np.inf, 1e30, float(milliseconds), 0.0]
    assert ids(np.array(floats, np.float32), "month") == [12] * 5 + [0]
    assert ids([milliseconds, -(2**63), 2**63 - 1, 0], "month") == [12, 12, 12, 0]


def test_seconds_before_1970_are_rounded_down():
    assert ids([-1, 0], "hour") == [23, 0]
    assert ids(np.array([-0.5, 0.5], np.float32), "hour") == [23, 0]


def test_no_row_at_all_has_no_ids():
    empty = calendar.ids(tf.zeros([0, 1], tf.string), "hour")
    assert empty.shape == (0, 1)
