"""What the tokens of a task mean: which character each is, and what an answer must keep.

Needed wherever a model is used, so it is part of the library; making puzzles, reading other
people's files and symmetries are not, see `data/`.

N puzzles, S cells, row-major.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any

import numpy as np

from tinyreason.errors import UserError
from tinyreason.options import Options
from tinyreason.puzzle import Facts
from tinyreason.rules.text import Cells, cells_of

PAD = 0  # of a cell beside a puzzle that is smaller than the grid


@dataclass
class Notation(Options):
    """How the puzzles of a run are written, and whose rules they keep; part of runs and exports."""

    rules: str  # a name in tinyreason.rules.RULES
    alphabet: str  # the character of token 1, of token 2, ...; "" where tokens are numbers
    padded: bool  # puzzles may be smaller than the grid


class Rules(ABC):
    """Abstract. `blank` is the token that a solver has to replace, None where there is none."""

    blank: int | None = None

    def __init__(self, facts: Facts, notation: Notation):
        self.facts, self.notation = facts, notation
        self.rows, self.columns = facts.grid
        self.token = {character: i + 1 for i, character in enumerate(notation.alphabet)}

    @property
    def size(self) -> str:
        """For messages."""
        return f"{self.rows}x{self.columns}"

    @abstractmethod
    def check(self, inputs: np.ndarray, answers: np.ndarray) -> dict[str, np.ndarray]:
        """Rule checks of `answers` to `inputs`, both (N, S) tokens: name -> (N,) bool; {} where
        there are none. "valid" is the one that says whether an answer keeps givens and rules.
        """

    def blanks(self, inputs: np.ndarray) -> np.ndarray:
        """(N, S) bool: the cells that a solver has to fill in."""
        if self.blank is None:
            return np.ones(inputs.shape, bool)
        return inputs == self.blank

    def contradiction(self, question: np.ndarray) -> str | None:
        """Why no answer to the tokens `question` (S,) can be right; None where nothing is wrong."""
        return None

    def tokens(self, grid: Any, where: str = "puzzle") -> np.ndarray:
        """(S,) uint8 of a question: a string, rows of cells, or an array (rows, columns).

        Numbers index the alphabet: 0 is its first character, in Sudoku the blank. Raises UserError,
        `where: what is wrong`, for another size, an unknown character or a contradiction.
        """
        cells = self.cells(grid, where)
        if (cells.rows, cells.columns) != self.facts.grid and not self.fits(cells):
            raise UserError(f"{where}: {cells.size}; this model takes {self.told_size()}")
        found = np.full(self.facts.grid, PAD, np.uint8)
        for i, cell in enumerate(cells.values):
            row, column = divmod(i, cells.columns)
            found[row, column] = self.token_of(cell, f"{where}: row {row + 1}, column {column + 1}")
        question = found.reshape(-1)
        if why := self.contradiction(question):
            raise UserError(f"{where}: {why}")
        return question

    def told_size(self) -> str:
        return f"{'up to ' if self.notation.padded else ''}{self.rows} rows of {self.columns} cells"

    def fits(self, cells: Cells) -> bool:
        """A smaller puzzle, for models that have seen such."""
        inside = cells.rows <= self.rows and cells.columns <= self.columns
        return self.notation.padded and inside

    def cells(self, grid: Any, where: str) -> Cells:
        """The cells of whatever a user hands in."""
        return cells_of(grid, self.facts.grid, where, keep_spaces=" " in self.notation.alphabet)

    def token_of(self, cell: str | int, where: str) -> int:
        """The token of a cell: its character, or its place in the alphabet."""
        count = len(self.notation.alphabet) or self.facts.vocab_size
        first = int(bool(self.notation.alphabet))
        if not self.notation.alphabet and isinstance(cell, str) and cell.isascii():
            cell = int(cell) if cell.isdecimal() else cell
        if isinstance(cell, int):
            if not 0 <= cell < count:
                raise UserError(f"{where} is {cell}, not a number from 0 to {count - 1}")
            return cell + first
        if cell not in self.token:
            known = self.notation.alphabet or f"numbers from 0 to {count - 1}"
            raise UserError(f"{where} is {cell!r}; this model knows {known!r}")
        return self.token[cell]

    def values(self, tokens: np.ndarray) -> np.ndarray:
        """(N, rows, columns) int16: places in the alphabet (in Sudoku 0 for a blank, else the
        digit); -1 beside a smaller puzzle.
        """
        first = int(bool(self.notation.alphabet))
        return tokens.astype(np.int16).reshape(-1, *self.facts.grid) - first

    def characters(self, question: np.ndarray, tokens: np.ndarray) -> list[list[str]]:
        """The rows of `tokens` (S,), as far as their question reaches."""
        rows, columns = self.extent(question)
        grid = tokens.reshape(self.facts.grid)[:rows, :columns]
        return [[self.character(token) for token in row] for row in grid.tolist()]

    def text(self, question: np.ndarray, answer: np.ndarray) -> str:
        """The answer (S,) in one line, row by row."""
        cells = [cell for row in self.characters(question, answer) for cell in row]
        return ("" if self.notation.alphabet else " ").join(cells)

    def picture(self, question: np.ndarray, answer: np.ndarray, bold: bool = False) -> list[str]:
        """The lines of a question and its answer (S,) side by side; with `bold`, cells that were
        filled in stand out on a terminal.
        """
        cells = self.characters(question, answer)
        if bold:
            rows, columns = self.extent(question)
            filled = self.blanks(question[None])[0] & (question != answer)
            marks = filled.reshape(self.facts.grid)[:rows, :columns].tolist()
            pairs = zip(cells, marks, strict=True)
            cells = [list(map(emphasised, row, marked)) for row, marked in pairs]
        sides = self.draw(self.characters(question, question)), self.draw(cells)
        return [f"{left}     {right}" for left, right in zip(*sides, strict=True)]

    def draw(self, cells: list[list[str]]) -> list[str]:
        """The lines of a grid; numbers need room between them."""
        if self.notation.alphabet:
            return ["".join(row) for row in cells]
        width = max(len(cell) for row in cells for cell in row)
        return [" ".join(cell.rjust(width) for cell in row) for row in cells]

    def character(self, token: int) -> str:
        """ "?" for a token that no puzzle of the kind has, which an answer may still have."""
        alphabet = self.notation.alphabet
        if not alphabet:
            return str(token)
        return alphabet[token - 1] if 1 <= token <= len(alphabet) else "?"

    def extent(self, question: np.ndarray) -> tuple[int, int]:
        """Rows and columns of a question (S,), less the padding at its right and below it."""
        if not self.notation.padded:
            return self.facts.grid
        inside = question.reshape(self.facts.grid) != PAD
        return int(inside.any(1).sum()), int(inside.any(0).sum())


def emphasised(character: str, on: bool) -> str:
    """Bold on a terminal."""
    return f"\033[1m{character}\033[0m" if on else character
