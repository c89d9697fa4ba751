"""Deep supervision: one segment of recursion, and what survives from one to the next.

A batch is a set of slots. A puzzle stays in its slot, its state carried on but detached, until it
halts; then the slot begins with the next puzzle. Every slot is trained at every segment, one
optimizer step a segment, and a slot that is still busy consumes no new puzzle (the references draw
a whole batch each time and throw most of it away).

B slots, R tracked recursions.
"""

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from tinyreason.gradient import Gradient
from tinyreason.models.base import Read, RecursiveModel
from tinyreason.noise import Noise, NoNoise
from tinyreason.puzzle import Batch
from tinyreason.recursion import Depth, numbered, only_live, recomputed, select, where


@dataclass
class Carry:
    """What survives between segments. `state` is detached."""

    state: NamedTuple  # of tensors (B ...)
    batch: Batch
    segments: Tensor  # (B,) int32, segments that the slot's puzzle has had
    halted: Tensor  # (B,) bool, the slot is free

    @classmethod
    @torch.no_grad()
    def fresh(cls, model: RecursiveModel, batch: Batch) -> "Carry":
        """Every slot free, as at the start of a run: `refill` gives each its first puzzle. `batch`
        lends its shapes.
        """
        segments = torch.zeros(len(batch), dtype=torch.int32, device=batch.inputs.device)
        state = model.start(model.encode(batch), NoNoise())
        return cls(state, batch, segments, ~segments.bool())

    def refill(self, new: Batch) -> "Carry":
        """Halted slots take over their row of `new` (B rows); busy slots are untouched.

        The state of a new puzzle is made in its first segment, where the model has seen it; see
        `begun`.
        """

        def pick(fresh: Tensor, old: Tensor) -> Tensor:
            return select(self.halted, fresh, old)

        segments = pick(torch.zeros_like(self.segments), self.segments)
        return Carry(self.state, new.map(pick, self.batch), segments, torch.zeros_like(self.halted))

    def begun(self, start: NamedTuple) -> NamedTuple:
        """The state of each slot, `start` in those that are at their first segment."""
        return where(self.segments == 0, start, self.state)

    def advance(self, state: NamedTuple) -> "Carry":
        """After a segment: the new state, detached, and one segment more."""
        return Carry(detached(state), self.batch, self.segments + 1, self.halted)

    def select(self, rows: Tensor | slice) -> "Carry":
        """The slots `rows` (bool mask, indices or a slice) alone."""
        state = type(self.state)(*(z[rows] for z in self.state))
        batch = self.batch.map(lambda t: t[rows])
        return Carry(state, batch, self.segments[rows], self.halted[rows])


class Trace(NamedTuple):
    """What a segment comes to. It still carries its graph; `Carry.advance` detaches the state."""

    state: NamedTuple
    reads: list[Read]  # of each tracked recursion (R), or of the last alone
    before: NamedTuple  # the state at the start
    penalties: dict[str, Tensor]  # losses of the model's and the scheme's own, (B,) each


def segment(
    model: RecursiveModel,
    carry: Carry,
    depth: Depth,
    gradient: Gradient,
    noise: Noise,
    every: bool = False,
    frozen: bool = False,
) -> Trace:
    """One segment of every slot: encode, start, recur, read. `every`: read each tracked recursion,
    not the last alone. `frozen`: no gradient reaches the states.

    The only place where a model, a depth and a gradient scheme meet.
    """
    x = model.encode(carry.batch)
    state = begun = carry.begun(model.start(x, noise))
    recur = model.recursion(noise)
    if model.config.recompute:
        recur = recomputed(recur)
    if depth.numbers is not None:
        recur = numbered(recur, depth.numbers)
    if depth.live is not None:
        recur = only_live(recur, depth.live)

    reads = []
    for state in gradient.states(recur, state, x, depth):  # noqa: B020, the state is what changes
        if frozen:
            state = detached(state)
        if every:
            reads.append(model.read(state))
    if not every:
        reads.append(model.read(state))
    penalties = {} if frozen else model.penalties(state)
    if torch.is_grad_enabled() and not frozen:
        penalties |= gradient.penalties(recur, state, x, depth, noise)
    return Trace(state, reads, begun, penalties)


def detached(tensors: NamedTuple) -> NamedTuple:
    """Without the graph; what is None stays None."""
    return type(tensors)(*(None if t is None else t.detach() for t in tensors))
