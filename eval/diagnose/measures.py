"""What single numbers can say of N puzzles: ranks, calibration, settling, buckets. Pure arithmetic.

N puzzles, K segments, S cells. Definitions and sources stand in `definitions`.
"""

from collections.abc import Sequence

import numpy as np
from scipy.stats import rankdata

BINS = 10
CONFIDENCES = (0.5, 0.8, 0.9, 0.95, 0.97, 0.98)  # from which on a head may be believed
GUESSES = ((0, 0), (1, 2), (3, 10), (11, 50), (51, None))  # as chenglou's tables


def auroc(score: np.ndarray, positive: np.ndarray) -> float | None:
    """The chance that a positive has the higher `score` (N,) of a positive and a negative, a tie
    counting half; None where one of the two is missing. What is no number is the lowest.
    """
    score = np.where(np.isnan(score), -np.inf, score)
    ones = int(positive.sum())
    zeros = len(positive) - ones
    if not ones or not zeros:
        return None
    above = rankdata(score)[positive].sum() - ones * (ones + 1) / 2
    return float(above / (ones * zeros))


def quartiles(values: np.ndarray) -> np.ndarray | None:
    """(3, K): quartiles of `values` (N, K) after each segment; None of no puzzles."""
    if not len(values):
        return None
    finite = np.where(np.isfinite(values), values, np.inf)
    return np.quantile(finite, (0.25, 0.5, 0.75), axis=0, method="inverted_cdf")


# ---- halting


def reliability(confidence: np.ndarray, right: np.ndarray) -> list[dict]:
    """Ten bins of `confidence` (N,) of equal width: how many, their mean confidence, and the share
    of them that is right.
    """
    known = np.isfinite(confidence)
    confidence, right = confidence[known], right[known]
    which = np.minimum((confidence * BINS).astype(int), BINS - 1)
    rows = []
    for b in range(BINS):
        inside = which == b
        row = {"from": b / BINS, "to": (b + 1) / BINS, "count": int(inside.sum())}
        row["confidence"] = share(confidence[inside])
        row["accuracy"] = share(right[inside])
        rows.append(row)
    return rows


def calibration_error(rows: Sequence[dict]) -> float | None:
    """sum of count / N times |accuracy - confidence| over the bins of `reliability`."""
    total = sum(row["count"] for row in rows)
    if not total:
        return None
    used = [row for row in rows if row["count"]]
    return sum(row["count"] * abs(row["accuracy"] - row["confidence"]) for row in used) / total


def first_halts(wants: np.ndarray, exact: np.ndarray) -> dict:
    """Where the head first says that it is finished, and how right it is then; both (N, K) bool."""
    said = wants.any(1)
    first = wants.argmax(1)
    right = exact[np.arange(len(exact)), first]
    rows = []
    for k in np.unique(first[said]).tolist():
        here = said & (first == k)
        rows.append({"segment": k + 1, "count": int(here.sum()), "accuracy": share(right[here])})
    false = int((said & ~right).sum())
    return {
        "halted": int(said.sum()),
        "mean_segment": share(first[said] + 1),
        "false_accepts": false,
        "false_accept_rate": false / int(said.sum()) if said.any() else None,
        "by_segment": rows,
    }


def stopping(confidence: np.ndarray, exact: np.ndarray) -> list[dict]:
    """What it is to take the answer at the first segment whose `confidence` (N, K) is at least that
    of a row, else at the last; `exact` (N, K) bool. The last row takes all segments.
    """
    rows = []
    each, last = np.arange(len(exact)), exact.shape[1] - 1
    for wanted in (*CONFIDENCES, None):
        sure = np.zeros_like(exact) if wanted is None else confidence >= wanted
        k = np.where(sure.any(1), sure.argmax(1), last)
        row = {"confidence": wanted, "exact": share(exact[each, k])}
        rows.append(row | {"segments": float(k.mean() + 1)})
    return rows


# ---- settling


def late(segments: int) -> int:
    """How many segments the last quarter has, at least one."""
    return max(1, segments // 4)


def late_changes(answers: np.ndarray, scored: np.ndarray) -> np.ndarray:
    """(N,) the share of `scored` (N, S) cells whose answer changes from a segment to the next, the
    mean over the last quarter; `answers` (N, K, S) with K of 2 or more.
    """
    tail = answers[:, -late(answers.shape[1]) - 1 :]
    changed = (tail[:, 1:] != tail[:, :-1]) & scored[:, None]
    return changed.sum(2).mean(1) / scored.sum(1)


def settle_table(settled: np.ndarray, right: np.ndarray, drift: np.ndarray) -> list[dict]:
    """Two by two counts of (N,) bool, and the median `drift` (N,) in each of the four."""
    rows = []
    for name, way in (("settled", settled), ("wandering", ~settled)):
        for told, kind in (("right", right), ("wrong", ~right)):
            both = way & kind
            median = float(np.median(drift[both])) if both.any() else None
            rows.append({"way": name, "answer": told, "count": int(both.sum()), "drift": median})
    return rows


# ---- buckets


def ranges(values: np.ndarray, stated: Sequence[tuple[int, int | None]]) -> list[tuple]:
    """(name, (N,) bool) of each of the `stated` ranges, both ends in it, None without an end."""
    found = []
    for low, high in stated:
        inside = (values >= low) & (True if high is None else values <= high)
        name = f"{low}+" if high is None else f"{low}-{high}" if high != low else f"{low}"
        found.append((name, inside))
    return found


def quarters(values: np.ndarray) -> list[tuple[int, int]]:
    """Ranges of whole numbers that hold about a quarter of `values` (N,) each, fewer of them where
    many are equal.
    """
    highs = np.quantile(values, (0.25, 0.5, 0.75, 1), method="inverted_cdf")
    low, found = int(values.min()), []
    for high in np.unique(highs.astype(int)).tolist():
        found.append((low, high))
        low = high + 1
    return found


def each(values: np.ndarray) -> list[tuple[int, int]]:
    """A range for each different number of `values` (N,)."""
    return [(value, value) for value in np.unique(values).tolist()]


def share(values: np.ndarray) -> float | None:
    """The mean; None of nothing."""
    return float(np.mean(values)) if len(values) else None
