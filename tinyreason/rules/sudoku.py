"""Sudoku: every row, column and box of a grid holds every digit once, and the givens stay.

Tokens are value + 1: PAD 0, blank 1, digits 2..side+1. N grids, S cells.
"""

import numpy as np

from tinyreason.puzzle import Facts
from tinyreason.rules.base import Notation, Rules

BLANK = 1
DIGITS = "123456789ABCDEFG"
BLANKS = ".0_-*?xX "  # what people write for a blank, where it is no digit
BOX = {4: (2, 2), 6: (2, 3), 8: (2, 4), 9: (3, 3), 10: (2, 5), 12: (3, 4), 16: (4, 4)}


class SudokuRules(Rules):
    """Final. A grid with boxes of `facts.box` rows and columns."""

    blank = BLANK

    def __init__(self, facts: Facts, notation: Notation):
        super().__init__(facts, notation)
        digits = notation.alphabet[1:]
        # a letter in either case; a blank however it is written, unless that is a digit here
        cases = {c.swapcase(): self.token[c] for c in digits if c.swapcase() not in self.token}
        blanks = {c: BLANK for c in BLANKS if c not in self.token and c not in cases}
        self.token |= cases | blanks

    def check(self, inputs: np.ndarray, answers: np.ndarray) -> dict[str, np.ndarray]:
        """ "valid": the answer is a full legal grid and keeps the givens, whether or not it is the
        stored one.
        """
        kept = ((inputs == answers) | self.blanks(inputs)).all(1)
        return {"valid": kept & legal(answers, self.facts.box)}

    def contradiction(self, question: np.ndarray) -> str | None:
        return contradiction(question, self.facts.box, self.notation.alphabet)

    def draw(self, cells: list[list[str]]) -> list[str]:
        """With lines between the boxes."""
        high, wide = self.facts.box
        parts = range(0, high * wide, wide)
        rule = "-+-".join("-" * (2 * wide - 1) for _ in parts)
        lines = []
        for number, row in enumerate(cells):
            if number and number % high == 0:
                lines.append(rule)
            lines.append(" | ".join(" ".join(row[i : i + wide]) for i in parts))
        return lines


def legal(grids: np.ndarray, box: tuple[int, int]) -> np.ndarray:
    """(N,) bool: whether every row, column and box of `grids` (N, S) tokens, of any integer type,
    holds every digit.
    """
    side = box[0] * box[1]
    inside = (grids >= 2) & (grids <= side + 1)
    bits = np.where(inside, 1 << np.where(inside, grids, 0).astype(np.int64), 0)
    every = (1 << side + 2) - 4
    return (np.bitwise_or.reduce(houses(bits, box), axis=3) == every).all(axis=(0, 2))


def houses(grids: np.ndarray, box: tuple[int, int]) -> np.ndarray:
    """(3, N, side, side): the cells of each row, column and box of `grids` (N, S)."""
    high, wide = box
    side = high * wide
    grids = grids.reshape(-1, side, side)
    boxes = grids.reshape(-1, side // high, high, side // wide, wide).swapaxes(2, 3)
    return np.stack([grids, grids.swapaxes(1, 2), boxes.reshape(grids.shape)])


def contradiction(question: np.ndarray, box: tuple[int, int], alphabet: str) -> str | None:
    """Which house of a question (S,) has a digit twice; None where none has."""
    for name, lines in zip(("row", "column", "box"), houses(question, box)[:, 0], strict=True):
        for number, line in enumerate(lines.tolist()):
            given = [token for token in line if token != BLANK]
            twice = [token for token in given if given.count(token) > 1]
            if twice:
                return f"{name} {number + 1} has two {alphabet[twice[0] - 1]}s"
    return None
