"""Words with a slip of the keyboard, and the words that were meant.

The words are those of `input.txt`, an English text of your own (`manual_dir`), that
have at least four letters and are used at least three times. The slips are made, from a
fixed seed: in each word a letter is left out, doubled, swapped with the next, or
replaced by its neighbour on a QWERTY keyboard. `source` is the word with the slip,
`target` the word; every source has one target, and none is itself a word of the text.
"""

import collections
import random
import re
from collections.abc import Iterator
from pathlib import Path

import tensorflow_datasets as tfds

SLIPS_PER_WORD = 6  # at most
MIN_LETTERS, MIN_USES = 4, 3
_ROWS = ("qwertyuiop", "asdfghjkl", "zxcvbnm")


class Spelling(tfds.core.GeneratorBasedBuilder):
    """Pairs in one split, `train`."""

    VERSION = tfds.core.Version("1.0.0")
    MANUAL_DOWNLOAD_INSTRUCTIONS = "`manual_dir` is to hold `input.txt`, in English."

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
        text = (Path(dl_manager.manual_dir) / "input.txt").read_text(encoding="utf-8")
        return {"train": self._generate_examples(text)}

    def _generate_examples(self, text: str) -> Iterator[tuple[int, dict]]:
        for index, (source, target) in enumerate(pairs(text, seed=0)):
            yield index, {"source": source, "target": target}


def pairs(text: str, *, seed: int) -> list[tuple[str, str]]:
    """Return (source, target) words, in the order of the targets."""
    uses = collections.Counter(re.findall(r"[a-z]+", text.lower()))
    draw = random.Random(seed)
    targets: dict[str, set[str]] = collections.defaultdict(set)
    for word in sorted(uses):
        if len(word) >= MIN_LETTERS and uses[word] >= MIN_USES:
            for _ in range(SLIPS_PER_WORD):
                targets[_slip(word, draw)].add(word)
    clear = (
        (source, *meant)
        for source, meant in targets.items()
        if len(meant) == 1 and source not in uses
    )
    return sorted(clear, key=lambda pair: (pair[1], pair[0]))


def _slip(word: str, draw: random.Random) -> str:
    place = draw.randrange(len(word))
    before, letter, after = word[:place], word[place], word[place + 1 :]
    kind = draw.choice(("left out", "doubled", "swapped", "neighbour"))
    if kind == "left out":
        return before + after
    if kind == "doubled":
        return before + letter * 2 + after
    if kind == "swapped":
        return before + after[:1] + letter + after[1:]
    return before + draw.choice(_neighbours(letter)) + after


def _neighbours(letter: str) -> str:
    row = next(row for row in _ROWS if letter in row)
    place = row.index(letter)
    return row[max(0, place - 1) : place] + row[place + 1 : place + 2]
