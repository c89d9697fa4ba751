"""What selectors are worth: exact accuracy against forward recursions.

N puzzles, M candidates.
"""

import numpy as np

from eval.statistics import mcnemar, wilson
from eval.think.select import SELECTORS
from eval.think.stages import Stage

DEFINITIONS = {
    "recursions": "forward recursions a puzzle: chains x segments x recursions of a segment, as "
    "configured",
    "exact": "share of puzzles with every scored cell right; interval: Wilson, 95 %",
    "oracle": "pass@M: share of puzzles of which some candidate is exact",
    "gap": "oracle - exact of the selector; for first the oracle also counts what chains answered "
    "where they halted",
    "gained, lost": "puzzles that are solved and were not by the baseline (chain 0, or the "
    "trained number of segments), and the reverse; p: exact McNemar test",
    "recursions_needed": "of first: chains x (segment at which the first of them halts, else all) "
    "x recursions of a segment, mean: chains side by side, all stopped by the first",
    "seconds": "of all chains so far, one after another; of segments their share of the whole",
}


def share(right: np.ndarray) -> dict:
    """A mean of bools (N,) with its Wilson interval."""
    low, high = wilson(right)
    return {"exact": float(right.mean()), "low": low, "high": high}


def taken(stage: Stage, name: str) -> tuple[np.ndarray, np.ndarray]:
    """(N,) the candidates that a selector takes, and (N,) bool, which of them are exact."""
    selector = SELECTORS[name]
    pool = stage.halted if selector.at_halt else stage.ended
    chosen = pool.chosen(selector.choose)
    return chosen, pool.exact[np.arange(len(chosen)), chosen]


def paired(before: np.ndarray, right: np.ndarray) -> dict:
    """Puzzles gained and lost, and the exact McNemar test of the two bools (N,)."""
    gained, lost, p = mcnemar(right, before)
    return {"gained": gained, "lost": lost, "p": p}


def rows_of(
    stages: list[Stage], names: list[str], recursions: int, known: np.ndarray, trained: int
) -> list[dict]:
    """One row a stage. `known` (N,) bool: the puzzles whose answer is known; `recursions` of a
    segment, and the segments as `trained`.
    """
    before = baseline(stages, trained)[0][known]
    rows = []
    for stage in stages:
        ended, halted = stage.ended.oracle()[known], stage.halted.oracle()[known]
        found = {}
        for name in names:
            right = taken(stage, name)[1][known]
            best = (ended | halted) if SELECTORS[name].at_halt else ended
            found[name] = share(right) | {"gap": float(best.mean() - right.mean())}
            found[name] |= paired(before, right)
            if SELECTORS[name].at_halt:
                needed = halting_segments(stage)[known].mean() * stage.chains * recursions
                found[name]["recursions_needed"] = float(needed)
        rows.append(
            {
                "chains": stage.chains,
                "segments": stage.segments,
                "recursions": stage.chains * stage.segments * recursions,
                "seconds": round(stage.seconds, 2),
                "oracle": share(ended),
                "selectors": found,
            }
        )
    return rows


def baseline(stages: list[Stage], trained: int) -> tuple[np.ndarray, str]:
    """(N,) bool: solved without more compute, and what that is: one chain of the `trained` number
    of segments, or of as many as there are.
    """
    single = [stage for stage in stages if stage.chains == 1]
    usual = [stage for stage in single if stage.segments == trained]
    stage = (usual or single)[-1]
    name = "as trained" if usual else f"one chain of {stage.segments} segments"
    return stage.ended.exact[:, -1], name


def halting_segments(stage: Stage) -> np.ndarray:
    """(N,) int: the segment at which the first chain halts; where nobody does, the last."""
    return np.minimum(stage.halted.when.min(1), stage.segments)
