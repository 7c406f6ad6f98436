"""What does a model that writes texts write: copies, loops, and how unlikely is test?

A language model goes on from the heads of test texts, twice: with the most probable
character or token each time ("greedy"), and drawn at temperature 1 from seed 0
("drawn"). Of pairs the samples are what it answered on `test`. Everything is kept to
be read. Of samples, and of real texts in their place, cut to the samples' median length
because a longer text repeats more:

- memorised: the share of their windows of 30 characters that stand in `train` word for
  word. A window across two records of `train` is not found.
- repetition: the share of their windows of 20 characters, about four words of English,
  that stood earlier in the same text (Welleck et al. 2020 count four tokens; characters
  are the same measure for any kind of tokens and any script). Greedy texts of small
  models loop; the bound is on what is drawn.

Both are None where no text is that long.
"""

import json
import math
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
from scipy import stats

from components import language_input
from components.exams import NotApplicableError, Verdict, judged
from components.exams.case import Case, read

SAMPLES, SCORES = "samples.json", "scores.npz"
MEMORISED, REPEATED = 30, 20  # characters of a window
NUM_PROMPTS, PROMPT, NUM_TOKENS = 8, 32, 200
_MOST_TEXTS = 200  # real ones, and answers of pairs
_MOST_RECORDS = 20_000  # of train, evenly taken
_CONFIDENCE = 0.95
_REAL = "real"


def collect(case: Case, section: Mapping[str, Any], folder: Path) -> None:
    """Have the candidate write; keep that, and which of it stands in train."""
    del section
    if case.transform["language"]:
        feature = case.transform["language"]["feature"]
        record = _continued(case, feature)
    elif case.transform["pairs"]:
        feature = case.transform["pairs"]["target"]
        record = _answered(case, feature)
    else:
        raise NotApplicableError("it writes no texts")
    wanted = {w for t in record["texts"].values() for w in _all_windows(t, MEMORISED)}
    train = read(case.examples / "Split-train", _MOST_RECORDS)
    record["in_train"] = sorted(_found(wanted, _texts(train, feature)))
    record["train_records"] = len(train)
    (folder / SAMPLES).write_text(json.dumps(record, ensure_ascii=False), "utf-8")
    np.savez_compressed(folder / SCORES, scores=case.answers["scores"])


def judge(folder: Path, section: Mapping[str, Any]) -> Verdict:
    """Refuse a candidate that copies train, or repeats itself, more than is allowed."""
    record = json.loads((folder / SAMPLES).read_text("utf-8"))
    with np.load(folder / SCORES) as stored:
        scores = stored["scores"].astype(np.float64)
    in_train = set(record["in_train"])
    found = {
        kind: {
            "memorised": share_in(texts, in_train),
            "repetition": repetition(texts),
        }
        for kind, texts in record["texts"].items()
    }
    loss = _losses(scores[:, 0])
    copied = longest_copy(_written(record), in_train)
    drawn = found["drawn" if "drawn" in found else "answers"]
    return judged(
        f"{_surprise(loss)} on test · {_said(drawn, found[_REAL])}",
        tuple(_refusals(found, drawn, section)),
        **loss,
        texts=found,
        longest_copy=copied,
        equal_share=float(scores[:, 1].mean()) if scores.shape[1] > 1 else None,
        train_records=record["train_records"],
    )


def _refusals(
    found: Mapping[str, Any], drawn: Mapping[str, Any], section: Mapping[str, Any]
) -> Iterator[str]:
    bound = section["memorised_at_most"]
    for kind, figures in found.items():
        share = figures["memorised"]
        if None not in (bound, share) and kind != _REAL and share > bound:
            yield (
                f"{share:.1%} of the {kind} texts' windows of {MEMORISED} characters "
                f"stand in train, expected at most {bound:.1%}"
            )
    bound, share = section["repetition_at_most"], drawn["repetition"]
    if None not in (bound, share) and share > bound:
        yield (
            f"{share:.1%} of its texts' windows of {REPEATED} characters repeat "
            f"earlier ones, expected at most {bound:.1%}"
        )


def share_in(texts: Iterable[str], known: set[str]) -> float | None:
    """Return the share of windows of `MEMORISED` characters that are known."""
    windows = list(_all_windows(texts, MEMORISED))
    return float(np.mean([w in known for w in windows])) if windows else None


def repetition(texts: Iterable[str]) -> float | None:
    """Return the share of windows of `REPEATED` characters seen earlier in a text."""
    total = distinct = 0
    for text in texts:
        windows = list(_windows(text, REPEATED))
        total += len(windows)
        distinct += len(set(windows))
    return 1 - distinct / total if total else None


def as_long(texts: Iterable[str], written: Sequence[str]) -> list[str]:
    """Return texts cut to the median length of those that were written."""
    length = int(np.median([len(text) for text in written]))
    return [text[:length] for text in texts]


