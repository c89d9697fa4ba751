"""The rules by name. A new task with rules of its own is a file here and a line in RULES."""

from tinyreason.options import chosen
from tinyreason.puzzle import Facts
from tinyreason.rules.arc import ARCRules
from tinyreason.rules.base import Notation, Rules
from tinyreason.rules.grid import GridRules
from tinyreason.rules.maze import MazeRules
from tinyreason.rules.sudoku import SudokuRules

RULES: dict[str, type[Rules]] = {
    "sudoku": SudokuRules,
    "maze": MazeRules,
    "arc": ARCRules,
    "grid": GridRules,
}

__all__ = ["RULES", "Notation", "Rules", "make_rules"]


def make_rules(facts: Facts, notation: Notation) -> Rules:
    """The rules that puzzles in such a notation keep. Raises UserError if there are none."""
    return chosen(RULES, "notation.rules", notation.rules)(facts, notation)
