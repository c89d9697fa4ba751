"""HRM, "Hierarchical Reasoning Model", arXiv 2506.21734.

Unusual in it:
- two cores: a fast one refines z_L under the slow latent's guidance, a slow one updates z_H once a cycle
- the gradient covers the last update of each core alone (`model.gradient=one_step`), so memory is constant in depth
- halting is learnt by Q-learning (`halting=q_learning`)
"""

import torch
from torch import Tensor

from tinyreason.models.base import ModelConfig, RecursiveModel, State, make_core
from tinyreason.puzzle import Facts


class HRM(RecursiveModel):
    """Final."""

    def __init__(self, config: ModelConfig, facts: Facts, dtype: torch.dtype):
        super().__init__(config, facts, State, dtype)
        self.L_cycles = config.L_cycles
        self.core_H, self.core_L = make_core(config, facts), make_core(config, facts)

    def recur(self, state: State, x: Tensor, t: int) -> State:
        z_H, z_L = state
        z_L = self.core_L(z_L + (z_H + x))
        if (t + 1) % self.L_cycles == 0:
            z_H = self.core_H(z_H + z_L)
        return State(z_H, z_L)
