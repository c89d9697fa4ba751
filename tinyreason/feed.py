"""The endless stream of training puzzles, augmented when drawn, with no waiting for the device.

Draw number i of a run is a function of (seed, i) alone: it lies in epoch i // N, made of passes
over all groups in which a visit picks one of the group's puzzles and brings all its examples, as in
the references; augmentation is random by block of draws. So the position of a run in its data is
one integer, on any machine and any device.

How many slots halted is known on the device alone. A window of coming draws therefore lies there,
slots take from it by rank, and the host looks at the count only when the window might run out, at
most every WINDOW steps.

B batch, S cells, N examples of the training split.
"""

from collections.abc import Callable
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor

from tinyreason.errors import UserError
from tinyreason.puzzle import Batch, Facts, Puzzles, Rows
from tinyreason.ranks import ALONE, Ranks

BLOCK = 1024  # draws augmented at once
WINDOW = 16  # batches that lie ready on the device


class Stream:
    """Draws by number. `augment(rows, copy, rng)` is the task's."""

    def __init__(self, puzzles: Puzzles, augment: Callable, seed: int):
        if not len(puzzles):
            raise UserError("the training split is empty; use task.train_puzzles=1 or more")
        self.puzzles, self.augment, self.seed = puzzles, augment, seed
        self.stored = puzzles.rows()
        self.epoch = lru_cache(maxsize=8)(self._epoch)
        self.block = lru_cache(maxsize=64)(self._block)

    def rows(self, start: int, stop: int) -> Rows:
        """Draws start .. stop - 1, augmented."""
        first, last = start // BLOCK, -(-stop // BLOCK)
        blocks = [self.block(b) for b in range(first, last)]
        cut = slice(start - first * BLOCK, stop - first * BLOCK)
        return Rows(*(np.concatenate(parts)[cut] for parts in zip(*blocks, strict=True)))

    def _block(self, b: int) -> Rows:
        draws = np.arange(b * BLOCK, (b + 1) * BLOCK)
        n = len(self.puzzles)
        epochs = [self.epoch(e) for e in range(draws[0] // n, draws[-1] // n + 1)]
        example, copy = np.concatenate(epochs)[draws - draws[0] // n * n].T
        rows = Rows(*(a[example] for a in self.stored))
        return self.augment(rows, copy, self.random(1, b))

    def _epoch(self, e: int) -> np.ndarray:
        """(N, 2) int64: the example and the copy of each draw of epoch `e`."""
        rng, n, passes = self.random(0, e), len(self.puzzles), []
        while (
            sum(map(len, passes)) < n
        ):  # stored augmentations make an epoch many passes over the groups
            passes.append(self.one_pass(rng))
        return np.concatenate(passes)[:n]

    def one_pass(self, rng: np.random.Generator) -> np.ndarray:
        """(draws, 2) int64: every group once, in random order; all examples of one of its puzzles,
        in random order.
        """
        p = self.puzzles
        groups = rng.permutation(len(p.group_indices) - 1)
        first, count = p.group_indices[groups], np.diff(p.group_indices)[groups]
        puzzle = first + (rng.random(len(groups)) * count).astype(np.int64)
        size = np.diff(p.puzzle_indices)[puzzle]
        copy = rng.integers(0, p.copies, len(groups))
        visit = np.repeat(np.arange(len(groups)), size)
        within = np.arange(len(visit)) - np.repeat(np.cumsum(size) - size, size)
        shuffled = np.lexsort((rng.random(len(visit)), visit))
        example = p.puzzle_indices[puzzle[visit]] + within[shuffled]
        return np.stack((example, copy[visit]), 1)

    def random(self, *key: int) -> np.random.Generator:
        return np.random.Generator(np.random.PCG64([self.seed, *key]))


class Feed:
    """The stream, on the device, from draw number `position` on."""

    def __init__(
        self,
        stream: Stream,
        facts: Facts,
        batch: int,
        device: torch.device,
        position: int = 0,
        ranks: Ranks = ALONE,
    ):
        """`batch`: slots of all `ranks`, which draw from one stream."""
        self.stream, self.facts, self.device, self.ranks = stream, facts, device, ranks
        self.capacity = WINDOW * batch
        self.start = position
        self.fill()

    @property
    def position(self) -> int:
        """Puzzles drawn so far. Waits for the device."""
        return self.start + int(self.taken)

    def fill(self) -> None:
        """Move the window to the first draw not yet taken; each rank makes its share of it."""
        share = self.ranks.slots(self.capacity)
        rows = self.stream.rows(self.start + share.start, self.start + share.stop)
        there = (torch.from_numpy(a).to(self.device, non_blocking=True) for a in rows)
        self.window = tuple(map(self.ranks.gathered, there))
        self.taken = torch.zeros((), dtype=torch.int64, device=self.device)
        self.sure = self.capacity  # draws that are surely left, whatever has halted

    def take(self, free: Tensor) -> Batch:
        """(B,) bool -> B rows of which those at `free` slots are the next draws, in order, after
        those of the ranks before; the others are fillers.
        """
        self.ready(self.ranks.world * len(free))
        return self.next(free)

    def ready(self, slots: int) -> None:
        """The host's part of `take`: so many draws lie ready."""
        if self.sure < slots:
            self.start = self.position
            self.fill()
        self.sure -= slots

    def next(self, free: Tensor) -> Batch:
        """The device's part of `take`."""
        free = self.ranks.gathered(free)
        index = (self.taken + free.cumsum(0) - 1).clamp(min=0)
        self.taken = self.taken + free.sum()
        own = self.ranks.own(index)
        return Batch.from_tensors(*(field[own] for field in self.window), self.facts)
