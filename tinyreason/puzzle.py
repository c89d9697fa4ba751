"""Puzzles as arrays: what a data set is, before any network sees it.

Three levels, as in the folders of HRM and TRM (Apache-2.0 layouts `{train,test}/all__*.npy`): an
*example* is one (input, label) pair; a *puzzle* is one or more examples that share a puzzle
identifier; a *group* is a base puzzle with its stored augmentations. Sudoku and mazes have one
example a puzzle and one puzzle a group; ARC has several of each.

B batch, S cells of a puzzle (row-major grid), N examples, P puzzles, G groups.
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

SPLITS = ("train", "valid", "test")
IGNORE = (
    -100
)  # label of a cell that no loss and no metric counts (torch's and the references' convention)


@dataclass(frozen=True)
class Facts:
    """What every puzzle of a task shares; everything that a model needs to know of its task."""

    vocab_size: int
    grid: tuple[int, int]  # (rows, columns)
    box: tuple[int, int] | None = None  # (rows, columns) of a Sudoku box, where the task has boxes
    pad_id: int = 0
    ignore_label_id: int | None = 0  # stored label that becomes IGNORE
    blank_identifier_id: int = 0
    num_puzzle_identifiers: int = 1  # counting the blank one

    @property
    def seq_len(self) -> int:
        """S, the number of cells."""
        return self.grid[0] * self.grid[1]


class Rows(NamedTuple):
    """Some examples, in numpy: what augmentation maps to what the device is fed."""

    inputs: np.ndarray  # (N, S) uint8
    labels: np.ndarray  # (N, S) uint8
    puzzle_ids: np.ndarray  # (N,) int32


@dataclass(frozen=True)
class Puzzles:
    """One split of a data set.

    `copies` counts the numbered augmentations that exist by rule rather than on disk: each visit to
    a group draws one of the numbers uniformly and hands it to the task's `augment`, which may draw
    more of its own.
    """

    inputs: np.ndarray  # (N, S) uint8
    labels: np.ndarray  # (N, S) uint8
    puzzle_identifiers: np.ndarray  # (P,) int32
    puzzle_indices: np.ndarray  # (P + 1,) int32, first example of each puzzle
    group_indices: np.ndarray  # (G + 1,) int32, first puzzle of each group
    copies: int = 1

    def __len__(self) -> int:
        """N, the number of examples."""
        return len(self.inputs)

    @classmethod
    def single(cls, inputs: np.ndarray, labels: np.ndarray) -> "Puzzles":
        """One example a puzzle, one puzzle a group, no identifiers: Sudoku and mazes. Both arrays
        (N, S) uint8.
        """
        n = len(inputs)
        edges = np.arange(n + 1, dtype=np.int32)
        return cls(inputs, labels, np.zeros(n, np.int32), edges, edges)

    def puzzle_of_example(self) -> np.ndarray:
        """(N,) int32, the puzzle that each example belongs to."""
        sizes = np.diff(self.puzzle_indices)
        return np.repeat(np.arange(len(sizes), dtype=np.int32), sizes)

    def rows(self, which: np.ndarray | slice = slice(None)) -> Rows:
        """The examples `which` (indices or a slice), as stored."""
        identifiers = self.puzzle_identifiers[self.puzzle_of_example()]
        return Rows(self.inputs[which], self.labels[which], identifiers[which])


@dataclass
class Batch:
    """Examples on the training device."""

    inputs: Tensor  # (B, S) int32
    labels: Tensor  # (B, S) int64, IGNORE where not scored
    puzzle_ids: Tensor  # (B,) int32

    @classmethod
    def of(cls, rows: Rows, facts: Facts, device: torch.device | str = "cpu") -> "Batch":
        """Upload `rows`; the task's ignored label becomes IGNORE."""
        return cls.from_tensors(*(torch.tensor(a, device=device) for a in rows), facts)

    @classmethod
    def from_tensors(
        cls, inputs: Tensor, labels: Tensor, puzzle_ids: Tensor, facts: Facts
    ) -> "Batch":
        """The same from tensors of the types of `Rows`, widened on the device that they are on."""
        wide = labels.long()
        if facts.ignore_label_id is not None:
            wide = wide.masked_fill(labels == facts.ignore_label_id, IGNORE)
        return cls(inputs.int(), wide, puzzle_ids.int())

    def map(self, f, *others: "Batch") -> "Batch":
        """A batch of `f(field, field of each other batch)`."""
        fields = ("inputs", "labels", "puzzle_ids")
        return Batch(*(f(getattr(self, k), *(getattr(o, k) for o in others)) for k in fields))

    def __len__(self) -> int:
        return len(self.inputs)
