"""TRM, "Less is More: Recursive Reasoning with Tiny Networks", arXiv 2510.04871.

Unusual in it:
- one small core updates both latents: z_L, the reasoning, L_cycles times a cycle, then z_H, the
  answer, once
- z_L is fed the question and z_H is not: that is how the one core tells the two updates apart
- the gradient covers the whole last cycle (`gradient=full`); the cycles before it run free
"""

import torch
from torch import Tensor

from tinyreason.models.base import CycleConfig, FixedStart, State, make_core
from tinyreason.puzzle import Facts


class TRM(FixedStart):
    """Final."""

    Config = CycleConfig

    def __init__(self, config: CycleConfig, facts: Facts, dtype: torch.dtype):
        super().__init__(config, facts, State, dtype)
        self.core = make_core(config, facts)

    def recur(self, state: State, x: Tensor, t: int) -> State:
        z_H, z_L = state
        z_L = self.core(z_L + (z_H + x))
        if self.config.closes(t):
            z_H = self.core(z_H + z_L)
        return State(z_H, z_L)
