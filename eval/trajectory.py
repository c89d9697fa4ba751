"""The way of many puzzles through the segments: what was answered after each of them, how sure the
halting head was, and how far the latent still moved.

An evaluation keeps the last answer alone, and refills slots; here every puzzle gets all segments
and everything is kept. The model's own verbs are looped from outside, so this works for every one.

N puzzles, B of them at once, S cells, K segments.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from tinyreason.errors import UserError
from tinyreason.exits import cells_of
from tinyreason.noise import Noise, PuzzleNoise
from tinyreason.puzzle import Batch, Facts, Rows
from tinyreason.recursion import Depth, unroll
from tinyreason.segment import Carry
from tinyreason.solver import STRIDE, Solver, confidence_of, nobody

# the state at the start of segment k (from 0), and noise of its own -> the state to begin with
Disturb = Callable[[NamedTuple, int, Noise], NamedTuple]
MOST_ANSWERS = 2 << 30  # cells of all answers, a byte each
OWN = -1  # the number of that noise, which no recursion has


@dataclass
class Trajectories:
    """What N puzzles came to after each of K segments, in numpy."""

    answers: np.ndarray  # (N, K, S) uint8
    halt: np.ndarray  # (N, K) float32, logit of halting
    wants: np.ndarray  # (N, K) bool, the head says finished
    residual: np.ndarray  # (N, K) float32, |f(z) - z| / |f(z)| of the last whole recursion
    moved: np.ndarray  # (N, K) float32, how far the logits of a cell moved; 0 in the first

    def exact(self, labels: np.ndarray, ignored: int | None) -> np.ndarray:
        """(N, K) bool: every scored cell is as in `labels` (N, S) tokens."""
        return self.right(labels, ignored).all(-1)

    def right(self, labels: np.ndarray, ignored: int | None) -> np.ndarray:
        """(N, K, S) bool: the cell is as in `labels` (N, S) tokens, or not scored."""
        right = self.answers == labels[:, None]
        return right if ignored is None else right | (labels == ignored)[:, None]

    @property
    def confidence(self) -> np.ndarray:
        """(N, K) from 0 to 1: what the halting head gives each answer."""
        return confidence_of(self.halt)

    @classmethod
    def joined(cls, parts: list["Trajectories"]) -> "Trajectories":
        """The puzzles of all `parts`."""
        names = [field.name for field in fields(cls)]
        return cls(*(np.concatenate([getattr(part, name) for part in parts]) for name in names))


@torch.no_grad()
def follow(
    solver: Solver,
    rows: Rows,
    facts: Facts,
    disturb: Disturb | None = None,
    done: Callable[[int], None] = nobody,
) -> Trajectories:
    """All `rows` (N, at least one) through all segments of the solver.

    Undisturbed, the last answers are those of `solver(rows, facts)` without halting. `done` hears
    how many more puzzles are finished.
    """
    refuse_large(solver, rows)
    solver.model.eval()
    parts = []
    for first in range(0, len(rows.inputs), solver.batch):
        part = Rows(*(field[first : first + solver.batch] for field in rows))
        batch = Batch.of(part, facts, solver.device)
        numbers = [STRIDE * solver.start + first + i for i in range(len(batch))]
        parts.append(of_batch(solver, batch, numbers, disturb))
        done(len(batch))
    solver.model.train()
    return Trajectories.joined(parts)


def refuse_large(solver: Solver, rows: Rows) -> None:
    """Raises UserError for more answers than can be held."""
    count, cells = rows.inputs.shape
    if count * cells * solver.segments > MOST_ANSWERS:
        told = f"{count:,} puzzles x {solver.segments:,} segments are too many to keep"
        raise UserError(f"{told}; use fewer segments= or max_puzzles=")


def of_batch(
    solver: Solver, batch: Batch, numbers: list[int], disturb: Disturb | None
) -> Trajectories:
    """That of the puzzles of one batch, whose random numbers are those of their `numbers`."""
    carry = Carry.fresh(solver.model, batch).refill(batch)
    found, before = [], None
    for k in range(solver.segments):
        noise = PuzzleNoise([k] * len(batch), numbers)
        if disturb is not None:
            carry = disturbed(solver, carry, k, noise, disturb)
        *_, last, state = states(solver, carry, noise)
        if not solver.gradient.plain:
            last, after = state, once_more(solver, batch, state, noise)
        else:
            after = state
        left = residual(last, after, batch.inputs.shape[1])
        read = solver.model.read(state)
        moved = torch.zeros_like(read.logits) if before is None else read.logits - before
        before = read.logits
        columns = (
            read.answer.to(torch.uint8),
            read.halt[:, 0].float(),
            solver.finished(read),
            left,
            moved.float().norm(dim=-1).mean(-1),
        )
        found.append([column.cpu().numpy() for column in columns])
        carry = carry.advance(state)
    return Trajectories(*(np.stack(column, axis=1) for column in zip(*found, strict=True)))


def disturbed(solver: Solver, carry: Carry, k: int, noise: Noise, disturb: Disturb) -> Carry:
    """The carry with a state of its own making, at its first segment too."""
    begun = carry.begun(solver.model.start(solver.model.encode(carry.batch), noise))
    state = disturb(begun, k, noise.at(OWN))
    return Carry(state, carry.batch, carry.segments.clamp(min=1), carry.halted)


def states(solver: Solver, carry: Carry, noise: Noise) -> Iterator[NamedTuple]:
    """Those of a segment after each whole recursion, the one at its start first.

    A gradient scheme that looks for a fixed point has no such row of states: then the one that it
    finds alone.
    """
    model, total, unit = solver.model, solver.depth.total, solver.model.config.cycle or 1
    x = model.encode(carry.batch)
    state = carry.begun(model.start(x, noise))
    recur = model.recursion(noise)
    yield state
    if solver.gradient.plain:
        unrolled = unroll(recur, state, x, Depth(total, total))
        for t, state in enumerate(unrolled, start=1):
            if t % unit == 0:
                yield state
        return
    *_, state = solver.gradient.states(recur, state, x, solver.depth)
    yield state


def once_more(solver: Solver, batch: Batch, state: NamedTuple, noise: Noise) -> NamedTuple:
    """The state after another whole recursion."""
    x, recur = solver.model.encode(batch), solver.model.recursion(noise)
    total = solver.depth.total
    for t in range(total - (solver.model.config.cycle or 1), total):
        state = recur(state, x, t)
    return state


def residual(before: NamedTuple, state: NamedTuple, cells: int) -> Tensor:
    """(B,) float: how far the last whole recursion moved the latent that is read, relative to it
    (EqR, arXiv 2605.21488).
    """
    z = cells_of(state[0], cells).float().flatten(1)
    moved = z - cells_of(before[0], cells).float().flatten(1)
    return moved.norm(dim=-1) / z.norm(dim=-1)
