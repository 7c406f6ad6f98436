"""Learn which bytes to merge for byte pair encoding, in Beam: see `byte_pairs`.

The vocabulary file has a line for each merge, in the order learned: the `key` of the
pair, a tab, and the bytes of the new token, escaped as in Python.
"""

import heapq
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import apache_beam as beam
import numpy as np
from apache_beam.io.filesystems import FileSystems
from tensorflow_transform.beam import experimental as tft_beam

MAX_WORDS = 200_000  # distinct ones to learn from, the most frequent: bounds memory
MIN_COUNT = 2  # a pair seen once is no pattern
NO_MERGE = "-1\t\n"  # the file where nothing is merged: it cannot be empty
KEY_BASE = 2**32
Pair = tuple[int, int]


def key(left: Any, right: Any) -> Any:
    """Return two numbers, or tensors of them, as one that sorts by the left first."""
    return left * KEY_BASE + right


def learn(counts: Mapping[bytes, int], num_merges: int) -> list[Pair]:
    """Return pairs of tokens in the order they are merged, the most frequent first.

    Of equally frequent pairs the one of smaller tokens is first. There are fewer than
    asked for where no pair is left that is seen `MIN_COUNT` times.
    """
    words = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    line = _Line(words[:MAX_WORDS])
    merges: list[Pair] = []
    while len(merges) < num_merges:
        pair = line.most_frequent()
        if pair is None:
            break
        line.merge(pair, 256 + len(merges))
        merges.append(pair)
    return merges


class Learn(tft_beam.PTransformAnalyzer):
    """Count words, learn merges, write the vocabulary file; the path comes out."""

    def __init__(self, num_merges: int, file_name: str):
        super().__init__()
        self._num_merges = num_merges
        self._file_name = file_name

    def expand(self, batches: beam.PCollection) -> beam.PCollection:
        path = FileSystems.join(self.base_temp_dir, self._file_name)
        return (
            batches
            | "CountWords" >> beam.CombineGlobally(_CountWords())
            | "Write" >> beam.Map(_learn_and_write, self._num_merges, path)
        )


class _CountWords(beam.CombineFn):
    def create_accumulator(self) -> Counter[bytes]:
        return Counter()

    def add_input(self, counter: Counter[bytes], batch: Any) -> Counter[bytes]:
        words, counts = (array.tolist() for array in batch)
        return self.merge_accumulators([counter, dict(zip(words, counts, strict=True))])

    def merge_accumulators(
        self, counters: Iterable[Mapping[bytes, int]]
    ) -> Counter[bytes]:
        total, *others = counters
        for counter in others:
            total.update(counter)
            if len(total) > 2 * MAX_WORDS:
                total = Counter(dict(total.most_common(MAX_WORDS)))
        return total

    def extract_output(self, counter: Counter[bytes]) -> Counter[bytes]:
        return counter


def _learn_and_write(counts: Mapping[bytes, int], num_merges: int, path: str) -> Any:
    tokens = [bytes([byte]) for byte in range(256)]
    lines = []
    for left, right in learn(counts, num_merges):
        tokens.append(tokens[left] + tokens[right])
        lines.append(f"{key(left, right)}\t{repr(tokens[-1])[2:-1]}\n")
    FileSystems.mkdirs(FileSystems.split(path)[0])
    with FileSystems.create(path) as file:
        file.write("".join(lines or [NO_MERGE]).encode())
    return np.array(path.encode(), object)


class _Line:
    """Words in one row of tokens, -1 between them; what stands where, and how often."""

    def __init__(self, words: Sequence[tuple[bytes, int]]):
        self.tokens, self.weights = [-1], [0]
        for word, count in words:
            self.tokens += [*word, -1]
            self.weights += [count] * (len(word) + 1)
        self.next = list(range(1, len(self.tokens) + 1))
        self.previous = list(range(-1, len(self.tokens) - 1))
        self.counts: dict[Pair, int] = defaultdict(int)
        self.places: dict[Pair, list[int]] = defaultdict(list)
        for place in range(len(self.tokens) - 1):
            self._add(place)
        self.heap = [(-count, pair) for pair, count in self.counts.items()]
        heapq.heapify(self.heap)

    def most_frequent(self) -> Pair | None:
        while self.heap:
            count, pair = self.heap[0]
            actual = self.counts.get(pair, 0)
            if actual == -count:
                return pair if actual >= MIN_COUNT else None
            heapq.heappop(self.heap)
            if actual > 0:
                heapq.heappush(self.heap, (-actual, pair))
        return None

    def merge(self, pair: Pair, token: int) -> None:
        grown = set()
        for place in sorted(self.places.pop(pair)):
            right = self.next[place]
            if (self.tokens[place], self.tokens[right]) != pair:
                continue  # changed since
            before, after = self.previous[place], self.next[right]
            self._remove(before)
            self._remove(right)
            self.tokens[place], self.tokens[right] = token, -1
            self.next[place], self.previous[after] = after, place
            grown |= {self._add(before), self._add(place)}
        del self.counts[pair]
        for new in grown - {None}:
            heapq.heappush(self.heap, (-self.counts[new], new))

    def _pair(self, place: int) -> Pair | None:
        pair = self.tokens[place], self.tokens[self.next[place]]
        return None if -1 in pair else pair

    def _add(self, place: int) -> Pair | None:
        pair = self._pair(place)
        if pair:
            self.counts[pair] += self.weights[place]
            self.places[pair].append(place)
        return pair

    def _remove(self, place: int) -> None:
        pair = self._pair(place)
        if pair:
            self.counts[pair] -= self.weights[place]
