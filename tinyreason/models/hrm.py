"""HRM, "Hierarchical Reasoning Model", arXiv 2506.21734.

Unusual in it:
- two cores: a fast one refines z_L under the slow latent's guidance, a slow one updates z_H once a
  cycle
- the gradient covers the last update of each core alone (`gradient=one_step`), so memory is
  constant in depth
- halting is learnt by Q-learning (`halting=q_learning`)
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from tinyreason.models.base import CycleConfig, FixedStart, State, make_core
from tinyreason.options import option
from tinyreason.puzzle import Facts


@dataclass
class HRMConfig(CycleConfig):
    """Of `HRM`."""

    # blocks of the slow core; None: `layers`
    H_layers: int | None = option(least=1, most=1024, default=None)
    # blocks of the fast core; None: as `layers`
    L_layers: int | None = option(least=1, most=1024, default=None)

    def applied(self, t: int) -> tuple[int, ...]:
        fast, slow = self.L_layers or self.layers, self.H_layers or self.layers
        return (fast, slow) if self.closes(t) else (fast,)


class HRM(FixedStart):
    """Final."""

    Config = HRMConfig

    def __init__(self, config: HRMConfig, facts: Facts, dtype: torch.dtype):
        super().__init__(config, facts, State, dtype)
        self.core_H = make_core(config, facts, config.H_layers)
        self.core_L = make_core(config, facts, config.L_layers)

    def recur(self, state: State, x: Tensor, t: int) -> State:
        z_H, z_L = state
        z_L = self.core_L(z_L + (z_H + x))
        if self.config.closes(t):
            z_H = self.core_H(z_H + z_L)
        return State(z_H, z_L)
