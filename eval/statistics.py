"""What is said of shares of puzzles: an interval, and whether two shares of the same ones differ.

N puzzles.
"""

from typing import NamedTuple

import numpy as np
from scipy.stats import binomtest


def wilson(right: np.ndarray) -> tuple[float, float]:
    """The 95 % interval of the share of (N,) bool that is true (Wilson 1927)."""
    found = binomtest(int(right.sum()), len(right)).proportion_ci(method="wilson")
    return float(found.low), float(found.high)


class Pairs(NamedTuple):
    """Two attempts at the same puzzles."""

    only_a: int  # solved by the first alone
    only_b: int
    p: float  # of the exact test that both are as likely (McNemar 1947)


def mcnemar(a: np.ndarray, b: np.ndarray) -> Pairs:
    """How two (N,) bool differ, puzzle by puzzle."""
    only_a, only_b = int((a & ~b).sum()), int((b & ~a).sum())
    differ = only_a + only_b
    p = float(binomtest(only_a, differ).pvalue) if differ else 1.0
    return Pairs(only_a, only_b, p)
