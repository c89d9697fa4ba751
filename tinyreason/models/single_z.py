"""TRM with one latent, the "single z" row of Table 2 of arXiv 2510.04871 (71.9 against 87.4 with two).

Unusual in it: z is both the reasoning and the answer; each cycle ends with one recursion that is not fed the question.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from tinyreason.models.base import ModelConfig, RecursiveModel, make_core
from tinyreason.puzzle import Facts


class SingleState(NamedTuple):
    """The only latent, (B S D)."""

    z: Tensor


class SingleZ(RecursiveModel):
    """Final."""

    def __init__(self, config: ModelConfig, facts: Facts, dtype: torch.dtype):
        super().__init__(config, facts, SingleState, dtype)
        self.L_cycles = config.L_cycles
        self.core = make_core(config, facts)

    def recur(self, state: SingleState, x: Tensor, t: int) -> SingleState:
        z = self.core(state.z + x)
        if (t + 1) % self.L_cycles == 0:
            z = self.core(z)
        return SingleState(z)
