"""Which of several answers to a puzzle to take, when nobody says which is right.

All selectors have one signature, `(answers, halt, residual, when) -> (N,) int`, the candidate that
is taken of each puzzle:

answers    (N, M, S) tokens
halt       (N, M) logit of halting, 0 everywhere where no head was trained
residual   (N, M) |f(z) - z| / |f(z)| of the last whole recursion
when       (N, M) the segment, from 1, at which the head first said finished; one past the last
           where it never did

N puzzles, M candidates, S cells.
"""

from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import NamedTuple

import numpy as np

from tinyreason.solver import confidence_of

Choose = Callable[[np.ndarray, np.ndarray, np.ndarray, np.ndarray], np.ndarray]


@dataclass
class Candidates:
    """M answers to each of N puzzles."""

    answers: np.ndarray  # (N, M, S) uint8
    halt: np.ndarray  # (N, M) float32
    residual: np.ndarray  # (N, M) float32
    when: np.ndarray  # (N, M) int64
    exact: np.ndarray  # (N, M) bool, which no selector sees

    def few(self, count: int) -> "Candidates":
        """The first `count` of each puzzle."""
        return Candidates(*(getattr(self, one.name)[:, :count] for one in fields(self)))

    def chosen(self, choose: Choose) -> np.ndarray:
        """(N,) int: the candidates that a selector takes."""
        return choose(self.answers, self.halt, self.residual, self.when)

    def oracle(self) -> np.ndarray:
        """(N,) bool: pass@M, some candidate is exact."""
        return self.exact.any(1)

    @classmethod
    def joined(cls, parts: list["Candidates"]) -> "Candidates":
        """The candidates of all `parts`, in order."""
        names = [one.name for one in fields(cls)]
        return cls(*(np.concatenate([getattr(p, name) for p in parts], 1) for name in names))


def vote(
    answers: np.ndarray, halt: np.ndarray, residual: np.ndarray, when: np.ndarray
) -> np.ndarray:
    """The most frequent answer. Among equals the one of the larger sum of confidences,
    sigmoid(halt); then the earliest.
    """
    sure = confidence_of(halt.astype(np.float64))
    taken = np.zeros(len(answers), np.int64)
    for n, row in enumerate(answers):
        _, first, group = np.unique(row, axis=0, return_index=True, return_inverse=True)
        rising = np.argsort(sure[n], kind="stable")  # equal confidences then have equal sums
        group = group.reshape(-1)[rising]
        sums = np.bincount(group, sure[n][rising])
        best = np.lexsort((first, -sums, -np.bincount(group)))[0]
        taken[n] = first[best]
    return taken


def most_sure(
    answers: np.ndarray, halt: np.ndarray, residual: np.ndarray, when: np.ndarray
) -> np.ndarray:
    """The largest halting logit; among equals the earliest. PTRM, arXiv 2605.19943."""
    return halt.argmax(1)


def most_settled(
    answers: np.ndarray, halt: np.ndarray, residual: np.ndarray, when: np.ndarray
) -> np.ndarray:
    """The smallest residual; among equals the earliest. EqR, arXiv 2605.21488."""
    return residual.argmin(1)


def first_finished(
    answers: np.ndarray, halt: np.ndarray, residual: np.ndarray, when: np.ndarray
) -> np.ndarray:
    """The earliest `when`; among equals the largest halting logit, so that it decides alone where
    nobody halts. Halt-first of "Speed is Confidence", arXiv 2601.19085.
    """
    return np.lexsort((-halt, when), axis=-1)[:, 0]


def newest(
    answers: np.ndarray, halt: np.ndarray, residual: np.ndarray, when: np.ndarray
) -> np.ndarray:
    """The last candidate: of segments, what an evaluation takes."""
    return np.full(len(answers), answers.shape[1] - 1)


class Selector(NamedTuple):
    """How to choose, and from what."""

    choose: Choose
    definition: str
    needs_head: bool = False
    at_halt: bool = False  # candidates are read where they halted, not at the end
    of_segments: bool = False  # it is for method=segments alone


SELECTORS: dict[str, Selector] = {
    "last": Selector(
        newest,
        "the answer after the last segment, as eval.solve takes it",
        of_segments=True,
    ),
    "vote": Selector(
        vote,
        "the most frequent answer; ties by the sum of sigmoid(halting logit), then the earliest",
    ),
    "halt": Selector(
        most_sure,
        "argmax of the halting logit; arXiv 2605.19943",
        needs_head=True,
    ),
    "residual": Selector(
        most_settled,
        "argmin of |f(z) - z| / |f(z)| of the last whole recursion f; arXiv 2605.21488",
    ),
    "first": Selector(
        first_finished,
        "the chain whose head first says finished, its answer at that segment; ties by the "
        "halting logit; nobody: the largest halting logit at the end; arXiv 2601.19085",
        needs_head=True,
        at_halt=True,
    ),
}
