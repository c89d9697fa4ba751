"""What a Sudoku grid may hold: characters to tokens, legal answers, and a file's rows checked one
by one.

Tokens are value + 1: PAD 0, blank 1, digits 2..side+1. N grids, S cells (row-major).
"""

from pathlib import Path
from typing import NamedTuple

import numpy as np

from data.sources import read_csv
from data.sudoku_board import BOX
from tinyreason.errors import UserError

BLANK = 1
NONE = 255  # of a character that no grid holds


class Read(NamedTuple):
    """Some puzzles of one CSV file."""

    path: Path
    rows: np.ndarray  # (N,) row in the file, header 1
    inputs: np.ndarray  # (N, S) uint8
    labels: np.ndarray  # (N, S) uint8

    def select(self, which: np.ndarray) -> "Read":
        """The puzzles `which`, indices or (N,) bool."""
        return Read(self.path, self.rows[which], self.inputs[which], self.labels[which])


def read(path: Path, side: int) -> Read:
    """The puzzles of a CSV; UserError, `path:row: what is wrong`, for the first row that is no
    puzzle with its answer.

    Whether a puzzle has a second solution is not asked: the published files have none, and asking
    costs 1 to 40 ms.
    """
    table = read_csv(path, side * side)
    rows = np.array([row for row, _, _ in table])
    inputs, labels = (encode([line[column] for line in table], side) for column in (1, 2))
    for name, tokens, column, hint in (
        ("question", inputs, 1, " and '.' or 0 for a blank"),
        ("answer", labels, 2, ""),
    ):
        wrong = (tokens == NONE) | ((tokens == BLANK) & (name == "answer"))
        if wrong.any():
            i, cell = np.argwhere(wrong)[0]
            raise UserError(
                f"{path}:{rows[i]}: {name} has {table[i][column][cell]!r} at character {cell + 1}; "
                f"a {side}x{side} {name} holds digits 1-{side}{hint}"
            )
    differ = (inputs != BLANK) & (inputs != labels)
    _refuse(path, rows, differ.any(1), "the answer changes a digit of the question")
    _refuse(path, rows, ~legal(labels, side), "the answer repeats a digit in a row, column or box")
    return Read(path, rows, inputs, labels)


def _refuse(path: Path, rows: np.ndarray, bad: np.ndarray, why: str) -> None:
    if bad.any():
        raise UserError(f"{path}:{rows[bad.argmax()]}: {why}")


def encode(texts: list[str], side: int) -> np.ndarray:
    """(N, S) uint8 tokens of N strings of S characters; NONE for a character that no grid of this
    side holds.
    """
    table = np.full(256, NONE, np.uint8)
    table[ord(".")] = BLANK
    table[ord("0") : ord("0") + side + 1] = np.arange(1, side + 2)
    codes = np.frombuffer("".join(texts).encode("ascii", "replace"), np.uint8)
    return table[codes].reshape(len(texts), side * side)


def decode(tokens: np.ndarray) -> list[str]:
    """One string a row of `tokens` (N, S), "." for a blank."""
    return ["".join(".123456789"[token - 1] for token in row) for row in tokens.tolist()]


def legal(grids: np.ndarray, side: int) -> np.ndarray:
    """(N,) bool: whether every row, column and box of `grids` (N, S) tokens, of any integer type,
    holds every digit.
    """
    high, wide = BOX[side]
    inside = (grids >= 2) & (grids <= side + 1)
    bits = np.where(inside, 1 << np.where(inside, grids, 0).astype(np.int64), 0).reshape(
        -1, side, side
    )
    boxes = (
        bits.reshape(-1, side // high, high, side // wide, wide).swapaxes(2, 3).reshape(bits.shape)
    )
    every = (1 << side + 2) - 4
    houses = np.stack([bits, bits.swapaxes(1, 2), boxes])
    return (np.bitwise_or.reduce(houses, axis=3) == every).all(axis=(0, 2))
