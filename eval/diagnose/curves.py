"""What becomes of accuracy over the segments: what was ever solved, where more thinking begins to
hurt, where the error goes, and whether what is solved stays solved. Pure arithmetic.

N puzzles, K segments. Definitions and sources stand in `definitions`.
"""

import warnings

import numpy as np
from scipy.optimize import OptimizeWarning, curve_fit

from eval.diagnose.measures import late
from eval.statistics import mcnemar

LEVEL = 0.05  # of the test against the best segment
FEWEST = 4  # segments of a fit of three parameters
NAMES = ("e_inf", "A", "L")
BOUNDS = ((0.0, 0.0, 1e-6), (1.0, 1e3, 20.0))


def ever_solved(exact: np.ndarray) -> np.ndarray:
    """(N, K) bool: exact after this segment or an earlier one."""
    return np.logical_or.accumulate(exact, axis=1)


def overthinking(exact: np.ndarray) -> dict:
    """The segment (from 1) that is exact most often, the first of several; how many of the last
    segments in a row are `worse`, each below it with p < LEVEL; and the first of those, where they
    are the last quarter or more, else None.
    """
    accuracy = exact.mean(0)
    best, segments = int(accuracy.argmax()), exact.shape[1]
    worse, p = 0, None
    for k in range(segments - 1, best, -1):
        found = mcnemar(exact[:, best], exact[:, k]).p
        if accuracy[k] >= accuracy[best] or found >= LEVEL:
            break
        worse, p = worse + 1, found
    lasts = worse >= late(segments)
    return {
        "best_segment": best + 1,
        "best_exact": float(accuracy[best]),
        "worse": worse,
        "from": segments - worse + 1 if lasts else None,
        "p": p,  # of the first of those
    }


def still_solved(exact: np.ndarray, trained: int) -> list[dict]:
    """Of the puzzles that are exact after `trained` segments, the share that is so after 2, 4, 8,
    ... times as many; None of no puzzles.
    """
    solved = exact[:, trained - 1]
    rows, segments = [], 2 * trained
    while segments <= exact.shape[1]:
        kept = float(exact[solved, segments - 1].mean()) if solved.any() else None
        rows.append({"segments": segments, "still_solved": kept})
        segments *= 2
    return rows


def finished_later(exact: np.ndarray, trained: int) -> float | None:
    """Of the puzzles that are wrong after `trained` segments, the share that is exact after some
    later one; None where there are no such puzzles or segments.
    """
    wrong, later = ~exact[:, trained - 1], exact[:, trained:]
    return float(later[wrong].any(1).mean()) if wrong.any() and later.shape[1] else None


def error_at(k: np.ndarray, e_inf: float, A: float, L: float) -> np.ndarray:
    """e_inf + A exp(-k L)."""
    return e_inf + A * np.exp(-k * L)


def fit_error(error: np.ndarray) -> dict:
    """The law of `error_at` for the error (K,) after segments 1 to K: parameters, their standard
    errors, R2 and which lie at a bound; or {"why": ...} where there is no fit to speak of.
    """
    if len(error) < FEWEST:
        return {"why": f"{len(error)} segments are too few to fit; use segments={FEWEST} or more"}
    if np.ptp(error) == 0:
        return {"why": "the error is the same after every segment"}
    k = np.arange(1, len(error) + 1)
    first = (float(error[-1]), float(np.clip(error[0] - error[-1], 1e-3, 1.0)), 0.5)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", OptimizeWarning)
            found, covariance = curve_fit(error_at, k, error, first, bounds=BOUNDS, maxfev=20_000)
    except (RuntimeError, OptimizeWarning):
        return {"why": "the fit does not converge"}
    spread = np.sqrt(np.diag(covariance))
    if not np.isfinite(spread).all():
        return {"why": "the fit does not converge: its standard errors are not finite"}
    left = error - error_at(k, *found)
    R2 = 1 - (left**2).sum() / ((error - error.mean()) ** 2).sum()
    edges = np.isclose(found, BOUNDS[0], atol=1e-9) | np.isclose(found, BOUNDS[1])
    return {
        "parameters": dict(zip(NAMES, found.tolist(), strict=True)),
        "standard_errors": dict(zip(NAMES, spread.tolist(), strict=True)),
        "R2": float(R2),
        "at_a_bound": [name for name, edge in zip(NAMES, edges, strict=True) if edge],
    }
