"""What a task is: which puzzles, their symmetries and their rules.

A new task is one file with one subclass, one yaml in `conf/task/` and one line in
`data/registry.py`. A task is built with keyword arguments only, the keys of its yaml less `name`;
it has no defaults of its own. Its rules, if they are new, are a file in `tinyreason/rules/`.

N examples, S cells.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from data.workers import Spread
from tinyreason.described import whole
from tinyreason.errors import UserError
from tinyreason.puzzle import SPLITS, Facts, Puzzles, Rows
from tinyreason.rules import Notation, Rules, make_rules


class Image(NamedTuple):
    """Rows under a symmetry each, and the way back."""

    rows: Rows
    back: Callable[[np.ndarray], np.ndarray]  # answers (N, S) to `rows` -> to the rows as they were


class Task(ABC):
    """Abstract. `facts` and `notation` are set by the constructor where the options decide them,
    and by `load` where the files do.
    """

    facts: Facts | None
    notation: Notation | None
    notes: list[str]  # lines that a user should read, filled by `load`
    spread: Spread = map  # shares among processes what takes long in `load` and in writing out

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

    @property
    def kinds(self) -> tuple[str, ...]:
        """The kinds of symmetry that `image` can draw alone; () where there is none."""
        return ()

    def image(self, rows: Rows, rng: np.random.Generator, kind: str | None = None) -> Image:
        """A random symmetry of each row, of one of `kinds` or (None) of all; answers to it can be
        mapped back. Raises UserError where there is none.
        """
        raise UserError("these puzzles have no symmetries that are known here")

    @abstractmethod
    def keys(self, puzzles: Puzzles) -> np.ndarray:
        """(N,) uint64, equal for examples that are symmetric to each other."""

    @property
    def rules(self) -> Rules:
        """What the tokens mean, and what an answer must keep."""
        return make_rules(self.facts, self.notation)

    def check(self, inputs: np.ndarray, answers: np.ndarray) -> dict[str, np.ndarray]:
        """See `Rules.check`."""
        return self.rules.check(inputs, answers)

    def blanks(self, inputs: np.ndarray) -> np.ndarray:
        """See `Rules.blanks`."""
        return self.rules.blanks(inputs)

    def named_tasks(self) -> list | None:
        """Of tasks whose puzzles have an identifier each, what `About.identifiers` holds."""
        return None


def require(key: str, value: object, fits: bool, wanted: str) -> None:
    """Raises UserError unless the option `task.key` fits."""
    if not fits:
        raise UserError(f"task.{key}={value}: must be {wanted}")


def split_counts(train: Any, valid: Any, test: Any, generated: bool) -> dict[str, int | str | None]:
    """The options `<split>_puzzles` by split: at least one to train on; null and "auto" only where
    a file has an end.
    """
    counts = dict(zip(SPLITS, (train, valid, test), strict=True))
    for name, count in counts.items():
        least = int(name == "train")
        fits = (count in (None, "auto") and not generated) or whole(count, least)
        wanted = f"{least} or more" + ("" if generated else ", auto, or null for all of a file")
        require(f"{name}_puzzles", count, fits, wanted)
    return counts
