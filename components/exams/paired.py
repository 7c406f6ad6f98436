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


def difference(one: np.ndarray, other: np.ndarray, *, confidence: float) -> Difference:
    """Compare two models by what each got on the same examples.

    Args:
      one: (examples,) bool, whether each was wrong; or float, its loss.
      other: likewise.
      confidence: of the interval, 0 to 1.

    Returns:
      The difference of means. For bool the interval is exact: Clopper and Pearson's
      of the share, among the examples that one alone got wrong, of those that were
      `one`'s; it holds 0 just where McNemar's exact test finds nothing. For float it
      is Student's.
    """
    count = len(one)
    if one.dtype == bool:
        ours, theirs = int((one & ~other).sum()), int((other & ~one).sum())
        apart = ours + theirs
        if not apart:
            return Difference(0.0, 0.0, 0.0)
        share = stats.binomtest(ours, apart).proportion_ci(confidence, method="exact")
        low, high = ((2 * bound - 1) * apart / count for bound in share)
        return Difference((ours - theirs) / count, float(low), float(high))
    gaps = one - other
    mean = float(gaps.mean())
    if count < 2 or not gaps.any():
        return Difference(mean, mean, mean)
    error = float(gaps.std(ddof=1)) / np.sqrt(count)
    width = float(stats.t.ppf((1 + confidence) / 2, count - 1)) * error
    return Difference(mean, mean - width, mean + width)
