"""Is one model better than another on the same examples, or is it chance?"""

from dataclasses import dataclass

import numpy as np
from scipy import stats


@dataclass(frozen=True)
class Difference:
    """Mean of `one` less that of `other`, and the interval it lies in."""

    mean: float
    low: float
    high: float

    @property
    def is_chance(self) -> bool:
        """Whether the interval holds 0: the data do not tell them apart."""
        return self.low <= 0 <= self.high


def difference(
    one: np.ndarray, other: np.ndarray, *, confidence: float, overlap: float = 1.0
) -> Difference:
    """Compare two models by what each got on the same examples.

    Args:
      one: (examples,) bool, whether each was wrong; or float, its loss.
      other: likewise.
      confidence: of the interval, 0 to 1.
      overlap: how many examples say the same, as windows do that share what is
        predicted: so many count as one.

    Returns:
      The difference of means. For bool the interval is at each end the wider of two:
      Clopper and Pearson's, of the share among the examples that one alone got wrong,
      which holds 0 just where McNemar's exact test finds nothing; and that of Bonett
      and Price (2012), since how many those are is chance too. For float it is
      Student's, of at least two examples.
    """
    count = len(one)
    if one.dtype == bool:
        ours, theirs = int((one & ~other).sum()), int((other & ~one).sum())
        return _of_shares(ours, theirs, count, confidence)
    gaps = one - other
    mean = float(gaps.mean())
    if not gaps.any():
        return Difference(0.0, 0.0, 0.0)
    error = float(gaps.std(ddof=1)) / np.sqrt(count / overlap)
    freedom = max(1.0, count / overlap - 1)
    width = float(stats.t.ppf((1 + confidence) / 2, freedom)) * error
    return Difference(mean, mean - width, mean + width)


def _of_shares(ours: int, theirs: int, count: int, confidence: float) -> Difference:
    apart = ours + theirs
    if not apart:
        return Difference(0.0, 0.0, 0.0)
    share = stats.binomtest(ours, apart).proportion_ci(confidence, method="exact")
    low, high = ((2 * bound - 1) * apart / count for bound in share)
    p, q = (ours + 1) / (count + 2), (theirs + 1) / (count + 2)
    normal = stats.norm.ppf((1 + confidence) / 2)
    half = normal * np.sqrt((p + q - (p - q) ** 2) / (count + 2))
    low, high = min(low, p - q - half), max(high, p - q + half)
    return Difference((ours - theirs) / count, float(low), float(high))
