"""Puzzles in, answers out: what a user hands to a model, and what comes back.

N puzzles, S cells.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tinyreason.errors import UserError
from tinyreason.rules import Rules


@dataclass(frozen=True)
class Solutions:
    """The answers to N puzzles."""

    rules: Rules
    questions: np.ndarray  # (N, S) uint8, tokens
    tokens: np.ndarray  # (N, S) uint8, the answers
    checks: dict[str, np.ndarray]  # name: (N,) bool, the rules that an answer keeps
    confidence: (
        np.ndarray | None
    )  # (N,) float32 from 0 to 1, None where no halting head was trained
    segments: np.ndarray  # (N,) int64, that were used

    @property
    def answers(self) -> list[str]:
        """N texts, each row by row, in the alphabet of the training puzzles."""
        return list(map(self.rules.text, self.questions, self.tokens))

    @property
    def grids(self) -> np.ndarray:
        """(N, rows, columns) int16: places in the alphabet, in Sudoku the digits; -1 beside a
        smaller puzzle, and for a token that no puzzle has.
        """
        grids = self.rules.values(self.tokens)
        return np.where(self.inside, grids, -1) if self.rules.notation.padded else grids

    @property
    def inside(self) -> np.ndarray:
        """(N, rows, columns) bool: the cells of the puzzle."""
        return (self.questions != 0).reshape(-1, *self.rules.facts.grid)

    @property
    def valid(self) -> np.ndarray | None:
        """(N,) bool: keeps the givens and the rules; None where there are no rules."""
        return self.checks.get("valid")

    def __len__(self) -> int:
        return len(self.questions)

    def picture(self, i: int, bold: bool = False) -> str:
        """Question and answer `i` side by side, and a line about it."""
        lines = self.rules.picture(self.questions[i], self.tokens[i], bold)
        return "\n".join([*lines, self.told(i)])

    def told(self, i: int) -> str:
        """What is known of answer `i`."""
        parts = [f"{'' if kept[i] else 'not '}{name}" for name, kept in self.checks.items()]
        if self.confidence is not None:
            parts.append(f"confidence {self.confidence[i]:.1%}")
        parts.append(f"{self.segments[i]} segment{'s' if self.segments[i] > 1 else ''}")
        return ", ".join(parts)

    def table(self) -> list[dict]:
        """A row for each puzzle: question, answer, checks, confidence and segments."""
        questions = list(map(self.rules.text, self.questions, self.questions))
        rows = []
        for i, (question, answer) in enumerate(zip(questions, self.answers, strict=True)):
            row = {"question": question, "answer": answer}
            row |= {name: bool(kept[i]) for name, kept in self.checks.items()}
            if self.confidence is not None:
                row["confidence"] = round(float(self.confidence[i]), 6)
            rows.append(row | {"segments": int(self.segments[i])})
        return rows

    def __str__(self) -> str:
        return "\n\n".join(map(self.picture, range(len(self))))


def as_puzzles(grids: Any) -> Sequence[Any]:
    """The puzzles in what a user hands in: one, or several. Raises UserError if there is none."""
    if isinstance(grids, str):
        return [grids]
    if isinstance(grids, np.ndarray):
        if grids.ndim not in (2, 3):
            raise UserError(
                f"an array of shape {grids.shape}, not (rows, columns) or (N, rows, columns)"
            )
        return [grids] if grids.ndim == 2 else list(grids)
    grids = list(grids)
    if not grids:
        raise UserError("no puzzles")
    return [grids] if is_one(grids) else grids


def is_one(grids: list) -> bool:
    """Rows of cells, rather than puzzles: the cells of the first row are no rows."""
    first = grids[0]
    if isinstance(first, str):
        return False
    return isinstance(first, list | tuple) and not any(
        isinstance(one, list | tuple | np.ndarray) or (isinstance(one, str) and len(one) > 1)
        for one in first
    )


def named(i: int, count: int) -> str:
    """For messages."""
    return f"puzzle {i + 1}" if count > 1 else "puzzle"
