"""Disturbances of a state for `eval.trajectory.follow`: another start, and noise at the start of
every segment.

A latent is a part of the state that has a vector for each cell; counters and losses, which a state
may hold too, are left as they are.

B slots, S cells, D width.
"""

from typing import NamedTuple

import numpy as np
from torch import Tensor

from eval.starts import refuse_fixed
from eval.trajectory import Disturb
from tinyreason.errors import UserError
from tinyreason.layers import CUT_DEVIATION
from tinyreason.noise import Noise
from tinyreason.puzzle import Facts, Rows
from tinyreason.solver import Solver

CUT = 2.0  # deviations


def restarted(state: NamedTuple, k: int, noise: Noise) -> NamedTuple:
    """Each latent drawn anew at every position before the first segment: normal, cut at two
    deviations (as EqR starts, arXiv 2605.21488), as large as the model's own start; of deviation 1
    where that is zero.
    """
    if k:
        return state

    def drawn(z: Tensor) -> Tensor:
        scale = size(z)
        unit = noise.truncated_normal(z, 1 / CUT_DEVIATION, CUT)
        return unit * scale.where(scale > 0, scale.new_ones(()))

    return mapped(state, drawn)


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


def draws_start(solver: Solver, rows: Rows, facts: Facts) -> bool:
    """Whether the model starts at random by itself."""
    try:
        refuse_fixed(solver, Rows(*(np.asarray(field[:1]) for field in rows)), facts)
    except UserError:
        return False
    return True
