"""Read times in the graph, and tell their hour, weekday, day, month...

Plain TensorFlow, so that the exported model takes times as they come: ISO 8601 text
(`2016-07-01`, `2016-07-01 13:45`, `2016-07-01T13:45:00.5+02:00`), UTC unless it says
otherwise, or seconds since 1970, UTC. Seconds that are float32 are good to two minutes.

A time in another notation (`07/01/2016`, `2016-07-01 13:45 UTC`, milliseconds) counts
as missing: the graph cannot refuse a record. Look at what a column holds before it is
named in `calendar`.
"""

import tensorflow as tf

NUM_IDS = {
    "hour": 24,
    "weekday": 7,
    "day": 31,
    "month": 12,
    "day_of_year": 366,
    "weekend": 2,
}
_DATE = r"\d{4}-(0[1-9]|1[0-2])-(0[1-9]|[12]\d|3[01])"
_TIME = r"([01]\d|2[0-3]):[0-5]\d(:([0-5]\d|60)([.,]\d+)?)?"
_ZONE = r"Z|[+-]([01]\d|2[0-3])(:?[0-5]\d)?"
_ISO = rf"{_DATE}([T ]{_TIME}({_ZONE})?)?"
_DAY = 86_400  # seconds
# Years 1 to 9999: outside, a number is no time in seconds (in milliseconds, say).
_FIRST, _LAST = -719_162 * _DAY, 2_932_897 * _DAY - 1


def ids(time: tf.Tensor, part: str) -> tf.Tensor:
    """Return the id of a part of each time.

    Args:
      time: (batch, 1) string, or seconds as integers or floats; "" and NaN: missing.
      part: key of `NUM_IDS`. Hours count from 0, weekdays from Monday; days, months and
        days of the year from their first; a weekend is 1.

    Returns:
      (batch, 1) int64; `NUM_IDS[part]` where there is no time, or none that exists.
    """
    seconds, known = _from_text(time) if time.dtype == tf.string else _from_number(time)
    days = seconds // _DAY
    year, month, day = _civil(days)
    weekday = (days + 3) % 7  # 1970-01-01 was a Thursday
    value = {
        "hour": seconds % _DAY // 3600,
        "weekday": weekday,
        "day": day - 1,
        "month": month - 1,
        "day_of_year": days - _days(year, tf.ones_like(month), tf.ones_like(day)),
        "weekend": tf.cast(weekday >= 5, tf.int64),
    }[part]
    return tf.where(known, value, tf.constant(NUM_IDS[part], tf.int64))


def _from_number(time: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Return int64 seconds since 1970, and whether they are a time."""
    if time.dtype.is_floating:
        beyond = tf.cast(2.0**62, time.dtype)  # fits int64; NaN becomes it too
        time = tf.where(tf.abs(time) < beyond, tf.floor(time), beyond)
    seconds = tf.cast(time, tf.int64)
    return seconds, (seconds >= _FIRST) & (seconds <= _LAST)


def _from_text(time: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Return int64 seconds since 1970, and whether the text is a time."""
    time = tf.strings.strip(time)
    known = tf.strings.regex_full_match(time, _ISO)
    time = tf.where(known, time, "1970-01-01")
    year, month, day = _number(time, 0, 4), _number(time, 5, 2), _number(time, 8, 2)
    days = _days(year, month, day)
    known &= _civil(days)[2] == day  # not so on February 30
    clock = time + "T00:00"  # no effect but on a date alone
    minutes = _number(clock, 11, 2) * 60 + _number(clock, 14, 2) - _zone(time)
    return days * _DAY + minutes * 60, known


def _zone(time: tf.Tensor) -> tf.Tensor:
    """Return how many minutes the clock is ahead of UTC."""
    found = tf.strings.regex_replace(time, r".*:.*?([+-]\d\d):?(\d\d)?$", r"\1\2")
    zone = tf.where(found == time, "+0000", found) + "00"
    minutes = _number(zone, 1, 2) * 60 + _number(zone, 3, 2)
    return tf.where(tf.strings.substr(zone, 0, 1) == "-", -minutes, minutes)


def _number(text: tf.Tensor, start: int, length: int) -> tf.Tensor:
    return tf.strings.to_number(tf.strings.substr(text, start, length), tf.int64)


# The two that follow count years from March, so that a leap day is the last of its
# year, in eras of 400 years, which all have 146,097 days (Hinnant,
# "chrono-Compatible Low-Level Date Algorithms").


def _days(year: tf.Tensor, month: tf.Tensor, day: tf.Tensor) -> tf.Tensor:
    """Return the days from 1970-01-01 to a date of the Gregorian calendar."""
    year -= tf.cast(month <= 2, tf.int64)
    day_of_year = (153 * ((month + 9) % 12) + 2) // 5 + day - 1
    return year * 365 + year // 4 - year // 100 + year // 400 + day_of_year - 719_468


def _civil(days: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """Return year, month and day of a number of days since 1970-01-01."""
    days += 719_468
    era, day_of_era = days // 146_097, days % 146_097
    year = (
        day_of_era - day_of_era // 1460 + day_of_era // 36_524 - day_of_era // 146_096
    ) // 365
    day_of_year = day_of_era - (365 * year + year // 4 - year // 100)
    month = (5 * day_of_year + 2) // 153  # 0 is March
    day = day_of_year - (153 * month + 2) // 5 + 1
    year += era * 400 + tf.cast(month >= 10, tf.int64)
    return year, (month + 2) % 12 + 1, day