def longest_copy(texts: Iterable[str], known: set[str]) -> str:
    """Return the longest passage whose every window is known; "": there is none."""
    longest = ""
    for text in texts:
        start = 0
        for place, window in enumerate(_windows(text, MEMORISED)):
            if window not in known:
                start = place + 1
            elif place + MEMORISED - start > len(longest):
                longest = text[start : place + MEMORISED]
    return longest


def _continued(case: Case, feature: str) -> dict[str, Any]:
    """Return prompts, how a language model goes on, and how the real texts did."""
    texts = [t for t in _texts(case.test, feature) if len(t) > PROMPT]
    chosen = _evenly(texts, NUM_PROMPTS)
    if not chosen:
        raise NotApplicableError(f"no test text has more than {PROMPT} characters")
    prompts = [text[:PROMPT] for text in chosen]
    drawn = _generated(case, prompts, temperature=1.0)
    real = [text[PROMPT:] for text in _evenly(texts, _MOST_TEXTS)]
    return {
        "prompts": prompts,
        "texts": {
            "greedy": _generated(case, prompts, temperature=0.0),
            "drawn": drawn,
            _REAL: as_long(real, drawn),
        },
    }


def _generated(case: Case, prompts: Sequence[str], *, temperature: float) -> list[str]:
    # Only servers know the defaults of a signature.
    options = {name: value for name, (value, _) in language_input.OPTIONS.items()}
    options |= {"max_tokens": NUM_TOKENS, "temperature": temperature}
    answer = case.candidate.loaded.signatures["generate"](
        prompt=tf.constant([prompt.encode() for prompt in prompts]),
        **{n: tf.constant(v, language_input.OPTIONS[n][1]) for n, v in options.items()},
    )
    return [text.decode("utf-8", "replace") for text in answer["text"].numpy()]


def _answered(case: Case, feature: str) -> dict[str, Any]:
    """Return sources, what became of them, and what should have."""
    chosen = _evenly(range(len(case.test)), _MOST_TEXTS)
    asked = [case.test[i] for i in chosen]
    source = case.transform["pairs"]["source"]
    outputs = case.answers["outputs"]
    answers = [outputs[i].decode("utf-8", "replace") for i in chosen]
    return {
        "prompts": list(_texts(asked, source)),
        "texts": {
            "answers": answers,
            _REAL: as_long(_texts(asked, feature), answers),
        },
    }


def _written(record: Mapping[str, Any]) -> Iterator[str]:
    for kind, texts in record["texts"].items():
        if kind != _REAL:
            yield from texts


def _texts(serialized: Iterable[bytes], feature: str) -> Iterator[str]:
    """Yield a raw feature of examples, "" where one has none."""
    for example in serialized:
        features = tf.train.Example.FromString(example).features.feature
        values = features[feature].bytes_list.value
        yield values[0].decode("utf-8", "replace") if values else ""


def _found(wanted: set[str], texts: Iterable[str]) -> set[str]:
    """Return the windows that stand in one of the texts."""
    return {w for w in _all_windows(texts, MEMORISED) if w in wanted}


def _all_windows(texts: Iterable[str], size: int) -> Iterator[str]:
    for text in texts:
        yield from _windows(text, size)


def _windows(text: str, size: int) -> Iterator[str]:
    return (text[i : i + size] for i in range(len(text) - size + 1))


def _evenly(values: Sequence[Any], most: int) -> Sequence[Any]:
    return values[:: max(1, -(-len(values) // most))]


def _losses(losses: np.ndarray) -> dict[str, float | None]:
    """Return cross-entropy in nats and perplexity, each with its interval.

    A perplexity that no float64 holds is None.
    """
    mean, width = float(losses.mean()), 0.0
    if len(losses) > 1:
        error = float(losses.std(ddof=1)) / math.sqrt(len(losses))
        width = float(stats.t.ppf((1 + _CONFIDENCE) / 2, len(losses) - 1)) * error
    ends = {"": mean, "_low": mean - width, "_high": mean + width}
    nats = {f"cross_entropy{end}": value for end, value in ends.items()}
    return nats | {f"perplexity{e}": _exp(value) for e, value in ends.items()}


def _exp(nats: float) -> float | None:
    return math.exp(nats) if nats < math.log(sys.float_info.max) else None


def _surprise(loss: Mapping[str, float | None]) -> str:
    if loss["perplexity"] is None:
        return f"cross-entropy {loss['cross_entropy']:.4g} nats"
    return f"perplexity {loss['perplexity']:.4g}"


def _said(drawn: Mapping[str, Any], real: Mapping[str, Any]) -> str:
    """Return both shares in words, those of real texts in brackets."""
    words = {"memorised": "copied from train", "repetition": "repeated"}
    said = [
        f"{drawn[key]:.1%} {word}"
        + ("" if real[key] is None else f" (real text {real[key]:.1%})")
        for key, word in words.items()
        if drawn[key] is not None
    ]
    return ", ".join(said) or "no text is long enough to copy or repeat"
