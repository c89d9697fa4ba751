"""Deep supervision: what survives from one segment to the next.

A batch is a set of slots. A puzzle stays in its slot, its state carried on but detached, until it halts; then the slot
starts afresh with the next puzzle. Every slot is trained at every segment, one optimizer step a segment, and a slot
that is still busy consumes no new puzzle (the references draw a whole batch each time and throw most of it away).

B slots.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from tinyreason.models.base import RecursiveModel
from tinyreason.puzzle import Batch


@dataclass
class Carry:
    """What survives between segments. `state` is detached."""

    state: NamedTuple  # of (B S D)
    batch: Batch
    segments: Tensor  # (B,) int32, segments that the slot's puzzle has had
    halted: Tensor  # (B,) bool, the slot is free

    @classmethod
    @torch.no_grad()
    def fresh(cls, model: RecursiveModel, batch: Batch) -> "Carry":
        """Every slot free, as at the start of a run; `refill` gives each its first puzzle. `batch` lends its shapes."""
        segments = torch.zeros(len(batch), dtype=torch.int32, device=batch.inputs.device)
        return cls(model.start(model.encode(batch)), batch, segments, ~segments.bool())

    @torch.no_grad()
    def refill(self, new: Batch, model: RecursiveModel) -> "Carry":
        """Halted slots restart with their row of `new` (B rows); busy slots are untouched."""

        def pick(fresh: Tensor, old: Tensor) -> Tensor:
            return torch.where(self.halted.view(-1, *[1] * (old.ndim - 1)), fresh, old)

        state = type(self.state)(*map(pick, model.start(self.state[0]), self.state))
        segments = pick(torch.zeros_like(self.segments), self.segments)
        return Carry(state, new.map(pick, self.batch), segments, torch.zeros_like(self.halted))

    def advance(self, state: NamedTuple, halted: Callable[[Tensor], Tensor]) -> "Carry":
        """After a segment: the new state, detached, and one segment more; `halted(segments)` says which are free."""
        state, segments = type(state)(*(z.detach() for z in state)), self.segments + 1
        return Carry(state, self.batch, segments, halted(segments))

    def select(self, rows: Tensor) -> "Carry":
        """The slots `rows` (bool mask or indices) alone."""
        state = type(self.state)(*(z[rows] for z in self.state))
        return Carry(state, self.batch.map(lambda t: t[rows]), self.segments[rows], self.halted[rows])
