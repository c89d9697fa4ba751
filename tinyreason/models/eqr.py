"""EqR, "Equilibrium Reasoners", arXiv 2605.21488: TRM that looks for a fixed point.

Unusual in it:
- both latents start at random in every cell, drawn anew whenever a slot begins with a puzzle
- every update is damped, and noise is added to it, in free recursions and in evaluations too:
  z <- (1 - lambda) z + lambda core(z + what is injected) + sigma eps
- no prefix: the halting head reads the first cell
- with several starts the answer of the one that moves least is taken (`starts=` of `eval.solve`)

Departures: the random numbers of a recursion are a function of its number, so that a recomputed
recursion repeats them.

B batch, S cells, D width.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from tinyreason.layers import CUT_DEVIATION
from tinyreason.models.base import CycleConfig, RecursiveModel, State, make_core
from tinyreason.noise import Noise, NoNoise
from tinyreason.options import option
from tinyreason.puzzle import Facts
from tinyreason.recursion import Recur

CUT = 2  # deviations of the uncut normal at which a start is truncated; it has deviation 1 after it


@dataclass
class EqRConfig(CycleConfig):
    """Of `EqR`."""

    damping: float = option(least=0, most=1)  # lambda; 1: not damped
    noise: float = option(least=0)  # sigma, of what is added to every update


class EqR(RecursiveModel):
    """Final."""

    Config = EqRConfig

    def __init__(self, config: EqRConfig, facts: Facts, dtype: torch.dtype):
        super().__init__(config, facts, dtype)
        self.core = make_core(config, facts)

    def start(self, x: Tensor, noise: Noise) -> State:
        return State(*(noise.truncated_normal(x, 1 / CUT_DEVIATION, CUT) for _ in State._fields))

    def recursion(self, noise: Noise) -> Recur:
        return lambda state, x, t: self.moved(state, x, t, noise.at(t))

    def recur(self, state: State, x: Tensor, t: int) -> State:
        """Without noise."""
        return self.moved(state, x, t, NoNoise())

    def moved(self, state: State, x: Tensor, t: int, noise: Noise) -> State:
        """A recursion whose random numbers are `noise`."""
        z_H, z_L = state
        z_L = self.updated(z_L, z_H + x, noise)
        if self.config.closes(t):
            z_H = self.updated(z_H, z_L, noise)
        return State(z_H, z_L)

    def updated(self, z: Tensor, injected: Tensor, noise: Noise) -> Tensor:
        """A latent after one application of the core, (B S D)."""
        share = self.config.damping
        new = (1 - share) * z + share * self.core(z + injected)
        if not self.config.noise:
            return new
        return new + self.config.noise * noise.normal(z)
