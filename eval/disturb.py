"""Disturbances of a state for `eval.trajectory.follow`: another start, and noise at the start of
every segment.

A latent is a part of the state that has a vector for each cell; counters and losses, which a state
may hold too, are left as they are.

B slots, S cells, D width.
"""

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from eval.trajectory import Disturb
from tinyreason.layers import CUT_DEVIATION
from tinyreason.noise import Noise, NoNoise, PuzzleNoise
from tinyreason.puzzle import Batch, Facts, Rows
from tinyreason.solver import Solver

CUT = 2.0  # deviations of the uncut normal, as where fixed starts are drawn


def restarted(state: NamedTuple, k: int, noise: Noise) -> NamedTuple:
    """Each latent drawn anew at every position before the first segment: normal of deviation 1, cut
    at two deviations, as the vectors of a fixed start are drawn.
    """
    if k:
        return state
    return mapped(state, lambda z: noise.truncated_normal(z, 1 / CUT_DEVIATION, CUT))


def noisy(sigma: float) -> Disturb:
    """Normal noise on each latent at the start of every segment, of deviation `sigma` times its
    root mean square in that puzzle.
    """

    def disturb(state: NamedTuple, k: int, noise: Noise) -> NamedTuple:
        return mapped(state, lambda z: z + sigma * size(z) * noise.normal(z))

    return disturb


def seeded(disturb: Disturb, seed: int) -> Disturb:
    """The same with other random numbers for another `seed`, a whole number from 0."""
    return lambda state, k, noise: disturb(state, k, noise.at(seed))


def mapped(state: NamedTuple, change) -> NamedTuple:
    """The state, `change` made to each latent."""
    return type(state)(*(change(z) if is_latent(z) else z for z in state))


def is_latent(z: Tensor | None) -> bool:
    return z is not None and z.is_floating_point() and z.ndim > 2 and z.numel() > 0


def size(z: Tensor) -> Tensor:
    """(B 1 ...) root mean square of each slot."""
    each = z.float().flatten(1).square().mean(1).sqrt()
    return each.view(-1, *[1] * (z.ndim - 1)).to(z.dtype)


@torch.no_grad()
def begins(solver: Solver, rows: Rows, facts: Facts) -> str:
    """How a model starts: "drawn", "fixed" or with the "puzzle" itself."""
    solver.model.eval()
    few = Rows(*(np.asarray(field[:1]) for field in rows))
    x = solver.model.encode(Batch.of(few, facts, solver.device))
    plain = solver.model.start(x, NoNoise())
    if differ(plain, solver.model.start(x, PuzzleNoise([0], [0]))):
        return "drawn"
    return "puzzle" if differ(plain, solver.model.start(x + 1, NoNoise())) else "fixed"


def differ(one: NamedTuple, other: NamedTuple) -> bool:
    """In any latent."""
    return any((a != b).any().item() for a, b in zip(one, other, strict=True))
