"""An evaluation by several ranks: each solves its share of the puzzles, and all know every answer,
so that metrics are those of one rank however the shares come out.

N puzzles, n of them a rank's.
"""

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass, fields, replace

import numpy as np
import torch

from tinyreason.models import RecursiveModel
from tinyreason.puzzle import Facts, Rows
from tinyreason.ranks import Ranks
from tinyreason.recursion import Depth
from tinyreason.run.signals import Stopped
from tinyreason.solver import Attempt, Solver, empty_attempt, nobody


@dataclass
class Sharded:
    """A `Solver` for all `ranks`. Each may be cut short in the `interruptible` block, and then all
    are: none goes elsewhere while another waits for its answers.
    """

    solver: Solver
    ranks: Ranks
    interruptible: Callable[[], AbstractContextManager]

    @property
    def model(self) -> RecursiveModel:
        return self.solver.model

    @property
    def depth(self) -> Depth:
        return self.solver.depth

    @property
    def device(self) -> torch.device:
        return self.solver.device

    def __call__(self, rows: Rows, facts: Facts, done: Callable[[int], None] = nobody) -> Attempt:
        """See `Solver.__call__`. Raises Stopped on every rank where one was cut short."""
        attempt = None
        try:
            with self.interruptible():
                attempt = self.share_of(rows, facts, done)
        except Stopped:
            pass
        (stopped,) = self.ranks.largest(attempt is None)
        if stopped:
            raise Stopped
        count = len(rows.inputs)
        arrays = (getattr(attempt, field.name) for field in fields(attempt))
        return Attempt(*(self.whole(array, count) for array in arrays))

    def share_of(self, rows: Rows, facts: Facts, done: Callable[[int], None]) -> Attempt:
        """This rank's n puzzles."""
        own = self.ranks.share(len(rows.inputs))
        mine = Rows(*(field[own] for field in rows))
        if not len(mine.inputs):
            return empty_attempt(0, rows.inputs.shape[1], self.solver.segments)
        return replace(self.solver, first=own.start)(mine, facts, done)

    def whole(self, array: np.ndarray, count: int) -> np.ndarray:
        """(n ...) -> (N ...), `count` is N. Shares differ by one, so they travel padded."""
        world = self.ranks.world
        if world == 1:
            return array
        most = -(-count // world)
        padded = np.zeros((most, *array.shape[1:]), array.dtype)
        padded[: len(array)] = array
        parts = self.ranks.gathered(torch.from_numpy(padded)).view(world, *padded.shape).numpy()
        shares = [self.ranks.share(count, rank) for rank in range(world)]
        sizes = [share.stop - share.start for share in shares]
        return np.concatenate([part[:size] for part, size in zip(parts, sizes, strict=True)])
