"""Dates as people write them, and as ISO 8601 has them: 12,000 made pairs of texts.

`source` is a day from 1900 to 2099 in one of seven forms, such as "March 5, 1998" or
"Thu 5 Mar 1998"; `target` is that day as "1998-03-05". Drawn from a fixed seed; no two
sources are equal. Forms that leave open which number is the month are not among them.
"""

import datetime
import random
from collections.abc import Iterator

import tensorflow_datasets as tfds

NUM_PAIRS = 12_000
_FIRST, _LAST = datetime.date(1900, 1, 1), datetime.date(2099, 12, 31)
_MONTHS = (
    *("January", "February", "March", "April", "May", "June", "July", "August"),
    *("September", "October", "November", "December"),
)
_DAYS = (
    *("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"),
)


class Dates(tfds.core.GeneratorBasedBuilder):
    """12,000 pairs in one split, `train`."""

    VERSION = tfds.core.Version("1.0.0")

    def _info(self) -> tfds.core.DatasetInfo:
        return self.dataset_info_from_configs(
            features=tfds.features.FeaturesDict(
                {
                    "source": tfds.features.Text(),
                    "target": tfds.features.Text(),
                }
            ),
            supervised_keys=("source", "target"),
            description=__doc__,
        )

    def _split_generators(self, dl_manager: tfds.download.DownloadManager) -> dict:
        del dl_manager  # nothing to download
        return {"train": self._generate_examples()}

    def _generate_examples(self) -> Iterator[tuple[int, dict]]:
        for index, (source, target) in enumerate(pairs(NUM_PAIRS, seed=0)):
            yield index, {"source": source, "target": target}


def pairs(count: int, *, seed: int) -> Iterator[tuple[str, str]]:
    """Yield (source, target) texts with sources that are all different."""
    draw = random.Random(seed)
    seen = set()
    while len(seen) < count:
        days = draw.randrange((_LAST - _FIRST).days + 1)
        day = _FIRST + datetime.timedelta(days)
        source = draw.choice(_forms(day))
        if source not in seen:
            seen.add(source)
            yield source, day.isoformat()


def _forms(day: datetime.date) -> list[str]:
    # Not by strftime, whose words depend on the locale.
    month, weekday = _MONTHS[day.month - 1], _DAYS[day.weekday()]
    return [
        f"{month} {day.day}, {day.year}",
        f"{day.day} {month} {day.year}",
        f"{weekday}, {month} {day.day}, {day.year}",
        f"{weekday[:3]} {day.day} {month[:3]} {day.year}",
        f"{month[:3]} {day.day} {day.year}",
        f"{day.day}.{day.month}.{day.year}",
        f"{day.year}/{day.month:02}/{day.day:02}",
    ]
