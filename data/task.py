"""What a task is: which puzzles, their symmetries and their rules.

A new task is one file with one subclass, one yaml in `conf/task/` and one line in `data/registry.py`. A task is built
with keyword arguments only, the keys of its yaml less `name`; it has no defaults of its own.

N examples, S cells.
"""

from abc import ABC, abstractmethod

import numpy as np

from tinyreason.puzzle import Facts, Puzzles, Rows


class Task(ABC):
    """Abstract. `facts` is set by the constructor; `load` may replace it (ARC learns its identifiers there)."""

    facts: Facts
    notes: list[str]  # lines that a user should read, filled by `load`

    @abstractmethod
    def load(self, seed: int) -> dict[str, Puzzles]:
        """The splits "train", "valid" (held out of train, may be empty) and "test", the same bytes for the same seed.

        Raises UserError, one line, where the source is missing or malformed.
        """

    @abstractmethod
    def augment(self, rows: Rows, copy: np.ndarray, rng: np.random.Generator) -> Rows:
        """A random symmetry of each row. `copy` (N,) int: which of `Puzzles.copies` was drawn for the row's visit.

        The rows of one visit to a puzzle come in one call, unless a block of draws ends within it.
        """

    @abstractmethod
    def check(self, inputs: np.ndarray, answers: np.ndarray) -> dict[str, np.ndarray]:
        """Rule checks of `answers` to `inputs`, both (N, S) tokens: name -> (N,) bool; {} if the task has no rules."""

    @abstractmethod
    def blanks(self, inputs: np.ndarray) -> np.ndarray:
        """(N, S) bool: the cells that a solver has to fill in."""
