"""What a task is: which puzzles, their symmetries and their rules.

A new task is one file with one subclass, one yaml in `conf/task/` and one line in
`data/registry.py`. A task is built with keyword arguments only, the keys of its yaml less `name`;
it has no defaults of its own.

N examples, S cells.
"""

from abc import ABC, abstractmethod

import numpy as np

from tinyreason.errors import UserError
from tinyreason.puzzle import SPLITS, Facts, Puzzles, Rows


class Task(ABC):
    """Abstract. `facts` is set by the constructor; `load` may replace it (ARC learns its
    identifiers there).
    """

    facts: Facts
    notes: list[str]  # lines that a user should read, filled by `load`

    @abstractmethod
    def load(self, seed: int) -> dict[str, Puzzles]:
        """The splits "train", "valid" (held out of train, may be empty) and "test", the same bytes
        for the same seed.

        Raises UserError, one line, where the source is missing or malformed.
        """

    @abstractmethod
    def augment(self, rows: Rows, copy: np.ndarray, rng: np.random.Generator) -> Rows:
        """A random symmetry of each row. `copy` (N,) int: which of `Puzzles.copies` was drawn for
        the row's visit.

        The rows of one visit to a puzzle come in one call, unless a block of draws ends within it.
        """

    @abstractmethod
    def check(self, inputs: np.ndarray, answers: np.ndarray) -> dict[str, np.ndarray]:
        """Rule checks of `answers` to `inputs`, both (N, S) tokens: name -> (N,) bool; {} where
        there are none.
        """

    @abstractmethod
    def blanks(self, inputs: np.ndarray) -> np.ndarray:
        """(N, S) bool: the cells that a solver has to fill in."""


def require(key: str, value: object, fits: bool, wanted: str) -> None:
    """Raises UserError unless the option `task.key` fits."""
    if not fits:
        raise UserError(f"task.{key}={value}: must be {wanted}")


def whole(value: object, least: int, most: int = 1 << 31) -> bool:
    """A whole number in least..most; rejects bools and floats."""
    return type(value) is int and least <= value <= most


def split_counts(
    train: int | None, valid: int | None, test: int | None, generated: bool
) -> dict[str, int | None]:
    """The options `<split>_puzzles` by split: at least one to train on, and null only where a file
    has an end.
    """
    counts = dict(zip(SPLITS, (train, valid, test), strict=True))
    for name, count in counts.items():
        least = int(name == "train")
        fits = (count is None and not generated) or whole(count, least)
        require(
            f"{name}_puzzles",
            count,
            fits,
            f"{least} or more" + ("" if generated else ", or null for all of a file"),
        )
    return counts
